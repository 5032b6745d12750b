#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/routes.h"
#include "kernel/netdev.h"
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/server.h"
#include "tests/fake_netdev.h"
#include "tests/sim/abuse.h"
#include "tests/sim/client.h"
#include "tests/sim/commits.h"
#include "tests/sim/faults.h"
#include "tests/sim/inside.h"
#include "tests/sim/model.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/rest.h"
#include "tests/sim/sim.h"
#include "tests/sim/wire.h"

#define STEP_NS_MAX   (5 * SIM_MS) /* the appliance's timers tick every 31 ms */
#define STEP_NS_MIN   1000
#define INSIDE_EVERY  8
#define CALM_NS_MAX   (300 * SIM_S)
#define LAST_NS_MAX   (30 * SIM_S)
#define EMPTY_NS      (45 * SIM_S) /* TIME-WAIT, half-open, retransmissions of what is left */
#define USER_ID_BYTES 64

static uint64_t now_ns;

static struct {
    uint32_t blocks[POOL_CLASSES];
    unsigned receive_free;
    struct server_config config;
} start;

uint64_t sim_now(void)
{
    return now_ns;
}

/* ---- the machine ---- */

static bool wall_s(int64_t *unix_s)
{
    if (sim_seed % 4 == 0)
        return false;
    *unix_s = 1700000000 + (int64_t)(clock_ns() / CLOCK_NS_PER_S % 100000);
    return true;
}

static void *take_memory(size_t align, size_t bytes)
{
    void *const memory = aligned_alloc(align, (bytes + align - 1) & ~(align - 1));
    SIM_CHECK(memory != NULL, "the simulator is out of memory");
    return memory;
}

static void start_device(void)
{
    struct fake_netdev_config device = fake_netdev_default;
    device.transmit_checksum = profile.transmit_checksum;
    device.receive_checksum = profile.receive_checksum;
    device.transmit_ring = profile.transmit_ring;
    device.receive_ring = profile.receive_ring;
    device.receive_buffer_bytes = profile.receive_buffer_bytes;
    fake_netdev_reset(&device);
    fake_netdev_scatter(profile.scatter);
    fake_netdev_mute(profile.mute);
    fake_entropy_seed(prng_next());
    fake_clock_advance_ns(profile.clock_offset_ns);
    tcp_ticks = profile.ticks;
}

static void start_appliance(void)
{
    struct siphash_key key;
    struct server_config *const config = &start.config;
    start_device();
    entropy_fill(&key, sizeof key);
    const size_t users_bytes = users_memory_bytes(profile.users_max, MODEL_USER_BYTES_MAX);
    struct users *const users =
        users_init(take_memory(64, users_bytes), users_bytes, profile.users_max, &key);
    routes_init(&(struct routes_config){
        .users = users, .gate = commits_gate(), .now_ns = clock_ns, .wall_s = wall_s});
    *config = (struct server_config){
        .address = __builtin_bswap32(FRAME_SERVER),
        .netmask = __builtin_bswap32(FRAME_NETMASK),
        .gateway = __builtin_bswap32(FRAME_GATEWAY),
        .port = FRAME_SERVER_PORT,
        .connections_max = profile.connections_max,
        .idle_ms = profile.idle_ms,
        .head_ms = profile.head_ms,
        .body_ms = profile.body_ms,
        .send_ms = profile.send_ms,
        .linger_ms = profile.linger_ms,
        .hold_ms = 60000,
    };
    routes_configure(config, commits_gate() != NULL);
    server_init(config, take_memory(4096, server_memory_bytes(config)));
}

/* What it holds when all is said that it says at the start (ARP of its own address). */
static void note_levels(void)
{
    static uint8_t frame[FRAME_BYTES_MAX];
    while (server_poll() || fake_netdev_take(frame) > 0)
        continue;
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        start.blocks[class] = pool_level((enum pool_class) class);
    start.receive_free = fake_netdev_receive_free();
}

/* ---- the wire's two ends ---- */

static void put_junk_checksum(uint8_t *frame)
{
    frame[ETHERNET_BYTES + IP_BYTES + 16] = (uint8_t)prng_next();
    frame[ETHERNET_BYTES + IP_BYTES + 17] = (uint8_t)prng_next();
}

static void deliver_to_server(void)
{
    static uint8_t frame[FRAME_BYTES_MAX];
    size_t len;
    bool damaged;
    while ((len = wire_take(WIRE_TO_SERVER, frame, &damaged)) > 0) {
        const bool is_segment = len >= 54 && frame[12] == 0x08 && frame[13] == 0 && frame[23] == 6;
        const bool vouched = !damaged && is_segment && profile.receive_checksum &&
                             frame_is_sound(frame, len) && prng_permille(800);
        /* What never left the host has no checksum at all. */
        if (vouched && prng_permille(500))
            put_junk_checksum(frame);
        if (!fake_netdev_arrive(frame, len, vouched)) {
            sim_trace("the receive ring is full");
            profile.strict = profile.orderly = false; /* nobody is to blame */
        }
    }
}

static bool is_simulated(uint32_t address)
{
    return (address >= FRAME_HOST(1) && address <= FRAME_HOST(profile.hosts)) ||
           address == FRAME_GATEWAY;
}

static void deliver_to_clients(void)
{
    static uint8_t frame[FRAME_BYTES_MAX];
    struct segment segment;
    size_t len;
    bool damaged;
    while ((len = wire_take(WIRE_TO_CLIENTS, frame, &damaged)) > 0) {
        if (damaged)
            continue;
        switch (frame_read(frame, len, &segment)) {
        case FRAME_TCP:
            clients_input(&segment);
            break;
        case FRAME_ARP_REQUEST:
            sim_trace("ARP asks for %#x", segment.address);
            if (is_simulated(segment.address))
                wire_send(WIRE_TO_SERVER, frame, frame_of_arp(2, segment.address, frame));
            break;
        case FRAME_OTHER:
            break;
        }
    }
}

static void take_from_server(void)
{
    static uint8_t frame[FRAME_BYTES_MAX];
    struct segment segment;
    size_t len;
    while ((len = fake_netdev_take(frame)) > 0) {
        (void)frame_read(frame, len, &segment); /* checked as it leaves */
        wire_send(WIRE_TO_CLIENTS, frame, len);
    }
}

/* ---- what always holds ---- */

static void check_always(void)
{
    model_check_aggregate();
    SIM_CHECK(conns_count(CONN_OPEN) <= profile.connections_max, "%u connections are open",
              conns_count(CONN_OPEN));
    SIM_CHECK(conns_count(CONN_HALF_OPEN) <= conns_half_open_max(&start.config),
              "%u connections are half open", conns_count(CONN_HALF_OPEN));
    SIM_CHECK(conns_count(CONN_CLOSING) <= conns_closing_max(&start.config),
              "%u connections are closing", conns_count(CONN_CLOSING));
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        SIM_CHECK(pool_level((enum pool_class) class) <= start.blocks[class],
                  "class %u of the pool has more blocks than at the start", class);
}

static void check_empty(void)
{
    for (unsigned phase = CONN_HALF_OPEN; phase <= CONN_GONE; phase++)
        SIM_CHECK(conns_count((enum conn_phase)phase) == 0,
                  "nobody is there, and %u connections are in phase %u",
                  conns_count((enum conn_phase)phase), phase);
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        SIM_CHECK(pool_level((enum pool_class) class) == start.blocks[class],
                  "%u blocks of class %u have leaked",
                  start.blocks[class] - pool_level((enum pool_class) class), class);
    SIM_CHECK(fake_netdev_receive_free() == start.receive_free,
              "%u buffers of the receive ring are held",
              start.receive_free - fake_netdev_receive_free());
    SIM_CHECK(fake_netdev_transmit_held() == 0, "%u transmit descriptors are held",
              fake_netdev_transmit_held());
}

/* ---- time ---- */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* To the next event, and what comes of it at the machine's end of the wire. */
static void pass_time(void)
{
    uint64_t next_ns = earliest(wire_next_ns(), earliest(clients_next_ns(), abuse_next_ns()));
    next_ns = earliest(next_ns, now_ns + STEP_NS_MAX);
    const uint64_t step_ns = next_ns > now_ns + STEP_NS_MIN ? next_ns - now_ns : STEP_NS_MIN;
    now_ns += step_ns;
    fake_clock_advance_ns(step_ns);
    sim_shared->steps++;
    sim_shared->time_ns = now_ns;
    sim_mix(&now_ns, sizeof now_ns);

    faults_run(step_ns);
    deliver_to_server();
    abuse_run();
}

static void run_others(void)
{
    take_from_server();
    deliver_to_clients();
    clients_run();
    check_always();
}

/* While the machine sleeps. */
static void step_without_machine(void)
{
    pass_time();
    run_others();
}

static void step(void)
{
    pass_time();
    for (unsigned polls = prng_range(1, 3); polls > 0 && !faults_machine_is_paused(); polls--)
        commits_run();
    if (!server_poll() && profile.sleeps && !commits_are_under_way())
        rest_turn();
    if (sim_shared->steps % INSIDE_EVERY == 0 && !faults_machine_is_paused())
        inside_check(&start.config);
    run_others();
}

static void be_empty(void)
{
    const uint64_t wait_ms =
        profile.idle_ms + profile.head_ms + profile.body_ms + profile.send_ms + profile.linger_ms;
    const uint64_t end_ns = now_ns + wait_ms * SIM_MS + EMPTY_NS;
    while (now_ns < end_ns)
        step();
    check_empty();
}

void world_run(uint64_t seed, uint64_t chaos_steps)
{
    sim_seed = seed;
    prng_seed(seed);
    profile_draw();
    if (sim_tracing)
        profile_print();
    start_appliance();
    rest_begin(step_without_machine);
    note_levels();
    clients_begin();

    for (uint64_t i = 0; chaos_steps == 0 ? now_ns < profile.chaos_ns : i < chaos_steps; i++)
        step();

    faults_end();
    profile_calm_down();
    clients_dismiss();
    const uint64_t calm_end_ns = now_ns + CALM_NS_MAX;
    while (!clients_are_done()) {
        SIM_CHECK(now_ns < calm_end_ns, "honest clients are not done after %u s of calm",
                  (unsigned)(CALM_NS_MAX / SIM_S));
        step();
    }

    clients_add_last();
    const uint64_t last_end_ns = now_ns + LAST_NS_MAX;
    while (!clients_are_done()) {
        SIM_CHECK(now_ns < last_end_ns, "the last client is not served");
        step();
    }
    be_empty();
    const uint64_t entropy = prng_next();
    sim_mix(&entropy, sizeof entropy);
    struct server_counters counters;
    server_get_counters(&counters);
    sim_shared->cookies_sent = counters.syn_cookies_sent;
    sim_shared->cookies_accepted = counters.syn_cookies_accepted;
    sim_shared->finished = true;
}

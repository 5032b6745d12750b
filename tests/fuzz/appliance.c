#include "tests/fuzz/appliance.h"

#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/aggregate/users.h"
#include "app/routes.h"
#include "kernel/netdev.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/server.h"
#include "tests/sim/frame.h"
#include "tests/sim/inside.h"
#include "tests/sim/sim.h"

#define USERS_FEW 32 /* so that an input can fill the table */

/* Short, so that an input can pass them: in all less than what TCP itself takes. */
#define IDLE_MS     3000
#define HEAD_MS     1000
#define BODY_MS     1000
#define SEND_MS     2000
#define LINGER_MS   500

#define END_STEP_MS 50 /* less than the slack of tests/sim/inside.c */
#define END_MS_MAX  60000

/* The linker's names for the ends of what the Makefile has renamed. */
extern uint8_t __start_appliance_data[], __stop_appliance_data[];
extern uint8_t __start_appliance_bss[], __stop_appliance_bss[];

static struct {
    uint8_t *data, *memory, *users;
    size_t memory_bytes, users_bytes;
    struct server_config config;
    uint32_t blocks[POOL_CLASSES];
    unsigned receive_free;
} appliance;

static _Noreturn void violation(const char *format, va_list args)
{
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    abort();
}

_Noreturn void appliance_violation(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    violation(format, args);
}

/* Of tests/sim/sim.h, for what is taken from there. */
_Noreturn void sim_violation(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    violation(format, args);
}

/* Goes over the red zones between variables too, of which an instrumented copy would warn. */
static void copy(uint8_t *to, const uint8_t *from, size_t len)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
}

static void clear(uint8_t *to, size_t len)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(0) : "memory");
}

static void *take_memory(size_t align, size_t bytes)
{
    void *const memory = aligned_alloc(align, (bytes + align - 1) & ~(align - 1));
    APPLIANCE_CHECK(memory != NULL, "the fuzzer is out of memory");
    return memory;
}

/* ---- starting ---- */

static bool wall_s(int64_t *unix_s)
{
    *unix_s = 1700000000 + (int64_t)(clock_ns() / CLOCK_NS_PER_S);
    return true;
}

void appliance_keep(void)
{
    const size_t data_bytes = (size_t)(__stop_appliance_data - __start_appliance_data);
    struct server_config largest = {.connections_max = APPLIANCE_CONNECTIONS_MAX};

    appliance.data = take_memory(64, data_bytes);
    copy(appliance.data, __start_appliance_data, data_bytes);
    routes_configure(&largest, false);
    appliance.memory_bytes = server_memory_bytes(&largest);
    appliance.memory = take_memory(4096, appliance.memory_bytes);
    appliance.users_bytes = users_memory_bytes(USERS_FEW, USERS_ID_BYTES_MAX);
    appliance.users = take_memory(64, appliance.users_bytes);
}

static void put_back(void)
{
    clear(__start_appliance_bss, (size_t)(__stop_appliance_bss - __start_appliance_bss));
    copy(__start_appliance_data, appliance.data,
         (size_t)(__stop_appliance_data - __start_appliance_data));
}

static void ignore(const uint8_t *frame, size_t len)
{
    (void)frame;
    (void)len;
}

void appliance_start(const struct appliance_config *config)
{
    struct siphash_key key;
    struct server_config *const server = &appliance.config;

    put_back();
    /* The last input's pools have left it poisoned. */
    ASAN_UNPOISON_MEMORY_REGION(appliance.memory, appliance.memory_bytes);
    fake_netdev_reset(&config->device);
    fake_entropy_seed(1);
    entropy_fill(&key, sizeof key);
    routes_init(&(struct routes_config){
        .users = users_init(appliance.users, appliance.users_bytes, USERS_FEW, &key),
        .now_ns = clock_ns,
        .wall_s = wall_s,
    });
    *server = (struct server_config){
        .address = config->dhcp ? 0 : __builtin_bswap32(FRAME_SERVER),
        .netmask = config->dhcp ? 0 : __builtin_bswap32(FRAME_NETMASK),
        .gateway = config->dhcp ? 0 : __builtin_bswap32(FRAME_GATEWAY),
        .port = FRAME_SERVER_PORT,
        .connections_max = config->connections_max,
        .idle_ms = IDLE_MS,
        .head_ms = HEAD_MS,
        .body_ms = BODY_MS,
        .send_ms = SEND_MS,
        .linger_ms = LINGER_MS,
    };
    routes_configure(server, false);
    APPLIANCE_CHECK(server_memory_bytes(server) <= appliance.memory_bytes, "too much memory");
    server_init(server, appliance.memory);
    for (unsigned i = 0; i < 4; i++)
        appliance_poll(ignore);
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        appliance.blocks[class] = pool_level((enum pool_class) class);
    appliance.receive_free = fake_netdev_receive_free();
}

/* ---- running ---- */

static void check_sent(const uint8_t *frame, size_t len)
{
    const size_t mtu = netdev_get_info()->mtu_bytes;
    const unsigned type = (unsigned)frame[12] << 8 | frame[13];
    APPLIANCE_CHECK(len >= ETHERNET_BYTES + 28 && len <= ETHERNET_BYTES + mtu,
                    "a frame of %zu bytes", len);
    APPLIANCE_CHECK(memcmp(frame + 6, fake_netdev_default.mac, 6) == 0, "a MAC not its own");
    APPLIANCE_CHECK(type == 0x0806 || frame_is_sound(frame, len),
                    "type %#x, with wrong checksums or lengths", type);
}

void appliance_poll(void (*took)(const uint8_t *frame, size_t len))
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    size_t len;
    for (unsigned turn = 0; turn < 2; turn++) {
        (void)server_poll();
        while ((len = fake_netdev_take(frame)) > 0) {
            check_sent(frame, len);
            took(frame, len);
        }
    }
}

void appliance_check(void)
{
    const struct server_config *const config = &appliance.config;

    inside_check(config);
    APPLIANCE_CHECK(conns_count(CONN_OPEN) <= config->connections_max, "%u are open",
                    conns_count(CONN_OPEN));
    APPLIANCE_CHECK(conns_count(CONN_HALF_OPEN) <= conns_half_open_max(config), "%u are half open",
                    conns_count(CONN_HALF_OPEN));
    APPLIANCE_CHECK(conns_count(CONN_CLOSING) <= conns_closing_max(config), "%u are closing",
                    conns_count(CONN_CLOSING));
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        APPLIANCE_CHECK(pool_level((enum pool_class) class) <= appliance.blocks[class],
                        "class %u of the pool has more blocks than at the start", class);
}

static bool is_as_at_the_start(void)
{
    for (unsigned phase = CONN_HALF_OPEN; phase <= CONN_GONE; phase++)
        if (conns_count((enum conn_phase)phase) != 0)
            return false;
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        if (pool_level((enum pool_class) class) != appliance.blocks[class])
            return false;
    return fake_netdev_receive_free() == appliance.receive_free && fake_netdev_transmit_held() == 0;
}

static void say_what_is_left(void)
{
    for (unsigned phase = CONN_HALF_OPEN; phase <= CONN_GONE; phase++)
        fprintf(stderr, "phase %u: %u connections\n", phase, conns_count((enum conn_phase)phase));
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        fprintf(stderr, "class %u: %u blocks, %u at the start\n", class,
                pool_level((enum pool_class) class), appliance.blocks[class]);
    fprintf(stderr, "receive ring: %u buffers, %u at the start; transmit ring: %u held\n",
            fake_netdev_receive_free(), appliance.receive_free, fake_netdev_transmit_held());
}

void appliance_end(void)
{
    fake_netdev_stall(false);
    fake_netdev_set_link(true);
    for (unsigned ms = 0; ms < END_MS_MAX; ms += END_STEP_MS) {
        fake_clock_advance_ms(END_STEP_MS);
        appliance_poll(ignore);
        if (is_as_at_the_start())
            return;
        if (ms % (8 * END_STEP_MS) == 0)
            appliance_check();
    }
    say_what_is_left();
    appliance_violation("nobody is there, and it is not as at the start");
}

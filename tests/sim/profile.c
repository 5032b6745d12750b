#include "tests/sim/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/prng.h"
#include "tests/sim/sim.h"

struct profile profile;

#define MS_WRAP_NS ((1ULL << 32) * SIM_MS) /* 49.7 days */

/* A rate up to `high`, or none at all. */
static uint32_t perhaps(uint32_t permille, uint32_t low, uint32_t high)
{
    return prng_permille(permille) ? prng_scale(low, high) : 0;
}

static void draw_appliance(void)
{
    profile.connections_max = prng_scale(4, 64);
    profile.population = prng_scale(1, 400);
    profile.users_max = prng_permille(300) ? prng_scale(1, 64) : 4096;
    profile.idle_ms = prng_scale(2000, 20000);
    profile.head_ms = prng_scale(3000, 10000);
    profile.body_ms = prng_scale(3000, 10000);
    profile.send_ms = prng_scale(3000, 20000);
    profile.linger_ms = prng_scale(500, 4000);
    if (prng_permille(300))
        profile.clock_offset_ns = MS_WRAP_NS * prng_range(1, 3) - prng_below(20000) * SIM_MS;
    else if (prng_permille(300))
        profile.clock_offset_ns = prng_next() >> 8;
    profile.ticks = prng_permille(300) ? 0u - prng_below(100) : 0;

    profile.transmit_checksum = prng_permille(600);
    profile.receive_checksum = prng_permille(600);
    profile.transmit_ring = prng_permille(700) ? 256 : prng_scale(32, 256);
    profile.receive_ring = prng_permille(600) ? 256 : prng_scale(64, 1024);
    if (prng_permille(150))
        profile.receive_ring = 64; /* the smallest that the driver accepts */
    profile.receive_buffer_bytes = prng_permille(700) ? 2048 : prng_scale(256, 2048);
    if (profile.receive_ring < 256) /* as of the real one, half must take the largest frame */
        profile.receive_buffer_bytes = 4032;
    profile.scatter = perhaps(300, 1, 8);
    profile.sleeps = prng_permille(700);
    profile.mute = profile.sleeps && prng_permille(100);
    profile.commit_us = perhaps(400, 10, 20000);
}

static void draw_wire(bool in_peace)
{
    profile.delay_us = prng_scale(10, 50000);
    profile.jitter_us = perhaps(300, 10, 20000);
    profile.quantum_us = perhaps(500, 100, 20000);
    profile.hosts = prng_scale(1, 40);
    profile.far_permille = perhaps(400, 100, 1000);
    profile.strays_are_reset = prng_permille(800);
    if (in_peace || prng_permille(400))
        return;
    profile.loss = perhaps(500, 1000, 120000);
    profile.repeat = perhaps(400, 1000, 200000);
    profile.reorder = perhaps(400, 1000, 200000);
    profile.corrupt = perhaps(400, 1000, 80000);
    profile.truncate = perhaps(300, 1000, 50000);
}

static void draw_clients(bool in_peace)
{
    for (unsigned i = 0; i < HABIT_COUNT; i++)
        profile.habit[i] = prng_permille(400);
    profile.honest = prng_scale(1, 8);
    profile.others = prng_permille(700) ? prng_scale(1, 24) : 0;
    profile.churn_ms = prng_scale(1, 2000);
    if (in_peace) {
        profile.connections_max += profile.honest + profile.others;
        profile.blind = perhaps(500, 10, 500);
        profile.habit[HABIT_PORT_REUSE] = profile.habit[HABIT_NEVER_READS] = false;
        profile.habit[HABIT_STALLED_READER] = profile.habit[HABIT_OVERRUN] = false;
    } else if (prng_permille(600)) {
        profile.syns = perhaps(700, 10, 3000);
        profile.blind = perhaps(500, 10, 500);
        profile.noise = perhaps(400, 10, 500);
    }
}

static void draw_faults(bool in_peace)
{
    if (in_peace || prng_permille(500))
        return;
    profile.hoards = perhaps(400, 100, 10000);
    profile.stalls = perhaps(400, 100, 10000);
    profile.link_downs = perhaps(300, 100, 3000);
    profile.pauses = perhaps(400, 100, 5000);
    profile.jumps = perhaps(300, 50, 1000);
    profile.refusals = perhaps(300, 100, 100000);
}

/* Others who hold a connection although they do not use it; those who only idle give way. */
static bool others_hold_slots(void)
{
    return !profile.habit[HABIT_SILENT];
}

void profile_draw(void)
{
    memset(&profile, 0, sizeof profile);
    const bool in_peace = prng_permille(150);
    draw_appliance();
    draw_wire(in_peace);
    draw_clients(in_peace);
    draw_faults(in_peace);
    /* Floods take a while to fill what they fill. */
    profile.chaos_ns = (profile.syns > 100 ? 20 : 0) * SIM_S + prng_range(3, 25) * SIM_S;

    const bool wire_is_good = profile.loss == 0 && profile.repeat == 0 && profile.reorder == 0 &&
                              profile.corrupt == 0 && profile.truncate == 0;
    const bool machine_is_good = profile.hoards == 0 && profile.stalls == 0 &&
                                 profile.link_downs == 0 && profile.pauses == 0 &&
                                 profile.jumps == 0 && profile.refusals == 0 && !profile.mute;
    profile.all_fit = profile.honest + profile.others + 2 <= profile.connections_max;
    profile.demands_progress = profile.jumps == 0 && (profile.all_fit || !others_hold_slots());
    profile.orderly = wire_is_good && machine_is_good;
    profile.strict = profile.orderly && profile.all_fit && !profile.habit[HABIT_OVERRUN] &&
                     profile.syns == 0 && profile.noise == 0 && !profile.habit[HABIT_PORT_REUSE] &&
                     !profile.habit[HABIT_NEVER_READS] && !profile.habit[HABIT_STALLED_READER];
}

void profile_calm_down(void)
{
    profile.loss = profile.repeat = profile.reorder = profile.corrupt = profile.truncate = 0;
    profile.syns = profile.blind = profile.noise = 0;
    profile.hoards = profile.stalls = profile.link_downs = profile.pauses = profile.jumps = 0;
    profile.refusals = 0;
    profile.jitter_us = 0;
    profile.others = 0;
    profile.demands_progress = true;
}

void profile_print(void)
{
    static const char *const names[HABIT_COUNT] = {
        "pipeline",      "chunked",        "expect",         "varied heads",
        "varied bodies", "long bodies",    "other routes",   "long answers",
        "invalid",       "broken",         "mutated",        "half close",
        "cut",           "tiny segments",  "giant segments", "tiny MSS",
        "small window",  "stalled reader", "port reuse",     "numbers wrap",
        "ISN wraps",     "silent",         "slow",           "reset",
        "vanish",        "never reads",    "last octet",     "overrun"};
    printf("appliance: %u connections, %u users, population %u, idle %u head %u body %u send %u "
           "linger %u ms, clock from %" PRIu64 " ms\n",
           profile.connections_max, profile.users_max, profile.population, profile.idle_ms,
           profile.head_ms, profile.body_ms, profile.send_ms, profile.linger_ms,
           (uint64_t)(profile.clock_offset_ns / SIM_MS));
    printf("device: checksums out %d in %d, rings out %u in %u of %u bytes, scatter %u\n",
           profile.transmit_checksum, profile.receive_checksum, profile.transmit_ring,
           profile.receive_ring, profile.receive_buffer_bytes, profile.scatter);
    printf("idle: %s%s; commits of %u us\n", profile.sleeps ? "sleeps" : "polls",
           profile.mute ? ", but the device does not interrupt" : "", profile.commit_us);
    printf("wire: delay %u jitter %u quantum %u us; ppm: loss %u repeat %u reorder %u corrupt %u "
           "truncate %u; %u hosts, far %u\n",
           profile.delay_us, profile.jitter_us, profile.quantum_us, profile.loss, profile.repeat,
           profile.reorder, profile.corrupt, profile.truncate, profile.hosts, profile.far_permille);
    printf("clients: %u honest, %u others, churn %u ms; a second: %u SYNs, %u blind, %u noise\n",
           profile.honest, profile.others, profile.churn_ms, profile.syns, profile.blind,
           profile.noise);
    printf("faults, ppm: hoards %u stalls %u link %u pauses %u jumps %u refusals %u\n",
           profile.hoards, profile.stalls, profile.link_downs, profile.pauses, profile.jumps,
           profile.refusals);
    printf("%s%shabits:", profile.strict ? "strict; " : "",
           profile.demands_progress ? "progress is demanded; " : "");
    for (unsigned i = 0; i < HABIT_COUNT; i++)
        if (profile.habit[i])
            printf(" %s,", names[i]);
    printf("\n");
}

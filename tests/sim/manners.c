#include "tests/sim/manners.h"

#include <string.h>

#include "kernel/netdev.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"

static bool has(enum habit habit, uint32_t permille)
{
    return profile.habit[habit] && prng_permille(permille);
}

/* A frame has NETDEV_PIECES_MAX pieces at most. */
static uint32_t giant_max(void)
{
    const uint32_t most = (NETDEV_PIECES_MAX - 1) * profile.scatter * profile.receive_buffer_bytes;
    return most != 0 && most < 32000 ? most : 32000;
}

static void draw_options(struct peer_options *options)
{
    const bool far = prng_permille(profile.far_permille);
    memset(options, 0, sizeof *options);
    options->address =
        far ? FRAME_FAR(prng_below(65536)) : FRAME_HOST(prng_range(1, profile.hosts));
    options->iss = (uint32_t)prng_next();
    if (has(HABIT_NUMBERS_WRAP, 700))
        options->iss = 0u - prng_scale(1, 20000);
    options->mss = prng_permille(800)   ? 1460
                   : prng_permille(500) ? (uint16_t)prng_range(536, 9000)
                                        : 0;
    if (has(HABIT_TINY_MSS, 500))
        options->mss = (uint16_t)prng_scale(1, 536);
    options->window = prng_permille(700) ? 65535 : (uint16_t)prng_range(4000, 65535);
    options->segment_max = 1460;
    options->flight_max = prng_permille(500) ? 65535 : prng_range(8192, 65535);
    if (has(HABIT_GIANT_SEGMENTS, 500) && profile.receive_checksum)
        options->segment_max = prng_scale(2000, giant_max());
    else if (has(HABIT_TINY_SEGMENTS, 400))
        options->segment_max = prng_scale(1, 100);
    options->rto_ms = prng_range(200, 1000);
    options->ack_delay_ms = prng_permille(300) ? prng_range(10, 200) : 0;
    options->keeps_out_of_order = prng_permille(800);
}

static void draw_crimes(struct manners *manners, struct peer_options *options)
{
    if (has(HABIT_SLOW, 500)) {
        manners->piece = prng_scale(1, 50);
        manners->gap_ms = prng_scale(100, 4000);
    }
    if (has(HABIT_RESET, 500) || has(HABIT_VANISH, 500)) {
        manners->leaves_at = prng_scale(1, 5000);
        manners->leaves_by_reset =
            !profile.habit[HABIT_VANISH] || (profile.habit[HABIT_RESET] && prng_permille(500));
    }
    if (has(HABIT_NEVER_READS, 400)) {
        manners->never_reads = true;
        manners->depth = 16;
        options->window = (uint16_t)prng_scale(1, 4000);
    }
    if (has(HABIT_SMALL_WINDOW, 500))
        options->window = (uint16_t)prng_scale(1, 2000);
    if (has(HABIT_LAST_OCTET, 500)) {
        manners->teases = options->silent_window = true;
        manners->depth = 1;
        options->window = 300;
    }
    if (has(HABIT_OVERRUN, 500)) {
        options->overruns = true;
        options->flight_max = 65535;
        manners->body_max = 60000;
        manners->depth = 16;
    }
    if (has(HABIT_SILENT, 900)) {
        manners->requests = 0;
        manners->ending = ENDING_WAIT;
    }
    if (prng_permille(100))
        options->flight_max = prng_scale(1, 2000);
}

/* A request must not take its client longer than a fraction of what the appliance waits for it. */
static void stay_within_deadlines(struct manners *manners, struct peer_options *options)
{
    const uint32_t round_trip_us =
        2 * (profile.delay_us + profile.jitter_us + 2 * profile.quantum_us) + 35000;
    const uint32_t deadline_ms =
        (profile.head_ms < profile.body_ms ? profile.head_ms : profile.body_ms) / 4;
    for (;;) {
        uint32_t flight = options->flight_max < 20000 ? options->flight_max : 20000;
        if (flight > 64 * options->segment_max)
            flight = 64 * options->segment_max;
        manners->body_max = (uint64_t)flight * deadline_ms * 1000 / round_trip_us;
        if (manners->body_max > 6000 || options->segment_max >= 1460)
            break;
        options->segment_max *= 2;
    }
    if (manners->gap_ms != 0 && manners->body_max > manners->piece * deadline_ms / manners->gap_ms)
        manners->body_max = manners->piece * deadline_ms / manners->gap_ms;
    if (manners->body_max > 40000)
        manners->body_max = 40000;
    if (manners->think_ms > profile.idle_ms / 3)
        manners->think_ms = profile.idle_ms / 3;
}

void manners_draw(struct manners *manners, struct peer_options *options, bool honest)
{
    draw_options(options);
    *manners = (struct manners){
        .requests = prng_scale(1, REQUESTS_MAX - 1),
        .depth = has(HABIT_PIPELINE, 600) ? prng_scale(2, 32) : 1,
        .piece = 1000000,
        .think_ms = prng_permille(500) ? prng_scale(1, 3000) : 0,
        .ending = prng_permille(300) ? ENDING_RESET : ENDING_FIN,
        .awaits_continue = prng_permille(500),
    };
    if (has(HABIT_HALF_CLOSE, 500))
        manners->ending = ENDING_HALF_CLOSE;
    else if (prng_permille(100))
        manners->ending = ENDING_WAIT;
    if (has(HABIT_CUT, 500)) {
        manners->piece = prng_scale(100, 2000);
        manners->gap_ms = prng_scale(1, 10);
    }
    stay_within_deadlines(manners, options);
    manners->stalls = has(HABIT_STALLED_READER, 300);
    if (!honest)
        draw_crimes(manners, options);
}

bool manners_stall(struct manners *manners)
{
    if (manners->stalls && sim_now() >= manners->stalled_until_ns && prng_permille(20))
        manners->stalled_until_ns = sim_now() + prng_scale(1, 3000) * SIM_MS;
    return sim_now() < manners->stalled_until_ns;
}

uint64_t manners_bound_ns(void)
{
    if (profile.strict)
        return 3 * SIM_S;
    return (profile.orderly && profile.all_fit ? 25 : 60) * SIM_S;
}

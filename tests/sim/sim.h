/*
 * What all of the simulator shares: the simulated time, how a violation is reported, and the hash
 * of all that happened, by which two runs are known to be the same.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_MS ((uint64_t)1000000)
#define SIM_S  ((uint64_t)1000000000)

/*
 * The world's clock, from 0. The appliance's own (clock_ns()) runs at the same pace, but began
 * elsewhere and may jump.
 */
uint64_t sim_now(void);

/* Shared with the process that waits for this one, so that it can tell where a crash happened. */
struct sim_shared {
    uint64_t steps, time_ns, hash;
    uint64_t connections, events, answers, frames; /* for the summary */
    uint64_t cookies_sent, cookies_accepted;
    bool finished;
};

extern struct sim_shared *sim_shared;
extern bool sim_tracing;
extern uint64_t sim_seed;

/* Says what was violated, when, and how to see it again, and ends the process. */
_Noreturn void sim_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define SIM_CHECK(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_violation(__VA_ARGS__);                                                            \
    } while (0)

/* What happens, on stderr, when tracing. */
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Mixes something that happened into the hash. */
void sim_mix(const void *bytes, size_t len);

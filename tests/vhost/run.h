/*
 * One run, from the guest's first sign of life to its /stats:
 *
 *     wait ─► connect ─► load ─► drain ─► stats ─► close
 *
 * Closed loop: each connection keeps `depth` requests unanswered. With `churn` a connection is for
 * one request, and `connections` of them are under way at once. Every phase ends in bounded time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/load/check.h"
#include "tests/load/histogram.h"
#include "tests/vhost/cpu_time.h"

#define RUN_SECONDS_MAX 3600
#define RUN_DEPTH_MAX   128 /* a train of requests fits lwIP's window */

struct run_options {
    uint32_t connections, depth;
    uint64_t requests; /* no more than these */
    uint32_t seconds;  /* and no longer than that */
    uint32_t wait_s;   /* for the guest to answer at all */
    bool churn;
    uint16_t port;
    const char *authority; /* for the Host field */
};

struct run_errors {
    uint64_t connect; /* connections that did not come to be */
    uint64_t reset, timeout;
    uint64_t closed; /* by the server, unasked */
    uint64_t status, malformed;
};

struct run_result {
    const char *stopped;       /* why it ended early; NULL if it did not */
    uint64_t issued, answered; /* requests; answered: with 200 */
    uint64_t load_ns, connect_ns;
    uint64_t busy_ns;          /* of load_ns, what this program had work */
    struct cpu_time guest_cpu; /* used by QEMU meanwhile */
    struct run_errors errors;
    /*
     * In ns, from when the connection was free to ask (with churn: from its SYN) to the answer:
     * the wait for a place in the guest's ring is part of it.
     */
    struct histogram latency;
    uint32_t per_second[RUN_SECONDS_MAX];
    uint32_t seconds; /* whole ones in per_second */
    bool has_stats;
    struct stats stats;
    struct check checks[CHECK_COUNT];
    enum check_outcome checks_outcome;
};

/* `stop`: ends it early when it becomes true (a signal). */
void run(const struct run_options *options, const volatile bool *stop, struct run_result *result);

/* Every request was answered 200, on sane frames and without error, and /stats agrees exactly. */
bool run_is_success(const struct run_result *result);

/*
 * The engine: one thread, one epoll, all connections.
 *
 *   warming    connections are opened, options.connecting at a time, so that the server's queue of
 *              half-open ones does not overflow (not with --close: there is nothing to keep)
 *   running    closed loop: every connection has options.depth requests in flight, always.
 *              open loop: request k is due at k / rate after the start, and goes to the connection
 *              that has waited longest; when none can take it, its latency grows meanwhile.
 *
 * Whatever becomes of a connection, the run goes on: a request whose answer is lost is not sent
 * again (the server may have counted it); a handshake that fails is tried again. When nothing is
 * answered at all, it says so every few seconds, and ends after options.stall_timeout_s; sooner
 * when every connection has ended and new ones are refused.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/load/connection.h"

/* A whole second of the run. */
struct engine_second {
    uint64_t answered; /* with status 200 */
    uint64_t cpu_ns;   /* what this process used: for the same work more, on a slower processor */
};

struct engine_result {
    uint32_t connections_at_start;
    uint64_t warm_ns, run_ns;
    uint64_t cpu_ns;     /* this process's, while running */
    const char *stopped; /* why it ended early; NULL: it did not */
    struct engine_second *per_second;
    uint32_t seconds;
};

/* `session` has options and workload; the rest is set here. */
void engine_run(struct session *session, struct engine_result *result);

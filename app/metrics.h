/*
 * What /metrics says: plain counters, and their text in Prometheus' format 0.0.4.
 *
 * Counting is an increment. A counter exists for each answer that can be given, and for no other:
 * no label has a value that a client chooses, and the text has a known greatest length.
 *
 * Durations and requests in flight are kept for each endpoint with the method it is there for, and
 * together for all other requests (endpoint_main()): a histogram takes 22 lines.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/aggregate/stats.h"
#include "app/event/event.h"
#include "app/http/endpoint.h"
#include "app/store/store.h"

#define METRICS_BUCKETS       19 /* bounds of durations, 10 us to 10 s; one bucket more above */
#define METRICS_BROKEN        7  /* statuses of requests that came to no route */
#define METRICS_LATE_MAX      64 /* requests remembered until the batch ends */
#define METRICS_EVENT_REASONS (EVENT_VALUE_RANGE + 1)

struct metrics {
    /* Answered as endpoint_status() says. POST /event: the events counted. */
    uint64_t answered[ENDPOINT_COUNT][METHOD_COUNT];
    uint64_t events_failed[METRICS_EVENT_REASONS]; /* POST /event answered 400, by event_error */
    uint64_t events_encoded;                       /* POST /event answered 415 */
    uint64_t events_full;                          /* POST /event answered 507 */
    uint64_t events_unavailable;                   /* POST /event answered 503 */
    uint64_t unhealthy[2];                         /* GET and HEAD of /health answered 503 */
    /*
     * Malformed, too large or too slow: 400, 408, 413, 414, 431, 501, 505. Such a request never
     * came to its route, so its labels are "other", even where its first line had been read.
     */
    uint64_t broken[METRICS_BROKEN];
    /*
     * Requests that have begun to arrive and are not complete, by endpoint_main(). ENDPOINT_OTHER
     * before the head is complete: what is asked for is not known yet.
     */
    uint64_t in_flight[ENDPOINT_COUNT];
    struct metrics_durations {
        uint64_t buckets[METRICS_BUCKETS + 1];
        uint64_t sum_ns;
    } durations[ENDPOINT_COUNT]; /* by endpoint_main(); ENDPOINT_OTHER if `broken` counts it */
    uint64_t batch_events;       /* POST /event that came whole, and were answered, in this batch */
    unsigned late_count;
    struct {
        uint64_t begun_ns;
        enum endpoint endpoint;
    } late[METRICS_LATE_MAX]; /* other requests answered in it */
};

void metrics_count_broken(struct metrics *metrics, uint16_t status);

/*
 * A request that began at begun_ns was answered in this batch; when that answer is handed to TCP,
 * metrics_end_batch() will know. If there are too many to be remembered until then, now_ns() is
 * asked instead. `endpoint` is what endpoint_main() says.
 */
void metrics_answered(struct metrics *metrics, enum endpoint endpoint, uint64_t begun_ns,
                      uint64_t (*now_ns)(void));

/* The answers to all of a batch, which began at batch_ns, are handed to TCP now. */
void metrics_end_batch(struct metrics *metrics, uint64_t batch_ns, uint64_t now_ns);

/* `requests` were answered, each in duration_ns. `endpoint` is what endpoint_main() says. */
void metrics_observe(struct metrics *metrics, enum endpoint endpoint, uint64_t duration_ns,
                     uint64_t requests);

#define METRICS_POOLS 7 /* of memory for TCP: metrics.c names them */

/* What others have counted. */
struct metrics_machine {
    uint64_t connections_limit, connections_open, connections_accepted, connections_refused;
    uint64_t connections_gave_way, connections_reset_short;
    uint64_t syn_cookies_sent, syn_cookies_accepted;
    uint64_t timeouts;
    uint64_t retransmissions;
    uint64_t received_packets, received_bytes, transmitted_packets, transmitted_bytes;
    uint64_t kicks;
    uint64_t dropped_frames, memory_short;
    uint64_t batches;
    uint64_t segments_predicted;
    uint64_t longest_turn_frames; /* received in the turn that took longest_turn_ns */
    uint64_t pool_blocks_free[METRICS_POOLS];
    uint64_t users_limit, users_memory_used, users_memory_limit; /* bytes */
    uint64_t sleeps;
    uint64_t uptime_ns, busy_ns, longest_turn_ns;
    const struct store_counters *store; /* NULL: there is none */
};

#define METRICS_BYTES_MAX 33792

size_t metrics_print(const struct metrics *metrics, const struct metrics_machine *machine,
                     const struct stats_snapshot *stats, char text[METRICS_BYTES_MAX]);

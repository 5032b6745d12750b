#include "app/metrics.h"

#include <assert.h>
#include <stdbool.h>

#include "app/text/text.h"

#ifndef TALLY_VERSION
#define TALLY_VERSION "unknown"
#endif
_Static_assert(sizeof TALLY_VERSION <= 64, "METRICS_BYTES_MAX counts on it");

static const uint16_t broken_statuses[METRICS_BROKEN] = {400, 408, 413, 414, 431, 501, 505};

static const struct {
    uint64_t ns;
    const char *label; /* seconds */
} bounds[METRICS_BUCKETS] = {
    {10000, "0.00001"},  {25000, "0.000025"}, {50000, "0.00005"},  {100000, "0.0001"},
    {250000, "0.00025"}, {500000, "0.0005"},  {1000000, "0.001"},  {2500000, "0.0025"},
    {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"}, {50000000, "0.05"},
    {100000000, "0.1"},  {250000000, "0.25"}, {500000000, "0.5"},  {1000000000, "1"},
    {2500000000, "2.5"}, {5000000000, "5"},   {10000000000, "10"},
};

static const char *const event_reasons[METRICS_EVENT_REASONS] = {
    [EVENT_OK] = NULL, /* no failure */
    [EVENT_EMPTY] = "empty",
    [EVENT_SYNTAX] = "syntax",
    [EVENT_UTF8] = "utf8",
    [EVENT_NESTING] = "nesting",
    [EVENT_TRAILING] = "trailing",
    [EVENT_TRUNCATED] = "truncated",
    [EVENT_NOT_OBJECT] = "not_object",
    [EVENT_USER_ID_MISSING] = "user_id_missing",
    [EVENT_USER_ID_TYPE] = "user_id_type",
    [EVENT_USER_ID_EMPTY] = "user_id_empty",
    [EVENT_USER_ID_LONG] = "user_id_long",
    [EVENT_USER_ID_SURROGATE] = "user_id_surrogate",
    [EVENT_VALUE_MISSING] = "value_missing",
    [EVENT_VALUE_TYPE] = "value_type",
    [EVENT_VALUE_RANGE] = "value_range",
};

static const char *const pools[METRICS_POOLS] = {"tiny", "small", "medium", "large",
                                                 "full", "pcb",   "arp"};

/* ---- counting ---- */

void metrics_count_broken(struct metrics *metrics, uint16_t status)
{
    unsigned at = 0;
    while (broken_statuses[at] != status) {
        at++;
        assert(at < METRICS_BROKEN);
    }
    metrics->broken[at]++;
}

void metrics_observe(struct metrics *metrics, enum endpoint endpoint, uint64_t duration_ns,
                     uint64_t requests)
{
    struct metrics_durations *const durations = &metrics->durations[endpoint];
    unsigned at = 0;
    while (at < METRICS_BUCKETS && duration_ns > bounds[at].ns)
        at++;
    durations->buckets[at] += requests;
    durations->sum_ns += duration_ns * requests;
}

static void observe_late(struct metrics *metrics, uint64_t now_ns)
{
    for (unsigned i = 0; i < metrics->late_count; i++)
        metrics_observe(metrics, metrics->late[i].endpoint, now_ns - metrics->late[i].begun_ns, 1);
    metrics->late_count = 0;
}

void metrics_answered(struct metrics *metrics, enum endpoint endpoint, uint64_t begun_ns,
                      uint64_t (*now_ns)(void))
{
    if (metrics->late_count == METRICS_LATE_MAX)
        observe_late(metrics, now_ns());
    metrics->late[metrics->late_count].begun_ns = begun_ns;
    metrics->late[metrics->late_count].endpoint = endpoint;
    metrics->late_count++;
}

void metrics_end_batch(struct metrics *metrics, uint64_t batch_ns, uint64_t now_ns)
{
    metrics_observe(metrics, ENDPOINT_EVENT, now_ns - batch_ns, metrics->batch_events);
    metrics->batch_events = 0;
    observe_late(metrics, now_ns);
}

/* ---- text ---- */

static void put_header(struct text *text, const char *name, const char *type, const char *help)
{
    text_put(text, "# HELP ");
    text_put(text, name);
    text_put(text, " ");
    text_put(text, help);
    text_put(text, "\n# TYPE ");
    text_put(text, name);
    text_put(text, " ");
    text_put(text, type);
    text_put(text, "\n");
}

static void put_value(struct text *text, const char *name, uint64_t value)
{
    text_put(text, name);
    text_put(text, " ");
    text_put_u64(text, value);
    text_put(text, "\n");
}

static void put_seconds_value(struct text *text, uint64_t ns)
{
    text_put_u64(text, ns / 1000000000);
    text_put(text, ".");
    text_put_padded(text, ns % 1000000000, 9);
    text_put(text, "\n");
}

static void put_seconds(struct text *text, const char *name, uint64_t ns)
{
    text_put(text, name);
    text_put(text, " ");
    put_seconds_value(text, ns);
}

/* name{method="...",endpoint="...": the caller goes on, and closes the brace. */
static void put_labels(struct text *text, const char *name, enum http_method method,
                       enum endpoint endpoint)
{
    text_put(text, name);
    text_put(text, "{method=\"");
    text_put(text, endpoint_method_label(method));
    text_put(text, "\",endpoint=\"");
    text_put(text, endpoint_label(endpoint));
    text_put(text, "\"");
}

static void put_requests(struct text *text, enum http_method method, enum endpoint endpoint,
                         uint16_t status, uint64_t value)
{
    put_labels(text, "http_requests_total", method, endpoint);
    text_put(text, ",status=\"");
    text_put_u64(text, status);
    text_put(text, "\"} ");
    text_put_u64(text, value);
    text_put(text, "\n");
}

/*
 * What becomes of events is there from the start, so that the rate of the first errors is known
 * (a series that begins with 1 has not grown by 1).
 */
static void put_event_requests(struct text *text, const struct metrics *metrics)
{
    uint64_t refused = 0;
    for (unsigned i = EVENT_OK + 1; i < METRICS_EVENT_REASONS; i++)
        refused += metrics->events_failed[i];
    put_requests(text, HTTP_POST, ENDPOINT_EVENT, 200,
                 metrics->answered[ENDPOINT_EVENT][HTTP_POST]);
    put_requests(text, HTTP_POST, ENDPOINT_EVENT, 400, refused);
    put_requests(text, HTTP_POST, ENDPOINT_EVENT, 415, metrics->events_encoded);
    put_requests(text, HTTP_POST, ENDPOINT_EVENT, 503, metrics->events_unavailable);
    put_requests(text, HTTP_POST, ENDPOINT_EVENT, 507, metrics->events_full);
}

/* Of other requests, what has not happened is not there (and sums are the same without it). */
static void put_other_requests(struct text *text, const struct metrics *metrics)
{
    for (unsigned e = 0; e < ENDPOINT_COUNT; e++) {
        for (unsigned m = 0; m < METHOD_COUNT; m++) {
            const uint64_t value = metrics->answered[e][m];
            if (value == 0 || (e == ENDPOINT_EVENT && m == HTTP_POST))
                continue;
            put_requests(text, (enum http_method)m, (enum endpoint)e,
                         endpoint_status((enum endpoint)e, (enum http_method)m), value);
        }
    }
    if (metrics->unhealthy[0] != 0)
        put_requests(text, HTTP_GET, ENDPOINT_HEALTH, 503, metrics->unhealthy[0]);
    if (metrics->unhealthy[1] != 0)
        put_requests(text, HTTP_HEAD, ENDPOINT_HEALTH, 503, metrics->unhealthy[1]);
    for (unsigned i = 0; i < METRICS_BROKEN; i++)
        if (metrics->broken[i] != 0)
            put_requests(text, HTTP_METHOD_OTHER, ENDPOINT_OTHER, broken_statuses[i],
                         metrics->broken[i]);
}

static void put_all_requests(struct text *text, const struct metrics *metrics)
{
    put_header(text, "http_requests_total", "counter", "Requests answered.");
    put_event_requests(text, metrics);
    put_other_requests(text, metrics);

    put_header(text, "http_requests_in_flight", "gauge",
               "Requests that are still arriving; as other until their head is complete.");
    for (unsigned e = 0; e < ENDPOINT_COUNT; e++) {
        if (e == ENDPOINT_SERVER)
            continue; /* counted as other */
        put_labels(text, "http_requests_in_flight", endpoint_main_method((enum endpoint)e),
                   (enum endpoint)e);
        text_put(text, "} ");
        text_put_u64(text, metrics->in_flight[e]);
        text_put(text, "\n");
    }
}

static void put_bucket(struct text *text, enum endpoint endpoint, const char *bound, uint64_t value)
{
    put_labels(text, "http_request_duration_seconds_bucket", endpoint_main_method(endpoint),
               endpoint);
    text_put(text, ",le=\"");
    text_put(text, bound);
    text_put(text, "\"} ");
    text_put_u64(text, value);
    text_put(text, "\n");
}

static void put_durations(struct text *text, enum endpoint endpoint,
                          const struct metrics_durations *durations)
{
    const enum http_method method = endpoint_main_method(endpoint);
    uint64_t so_far = 0;
    for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
        so_far += durations->buckets[i];
        put_bucket(text, endpoint, bounds[i].label, so_far);
    }
    so_far += durations->buckets[METRICS_BUCKETS];
    put_bucket(text, endpoint, "+Inf", so_far);
    put_labels(text, "http_request_duration_seconds_sum", method, endpoint);
    text_put(text, "} ");
    put_seconds_value(text, durations->sum_ns);
    put_labels(text, "http_request_duration_seconds_count", method, endpoint);
    text_put(text, "} ");
    text_put_u64(text, so_far);
    text_put(text, "\n");
}

static bool were_observed(const struct metrics_durations *durations)
{
    for (unsigned i = 0; i <= METRICS_BUCKETS; i++)
        if (durations->buckets[i] != 0)
            return true;
    return false;
}

static void put_all_durations(struct text *text, const struct metrics *metrics)
{
    put_header(text, "http_request_duration_seconds", "histogram",
               "From the first byte of a request to its answer handed to TCP.");
    for (unsigned e = 0; e < ENDPOINT_COUNT; e++)
        if (e == ENDPOINT_EVENT || were_observed(&metrics->durations[e]))
            put_durations(text, (enum endpoint)e, &metrics->durations[e]);
}

static void put_failure(struct text *text, const char *reason, uint64_t value)
{
    text_put(text, "events_failed_total{reason=\"");
    text_put(text, reason);
    text_put(text, "\"} ");
    text_put_u64(text, value);
    text_put(text, "\n");
}

static void put_events(struct text *text, const struct metrics *metrics,
                       const struct stats_snapshot *stats)
{
    put_header(text, "events_processed_total", "counter", "Events counted.");
    put_value(text, "events_processed_total", stats->count);
    put_header(text, "events_failed_total", "counter", "Events refused, by reason.");
    for (unsigned i = EVENT_OK + 1; i < METRICS_EVENT_REASONS; i++)
        put_failure(text, event_reasons[i], metrics->events_failed[i]);
    put_failure(text, "content_encoding", metrics->events_encoded);
    put_failure(text, "full", metrics->events_full);
}

/*
 * Values may be negative, so their sum is no counter; and what is none should not end in _total,
 * nor in _sum but for a histogram. The challenge's board asks for the names that do.
 */
static void put_aggregate(struct text *text, const struct stats_snapshot *stats)
{
    static const char *const users[] = {"unique_users_total", "tally_unique_users"};
    static const char *const sums[] = {"event_values_sum_total", "tally_sum_of_values"};
    for (unsigned i = 0; i < 2; i++) {
        put_header(text, users[i], "gauge", "Distinct userIds.");
        put_value(text, users[i], stats->users);
        put_header(text, sums[i], "gauge", "Exact sum of all values, rounded once.");
        text_put(text, sums[i]);
        text_put(text, " ");
        text_put_double(text, sum_value(&stats->sum));
        text_put(text, "\n");
    }
}

static void put_pools(struct text *text, const struct metrics_machine *machine)
{
    put_header(text, "tally_pool_free_blocks", "gauge", "Blocks of memory for TCP, by size.");
    for (unsigned i = 0; i < METRICS_POOLS; i++) {
        text_put(text, "tally_pool_free_blocks{class=\"");
        text_put(text, pools[i]);
        text_put(text, "\"} ");
        text_put_u64(text, machine->pool_blocks_free[i]);
        text_put(text, "\n");
    }
}

static void put_machine(struct text *text, const struct metrics_machine *machine)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"tally_connections_limit", "gauge", "Connections that there may be at once.",
         machine->connections_limit},
        {"tally_connections_open", "gauge", "Connections.", machine->connections_open},
        {"tally_connections_accepted_total", "counter", "Connections made.",
         machine->connections_accepted},
        {"tally_connections_refused_total", "counter", "Connections that found no slot.",
         machine->connections_refused},
        {"tally_connections_gave_way_total", "counter",
         "Closed for new ones when idle, or reset when memory was short and they did not read.",
         machine->connections_gave_way},
        {"tally_connections_reset_short_total", "counter",
         "Of those that gave way, those for want of memory.", machine->connections_reset_short},
        {"tally_syn_cookies_sent_total", "counter", "SYNs answered without keeping anything.",
         machine->syn_cookies_sent},
        {"tally_syn_cookies_accepted_total", "counter", "Connections made by such an answer.",
         machine->syn_cookies_accepted},
        {"tally_timeouts_total", "counter", "Deadlines of connections that passed.",
         machine->timeouts},
        {"tally_retransmissions_total", "counter", "TCP segments sent again.",
         machine->retransmissions},
        {"tally_received_packets_total", "counter", "Frames.", machine->received_packets},
        {"tally_received_bytes_total", "counter", "Bytes of them.", machine->received_bytes},
        {"tally_transmitted_packets_total", "counter", "Frames.", machine->transmitted_packets},
        {"tally_transmitted_bytes_total", "counter", "Bytes of them.", machine->transmitted_bytes},
        {"tally_kicks_total", "counter", "Times that the device was told to look at a ring.",
         machine->kicks},
        {"tally_sleeps_total", "counter", "Times that the processor was halted for want of work.",
         machine->sleeps},
        {"tally_dropped_frames_total", "counter", "Frames refused before TCP saw them.",
         machine->dropped_frames},
        {"tally_memory_short_total", "counter", "Buffers that TCP did not get.",
         machine->memory_short},
        {"tally_batches_total", "counter", "Turns of the loop that received something.",
         machine->batches},
        {"tally_segments_predicted_total", "counter",
         "TCP segments that were just what was expected.", machine->segments_predicted},
        {"tally_longest_turn_packets", "gauge", "Frames received in the longest turn.",
         machine->longest_turn_frames},
        {"tally_users_limit", "gauge", "Distinct userIds that may be counted.",
         machine->users_limit},
        {"tally_users_memory_bytes", "gauge", "Memory that holds userIds.",
         machine->users_memory_used},
        {"tally_users_memory_limit_bytes", "gauge", "Memory there is for them.",
         machine->users_memory_limit},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put_header(text, rows[i].name, rows[i].type, rows[i].help);
        put_value(text, rows[i].name, rows[i].value);
    }
    put_pools(text, machine);
    put_header(text, "tally_uptime_seconds", "gauge", "Since boot.");
    put_seconds(text, "tally_uptime_seconds", machine->uptime_ns);
    put_header(text, "tally_busy_seconds_total", "counter", "In turns of the loop that did work.");
    put_seconds(text, "tally_busy_seconds_total", machine->busy_ns);
    put_header(text, "tally_longest_turn_seconds", "gauge", "The longest of them since boot.");
    put_seconds(text, "tally_longest_turn_seconds", machine->longest_turn_ns);
    put_header(text, "tally_build_info", "gauge", "Which Tally this is.");
    put_value(text, "tally_build_info{version=\"" TALLY_VERSION "\"}", 1);
}

static void put_commits(struct text *text, const struct store_counters *store)
{
    uint64_t so_far = 0;
    put_header(text, "tally_store_commit_duration_seconds", "histogram",
               "From the beginning of a commit until it is stable.");
    for (unsigned i = 0; i < STORE_DURATION_BUCKETS; i++) {
        so_far += store->durations[i];
        text_put(text, "tally_store_commit_duration_seconds_bucket{le=\"");
        if (i == STORE_DURATION_BUCKETS - 1) {
            text_put(text, "+Inf");
        } else {
            const uint64_t bound_us = UINT64_C(100) << i;
            text_put_u64(text, bound_us / 1000000);
            text_put(text, ".");
            text_put_padded(text, bound_us % 1000000, 6);
        }
        text_put(text, "\"} ");
        text_put_u64(text, so_far);
        text_put(text, "\n");
    }
    put_seconds(text, "tally_store_commit_duration_seconds_sum", store->duration_ns);
    put_value(text, "tally_store_commit_duration_seconds_count", so_far);
}

static void put_store(struct text *text, const struct store_counters *store)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"tally_store_events_total", "counter", "Events that commits have made safe.",
         store->events},
        {"tally_store_seals_total", "counter", "Commits written once more when idle.",
         store->seals},
        {"tally_store_written_bytes_total", "counter", "Bytes given to the disk.",
         store->written_bytes},
        {"tally_store_flushes_total", "counter", "Flushes of the disk's cache.", store->flushes},
        {"tally_store_errors_total", "counter", "Requests that the disk failed.", store->errors},
        {"tally_store_users_bytes", "gauge", "Bytes of userIds on the disk.", store->arena_bytes},
        {"tally_store_users_limit_bytes", "gauge", "Bytes of userIds that the disk has room for.",
         store->arena_bytes_max},
        {"tally_store_recovered_events", "gauge", "Events that were on the disk at boot.",
         store->recovered_count},
        {"tally_store_recovered_users", "gauge", "Distinct userIds that were.",
         store->recovered_users},
        {"tally_store_boots", "gauge", "Machines that this disk has had, with this one.",
         store->boots},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        put_header(text, rows[i].name, rows[i].type, rows[i].help);
        put_value(text, rows[i].name, rows[i].value);
    }
    put_commits(text, store);
}

size_t metrics_print(const struct metrics *metrics, const struct metrics_machine *machine,
                     const struct stats_snapshot *stats, char text[METRICS_BYTES_MAX])
{
    struct text out = text_begin(text, METRICS_BYTES_MAX);
    put_all_requests(&out, metrics);
    put_all_durations(&out, metrics);
    put_events(&out, metrics, stats);
    put_aggregate(&out, stats);
    put_machine(&out, machine);
    if (machine->store != NULL)
        put_store(&out, machine->store);
    return text_len(&out);
}

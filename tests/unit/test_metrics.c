#include "app/metrics.h"

#include <float.h>
#include <stdalign.h>

#include "tests/test.h"

static alignas(64) uint8_t memory[64 << 10];
static struct metrics metrics;
static struct metrics_machine machine;
static struct store_counters store;
static struct stats stats;
static char text[METRICS_BYTES_MAX + 1];

static void start(void)
{
    const struct siphash_key key = {1, 2};
    memset(&metrics, 0, sizeof metrics);
    memset(&machine, 0, sizeof machine);
    stats_init(&stats, users_init(memory, sizeof memory, 10, &key));
}

static size_t print(void)
{
    const struct stats_snapshot snapshot = stats_snapshot(&stats);
    const size_t len = metrics_print(&metrics, &machine, &snapshot, text);
    text[len] = '\0';
    return len;
}

static bool says(const char *line)
{
    print();
    return strstr(text, line) != NULL;
}

static bool starts_with(const char *line, const char *prefix)
{
    return strncmp(line, prefix, strlen(prefix)) == 0;
}

/* A line of text format 0.0.4: a comment, or name, perhaps labels, one blank, a value. */
static bool is_well_formed(const char *line, size_t len)
{
    if (starts_with(line, "# HELP ") || starts_with(line, "# TYPE "))
        return true;
    size_t at = 0;
    while (at < len && ((line[at] >= 'a' && line[at] <= 'z') || line[at] == '_'))
        at++;
    if (at == 0)
        return false;
    if (line[at] == '{') {
        const char *const end = memchr(line, '}', len);
        if (end == NULL || end[-1] != '"')
            return false;
        at = (size_t)(end + 1 - line);
    }
    if (line[at++] != ' ' || at == len)
        return false;
    for (; at < len; at++)
        if (strchr("0123456789.e+-", line[at]) == NULL)
            return false;
    return true;
}

/* Every sample has the TYPE of its family above it, and a family comes in one piece. */
static bool families_are_whole(void)
{
    char family[64] = "";
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        const size_t len = (size_t)(strchr(line, '\n') - line);
        if (!is_well_formed(line, len)) {
            test_print("malformed: %.*s", (int)len, line);
            return false;
        }
        if (starts_with(line, "# TYPE ")) {
            const size_t name_len = strcspn(line + 7, " ");
            memcpy(family, line + 7, name_len);
            family[name_len] = '\0';
            char header[80] = "\n# TYPE ";
            strcat(strcat(header, family), " ");
            if (strstr(line, header) != NULL) {
                test_print("%s is there twice", family);
                return false;
            }
        } else if (line[0] != '#' && !starts_with(line, family)) {
            test_print("outside of its family: %.*s", (int)len, line);
            return false;
        }
    }
    return true;
}

#define OF_EVENTS            "method=\"POST\",endpoint=\"/event\""
#define BUCKET_OF_EVENTS(le) "http_request_duration_seconds_bucket{" OF_EVENTS ",le=\"" le "\"}"

TEST(metrics_fit_with_every_counter_at_its_greatest)
{
    start();
    memset(&metrics, 0xff, sizeof metrics);
    memset(&machine, 0xff, sizeof machine);
    memset(&store, 0xff, sizeof store);
    machine.store = &store;
    const struct event event = {
        .user_id = (const uint8_t *)"u", .user_id_len = 1, .value = -DBL_MIN * 1.2345678901234567};
    CHECK(stats_add(&stats, &event));
    stats.count = UINT64_MAX;
    const size_t len = print();
    CHECK(len > 20000);
    /* Sums of counters wrap there, and the version may be longer: room for that is left. */
    CHECK(len + 400 < METRICS_BYTES_MAX);
    CHECK(families_are_whole());
}

TEST(metrics_are_well_formed_from_the_start)
{
    start();
    print();
    CHECK(families_are_whole());
    CHECK(strstr(text, "\n# TYPE http_requests_total counter\n") != NULL);
    /* Nothing has been asked yet; how events fare is there all the same. */
    static const char *const statuses[] = {"200", "400", "415", "503", "507"};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        char line[80] = "\nhttp_requests_total{" OF_EVENTS ",status=\"";
        CHECK(strstr(text, strcat(strcat(line, statuses[i]), "\"} 0\n")) != NULL);
    }
    CHECK(strstr(text, "{method=\"GET\",endpoint=\"/stats\",status=") == NULL);
    CHECK(strstr(text, BUCKET_OF_EVENTS("+Inf") " 0\n") != NULL);
    CHECK(strstr(text, "\nevents_processed_total 0\n") != NULL);
    CHECK(strstr(text, "\nevent_values_sum_total 0.0\n") != NULL);
}

TEST(metrics_have_the_names_that_the_challenges_board_asks_for)
{
    static const char *const names[] = {
        "http_requests_total",    "http_request_duration_seconds", "http_requests_in_flight",
        "events_processed_total", "events_failed_total",           "unique_users_total",
        "event_values_sum_total",
    };
    start();
    print();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char header[80] = "# TYPE ";
        CHECK(strstr(text, strcat(strcat(header, names[i]), " ")) != NULL);
    }
}

TEST(metrics_label_requests_by_method_endpoint_and_status)
{
    start();
    metrics.answered[ENDPOINT_EVENT][HTTP_POST] = 12;
    metrics.answered[ENDPOINT_EVENT][HTTP_GET] = 1;
    metrics.answered[ENDPOINT_OTHER][HTTP_METHOD_OTHER] = 2;
    metrics.answered[ENDPOINT_SERVER][HTTP_OPTIONS] = 3;
    metrics.events_failed[EVENT_SYNTAX] = 4;
    metrics.events_failed[EVENT_VALUE_RANGE] = 5;
    metrics.events_full = 6;
    metrics.events_encoded = 7;
    CHECK(says("\nhttp_requests_total{method=\"POST\",endpoint=\"/event\",status=\"200\"} 12\n"));
    CHECK(says("\nhttp_requests_total{method=\"GET\",endpoint=\"/event\",status=\"405\"} 1\n"));
    CHECK(says("\nhttp_requests_total{method=\"other\",endpoint=\"other\",status=\"404\"} 2\n"));
    CHECK(says("\nhttp_requests_total{method=\"OPTIONS\",endpoint=\"other\",status=\"204\"} 3\n"));
    CHECK(says("\nhttp_requests_total{method=\"POST\",endpoint=\"/event\",status=\"400\"} 9\n"));
    CHECK(says("\nhttp_requests_total{method=\"POST\",endpoint=\"/event\",status=\"507\"} 6\n"));
    CHECK(says("\nevents_failed_total{reason=\"syntax\"} 4\n"));
    CHECK(says("\nevents_failed_total{reason=\"value_range\"} 5\n"));
    CHECK(says("\nhttp_requests_total{method=\"POST\",endpoint=\"/event\",status=\"415\"} 7\n"));
    CHECK(says("\nevents_failed_total{reason=\"full\"} 6\n"));
    CHECK(says("\nevents_failed_total{reason=\"content_encoding\"} 7\n"));
}

TEST(metrics_know_every_status_of_a_broken_request)
{
    static const uint16_t statuses[] = {400, 408, 413, 414, 431, 501, 505};
    start();
    for (unsigned i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        for (unsigned n = 0; n <= i; n++)
            metrics_count_broken(&metrics, statuses[i]);
    CHECK(says("method=\"other\",endpoint=\"other\",status=\"400\"} 1\n"));
    CHECK(says("method=\"other\",endpoint=\"other\",status=\"431\"} 5\n"));
    CHECK(says("method=\"other\",endpoint=\"other\",status=\"505\"} 7\n"));
}

TEST(metrics_sort_durations_into_cumulative_buckets)
{
    start();
    metrics_observe(&metrics, ENDPOINT_EVENT, 10000, 3); /* le is "less or equal" */
    metrics_observe(&metrics, ENDPOINT_EVENT, 10001, 1);
    metrics_observe(&metrics, ENDPOINT_EVENT, 1000000000, 1);
    metrics_observe(&metrics, ENDPOINT_EVENT, 10000000001, 2);
    metrics_observe(&metrics, ENDPOINT_EVENT, 0, 0);
    CHECK(says(BUCKET_OF_EVENTS("0.00001") " 3\n" BUCKET_OF_EVENTS("0.000025") " 4\n"));
    CHECK(says(BUCKET_OF_EVENTS("0.5") " 4\n" BUCKET_OF_EVENTS("1") " 5\n"));
    CHECK(says(BUCKET_OF_EVENTS("10") " 5\n" BUCKET_OF_EVENTS("+Inf") " 7\n"));
    CHECK(says("\nhttp_request_duration_seconds_sum{" OF_EVENTS "} 21.000040003\n"));
    CHECK(says("\nhttp_request_duration_seconds_count{" OF_EVENTS "} 7\n"));
}

/* Events' are there from the start; of what was not asked there are none. */
TEST(metrics_keep_durations_apart_by_method_and_endpoint)
{
    start();
    CHECK(says(BUCKET_OF_EVENTS("+Inf") " 0\n"));
    CHECK(!says("_count{method=\"GET\""));
    CHECK(!says("_count{method=\"other\""));
    metrics_observe(&metrics, ENDPOINT_STATS, 500000000, 2);
    metrics_observe(&metrics, ENDPOINT_OTHER, 10000000001, 3);
    CHECK(says("_bucket{method=\"GET\",endpoint=\"/stats\",le=\"0.25\"} 0\n"));
    CHECK(says("_bucket{method=\"GET\",endpoint=\"/stats\",le=\"0.5\"} 2\n"));
    CHECK(says("_sum{method=\"GET\",endpoint=\"/stats\"} 1.000000000\n"));
    CHECK(says("_count{method=\"GET\",endpoint=\"/stats\"} 2\n"));
    CHECK(says("_bucket{method=\"other\",endpoint=\"other\",le=\"10\"} 0\n"));
    CHECK(says("_count{method=\"other\",endpoint=\"other\"} 3\n"));
    CHECK(says("_count{" OF_EVENTS "} 0\n"));
    CHECK(!says("endpoint=\"/health\",le="));
    CHECK(families_are_whole());
}

TEST(metrics_show_what_is_in_flight_by_method_and_endpoint)
{
    start();
    for (unsigned i = 0; i < ENDPOINT_COUNT; i++)
        metrics.in_flight[i] = 100 + i;
    CHECK(says("\nhttp_requests_in_flight{" OF_EVENTS "} 100\n"));
    CHECK(says("\nhttp_requests_in_flight{method=\"GET\",endpoint=\"/stats\"} 101\n"));
    CHECK(says("\nhttp_requests_in_flight{method=\"GET\",endpoint=\"/health\"} 102\n"));
    CHECK(says("\nhttp_requests_in_flight{method=\"GET\",endpoint=\"/metrics\"} 103\n"));
    CHECK(says("\nhttp_requests_in_flight{method=\"GET\",endpoint=\"/\"} 104\n"));
    CHECK(says("\nhttp_requests_in_flight{method=\"other\",endpoint=\"other\"} 106\n"));
}

TEST(metrics_say_the_aggregate_under_names_of_gauges_too)
{
    start();
    const struct event event = {.user_id = (const uint8_t *)"u", .user_id_len = 1, .value = -2.5};
    CHECK(stats_add(&stats, &event));
    CHECK(says("# TYPE tally_unique_users gauge\ntally_unique_users 1\n"));
    CHECK(says("# TYPE unique_users_total gauge\nunique_users_total 1\n"));
    CHECK(says("# TYPE tally_sum_of_values gauge\ntally_sum_of_values -2.5\n"));
    CHECK(says("# TYPE event_values_sum_total gauge\nevent_values_sum_total -2.5\n"));
}

TEST(metrics_show_what_the_machine_counted)
{
    start();
    uint64_t *const counters = (uint64_t *)&machine;
    for (unsigned i = 0; i < sizeof machine / sizeof *counters; i++)
        counters[i] = 1000 + i;
    machine.store = NULL;
    /* Each of them is printed, under a name of its own. */
    print();
    for (unsigned i = 0; i + 4 < sizeof machine / sizeof *counters; i++) {
        char value[] = " 1000\n";
        value[3] = (char)('0' + i / 10);
        value[4] = (char)('0' + i % 10);
        CHECK(strstr(text, value) != NULL);
    }
    CHECK(strstr(text, "\ntally_longest_turn_packets 1019\n") != NULL);
    CHECK(strstr(text, "\ntally_uptime_seconds 0.000001031\n") != NULL);
    CHECK(strstr(text, "\ntally_busy_seconds_total 0.000001032\n") != NULL);
    CHECK(strstr(text, "\ntally_longest_turn_seconds 0.000001033\n") != NULL);
    CHECK(says("\ntally_retransmissions_total 1009\n"));
    CHECK(says("\ntally_sleeps_total 1030\n"));
    CHECK(says("\ntally_pool_free_blocks{class=\"tiny\"} 1020\n"));
    CHECK(says("\ntally_pool_free_blocks{class=\"pcb\"} 1025\n"));
    CHECK(says("\ntally_build_info{version=\""));
}

TEST(metrics_show_what_the_store_counted)
{
    start();
    CHECK(!says("tally_store"));
    uint64_t *const counters = (uint64_t *)&store;
    for (unsigned i = 0; i < sizeof store / sizeof *counters; i++)
        counters[i] = 1000 + i;
    for (unsigned i = 0; i < STORE_DURATION_BUCKETS; i++)
        store.durations[i] = i;
    machine.store = &store;
    CHECK(says("\ntally_store_events_total 1002\n"));
    CHECK(says("\ntally_store_boots "));
    CHECK(says("\ntally_store_commit_duration_seconds_bucket{le=\"0.000100\"} 0\n"));
    CHECK(says("\ntally_store_commit_duration_seconds_bucket{le=\"1.638400\"} 105\n"));
    CHECK(says("\ntally_store_commit_duration_seconds_bucket{le=\"+Inf\"} 120\n"));
    CHECK(says("\ntally_store_commit_duration_seconds_count 120\n"));
    CHECK(families_are_whole());
}

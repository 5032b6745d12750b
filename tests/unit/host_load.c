/*
 * The load client's parts that can be wrong without anybody noticing: what it makes of answers, of
 * latencies, and of the numbers that it compares. It is a program of its own, not part of the
 * library that the other tests link: so its files are taken in here.
 */
#include "tests/load/check.c"
#include "tests/load/histogram.c"
#include "tests/load/output.c"
#include "tests/load/response.c"
#include "tests/load/workload.c"
#include "tests/test.h"

/* ---- responses ---- */

struct outcome {
    enum response_step step;
    uint16_t status;
    bool close;
    uint64_t content_bytes;
    size_t taken;
};

/* Gives the bytes in pieces of `step` until the response is done or they are over. */
static struct outcome feed(const char *text, size_t len, size_t piece)
{
    struct response response;
    struct outcome outcome = {.step = RESPONSE_MORE};
    response_reset(&response);
    while (outcome.step == RESPONSE_MORE && outcome.taken < len) {
        const size_t left = len - outcome.taken;
        size_t taken = 0;
        outcome.step =
            response_feed(&response, text + outcome.taken, left < piece ? left : piece, &taken);
        outcome.taken += taken;
    }
    outcome.status = response.status;
    outcome.close = response.close;
    outcome.content_bytes = response.content_bytes;
    return outcome;
}

/* The outcome, which is the same for every size of the pieces; RESPONSE_MORE if it is not. */
static struct outcome feed_any(const char *text)
{
    const size_t len = strlen(text);
    const struct outcome whole = feed(text, len, len);
    for (size_t piece = 1; piece < len; piece++) {
        const struct outcome cut = feed(text, len, piece);
        if (cut.step != whole.step || cut.status != whole.status || cut.close != whole.close ||
            cut.content_bytes != whole.content_bytes || cut.taken != whole.taken)
            return (struct outcome){.step = RESPONSE_MORE};
    }
    return whole;
}

TEST(load_response_ends_where_its_content_does)
{
    const char text[] = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 ";
    const struct outcome outcome = feed_any(text);
    CHECK_EQ(outcome.step, RESPONSE_DONE);
    CHECK_EQ(outcome.status, 200);
    CHECK_EQ(outcome.content_bytes, 5);
    CHECK_EQ(outcome.taken, strlen(text) - 9);
    CHECK(!outcome.close);
}

TEST(load_response_without_content_ends_with_its_head)
{
    const struct outcome outcome = feed_any("HTTP/1.1 507 Full\r\ncontent-length:0\r\n\r\nHTTP");
    CHECK_EQ(outcome.step, RESPONSE_DONE);
    CHECK_EQ(outcome.status, 507);
    CHECK_EQ(outcome.taken, 39);
    CHECK_EQ(feed_any("HTTP/1.1 204 No Content\r\n\r\nHTTP").step, RESPONSE_DONE);
}

TEST(load_response_skips_interim_ones)
{
    const struct outcome outcome =
        feed_any("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    CHECK_EQ(outcome.step, RESPONSE_DONE);
    CHECK_EQ(outcome.status, 200);
}

TEST(load_response_sees_that_the_server_closes)
{
    CHECK(feed_any("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").close);
    CHECK(feed_any("HTTP/1.1 200 OK\r\nCONNECTION:CLOSE \r\nContent-Length: 0\r\n\r\n").close);
    CHECK(
        !feed_any("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n").close);
    CHECK(feed_any("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").close);
    CHECK(
        !feed_any("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n").close);
}

TEST(load_response_without_length_lasts_until_the_close)
{
    const char text[] = "HTTP/1.1 200 OK\r\n\r\nhello";
    struct response response;
    size_t taken;
    response_reset(&response);
    CHECK(!response_ends_here(&response));
    CHECK_EQ(response_feed(&response, text, strlen(text), &taken), RESPONSE_MORE);
    CHECK_EQ(taken, strlen(text));
    CHECK(response_ends_here(&response));
    CHECK_EQ(response.content_bytes, 5);
}

TEST(load_response_that_is_none_is_malformed)
{
    static const char *const texts[] = {
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20x OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 700 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 12345678901234567890\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1111111111111111111111111111111\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        CHECK_EQ(feed_any(texts[i]).step, RESPONSE_MALFORMED);
    CHECK_EQ(feed_any("SSH-2.0-x\r\n").step, RESPONSE_MALFORMED);
}

TEST(load_memo_knows_only_what_it_has_learnt)
{
    const char text[] = "HTTP/1.1 200 OK\r\nDate: 1\r\nContent-Length: 0\r\n\r\n";
    const char other[] = "HTTP/1.1 200 OK\r\nDate: 2\r\nContent-Length: 0\r\n\r\n";
    const size_t len = strlen(text);
    static struct response_memo memo;
    struct response response;
    size_t taken;
    CHECK_EQ(response_memo_match(&memo, text, len), 0);
    response_reset(&response);
    CHECK_EQ(response_feed(&response, text, len, &taken), RESPONSE_DONE);
    response_memo_learn(&memo, &response, text, taken);
    CHECK_EQ(response_memo_match(&memo, text, len), len);
    CHECK_EQ(response_memo_match(&memo, text, len - 1), 0);
    CHECK_EQ(response_memo_match(&memo, other, len), 0);
    response.status = 400;
    response_memo_learn(&memo, &response, other, taken);
    CHECK_EQ(response_memo_match(&memo, other, len), 0);
}

/* ---- latencies ---- */

TEST(load_histogram_is_true_to_one_percent)
{
    static struct histogram histogram;
    for (uint64_t value = 0; value >> HISTOGRAM_VALUE_BITS == 0; value += value / 50 + 1) {
        memset(&histogram, 0, sizeof histogram);
        histogram_add(&histogram, value);
        histogram_add(&histogram, UINT64_C(1) << HISTOGRAM_VALUE_BITS);
        const uint64_t seen = histogram_percentile(&histogram, 50000);
        CHECK(seen >= value && seen - value <= value / 100);
    }
}

TEST(load_histogram_counts_ranks)
{
    static struct histogram histogram;
    memset(&histogram, 0, sizeof histogram);
    CHECK_EQ(histogram_percentile(&histogram, 50000), 0);
    for (uint64_t value = 1; value <= 100; value++)
        histogram_add(&histogram, value);
    CHECK_EQ(histogram_percentile(&histogram, 0), 1);
    CHECK_EQ(histogram_percentile(&histogram, 50000), 50);
    CHECK_EQ(histogram_percentile(&histogram, 50001), 51);
    CHECK_EQ(histogram_percentile(&histogram, 99000), 99);
    CHECK_EQ(histogram_percentile(&histogram, 100000), 100);
    CHECK_EQ(histogram_mean(&histogram), 50);
    histogram_add(&histogram, UINT64_MAX / 2);
    CHECK_EQ(histogram_percentile(&histogram, 100000), UINT64_MAX / 2);
    CHECK_EQ(histogram_percentile(&histogram, 99000), 100);
}

/* ---- the report's file ---- */

/* Writes `text` to the file, as a report is; returns whether the file then holds that alone. */
static bool output_replaces(const char *path, const char *text)
{
    char held[64] = "";
    FILE *file = output_open(path);
    if (file == NULL)
        return false;
    output_begin(file);
    fputs(text, file);
    if (!output_end(file) || (file = fopen(path, "r")) == NULL)
        return false;
    const size_t len = fread(held, 1, sizeof held - 1, file);
    fclose(file);
    return len == strlen(text) && strcmp(held, text) == 0;
}

TEST(load_output_is_opened_before_it_is_written)
{
    char path[] = "/tmp/tally-unit-XXXXXX";
    struct stat status;
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK(output_replaces(path, "the longer report"));
    FILE *file = output_open(path); /* a run that ends before its report */
    CHECK(file != NULL && output_end(file));
    CHECK(stat(path, &status) == 0 && status.st_size == 17);
    CHECK(output_replaces(path, "the shorter"));
    CHECK(unlink(path) == 0);
    CHECK(output_open("/tmp/tally-unit-none/report") == NULL);
    CHECK(output_open("/tmp") == NULL);
    CHECK(output_open("-") == stdout);
}

TEST(load_output_that_does_not_fit_is_noticed)
{
    FILE *file = output_open("/dev/full");
    CHECK(file != NULL);
    output_begin(file);
    fputs("report", file);
    CHECK(!output_end(file));
    fclose(file);
}

/* ---- what was sent, and what the server says ---- */

TEST(load_requests_are_those_of_the_challenge)
{
    char text[512];
    struct workload *workload = workload_create(WORKLOAD_GO, "h:1", true);
    text[workload_write(workload, 75001, text)] = '\0';
    CHECK(strcmp(text, "POST /event HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\n"
                       "Connection: close\r\nContent-Length: 31\r\n\r\n"
                       "{\"userId\":\"user_1\",\"value\":1.5}") == 0);
    free(workload);
    workload = workload_create(WORKLOAD_FASTERAPI, "h", false);
    text[workload_write(workload, 74999, text)] = '\0';
    CHECK(strstr(text, "Content-Length: 38\r\n\r\n"
                       "{\"userId\": \"user_74999\", \"value\": 999}") != NULL);
    free(workload);
}

static struct stats stats_of(uint64_t total, uint64_t users, const char *sum, const char *avg)
{
    struct stats stats = {.total_requests = total, .unique_users = users};
    strcpy(stats.sum, sum);
    strcpy(stats.avg, avg);
    return stats;
}

static enum check_outcome outcome_of(const struct workload *workload, struct stats before,
                                     struct stats after)
{
    const struct workload_tallies tallies = workload_get_tallies(workload);
    struct check checks[CHECK_COUNT];
    return check_stats(&before, &after, &tallies, checks);
}

static bool agrees(const struct workload *workload, struct stats before, struct stats after)
{
    return outcome_of(workload, before, after) == CHECK_GOOD;
}

TEST(load_check_is_exact_on_a_fresh_server)
{
    struct workload *workload = workload_create(WORKLOAD_GO, "h", false);
    const struct stats fresh = stats_of(0, 0, "0.0", "0.0");
    for (uint64_t i = 0; i < 1000; i++)
        workload_counted(workload, i);
    CHECK(agrees(workload, fresh, stats_of(1000, 1000, "500000.0", "500.0")));
    CHECK(!agrees(workload, fresh, stats_of(1001, 1000, "500000.0", "500.0")));
    CHECK(!agrees(workload, fresh, stats_of(999, 1000, "500000.0", "500.0")));
    CHECK(!agrees(workload, fresh, stats_of(1000, 999, "500000.0", "500.0")));
    CHECK(!agrees(workload, fresh, stats_of(1000, 1001, "500000.0", "500.0")));
    CHECK(!agrees(workload, fresh, stats_of(1000, 1000, "500000.5", "500.0005")));
    CHECK(!agrees(workload, fresh, stats_of(1000, 1000, "500000", "500.0")));
    CHECK(!agrees(workload, fresh, stats_of(1000, 1000, "500000.0", "500")));
    free(workload);
}

TEST(load_check_takes_what_was_there_into_account)
{
    struct workload *workload = workload_create(WORKLOAD_FASTERAPI, "h", false);
    workload_counted(workload, 1);
    workload_counted(workload, 2);
    CHECK(agrees(workload, stats_of(1, 1, "-2.5", "-2.5"),
                 stats_of(3, 3, "0.5", "0.16666666666666666")));
    CHECK(agrees(workload, stats_of(1, 1, "-2.5", "-2.5"),
                 stats_of(3, 2, "0.5", "0.16666666666666666")));
    CHECK(!agrees(workload, stats_of(1, 1, "-2.5", "-2.5"),
                  stats_of(3, 4, "0.5", "0.16666666666666666")));
    free(workload);
}

TEST(load_check_of_an_inexact_sum_is_neither_good_nor_wrong)
{
    struct workload *workload = workload_create(WORKLOAD_FASTERAPI, "h", false);
    workload_counted(workload, 1);
    workload_counted(workload, 2);
    const struct stats huge = stats_of(1, 1, "1e+300", "1e+300");
    CHECK_EQ(outcome_of(workload, huge, stats_of(3, 3, "1e+300", "3.3333333333333333e+299")),
             CHECK_UNKNOWN);
    CHECK_EQ(outcome_of(workload, stats_of(1, 1, "0.1", "0.1"),
                        stats_of(3, 3, "3.1", "1.0333333333333334")),
             CHECK_UNKNOWN);
    /* Nor where only the sum after it is beyond what halves can say: 2^52 - 0.5, and 3 more. */
    CHECK_EQ(outcome_of(workload, stats_of(1, 1, "4503599627370495.5", "4503599627370495.5"),
                        stats_of(3, 3, "4503599627370498.0", "1501199875790166.0")),
             CHECK_UNKNOWN);
    /* What can be checked is: a count that is wrong stays wrong. */
    CHECK_EQ(outcome_of(workload, huge, stats_of(4, 3, "1e+300", "2.5e+299")), CHECK_WRONG);
    CHECK_EQ(outcome_of(workload, huge, stats_of(3, 4, "1e+300", "3.3333333333333333e+299")),
             CHECK_WRONG);
    /* From an exact sum to one that is not is no way that this client's events go. */
    CHECK_EQ(outcome_of(workload, stats_of(0, 0, "0.0", "0.0"), stats_of(2, 2, "1e+300", "5e+299")),
             CHECK_WRONG);
    free(workload);
}

TEST(load_check_says_what_cannot_be_checked)
{
    static const struct stats before = {1, 1, "1e+300", "1e+300"};
    static const struct stats after = {1, 1, "1e+300", "1e+300"};
    static const struct workload_tallies none;
    struct check checks[CHECK_COUNT];
    char *text = NULL;
    size_t len = 0;
    CHECK_EQ(check_stats(&before, &after, &none, checks), CHECK_UNKNOWN);
    FILE *out = open_memstream(&text, &len);
    check_print(checks, out);
    check_print_json(checks, out);
    fclose(out);
    CHECK(strstr(text, "sum            1e+300           cannot be checked: ") != NULL);
    CHECK(strstr(text, "avg            1e+300           cannot be checked: ") != NULL);
    CHECK(strstr(text, "{\"name\": \"sum\", \"outcome\": \"unknown\", ") != NULL);
    CHECK(strstr(text, "WRONG") == NULL && strstr(text, "wrong") == NULL);
    free(text);
}

TEST(load_check_allows_a_range_for_lost_answers)
{
    struct workload *workload = workload_create(WORKLOAD_FASTERAPI, "h", false);
    const struct stats fresh = stats_of(0, 0, "0.0", "0.0");
    workload_counted(workload, 10);
    workload_uncertain(workload, 20);
    CHECK(agrees(workload, fresh, stats_of(1, 1, "10.0", "10.0")));
    CHECK(agrees(workload, fresh, stats_of(2, 2, "30.0", "15.0")));
    CHECK(!agrees(workload, fresh, stats_of(3, 2, "30.0", "10.0")));
    CHECK(!agrees(workload, fresh, stats_of(0, 0, "0.0", "0.0")));
    CHECK(!agrees(workload, fresh, stats_of(2, 2, "30.5", "15.25")));
    free(workload);
}

TEST(load_number_texts_are_the_shortest)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0.0"},
                 {499500000, "499500000.0"},
                 {499.5, "499.5"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1, "0.1"},
                 {-2.5, "-2.5"},
                 {1e15, "1000000000000000.0"},
                 {1e16, "1e+16"},
                 {0.00001, "1e-05"}};
    char text[STATS_NUMBER_BYTES_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_number_text(cases[i].value, text);
        CHECK(strcmp(text, cases[i].text) == 0);
    }
}

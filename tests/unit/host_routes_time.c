/* Deadlines, dates, durations. */
#include <string.h>

#include "tests/test.h"
#include "tests/unit/routes_rig.h"

/* ---- deadlines and dates ---- */

TEST(routes_wait_for_what_is_missing)
{
    rig_start(10);
    rig_open();
    CHECK_EQ(rig_conn.waits, 0);
    const char *const text = rig_request(EVENT, PLAIN);
    const size_t head_len = (size_t)(strstr(text, "\r\n\r\n") + 4 - text);
    for (unsigned round = 0; round < 3; round++) {
        rig_conn.waits = 0;
        for (size_t at = 0; at < head_len - 1; at++)
            rig_give(text + at, 1);
        CHECK_EQ(rig_conn.waiting, SERVER_WAIT_HEAD);
        CHECK_EQ(rig_conn.waits, 1); /* not restarted by every byte */
        for (size_t at = head_len - 1; at < strlen(text) - 1; at++)
            rig_give(text + at, 1);
        CHECK_EQ(rig_conn.waiting, SERVER_WAIT_BODY);
        CHECK_EQ(rig_conn.waits, 2);
        rig_give(text + strlen(text) - 1, 1);
        CHECK_EQ(rig_conn.waiting, SERVER_WAIT_REQUEST);
        CHECK_EQ(rig_conn.waits, 3);
    }
    /* A request that is done, and the beginning of the next with it: a deadline of its own. */
    char two[512];
    strcpy(two, text);
    strcat(two, "GET");
    rig_give(text, head_len - 1);
    rig_conn.waits = 0;
    rig_give_text(two + head_len - 1);
    CHECK_EQ(rig_conn.waiting, SERVER_WAIT_HEAD);
    CHECK_EQ(rig_conn.waits, 1);
}

TEST(routes_say_408_to_the_slow_and_close)
{
    const char *const text = rig_request(EVENT, PLAIN);
    for (size_t len = 1; len < strlen(text); len++) {
        rig_start(10);
        rig_open();
        rig_give(text, len);
        rig_time_out();
        CHECK(rig_sent(CLOSED_BY("408")));
        CHECK(rig_conn.closed);
        CHECK_EQ(rig_stats()->count, 0);
        rig_close();
    }
}

TEST(routes_say_nothing_to_the_idle_nor_without_space)
{
    rig_start(10);
    rig_open();
    rig_give_text(rig_event("u", 1));
    rig_give_text("\r\n");
    rig_time_out();
    CHECK(rig_sent(OK));
    CHECK(rig_conn.closed);
    rig_close();
    rig_open();
    rig_give_text("GET");
    rig_conn.space = 10;
    rig_time_out();
    CHECK(rig_sent(""));
    CHECK(rig_conn.closed);
}

TEST(routes_date_answers_when_they_know_the_time)
{
    rig_start(10);
    rig_wall_s = 784111777;
    rig_open();
    rig_give_text("GET /health" H "\r\n");
    CHECK(strstr(rig_conn.sent, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL);
    rig_close();
    rig_open();
    rig_give_text(rig_event("u", 1));
    rig_give_text(rig_event("u", 1));
    CHECK(strncmp(rig_conn.sent,
                  "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                  "Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nDate: Sun, 06 ",
                  100) == 0);
    rig_close();
    rig_batch_ns += 1000000000; /* looked at anew, and still the same second */
    rig_open();
    rig_give_text("GET /health" H "\r\n");
    CHECK(strstr(rig_conn.sent, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL);
    rig_close();
    rig_wall_s++;
    rig_batch_ns += 1000000000;
    rig_open();
    rig_give_text(rig_event("u", 1));
    CHECK(strstr(rig_conn.sent, "\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n") != NULL);
    rig_close();
    rig_start(10);
    rig_open();
    rig_give_text(rig_event("u", 1));
    CHECK(strcmp(rig_conn.sent, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") == 0);
    rig_close();
    rig_wall_s = 784111777; /* it comes to be known */
    rig_batch_ns += 1000000000;
    rig_open();
    rig_give_text(rig_event("u", 1));
    CHECK(strstr(rig_conn.sent, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL);
}

/* ---- metrics ---- */

#define BUCKET(method, endpoint, le)                                                               \
    "http_request_duration_seconds_bucket{method=\"" method "\",endpoint=\"" endpoint              \
    "\",le=\"" le "\"}"
#define IN_FLIGHT(method, endpoint)                                                                \
    "\nhttp_requests_in_flight{method=\"" method "\",endpoint=\"" endpoint "\"}"

TEST(routes_measure_from_the_first_byte_to_the_end_of_the_batch)
{
    rig_start(10);
    rig_open();
    rig_batch_ns = 1000000;
    rig_now_ns = rig_batch_ns + 20000; /* the batch takes 20 us */
    rig_give_text(rig_event("u", 1));
    rig_give_text(rig_event("u", 1));
    CHECK(rig_metrics_say("\n" BUCKET("POST", "/event", "0.00001") " 0\n" BUCKET(
        "POST", "/event", "0.000025") " 2\n"));
    CHECK(rig_metrics_say("_count{method=\"GET\",endpoint=\"/metrics\"} 1\n")); /* that before */
    CHECK(rig_metrics_say("_count{method=\"POST\",endpoint=\"/event\"} 2\n"));

    rig_start(10);
    rig_open();
    const char *const text = rig_event("u", 1);
    rig_batch_ns = 1000000;
    rig_now_ns = rig_batch_ns;
    rig_give(text, 10);
    rig_batch_ns += 2000000; /* the rest comes 2 ms later, in a batch of 0.25 ms */
    rig_now_ns = rig_batch_ns + 250000;
    rig_give_text(text + 10);
    CHECK(rig_metrics_say(
        BUCKET("POST", "/event", "0.001") " 0\n" BUCKET("POST", "/event", "0.0025") " 1\n"));
    CHECK(rig_metrics_say("_sum{method=\"POST\",endpoint=\"/event\"} 0.002250000\n"));
    CHECK(rig_metrics_say("_sum{method=\"GET\",endpoint=\"/metrics\"} 0.000500000\n"));
}

/* Without on_batch(), as when another connection's bytes come next in the same batch. */
static void give_within_batch(const char *bytes, size_t len)
{
    CHECK_EQ(rig_config.handlers.on_bytes(&rig_conn, rig_conn.state, (const uint8_t *)bytes, len),
             len);
}

TEST(routes_measure_every_slow_request_of_a_large_batch)
{
    rig_start(10);
    const char *const text = rig_event("u", 1);
    for (unsigned i = 0; i < 200; i++) {
        rig_open();
        rig_batch_ns = 1000000;
        give_within_batch(text, 10);
        rig_batch_ns = rig_now_ns = 4000000;
        give_within_batch(text + 10, strlen(text) - 10);
        rig_close();
    }
    rig_config.handlers.on_batch();
    CHECK(rig_metrics_say(
        BUCKET("POST", "/event", "0.0025") " 0\n" BUCKET("POST", "/event", "0.005") " 200\n"));
    CHECK(rig_metrics_say("_sum{method=\"POST\",endpoint=\"/event\"} 0.600000000\n"));
}

TEST(routes_measure_those_that_did_not_come_in_time)
{
    rig_start(10);
    rig_open();
    rig_give_text("GET ");
    rig_now_ns = rig_batch_ns + 20000;
    rig_time_out();
    CHECK(rig_metrics_say(
        "_sum{method=\"other\",endpoint=\"other\"} 0.000020000\n"
        "http_request_duration_seconds_count{method=\"other\",endpoint=\"other\"} 1\n"));
}

/* Each under the method and path that http_requests_total has, in the very same numbers. */
TEST(routes_measure_each_request_under_what_was_asked)
{
    static const char *const asked[] = {
        "GET /stats" H "\r\n", "GET /stats" H "\r\n",  "GET /health" H "\r\n",
        "GET /" H "\r\n",      "HEAD /stats" H "\r\n", "GET /event" H "\r\n",
        "GET /no" H "\r\n",    "OPTIONS *" H "\r\n",   "BREW /stats" H "\r\n",
    };
    rig_start(1);
    rig_open();
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        rig_give_text(asked[i]);
    rig_give_text(rig_event("u", 1));
    rig_give_text(rig_event("u", 1));
    rig_give_text(rig_event("v", 1)); /* 507 */
    rig_give_text(rig_request(EVENT, "{}"));
    rig_give_text("@");
    rig_close();
    rig_open();
    CHECK(rig_metrics_say("_count{method=\"POST\",endpoint=\"/event\"} 4\n"));
    CHECK(rig_metrics_say("_count{method=\"GET\",endpoint=\"/stats\"} 2\n"));
    CHECK(rig_metrics_say("_count{method=\"GET\",endpoint=\"/health\"} 1\n"));
    CHECK(rig_metrics_say("_count{method=\"GET\",endpoint=\"/\"} 1\n"));
    CHECK(rig_metrics_say("_count{method=\"other\",endpoint=\"other\"} 6\n"));
}

/* Whose bytes come when the test says so, beside rig_conn. */
static struct server_conn other;

static void open_other(void)
{
    other.space = RIG_SENT_BYTES_MAX;
    rig_config.handlers.on_open(&other, other.state, other.cold_state);
}

static void give_other(const char *text)
{
    const size_t len = strlen(text);
    CHECK_EQ(rig_config.handlers.on_bytes(&other, other.state, (const uint8_t *)text, len), len);
}

TEST(routes_know_the_requests_in_flight)
{
    rig_start(10);
    rig_open();
    rig_give_text(rig_event("u", 1));
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 0\n"));
    open_other();
    give_other("GET ");
    give_other("/");
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 1\n"));
    give_other(H "\r\n");
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 0\n"));
    give_other("GET ");
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 1\n"));
    rig_config.handlers.on_close(&other, other.state);
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 0\n"));
    rig_open();
    rig_give_text("GET ");
    rig_time_out();
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 0\n"));
    CHECK(rig_metrics_say("{method=\"other\",endpoint=\"other\",status=\"408\"} 1\n"));
}

/* From when its head is complete: before that nobody knows what it will be. */
TEST(routes_know_what_the_requests_in_flight_ask)
{
    rig_start(10);
    rig_open();
    open_other();
    give_other(EVENT "Content-Length: 27\r\n");
    CHECK(rig_metrics_say(IN_FLIGHT("POST", "/event") " 0\n"));
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 1\n"));
    give_other("\r\n{");
    CHECK(rig_metrics_say(IN_FLIGHT("POST", "/event") " 1\n"));
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 0\n"));
    give_other("\"userId\":\"u\",\"value\":42.5}PUT /event" H "Content-Length: 9\r\n\r\n");
    CHECK(rig_metrics_say(IN_FLIGHT("POST", "/event") " 0\n"));
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 1\n"));
    give_other("123456789GET /stats" H "Content-Length: 9\r\n\r\n");
    CHECK(rig_metrics_say(IN_FLIGHT("other", "other") " 0\n"));
    CHECK(rig_metrics_say(IN_FLIGHT("GET", "/stats") " 1\n"));
    rig_config.handlers.on_close(&other, other.state);
    CHECK(rig_metrics_say(IN_FLIGHT("GET", "/stats") " 0\n"));
    CHECK_EQ(rig_stats()->count, 1);
}

/* ---- what is on its way ---- */

static bool has_date(const char *bytes, const char *date)
{
    return memcmp(strstr(bytes, "Date: ") + 6, date, strlen(date)) == 0;
}

/* Another second, and an event answered in it. */
static void answer_next_second(void)
{
    rig_wall_s++;
    rig_batch_ns += 1000000000;
    rig_give_text(rig_event("u", 1));
}

TEST(routes_change_no_answer_that_is_still_on_its_way)
{
    enum { SECONDS = 4 };
    struct server_kept *kept[SECONDS];
    const char *bytes[SECONDS];
    rig_start(10);
    rig_wall_s = 784111770;
    rig_open();
    rig_give_text(rig_event("u", 1)); /* its head is recalled from now on */
    for (unsigned i = 0; i < SECONDS; i++) {
        answer_next_second();
        kept[i] = rig_kept;
        bytes[i] = rig_kept_bytes;
        CHECK(kept[i] != NULL);
        for (unsigned j = 0; j < i; j++)
            CHECK(kept[i] != kept[j] && bytes[i] != bytes[j]);
        kept[i]->uses = 1;
    }
    /* With all of them on their way an answer is copied, and none is changed. */
    answer_next_second();
    CHECK(rig_kept == NULL);
    CHECK(has_date(rig_kept_bytes, "Sun, 06 Nov 1994 08:49:35 GMT"));
    CHECK(has_date(bytes[0], "Sun, 06 Nov 1994 08:49:31 GMT"));
    CHECK(has_date(bytes[3], "Sun, 06 Nov 1994 08:49:34 GMT"));
    answer_next_second();
    CHECK(rig_kept == NULL);
    CHECK(has_date(rig_kept_bytes, "Sun, 06 Nov 1994 08:49:36 GMT"));
    kept[2]->uses = 0;
    answer_next_second();
    CHECK(rig_kept == kept[2] && rig_kept_bytes == bytes[2]);
    CHECK(has_date(rig_kept_bytes, "Sun, 06 Nov 1994 08:49:37 GMT"));
    CHECK(has_date(bytes[1], "Sun, 06 Nov 1994 08:49:32 GMT"));
}

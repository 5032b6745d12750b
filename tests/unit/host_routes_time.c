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

TEST(routes_measure_from_the_first_byte_to_the_end_of_the_batch)
{
    rig_start(10);
    rig_open();
    rig_batch_ns = 1000000;
    rig_now_ns = rig_batch_ns + 20000; /* the batch takes 20 us */
    rig_give_text(rig_event("u", 1));
    rig_give_text(rig_event("u", 1));
    CHECK(rig_metrics_say("\nhttp_request_duration_seconds_bucket{le=\"0.00001\"} 0\n"
                          "http_request_duration_seconds_bucket{le=\"0.000025\"} 2\n"));
    CHECK(rig_metrics_say("\nhttp_request_duration_seconds_count 3\n")); /* the one before, too */

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
        "{le=\"0.001\"} 0\nhttp_request_duration_seconds_bucket{le=\"0.0025\"} 1\n"));
    /* 2.25 ms, and 0.25 ms for the GET above. */
    CHECK(rig_metrics_say("\nhttp_request_duration_seconds_sum 0.002500000\n"));
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
        "{le=\"0.0025\"} 0\nhttp_request_duration_seconds_bucket{le=\"0.005\"} 200\n"));
    CHECK(rig_metrics_say("\nhttp_request_duration_seconds_sum 0.600000000\n"));
}

TEST(routes_measure_those_that_did_not_come_in_time)
{
    rig_start(10);
    rig_open();
    rig_give_text("GET ");
    rig_now_ns = rig_batch_ns + 20000;
    rig_time_out();
    CHECK(rig_metrics_say("\nhttp_request_duration_seconds_sum 0.000020000\n"
                          "http_request_duration_seconds_count 1\n"));
}

TEST(routes_know_the_requests_in_flight)
{
    rig_start(10);
    rig_open();
    rig_give_text(rig_event("u", 1));
    CHECK(rig_metrics_say("\nhttp_requests_in_flight 0\n"));
    static struct server_conn other;
    other.space = RIG_SENT_BYTES_MAX;
    rig_config.handlers.on_open(&other, other.state, other.cold_state);
    CHECK_EQ(rig_config.handlers.on_bytes(&other, other.state, (const uint8_t *)"GET ", 4), 4);
    CHECK_EQ(rig_config.handlers.on_bytes(&other, other.state, (const uint8_t *)"/", 1), 1);
    CHECK(rig_metrics_say("\nhttp_requests_in_flight 1\n"));
    static const uint8_t rest[] = H "\r\n";
    CHECK_EQ(rig_config.handlers.on_bytes(&other, other.state, rest, sizeof rest - 1),
             sizeof rest - 1);
    CHECK(rig_metrics_say("\nhttp_requests_in_flight 0\n"));
    CHECK_EQ(rig_config.handlers.on_bytes(&other, other.state, (const uint8_t *)"GET ", 4), 4);
    CHECK(rig_metrics_say("\nhttp_requests_in_flight 1\n"));
    rig_config.handlers.on_close(&other, other.state);
    CHECK(rig_metrics_say("\nhttp_requests_in_flight 0\n"));
    rig_open();
    rig_give_text("GET ");
    rig_time_out();
    CHECK(rig_metrics_say("\nhttp_requests_in_flight 0\n"));
    CHECK(rig_metrics_say("{method=\"other\",endpoint=\"other\",status=\"408\"} 1\n"));
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

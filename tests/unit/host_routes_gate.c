/* Answers that wait for a commit, and what may pass them meanwhile: nothing. */
#include <stdio.h>
#include <string.h>

#include "tests/test.h"
#include "tests/unit/routes_rig.h"

#define STATS(count, sum)                                                                          \
    "200 " JSON " - - {\"totalRequests\":" count ",\"uniqueUsers\":1,\"sum\":" sum                 \
    ",\"avg\":42.5}\n"
#define GET_STATS   "GET /stats" H "\r\n"
#define UNAVAILABLE "503 " JSON " - - {\"error\":\"the disk does not answer\"}\n"
#define UNHEALTHY                                                                                  \
    "503 " JSON " - - {\"status\":\"unhealthy\",\"reason\":\"the disk does not answer\"}\n"

static const char *event(void)
{
    return rig_request(EVENT, PLAIN);
}

/* A connection on which heads like this have been seen. */
static void start(void)
{
    rig_start_gated(10);
    rig_open();
    rig_give_text(event());
    (void)rig_release();
    rig_close();
    rig_clear_stats();
    rig_open();
}

/* Offers; returns the bytes that were left. */
static size_t offer(const char *text)
{
    return strlen(text) - rig_offer(text, strlen(text));
}

TEST(routes_hold_the_answer_to_an_event_until_it_is_stable)
{
    rig_start_gated(10);
    rig_open();
    for (unsigned i = 0; i < 2; i++) { /* a head that is new, and one that was seen */
        rig_conn.sent_len = 0;
        rig_conn.sent[0] = '\0';
        CHECK_EQ(offer(event()), 0);
        CHECK(rig_sent(""));
        CHECK(rig_conn.held);
        CHECK_EQ(rig_conn.ticket, rig_gate.epoch);
        CHECK_EQ(rig_stats()->count, i + 1);
        CHECK(rig_release());
        CHECK(rig_sent(OK));
        CHECK_EQ(rig_conn.waiting, SERVER_WAIT_REQUEST);
    }
}

TEST(routes_hold_a_train_as_one_number_and_release_it_in_one_piece)
{
    static char train[40 * 200], expected[40 * 20];
    char *end = train, *expected_end = expected;
    for (unsigned i = 0; i < 40; i++) {
        end = stpcpy(end, event());
        expected_end = stpcpy(expected_end, OK);
    }
    start();
    CHECK_EQ(offer(train), 0);
    CHECK_EQ(rig_stats()->count, 40);
    CHECK(rig_sent(""));
    CHECK(rig_release());
    CHECK(rig_sent(expected));
    CHECK_EQ(rig_conn.sends, 2);
}

TEST(routes_count_more_events_of_the_same_commit_while_one_is_held)
{
    start();
    CHECK_EQ(offer(event()), 0);
    CHECK_EQ(offer(event()), 0);
    CHECK_EQ(rig_stats()->count, 2);
    CHECK(rig_release());
    CHECK(rig_sent(OK OK));
}

TEST(routes_leave_what_belongs_to_the_next_commit)
{
    start();
    CHECK_EQ(offer(event()), 0);
    rig_gate.epoch++;
    CHECK_EQ(offer(event()), strlen(event()));
    CHECK_EQ(rig_stats()->count, 1);
}

TEST(routes_leave_all_but_events_while_one_is_held)
{
    static const char *const others[] = {
        GET_STATS,
        "GET /nothing" H "\r\n",
        "nonsense\r\n\r\n",
        "POST /event" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n{}!",
        "POST /event" H, /* cut */
        "\r\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        start();
        CHECK_EQ(offer(event()), 0);
        CHECK_EQ(offer(others[i]), strlen(others[i]));
        CHECK(rig_sent(""));
    }
}

TEST(routes_leave_what_follows_an_event_whose_head_is_new)
{
    char two[600];
    rig_start_gated(10);
    rig_open();
    char *const second = stpcpy(two, rig_request(EVENT "X: 1\r\n", PLAIN));
    strcpy(second, event());
    CHECK_EQ(offer(two), strlen(event()));
    CHECK_EQ(offer(event()), strlen(event()));
    CHECK_EQ(rig_stats()->count, 1);
    CHECK(rig_release());
    CHECK(rig_sent(OK));
}

TEST(routes_answer_an_event_that_ends_its_connection_and_close_it)
{
    rig_start_gated(10);
    rig_open();
    CHECK_EQ(offer(rig_request(EVENT "Connection: close\r\n", PLAIN)), 0);
    CHECK(!rig_conn.closed);
    CHECK(rig_release());
    CHECK(rig_sent("200 - - close \n"));
    CHECK(rig_conn.closed);
}

TEST(routes_show_stats_as_they_are_on_the_disk)
{
    start();
    CHECK_EQ(offer(event()), 0);
    CHECK_EQ(offer(event()), 0);
    rig_open(); /* another client */
    rig_give_text(GET_STATS);
    CHECK(rig_sent(STATS("1", "42.5"))); /* of start() */
    rig_gate.stats = stats_snapshot(rig_stats());
    rig_open();
    rig_give_text(GET_STATS);
    CHECK(rig_sent(STATS("2", "85.0")));
}

TEST(routes_answer_other_requests_at_once)
{
    start();
    rig_give_text("GET /health" H "\r\n");
    CHECK(rig_sent(HEALTHY));
    CHECK(!rig_conn.held);
    CHECK_EQ(rig_conn.waiting, SERVER_WAIT_REQUEST);
}

TEST(routes_answer_bad_events_at_once)
{
    start();
    rig_give_text(rig_request(EVENT, "{}"));
    CHECK(rig_sent("400 " JSON " - - {\"error\":\"*\n"));
    CHECK(!rig_conn.held);
}

TEST(routes_refuse_events_before_they_are_counted_when_the_store_stalls)
{
    start();
    rig_gate.state = GATE_STALLED;
    rig_give_text(event());
    CHECK(strstr(rig_conn.sent, "\r\nRetry-After: 1\r\n") != NULL);
    CHECK(rig_sent(UNAVAILABLE));
    CHECK_EQ(rig_stats()->count, 0);
    CHECK(rig_metrics_say(
        "http_requests_total{method=\"POST\",endpoint=\"/event\",status=\"503\"} 1\n"));
    rig_gate.state = GATE_OPEN;
    rig_close();
    rig_open();
    CHECK_EQ(offer(event()), 0);
    CHECK_EQ(rig_stats()->count, 1);
}

TEST(routes_leave_events_when_the_store_stalls_while_one_is_held)
{
    start();
    CHECK_EQ(offer(event()), 0);
    rig_gate.state = GATE_STALLED;
    CHECK_EQ(offer(event()), strlen(event()));
    CHECK_EQ(rig_stats()->count, 1);
}

TEST(routes_are_unhealthy_when_the_store_stalls)
{
    start();
    rig_gate.state = GATE_STALLED;
    rig_give_text("GET /health" H "\r\n");
    CHECK(rig_sent(UNHEALTHY));
    rig_close();
    rig_open();
    rig_give_text("HEAD /health" H "\r\n");
    CHECK(strncmp(rig_read(true), "503 ", 4) == 0);
    CHECK(rig_metrics_say("{method=\"GET\",endpoint=\"/health\",status=\"503\"} 1\n"));
    CHECK(rig_metrics_say("{method=\"HEAD\",endpoint=\"/health\",status=\"503\"} 1\n"));
    CHECK(strstr(rig_conn.sent, "endpoint=\"/health\",status=\"200\"") == NULL);
}

TEST(routes_close_what_was_held_when_the_store_fails)
{
    start();
    CHECK_EQ(offer(event()), 0);
    rig_gate.state = GATE_FAILED;
    CHECK(rig_resume());
    CHECK(rig_sent(""));
    CHECK(rig_conn.closed);
}

TEST(routes_answer_what_was_stable_before_the_store_failed)
{
    start();
    CHECK_EQ(offer(event()), 0);
    rig_gate.stable = rig_gate.epoch++;
    rig_gate.state = GATE_FAILED;
    CHECK(rig_resume());
    CHECK(rig_sent(OK));
}

TEST(routes_send_what_there_is_space_for_and_then_the_rest)
{
    start();
    CHECK_EQ(offer(event()), 0);
    CHECK_EQ(offer(event()), 0);
    CHECK_EQ(offer(event()), 0);
    rig_conn.space = 10;
    CHECK(!rig_release());
    CHECK(rig_sent(""));
    rig_conn.space = 50;
    CHECK(!rig_resume());
    CHECK(rig_sent(OK));
    rig_conn.space = RIG_SENT_BYTES_MAX;
    CHECK(rig_resume());
    CHECK(rig_sent(OK OK OK));
}

TEST(routes_wait_for_space_for_an_answer_in_another_form)
{
    rig_start_gated(10);
    rig_open();
    CHECK_EQ(offer(event()), 0);
    rig_conn.space = 10;
    CHECK(!rig_release());
    rig_conn.space = RIG_SENT_BYTES_MAX;
    CHECK(rig_resume());
    CHECK(rig_sent(OK));
}

/* Held answers will take their space when they are released. */
TEST(routes_take_no_more_events_than_there_is_space_for_their_answers)
{
    start();
    rig_give_text(GET_STATS);
    rig_conn.sent_len = 0;
    rig_conn.sent[0] = '\0';
    rig_conn.space = rig_config.response_bytes_max;
    unsigned count = 0;
    while (offer(event()) == 0)
        count++;
    CHECK_EQ(rig_stats()->count, count);
    CHECK(rig_release());
    CHECK_EQ(rig_conn.sent_len / (rig_conn.sent_len / count), count);
}

TEST(routes_take_nothing_when_space_has_sunk_below_what_is_owed)
{
    start();
    for (unsigned i = 0; i < 1000; i++)
        CHECK_EQ(offer(event()), 0);
    rig_conn.space = rig_config.response_bytes_max;
    CHECK_EQ(offer(event()), strlen(event()));
    CHECK_EQ(rig_stats()->count, 1000);
}

TEST(routes_count_held_answers_when_they_leave)
{
    start();
    CHECK_EQ(offer(event()), 0);
    CHECK_EQ(offer(event()), 0);
    CHECK(rig_release());
    /* With the one of start(). */
    CHECK(rig_metrics_say("{method=\"POST\",endpoint=\"/event\",status=\"200\"} 3\n"));
    CHECK(rig_metrics_say(
        "duration_seconds_bucket{method=\"POST\",endpoint=\"/event\",le=\"0.00001\"} 3\n"));
}

TEST(routes_say_what_the_store_has_done)
{
    start();
    rig_gate.counters.commits = 4;
    CHECK(rig_metrics_say("\ntally_store_flushes_total 0\n"));
    rig_start(10);
    rig_open();
    rig_give_text("GET /metrics" H "\r\n");
    CHECK(strstr(rig_conn.sent, "tally_store") == NULL);
}

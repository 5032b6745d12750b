/* What each route, method and edge of HTTP is answered with; and errors. */
#include <string.h>

#include "app/event/event.h"
#include "app/http/http.h"
#include "app/idle.h"
#include "tests/test.h"
#include "tests/unit/routes_rig.h"

/* ---- a request, its answer ---- */

struct row {
    const char *head;
    const char *body;
    const char *answer;
    uint64_t counted;
    bool closed;
    bool head_only;
};

static const struct row rows[] = {
    /* routes and methods */
    {EVENT, PLAIN, OK, .counted = 1},
    {"POST /event?a=b" H, PLAIN, OK, .counted = 1},
    {"POST http://tally/event" H, PLAIN, OK, .counted = 1},
    {"GET /stats" H "\r\n", NULL,
     "200 " JSON " - - {\"totalRequests\":0,\"uniqueUsers\":0,\"sum\":0.0,\"avg\":0.0}\n",
     .counted = 0},
    {"HEAD /stats" H "\r\n", NULL, "200 " JSON " - - length=55\n", .head_only = true},
    {"GET /health" H "\r\n", NULL, HEALTHY, .counted = 0},
    {"HEAD /health" H "\r\n", NULL, "200 " JSON " - - length=20\n", .head_only = true},
    {"GET /health" H, "ignored", HEALTHY, .counted = 0},
    {"HEAD /metrics" H "\r\n", NULL, "200 text/plain; version=0.0.4; charset=utf-8 - - length=*\n",
     .head_only = true},
    {"HEAD /" H "\r\n", NULL, "200 text/html; charset=utf-8 - - length=*\n", .head_only = true},
    {"GET /event" H "\r\n", NULL, "405 " JSON " POST, OPTIONS - {\"error\":\"*\n", .counted = 0},
    {"HEAD /event" H "\r\n", NULL, "405 " JSON " POST, OPTIONS - length=*\n", .head_only = true},
    {"PUT /event" H, PLAIN, "405 " JSON " POST, OPTIONS - {\"error\":\"*\n", .counted = 0},
    {"POST /stats" H, PLAIN, "405 " JSON " " ALLOW_GET " - {\"error\":\"*\n", .counted = 0},
    {"DELETE /" H "\r\n", NULL, "405 " JSON " " ALLOW_GET " - {\"error\":\"*\n", .counted = 0},
    {"POST /metrics" H "\r\n", NULL, "405 " JSON " " ALLOW_GET " - {\"error\":\"*\n", .counted = 0},
    {"BREW /health" H "\r\n", NULL, "405 " JSON " " ALLOW_GET " - {\"error\":\"*\n", .counted = 0},
    {"OPTIONS /event" H "\r\n", NULL, "204 - POST, OPTIONS - \n", .counted = 0},
    {"OPTIONS /stats" H, "{}", "204 - " ALLOW_GET " - \n", .counted = 0},
    {"OPTIONS *" H "\r\n", NULL, "204 - GET, HEAD, POST, OPTIONS - \n", .counted = 0},
    {"GET /nothing" H "\r\n", NULL, "404 " JSON " - - {\"error\":\"*\n", .counted = 0},
    /* RFC 9110 9.3.2: no content, whatever the status */
    {"HEAD / HTTP/1.1\r\n\r\n", NULL, "400 " JSON " - close length=*\n", .closed = true,
     .head_only = true},
    {"HEAD /nothing" H "\r\n", NULL, "404 " JSON " - - length=*\n", .head_only = true},
    {"OPTIONS /nothing" H "\r\n", NULL, "404 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {"POST /events" H, PLAIN "GET /health", "404 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {"GET /event/of/a/path/that/is/longer/than/what/is/kept" H "\r\n", NULL,
     "404 " JSON " - - {\"error\":\"*\n", .counted = 0},

    /* events */
    {EVENT, "\n{ \"x\":[1,{}], \"value\" : -1e2, \"userId\":\"\\u00fc\\\"\" }\r\n", OK,
     .counted = 1},
    {EVENT, "{\"userId\":\"u\",\"value\":1,\"value\":3.5}", OK, .counted = 1},
    {EVENT "\r\n", NULL, "400 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT, "", "400 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT, "{}", "400 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT, "[]", "400 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT, "{\"userId\":\"u\",\"value\":\"1.5\"}", "400 " JSON " - - {\"error\":\"*\n",
     .counted = 0},
    {EVENT, "{\"userId\":\"u\",\"value\":1e999}", "400 " JSON " - - {\"error\":\"*\n",
     .counted = 0},
    {EVENT, "{\"userId\":\"\",\"value\":1}", "400 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT, "{\"UserId\":\"u\",\"value\":1}", "400 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT, PLAIN "x", "400 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT "Transfer-Encoding: chunked\r\n\r\n"
           "19;x=y\r\n{\"userId\":\"u\",\"value\":42.\r\n2\r\n5}\r\n0\r\nTrailer: x\r\n\r\n",
     NULL, OK, .counted = 1},
    {EVENT "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL, "400 " JSON " - - {\"error\":\"*\n",
     .counted = 0},

    /* content codings */
    {EVENT "Content-Encoding: identity\r\n", PLAIN, OK, .counted = 1},
    {EVENT "Content-Encoding: gzip\r\n", PLAIN, "415 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT "Content-Encoding: gzip\r\nConnection: close\r\n", PLAIN,
     "415 " JSON " - close {\"error\":\"*\n", .closed = true},
    {EVENT "Content-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n", NULL,
     "415 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT "Content-Encoding: gzip\r\nExpect: 100-continue\r\n", PLAIN,
     "415 " JSON " - close {\"error\":\"*\n", .closed = true},
    {EVENT "Content-Encoding: gzip\r\n\r\n", NULL, "415 " JSON " - - {\"error\":\"*\n",
     .counted = 0},
    {"PUT /event" H "Content-Encoding: gzip\r\n", PLAIN,
     "405 " JSON " POST, OPTIONS - {\"error\":\"*\n", .counted = 0},
    {"GET /health" H "Content-Encoding: gzip\r\n", "x", HEALTHY, .counted = 0},
    {"GET /health" H "Content-Encoding: gzip\r\nExpect: 100-continue\r\n", "x",
     "100 - - - \n" HEALTHY, .counted = 0},
    {"HEAD /health" H "Content-Encoding: gzip\r\n\r\n", NULL, "200 " JSON " - - length=20\n",
     .head_only = true},

    /* the protocol's edges */
    {"\r\n\r\n" EVENT, PLAIN, OK, .counted = 1},
    {EVENT "Expect: 100-continue\r\n", PLAIN, "100 - - - \n" OK, .counted = 1},
    {EVENT "Expect: 100-continue\r\n", "{}", "100 - - - \n400 " JSON " - - {\"error\":\"*\n",
     .counted = 0},
    {"POST /nothing" H "Expect: 100-continue\r\n", "{}",
     "100 - - - \n404 " JSON " - - {\"error\":\"*\n", .counted = 0},
    {EVENT "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n", NULL, CLOSED_BY("413"),
     .closed = true},
    {EVENT "Connection: close\r\n", PLAIN, "200 - - close \n", .counted = 1, .closed = true},
    {"GET /health" H "Connection: close\r\n\r\n", NULL,
     "200 " JSON " - close {\"status\":\"healthy\"}\n", .closed = true},
    {"OPTIONS /event" H "Connection: close\r\n\r\n", NULL, "204 - POST, OPTIONS close \n",
     .closed = true},
    {"GET /nothing" H "Connection: close\r\n\r\n", NULL, CLOSED_BY("404"), .closed = true},
    {"POST /event HTTP/1.0\r\n", PLAIN, "200 - - close \n", .counted = 1, .closed = true},
    {"POST /event HTTP/1.0\r\nConnection: keep-alive\r\n", PLAIN, "200 - - keep-alive \n",
     .counted = 1},
    {"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", NULL,
     "200 " JSON " - keep-alive {\"status\":\"healthy\"}\n", .counted = 0},
    {"GET /health HTTP/1.1\r\n\r\n", NULL, CLOSED_BY("400"), .closed = true},
    {"GET /health" H "Host: b\r\n\r\n", NULL, CLOSED_BY("400"), .closed = true},
    {"GET /health" H "a : b\r\n\r\n", NULL, CLOSED_BY("400"), .closed = true},
    {EVENT "Content-Length: +5\r\n\r\n12345", NULL, CLOSED_BY("400"), .closed = true},
    {EVENT "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, CLOSED_BY("400"),
     .closed = true},
    {EVENT "Transfer-Encoding: gzip, chunked\r\n\r\n", NULL, CLOSED_BY("501"), .closed = true},
    {EVENT "Transfer-Encoding: chunked\r\n\r\nx\r\n", NULL, CLOSED_BY("400"), .closed = true},
    {EVENT "Transfer-Encoding: chunked\r\n\r\n10001\r\n", NULL, CLOSED_BY("413"), .closed = true},
    {"GET / HTTP/2.0\r\n\r\n", NULL, CLOSED_BY("505"), .closed = true},
    {"\x16\x03\x01\x02", NULL, CLOSED_BY("400"), .closed = true},
};

#define ROW_COUNT (sizeof rows / sizeof rows[0])

static bool row_came_out(const struct row *row, const char *how)
{
    if (rig_lines_match(rig_read(row->head_only), row->answer) &&
        rig_stats()->count == row->counted && rig_conn.closed == row->closed)
        return true;
    test_print("%s: %.60s... %s: %llu counted, %s", how, row->head,
               row->body != NULL ? row->body : "", (unsigned long long)rig_stats()->count,
               rig_conn.closed ? "closed" : "open");
    return false;
}

/* Makes the routes recall the row's head, without a trace in what is counted for it. */
static void warm(const struct row *row)
{
    rig_open();
    rig_give_text(rig_request(row->head, row->body));
    rig_close();
    rig_clear_stats();
}

TEST(routes_answer_every_row_of_the_contract)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        rig_start(10);
        for (unsigned warmed = 0; warmed < 2; warmed++) {
            rig_open();
            rig_give_text(rig_request(rows[i].head, rows[i].body));
            CHECK(row_came_out(&rows[i], warmed ? "again" : "whole"));
            rig_close();
            rig_clear_stats();
        }
    }
}

TEST(routes_answer_the_same_wherever_bytes_are_cut)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        for (unsigned warmed = 0; warmed < 2; warmed++) {
            const char *const text = rig_request(rows[i].head, rows[i].body);
            const size_t len = strlen(text);
            for (size_t cut = 1; cut < len; cut++) {
                rig_start(10);
                if (warmed)
                    warm(&rows[i]);
                rig_open();
                rig_give(text, cut);
                if (!rig_conn.closed)
                    rig_give(text + cut, len - cut);
                CHECK(row_came_out(&rows[i], warmed ? "cut, warm" : "cut"));
                rig_close();
            }
            rig_start(10);
            rig_open();
            for (size_t at = 0; at < len && !rig_conn.closed; at++)
                rig_give(text + at, 1);
            CHECK(row_came_out(&rows[i], "byte by byte"));
            rig_close();
        }
    }
}

TEST(routes_that_have_content_answer_it_whole)
{
    rig_start(10);
    rig_open();
    rig_give_text("GET / HTTP/1.1\r\nHost: tally\r\n\r\n");
    CHECK(strstr(rig_conn.sent, "<a href=\"stats\">") != NULL);
    CHECK(strstr(rig_conn.sent, "</html>\n") != NULL);
    rig_close();
    rig_open();
    rig_give_text("GET /metrics HTTP/1.1\r\nHost: tally\r\n\r\n");
    CHECK(strstr(rig_conn.sent, "\ntally_build_info{version=\"") != NULL);
    CHECK(strncmp(rig_read(false), "200 text/plain", 14) == 0);
}

/* Those of server_get_counters() in routes_rig.c. */
TEST(routes_give_each_counter_its_metric)
{
    static const char *const lines[] = {
        "\ntally_connections_open 7\n",
        "\ntally_connections_accepted_total 11\n",
        "\ntally_connections_refused_total 12\n",
        "\ntally_connections_gave_way_total 13\n",
        "\ntally_connections_reset_short_total 29\n",
        "\ntally_connections_limit 99\n",
        "\ntally_syn_cookies_sent_total 14\n",
        "\ntally_syn_cookies_accepted_total 15\n",
        "\ntally_retransmissions_total 16\n",
        "\ntally_batches_total 17\n",
        "\ntally_segments_predicted_total 18\n",
        "\ntally_busy_seconds_total 0.000000019\n",
        "\ntally_longest_turn_seconds 0.000000020\n",
        "\ntally_longest_turn_packets 21\n",
        "\ntally_timeouts_total 22\n",
        "\ntally_dropped_frames_total 23\n",
        "\ntally_kicks_total 37\n",
        "\ntally_memory_short_total 24\n",
        "\ntally_received_packets_total 25\n",
        "\ntally_received_bytes_total 26\n",
        "\ntally_transmitted_packets_total 27\n",
        "\ntally_transmitted_bytes_total 28\n",
        "\ntally_pool_free_blocks{class=\"tiny\"} 30\n",
        "\ntally_pool_free_blocks{class=\"pcb\"} 35\n",
        "\ntally_users_limit 10\n",
        "\ntally_uptime_seconds 0.000001000\n",
    };
    rig_start(10);
    rig_open();
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        CHECK(rig_metrics_say(lines[i]));
}

static bool yes(void)
{
    return true;
}

static void no_time_passes(uint64_t ns)
{
    (void)ns;
}

static void nothing(void)
{
}

static uint64_t at_no_time(void)
{
    return 0;
}

TEST(routes_tell_how_often_the_machine_slept)
{
    static const struct idle_machine machine = {yes, yes, no_time_passes, nothing, at_no_time};

    idle_init(&machine);
    for (unsigned i = 0; i < 2; i++)
        CHECK(idle_turn(IDLE_POLL_NS_MAX, 0, UINT64_MAX));
    rig_start(10);
    rig_open();
    CHECK(rig_metrics_say("\ntally_sleeps_total 2\n"));
}

/* ---- errors ---- */

TEST(routes_name_what_is_wrong_with_an_event)
{
    rig_start(10);
    rig_open();
    rig_give_text(rig_request(EVENT, "{\"userId\":\"u\",\"value\":1]"));
    CHECK(strstr(rig_conn.sent, " at byte 23\"}") != NULL);
    rig_give_text(rig_request(EVENT, "{\"userId\":\"u\"}"));
    CHECK(strstr(rig_conn.sent, "{\"error\":\"value is missing\"}") != NULL);
    rig_give_text(rig_event("u", 1));
    CHECK_EQ(rig_stats()->count, 1);
    CHECK(!rig_conn.closed);
}

TEST(routes_say_507_to_new_users_when_full_and_count_nothing_of_it)
{
    rig_start(2);
    rig_open();
    rig_give_text(rig_event("a", 1));
    rig_give_text(rig_event("b", 2));
    rig_give_text(rig_event("c", 4));
    rig_give_text(rig_event("a", 8));
    CHECK(rig_sent(OK OK "507 " JSON " - - {\"error\":\"*\n" OK));
    CHECK_EQ(rig_events_full(), 1);
    CHECK_EQ(rig_stats()->count, 3);
    CHECK(sum_value(&rig_stats()->sum) == 11);
    rig_give_text("GET /metrics" H "\r\n");
    CHECK(strstr(rig_conn.sent, "\nevents_failed_total{reason=\"full\"} 1\n") != NULL);
    CHECK(strstr(rig_conn.sent, "endpoint=\"/event\",status=\"507\"} 1\n") != NULL);
    CHECK(strstr(rig_conn.sent, "endpoint=\"/event\",status=\"200\"} 3\n") != NULL);
}

/* Twice: the second time its head is one seen before. */
TEST(routes_name_the_codings_they_know_to_who_sends_another)
{
    static const char coded[] = EVENT "Content-Encoding: gzip\r\n";
    rig_start(10);
    for (unsigned i = 0; i < 2; i++) {
        rig_open();
        rig_give_text(rig_request(coded, PLAIN));
        CHECK(strstr(rig_conn.sent, "\r\nAccept-Encoding: identity\r\n") != NULL);
        rig_conn.sent_len = 0;
        rig_give_text(rig_event("u", 1));
        CHECK(rig_sent(OK));
        CHECK(strstr(rig_conn.sent, "Accept-Encoding") == NULL);
        rig_close();
    }
    CHECK_EQ(rig_stats()->count, 2);
}

/* The client waits for what it is told before it sends its content. */
TEST(routes_ask_for_no_content_that_they_would_refuse)
{
    rig_start(10);
    rig_open();
    rig_give_text(EVENT "Content-Encoding: gzip\r\nExpect: 100-continue\r\n"
                        "Content-Length: 26\r\n\r\n");
    CHECK(rig_sent(CLOSED_BY("415")));
    CHECK(rig_conn.closed);
    CHECK(rig_metrics_say("\nhttp_requests_in_flight{method=\"POST\",endpoint=\"/event\"} 0\n"));
}

/* But not unhealthy: the users that are known still count, and would be lost with the machine. */
TEST(routes_are_degraded_once_a_user_found_no_room)
{
    rig_start(1);
    rig_open();
    rig_give_text(rig_event("a", 1));
    rig_conn.sent_len = 0;
    rig_give_text("GET /health" H "\r\n");
    CHECK(rig_sent(HEALTHY));
    rig_give_text(rig_event("b", 1));
    rig_conn.sent_len = 0;
    rig_give_text("GET /health" H "\r\n");
    CHECK(rig_sent("200 " JSON " - - {\"status\":\"degraded\","
                   "\"reason\":\"no room for another user\"}\n"));
}

TEST(routes_refuse_heads_and_targets_that_are_too_long)
{
    static char text[HTTP_HEAD_BYTES_MAX + 100];
    rig_start(10);
    rig_open();
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    rig_give(text, sizeof text);
    CHECK(rig_sent(CLOSED_BY("414")));
    rig_open();
    memcpy(text, "GET /" H "X: ", strlen("GET /" H "X: "));
    rig_give(text, sizeof text);
    CHECK(rig_sent(CLOSED_BY("431")));
}

/* Of a request whose method never came, the one before says nothing. */
TEST(routes_say_what_is_wrong_after_an_answer_to_head)
{
    rig_start(10);
    rig_open();
    rig_give_text("HEAD /health" H "\r\n");
    rig_conn.sent_len = 0;
    rig_give_text("@");
    CHECK(rig_sent(CLOSED_BY("400")));
}

/* Twice each: the second time its head is one seen before. */
TEST(routes_take_no_longer_path_for_that_of_events)
{
    static const char *const heads[] = {"POST /events" H, "POST /event/" H, "POST /event%20" H};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        rig_start(10);
        rig_open();
        rig_give_text(rig_request(heads[i], PLAIN));
        rig_give_text(rig_request(heads[i], PLAIN));
        CHECK(rig_sent("404 " JSON " - - {\"error\":\"*\n404 " JSON " - - {\"error\":\"*\n"));
        CHECK_EQ(rig_stats()->count, 0);
    }
}

TEST(routes_take_nothing_after_an_error)
{
    rig_start(10);
    rig_open();
    const char *const text = rig_request("GET /x\r\n\r\n" EVENT, PLAIN);
    CHECK_EQ(rig_offer(text, strlen(text)), strlen(text));
    CHECK(rig_conn.closed);
    CHECK(rig_sent(CLOSED_BY("400")));
    CHECK_EQ(rig_offer(text, strlen(text)), strlen(text));
    CHECK_EQ(rig_stats()->count, 0);
}

TEST(routes_take_nothing_after_connection_close)
{
    rig_start(10);
    rig_open();
    char text[1024];
    strcpy(text, rig_request(EVENT "Connection: close\r\n", PLAIN));
    strcat(text, rig_request(EVENT, PLAIN));
    rig_give_text(text);
    CHECK(rig_sent("200 - - close \n"));
    CHECK_EQ(rig_stats()->count, 1);
}

TEST(routes_count_nothing_of_an_incomplete_body)
{
    const char *const text = rig_request(EVENT, PLAIN);
    for (size_t len = 1; len < strlen(text); len++) {
        rig_start(10);
        rig_open();
        rig_give(text, len);
        rig_close();
        CHECK_EQ(rig_stats()->count, 0);
        CHECK_EQ(rig_conn.sent_len, 0);
    }
}

/* ---- what is counted ---- */

TEST(routes_count_every_answer_under_its_labels)
{
    rig_start(10);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        rig_open();
        rig_give_text(rig_request(rows[i].head, rows[i].body));
        rig_close();
    }
    rig_open();
    CHECK(rig_metrics_say("{method=\"POST\",endpoint=\"/event\",status=\"200\"} 12\n"));
    CHECK(rig_metrics_say("\nevents_processed_total 12\n"));
    CHECK(rig_metrics_say("{method=\"other\",endpoint=\"/health\",status=\"405\"} 1\n"));
    CHECK(rig_metrics_say("{method=\"HEAD\",endpoint=\"/stats\",status=\"200\"} 1\n"));
    CHECK(rig_metrics_say("{method=\"OPTIONS\",endpoint=\"other\",status=\"204\"} 1\n"));
    CHECK(rig_metrics_say("{method=\"OPTIONS\",endpoint=\"other\",status=\"404\"} 1\n"));
    CHECK(rig_metrics_say("{method=\"POST\",endpoint=\"/event\",status=\"400\"} 11\n"));
    CHECK(rig_metrics_say("{method=\"POST\",endpoint=\"/event\",status=\"415\"} 5\n"));
    CHECK(rig_metrics_say("\nevents_failed_total{reason=\"content_encoding\"} 5\n"));
    CHECK(rig_metrics_say("\nevents_failed_total{reason=\"empty\"} 3\n"));
    CHECK(rig_metrics_say("\nevents_failed_total{reason=\"value_type\"} 1\n"));
    CHECK(rig_metrics_say("{method=\"other\",endpoint=\"other\",status=\"413\"} 2\n"));
    CHECK(rig_metrics_say("{method=\"other\",endpoint=\"other\",status=\"501\"} 1\n"));
    CHECK(rig_metrics_say("{method=\"other\",endpoint=\"other\",status=\"505\"} 1\n"));
}

/* Pipelined requests: order, send space, cuts. */
#include <stdio.h>
#include <string.h>

#include "app/routes.h"
#include "app/text/decimal.h"
#include "tests/test.h"
#include "tests/unit/routes_rig.h"

#define TRAIN_MAX 1000 /* whose answers are more than the longest content */

/* `count` events of users u0 to u9, values 0, 1, ...; GET /stats after every `stats_every`th. */
static void make_train(char *train, char *expected, unsigned count, unsigned stats_every)
{
    double total = 0;
    *train = *expected = '\0';
    for (unsigned i = 0; i < count; i++) {
        char user_id[8];
        snprintf(user_id, sizeof user_id, "u%u", i % 10);
        train = stpcpy(train, rig_event(user_id, i));
        expected = stpcpy(expected, OK);
        total += i;
        if ((i + 1) % stats_every == 0) {
            train = stpcpy(train, "GET /stats" H "\r\n");
            char sum[DECIMAL_TEXT_BYTES_MAX], average[DECIMAL_TEXT_BYTES_MAX];
            decimal_print(total, sum);
            decimal_print(total / (i + 1), average);
            expected +=
                sprintf(expected,
                        "200 " JSON
                        " - - {\"totalRequests\":%u,\"uniqueUsers\":%u,\"sum\":%s,\"avg\":%s}\n",
                        i + 1, i < 9 ? i + 1 : 10, sum, average);
        }
    }
}

static char train[TRAIN_MAX * 200], expected[TRAIN_MAX * 100];

TEST(routes_answer_pipelined_requests_in_order)
{
    make_train(train, expected, 50, 7);
    rig_start(10);
    rig_open();
    CHECK_EQ(rig_offer(train, strlen(train)), strlen(train));
    CHECK(rig_sent(expected));
    CHECK_EQ(rig_conn.waits, 1); /* the deadline is started once, not fifty times */
    CHECK_EQ(rig_conn.waiting, SERVER_WAIT_REQUEST);
}

TEST(routes_answer_long_trains_of_events)
{
    static const unsigned counts[] = {32, 33, 34, 65, TRAIN_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const unsigned count = counts[i];
        make_train(train, expected, count, count + 1);
        rig_start(10);
        rig_open();
        CHECK_EQ(rig_offer(train, strlen(train)), strlen(train));
        CHECK_EQ(rig_stats()->count, count);
        /* The first is parsed; the others are recognised and answered in pieces of 32. */
        CHECK_EQ(rig_conn.sends, 1 + (count - 1 + 31) / 32);
        CHECK_EQ(rig_conn.sent_len, count * strlen("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    }
}

/* Whatever a client puts into fields that mean nothing here. */
TEST(routes_answer_trains_of_events_with_ever_new_heads)
{
    char *end = train;
    rig_start(10);
    rig_open();
    for (unsigned i = 0; i < 300; i++)
        end += sprintf(end, EVENT "X-%u: %u\r\nContent-Length: %zu\r\nCookie: id=%x\r\n\r\n" PLAIN,
                       i % 17, i, sizeof PLAIN - 1, i * 2654435761u);
    CHECK_EQ(rig_offer(train, strlen(train)), strlen(train));
    CHECK_EQ(rig_stats()->count, 300);
    CHECK_EQ(rig_conn.sends, 1 + (300 - 1 + 31) / 32);
}

TEST(routes_are_exact_however_a_train_is_cut)
{
    uint32_t random = 7;
    make_train(train, expected, 40, 9);
    const size_t len = strlen(train);
    for (unsigned round = 0; round < 2000; round++) {
        rig_start(10);
        rig_open();
        for (size_t at = 0, piece; at < len; at += piece) {
            random = random * 1664525u + 1013904223u;
            piece = 1 + (random >> 8) % (round % 2 ? 40 : 1500);
            piece = piece < len - at ? piece : len - at;
            rig_give(train + at, piece);
        }
        CHECK(rig_sent(expected));
        rig_close();
    }
}

TEST(routes_wait_for_send_space_between_requests)
{
    make_train(train, expected, TRAIN_MAX / 4, 5);
    rig_start(10);
    rig_open();
    const char *at = train;
    size_t left = strlen(train);
    unsigned offers = 0;
    while (left != 0) {
        rig_conn.space = ROUTES_RESPONSE_BYTES_MAX + offers % 200; /* server_send() asserts it */
        const size_t taken = rig_offer(at, left);
        CHECK(taken >= 1);
        at += taken;
        left -= taken;
        offers++;
    }
    CHECK(offers > 10);
    CHECK(rig_sent(expected));
    CHECK_EQ(rig_stats()->count, TRAIN_MAX / 4);
}

TEST(routes_send_no_more_of_a_train_than_there_is_space_for)
{
    make_train(train, expected, TRAIN_MAX, TRAIN_MAX + 1);
    rig_start(10);
    rig_open();
    const char *at = train;
    size_t left = strlen(train);
    uint64_t counted = 0;
    while (left != 0) {
        rig_conn.space = ROUTES_RESPONSE_BYTES_MAX;
        const size_t before = rig_conn.sent_len;
        const size_t taken = rig_offer(at, left);
        CHECK(before > 0 || taken < left);
        at += taken;
        left -= taken;
        /* What is counted has been answered, and nothing else. */
        CHECK_EQ((rig_conn.sent_len - before) / 38, rig_stats()->count - counted);
        counted = rig_stats()->count;
    }
    CHECK_EQ(counted, TRAIN_MAX);
}

TEST(routes_take_empty_lines_after_every_body)
{
    rig_start(10);
    rig_open();
    for (unsigned i = 0; i < 100; i++) {
        rig_give_text(rig_event("u", 1));
        rig_give_text("\r\n"); /* as some old clients send after a POST */
    }
    CHECK_EQ(rig_stats()->count, 100);
    CHECK(!rig_conn.closed);
    CHECK_EQ(rig_conn.waiting, SERVER_WAIT_REQUEST);
}

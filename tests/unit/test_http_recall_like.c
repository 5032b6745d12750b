/*
 * Heads that are like those that are recalled: with the same request line, and plain fields. They
 * never mean anything else than the full parser says.
 */
#include <stdio.h>

#include "tests/unit/recall_rig.h"

/* What follows a head, so that its fields are looked at. */
#define BODY          "{\"userId\":\"u\"}"
#define LINES(fields) "POST /event HTTP/1.1\r\n" fields "\r\n" BODY
#define TRACED(id, length)                                                                         \
    "POST /event HTTP/1.1\r\nHost: a\r\nX-Id: " id "\r\nDate: now\r\nContent-Length: " length      \
    "\r\n\r\n" BODY

static const char *traced(unsigned number)
{
    static char head[] = TRACED("000", "38");
    char *const id = strstr(head, "X-Id: ") + 6;
    id[0] = (char)('0' + number / 100 % 10);
    id[1] = (char)('0' + number / 10 % 10);
    id[2] = (char)('0' + number % 10);
    return head;
}

static bool find_head(const char *bytes)
{
    return find(bytes) && found.head_len == strlen(bytes) - (sizeof BODY - 1);
}

TEST(recall_takes_a_head_with_plain_fields_for_one_with_the_same_request_line)
{
    static const char *const heads[] = {
        TRACED("5", "38"),
        TRACED("a much longer one than that which is known", "7"),
        TRACED("", "0"),
        "POST /event HTTP/1.1\r\nContent-Length: 65536\r\nAny: other field\r\nHost: b\r\n\r\n" BODY,
        "POST /event HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nConnection: "
        "keep-alive\r\n\r\n" BODY,
    };
    static const size_t lens[] = {38, 7, 0, 65536, 1};

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        for (unsigned h = 0; h < HTTP_RECALL_HEADS; h++) {
            start();
            learn(HEAD("38"));
            hint = (uint8_t)h;
            CHECK(find_head(heads[i]));
            CHECK_EQ(found.content_len, lens[i]);
            CHECK_EQ(found.request->path_len, 6);
            CHECK(found.mark && found.request->has_length && found.request->keep_alive);
        }
    }
}

TEST(recall_takes_no_head_for_one_that_it_is_not_like)
{
    static const char *const heads[] = {
        "POST /event HTTP/1.1\r\nX-Id: 5\r\nContent-Length: 1\r\n\r\n" BODY, /* no Host */
        "POST /event HTTP/1.1\r\nHost: a\r\nX-Id: 5\r\n\r\n" BODY,           /* no length */
        "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\n" BODY,
        "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n" BODY,
        "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Encoding: x\r\n\r\n" BODY,
        "POST /event HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\n" BODY,
        "POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n" BODY,
        "PUT /event HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n" BODY,
    };
    start();
    learn(HEAD("38"));
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        CHECK(!find(heads[i]));
    /* Nor for one that is not plain itself. */
    start();
    learn("POST /event HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\n");
    learn("POST /event HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    CHECK(!find(TRACED("5", "38")));
    CHECK(!find("POST /event HTTP/1.0\r\nHost: b\r\nContent-Length: 3\r\n\r\n" BODY));
}

TEST(recall_takes_a_head_for_the_one_that_has_a_length_like_it)
{
    start();
    learn("POST /event HTTP/1.1\r\nHost: a\r\n\r\n");
    learn(HEAD("38"));
    for (unsigned h = 0; h < HTTP_RECALL_HEADS; h++) {
        hint = (uint8_t)h;
        CHECK(find_head(TRACED("5", "38")));
        CHECK(found.request->has_length);
        CHECK(find_head("POST /event HTTP/1.1\r\nHost: a\r\nX-Id: 5\r\n\r\n" BODY));
        CHECK(!found.request->has_length);
    }
}

/* With nothing after it no head is found but by those in the table. */
static bool is_in_table(const char *head)
{
    return find_some(head, strlen(head) - (sizeof BODY - 1));
}

/* Fills the table up to the last slot, with heads that nobody asks for. */
static void start_nearly_full(void)
{
    start();
    for (unsigned i = 0; i < HTTP_RECALL_HEADS - 1; i++)
        learn(numbered(i));
}

/* Offers the head until its turn has come; false if that takes too long. */
static bool insist(const char *head)
{
    for (unsigned i = 0; i < 200; i++) {
        if (is_in_table(head))
            return true;
        learn(head);
    }
    return false;
}

TEST(recall_learns_which_values_may_differ)
{
    start_nearly_full();
    learn(TRACED("1", "38"));
    CHECK(is_in_table(TRACED("1", "7")));
    CHECK(!is_in_table(TRACED("2", "7")));
    CHECK(insist(TRACED("2", "7")));
    CHECK(is_in_table(TRACED("1", "7")));
    CHECK(is_in_table(TRACED("another", "38")));
    CHECK_EQ(found.content_len, 38);
    CHECK(is_in_table(TRACED("", "38")));
    CHECK(!is_in_table(TRACED("\t", "38")));
    CHECK(!is_in_table(TRACED("\r", "38")));
    CHECK(!is_in_table(TRACED("1", "")));
    CHECK(!is_in_table(TRACED("1", "65537")));
    CHECK(!is_in_table(TRACED("1\r\nDate: then", "38")));
    CHECK(find(numbered(0))); /* which had to give way to none */
}

TEST(recall_keeps_heads_whole_as_long_as_there_is_room)
{
    start();
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++) {
        learn(traced(i));
        CHECK_EQ(recall.heads, i + 1);
    }
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++)
        CHECK(is_in_table(traced(i)));
    CHECK(!is_in_table(traced(HTTP_RECALL_HEADS)));
}

TEST(recall_keeps_heads_apart_that_differ_in_more_than_values)
{
    static const char *const heads[] = {
        LINES("Host: b\r\nX-Id: 1\r\nDate: now\r\nContent-Length: 38\r\n"),
        LINES("Host: a\r\nX-It: 1\r\nDate: now\r\nContent-Length: 38\r\n"),
        LINES("Host: a\r\nX-Id:1\r\nDate: now\r\nContent-Length: 38\r\n"),
        LINES("Host: a\r\nX-Id: 1\r\nContent-Length: 38\r\n"),
        LINES("Host: a\r\nX-Id: 1\r\nDate: now\r\nContent-Length: 38\r\nA:b\r\n"),
        "POST /evens HTTP/1.1\r\nHost: a\r\nX-Id: 1\r\nDate: now\r\nContent-Length: "
        "38\r\n\r\n" BODY,
        LINES("Connection: close\r\nHost: a\r\nX-Id: 1\r\nContent-Length: 38\r\n"),
    };
    for (unsigned i = 0; i < sizeof heads / sizeof *heads; i++) {
        start_nearly_full();
        learn(TRACED("1", "38"));
        CHECK(insist(heads[i]));
        for (unsigned slot = 0; slot < HTTP_RECALL_HEADS; slot++)
            CHECK_EQ(recall.head[slot].free_fields, 0);
    }
}

TEST(recall_cuts_a_head_into_a_few_pieces_only)
{
    static const char *const ids[] = {"1", "2"};
    for (unsigned fields = 1; fields < HTTP_RECALL_PIECES_MAX + 2; fields++) {
        start_nearly_full();
        for (unsigned i = 0; i < 2; i++) {
            char head[300] = "GET / HTTP/1.1\r\nHost: a\r\n";
            for (unsigned f = 0; f < fields; f++)
                strcat(strcat(strcat(head, "Id: "), ids[i]), "\r\n");
            CHECK(insist(strcat(head, "Other: x\r\n\r\n" BODY)));
        }
        const uint32_t free_fields = recall.head[HTTP_RECALL_HEADS - 1].free_fields;
        CHECK_EQ(__builtin_popcount(free_fields),
                 fields <= HTTP_RECALL_PIECES_MAX - 2 ? fields : 0);
    }
}

/* A value may be as long as the head may be. */
TEST(recall_takes_no_head_longer_than_the_parser_would)
{
    static const char begin[] = "GET / HTTP/1.1\r\nHost: a\r\nA: ", end[] = "\r\nB: c\r\n\r\n";
    static char head[HTTP_HEAD_BYTES_MAX + 2];
    start_nearly_full();
    CHECK(insist("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: c\r\n\r\n" BODY));
    CHECK(insist("GET / HTTP/1.1\r\nHost: a\r\nA: 2\r\nB: c\r\n\r\n" BODY));
    for (size_t len = HTTP_HEAD_BYTES_MAX - 1; len <= HTTP_HEAD_BYTES_MAX + 1; len++) {
        memset(head, 'a', len);
        memcpy(head, begin, sizeof begin - 1);
        memcpy(head + len - (sizeof end - 1), end, sizeof end - 1);
        CHECK_EQ(http_recall_find(&recall, &hint, (const uint8_t *)head, len, &found),
                 len <= HTTP_HEAD_BYTES_MAX);
    }
}

TEST(recall_needs_no_parser_however_many_kinds_of_plain_heads_there_are)
{
    start();
    learn(HEAD("38"));
    for (unsigned i = 0; i < 2000; i++) {
        char head[300];
        snprintf(head, sizeof head,
                 "POST /event HTTP/1.1\r\nHost: a\r\nX-%u: %u\r\nContent-Length: 12\r\n\r\n" BODY,
                 i % 100, i);
        CHECK(find_head(head));
    }
    CHECK_EQ(recall.heads, HTTP_RECALL_HEADS);
}

/* `bytes`, with the table as it is, whatever is learnt from them. */
static bool agrees(const char *bytes, size_t len, const char *how, size_t at)
{
    static struct http_recall before;

    before = recall;
    transcript_begin(&whole, NULL);
    transcript_feed(&whole, bytes, len);
    transcript_end(&whole);
    transcript_begin(&cut, &recall);
    transcript_feed(&cut, bytes, len);
    recall = before;
    return same_as_whole(bytes, len, how, at);
}

/* Whatever one byte of a head that is known, or like one that is, is changed to. */
TEST(recall_agrees_with_the_parser_about_each_byte_of_a_head)
{
    static const char *const heads[] = {
        TRACED("b7ad6b7169203331", "15"),
        "POST /event HTTP/1.1\r\nContent-Length: 15\r\nConnection: keep-alive\r\n"
        "hOST: b.c:80\r\nContent-Type: a/b\r\nAccept: */*\r\n\r\n" BODY,
    };
    static const char others[] = "\0\t\n\r\x1f !-./09:;@AZ[_aez{~\x7f\x80\xff";

    start_nearly_full();
    CHECK(insist(TRACED("1", "15")));
    CHECK(insist(TRACED("2", "15")));
    for (unsigned h = 0; h < 2; h++) {
        const size_t len = strlen(heads[h]);
        CHECK(find_head(heads[h]));
        for (size_t at = 0; at < len; at++) {
            char changed[300];
            for (size_t i = 0; i < sizeof others - 1; i++) {
                memcpy(changed, heads[h], len);
                changed[at] = others[i];
                CHECK(agrees(changed, len, "with a byte changed", at));
                memcpy(changed + at + 1, heads[h] + at, len - at);
                CHECK(agrees(changed, len + 1, "with a byte inserted", at));
            }
            memcpy(changed, heads[h], at);
            memcpy(changed + at, heads[h] + at + 1, len - at - 1);
            CHECK(agrees(changed, len - 1, "with a byte taken out", at));
            CHECK(agrees(heads[h], at, "cut off", at));
        }
    }
}

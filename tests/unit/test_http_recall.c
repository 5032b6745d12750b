/*
 * Heads that are recalled: exactly those that were learned, digits apart, and never with another
 * meaning than the full parser gives them. (Those that are like them: test_http_recall_like.c.)
 */
#include "app/http/http_recall.h"

#include <stdio.h>

#include "tests/unit/random.h"
#include "tests/unit/recall_rig.h"

TEST(recall_knows_nothing_at_first)
{
    static const uint8_t zeros[HTTP_BODY_BYTES_MAX + 100];

    start();
    CHECK(!find(HEAD("5")));
    CHECK(!find(""));
    CHECK(!http_recall_find(&recall, &hint, zeros, sizeof zeros, &found));
}

/* The digits last, or not. */
#define LAST(length)                                                                               \
    "POST /event HTTP/1.1\r\nAccept: *\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"
#define BOTH(length)                                                                               \
    {                                                                                              \
        HEAD(length), LAST(length)                                                                 \
    }

TEST(recall_gives_the_length_that_the_digits_say)
{
    static const struct {
        const char *head[2];
        size_t len;
    } rows[] = {
        {BOTH("5"), 5},     {BOTH("0"), 0},     {BOTH("38"), 38},     {BOTH("65536"), 65536},
        {BOTH("00007"), 7}, {BOTH("999"), 999}, {BOTH("4096"), 4096},
    };
    for (unsigned h = 0; h < 2; h++) {
        start();
        learn(rows[2].head[h]);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            CHECK(find(rows[i].head[h]));
            CHECK_EQ(found.head_len, strlen(rows[i].head[h]));
            CHECK_EQ(found.content_len, rows[i].len);
            CHECK_EQ(found.request->method, HTTP_POST);
            CHECK_EQ(found.request->path_len, 6);
            CHECK(found.request->has_length && found.request->keep_alive);
        }
    }
}

TEST(recall_takes_nothing_but_digits_for_the_length)
{
    static const char *const heads[][2] = {
        BOTH(""),   BOTH("65537"), BOTH("99999"), BOTH("000005"), BOTH("5 "),
        BOTH(" 5"), BOTH("5,5"),   BOTH("-5"),    BOTH("5:"),     BOTH("/5"),
    };
    for (unsigned h = 0; h < 2; h++) {
        start();
        learn(h == 0 ? HEAD("38") : LAST("38"));
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
            CHECK(!find(heads[i][h]));
            for (size_t len = strlen(heads[i][h]); len > 0; len--)
                CHECK(!find_some(heads[i][h], len));
        }
        CHECK(!find(h == 0 ? HEAD("") "{}" : LAST("") "{}"));
    }
}

TEST(recall_takes_a_head_without_length)
{
    static const char head[] = "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";

    start();
    learn(head);
    CHECK(find("GET /stats HTTP/1.1\r\nHost: a\r\n\r\nGET /"));
    CHECK_EQ(found.head_len, sizeof head - 1);
    CHECK_EQ(found.content_len, 0);
    CHECK(!found.request->has_length);
}

TEST(recall_takes_a_head_too_short_to_be_compared_in_one_step)
{
    static const char *const heads[] = {
        "GET / HTTP/1.0\r\n\r\n",
        "GET /stat HTTP/1.1\r\nHost: a\r\n\r\n",
        "P / HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
        "GET / HTTP/1.0\r\nContent-Length: 3\r\nA:\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        start();
        learn(heads[i]);
        CHECK(find(heads[i]));
        CHECK_EQ(found.head_len, strlen(heads[i]));
    }
}

TEST(recall_remembers_that_the_content_is_encoded)
{
    start();
    learn("POST /event HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\n");
    learn(HEAD("5"));
    CHECK(find(
        "POST /event HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 38\r\n\r\n"));
    CHECK(found.request->is_encoded);
    CHECK(find(HEAD("38")));
    CHECK(!found.request->is_encoded);
}

TEST(recall_tells_the_mark_it_was_given)
{
    start();
    learn(HEAD("38"));
    CHECK(find(HEAD("5")));
    CHECK(found.mark);
}

TEST(recall_refuses_any_other_head)
{
    static const char *const heads[] = {
        HEAD("38"),
        "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: somebody\r\n\r\n",
        "POST /event HTTP/1.1\r\nContent-Length:38  \r\nHost: somebody.example:8080\r\n\r\n",
        "POST /event HTTP/1.1\r\nHost: a\r\ncontent-length: 38\r\n\r\n",
        "POST /event HTTP/1.1\r\nHost: a\r\nUser-Agent: somebody/1.0 (of a name that is longer "
        "than "
        "what is compared in one step)\r\nContent-Length: 38\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char head[200];
        const size_t len = strlen(heads[i]);

        start();
        learn(heads[i]);
        CHECK(find(heads[i]));
        for (size_t at = 0; at < len; at++) {
            strcpy(head, heads[i]);
            head[at] = '\0';
            CHECK(!find(head)); /* cut off */
            head[at] = (char)(heads[i][at] ^ 0x40);
            CHECK(!find(head)); /* damaged */
            head[at] = 'x';
            CHECK(head[at] == heads[i][at] || !find(head));
        }
    }
}

TEST(recall_does_not_remember_what_its_digits_could_change)
{
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\neXPECT: x\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\r\nGET /stats HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000005\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        start();
        learn(heads[i]);
        CHECK(!find(heads[i]));
    }
    /* Nor what is too long. */
    char head[HTTP_RECALL_HEAD_BYTES_MAX + 2] = "GET / HTTP/1.0\r\nX: ";
    for (size_t len = HTTP_RECALL_HEAD_BYTES_MAX; len <= HTTP_RECALL_HEAD_BYTES_MAX + 1; len++) {
        memset(head + 19, 'y', len - 19);
        strcpy(head + len - 4, "\r\n\r\n");
        start();
        learn(head);
        CHECK_EQ(find(head), len == HTTP_RECALL_HEAD_BYTES_MAX);
    }
}

TEST(recall_takes_no_other_field_for_the_length)
{
    static const char *const names[] = {"Content-Lengths", "Xontent-Length", "Content-Lengt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char head[100], other[100];
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\n%s: 38\r\n\r\n", names[i]);
        snprintf(other, sizeof other, "GET / HTTP/1.1\r\nHost: a\r\n%s: 39\r\n\r\n", names[i]);
        start();
        learn(head);
        CHECK(find(head));
        CHECK_EQ(found.content_len, 0);
        CHECK(!find(other));
    }
}

/* The parser passes no such head; were it to, the sanitizer sees every byte out of bounds. */
TEST(recall_stays_within_the_bytes_that_it_is_offered)
{
    static const char *const heads[] = {
        "POST / HTTP/1.0\r\nContent-Length:",
        "POST / HTTP/1.0\r\nContent-Length:38",
        "POST / HTTP/1.0\r\nContent-Length:\r\n\r\n",
        "GET / ",
        "G",
    };
    static const struct http_request request = {.method = HTTP_GET};
    static uint8_t memory[64];
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        const size_t len = strlen(heads[i]);
        uint8_t *const places[] = {memory, memory + sizeof memory - len};
        for (size_t place = 0; place < 2; place++) {
            memcpy(places[place], heads[i], len);
            start();
            http_recall_learn(&recall, &hint, places[place], len, &request, true);
            CHECK(!find("GET / HTTP/1.0\r\n\r\n"));
        }
    }
    CHECK(!find("G") && !find("GET / ")); /* shorter than what is compared first */
}

TEST(recall_finds_a_head_whatever_the_hint)
{
    start();
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++) {
        char head[] = "GET /aaaaaaaa HTTP/1.0\r\nHost: aaaaaaa\r\n\r\n";
        memmove(head + 5 + i, head + 13, sizeof head - 13);
        learn(head);
    }
    for (unsigned h = 0; h < 256; h++) {
        hint = (uint8_t)h;
        CHECK(find("GET /aaa HTTP/1.0\r\nHost: aaaaaaa\r\n\r\n"));
        CHECK_EQ(found.request->path_len, 4);
        CHECK(find("GET /aaa HTTP/1.0\r\nHost: aaaaaaa\r\n\r\n"));
        hint = (uint8_t)h;
        CHECK(!find("GET /aab HTTP/1.0\r\nHost: aaaaaaa\r\n\r\n"));
    }
}

TEST(recall_keeps_a_head_in_use_from_one_who_never_repeats_his)
{
    uint8_t honest = 0, hostile = 0;

    start();
    learn(HEAD("38"));
    honest = hint;
    for (unsigned i = 0; i < 10000; i++) {
        hint = hostile;
        if (!find(numbered(i)))
            learn(numbered(i));
        hostile = hint;
        if (i % 50 != 0)
            continue;
        hint = honest;
        CHECK(find(HEAD("38")));
        honest = hint;
    }
}

TEST(recall_learns_a_new_head_within_a_bound)
{
    unsigned misses = 0;

    start();
    for (unsigned i = 0; i < HTTP_RECALL_HEADS; i++) {
        learn(numbered(i));
        CHECK(find(numbered(i))); /* so all are in use */
    }
    for (; !find(HEAD("38")); misses++) {
        CHECK(misses < 200);
        learn(HEAD("38"));
    }
    CHECK(misses > 1);
}

/* ---- the same meaning as without it ---- */

TEST(recall_agrees_with_the_parser_on_any_stream)
{
    static const char *const requests[] = {
        HEAD("2") "{}",
        HEAD("10") "0123456789",
        HEAD("0"),
        "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length:3 \r\n\r\nabc",
        "POST /event HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        "POST /event HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "POST /event HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "POST /event HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        "\r\n",
        "\r",
        HEAD("65537"),
    };
    static char stream[4096];
    unsigned recalled = 0;

    start();
    for (unsigned round = 0; round < 3000; round++) {
        size_t len = 0;
        for (uint32_t n = 1 + random_below(8); n > 0; n--) {
            const uint32_t pick = random_below(100) < 95 ? random_below(10) : 10 + random_below(3);
            strcpy(stream + len, requests[pick]);
            len += strlen(requests[pick]);
        }
        if (random_below(2) == 0)
            stream[random_below((uint32_t)len)] ^= (char)(1 << random_below(8));
        transcript_begin(&whole, NULL);
        transcript_feed(&whole, stream, len);
        transcript_end(&whole);
        const uint32_t piece_max = random_below(2) == 0 ? (uint32_t)len : 1 + random_below(200);
        transcript_begin(&cut, &recall);
        for (size_t at = 0, piece; at < len; at += piece) {
            piece = 1 + random_below(piece_max);
            piece = piece < len - at ? piece : len - at;
            transcript_feed(&cut, stream + at, piece);
        }
        recalled += cut.recalled;
        CHECK(same_as_whole(stream, len, "with heads recalled", piece_max));
    }
    CHECK(recalled > 1000); /* or it would have compared nothing */
}

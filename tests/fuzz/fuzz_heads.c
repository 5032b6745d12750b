/*
 * Heads that are recognised, against the parser. The input makes a stream of requests out of a few
 * heads, mostly by changing a few bytes of one of them, as a fuzzer without their grammar would
 * hardly come by; and it is, as it stands, the fields of a head. Held to be true:
 *
 *   - what http_plain_read() takes for a head with plain fields, the parser takes for the same;
 *   - the stream means the same to the parser and with heads recalled, from a table that is
 *     the same for each input and from one that earlier inputs have changed, whole and cut.
 */
#include "tests/fuzz/input.h"
#include "tests/unit/http_transcript.h"

#define LINE "POST /event HTTP/1.1\r\n"
#define BODY "{\"userId\":\"u\",\"value\":1}" /* 24 bytes */

static const char *const heads[] = {
    LINE "Host: 198.18.0.2:8080\r\nContent-Type: application/json\r\n"
         "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
         "Content-Length: 24\r\n\r\n",
    LINE "Host: 198.18.0.2:8080\r\nContent-Type: application/json\r\n"
         "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n"
         "Content-Length: 24\r\n\r\n",
    LINE "Host: a\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 24\r\n"
         "X-Request-Id: 1\r\nAccept-Encoding: gzip\r\n\r\n",
    LINE "Connection: keep-alive\r\nContent-Length: 24\r\nHost: a.b\r\n\r\n",
    LINE "Host: a\r\nContent-Encoding: identity\r\nContent-Length: 24\r\n\r\n",
    "GET /stats HTTP/1.1\r\nHost: localhost\r\nDate: now\r\n\r\n",
    "POST /event HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 24\r\n\r\n",
    LINE "Host: a\r\nCookie: a=b\r\n\r\n",
    LINE "Host: a\r\nConnection: close\r\nContent-Length: 24\r\n\r\n",
    /* Those that are not remembered. */
    LINE "Host: a\r\nExpect: 100-continue\r\nContent-Length: 24\r\n\r\n",
    LINE "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n18\r\n" BODY "\r\n0\r\n\r\n",
    LINE "Host: 198.18.0.2:8080\r\nContent-Type: application/json\r\n"
         "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
         "Content-Length: 65537\r\n\r\n",
};
#define HEADS     (sizeof heads / sizeof *heads)
#define LEARNT    9 /* of them */
#define HEADS_MAX 8 /* in a stream */
#define EDITS_MAX 4 /* in a head */

static struct transcript whole, other;
static struct http_recall of_all, at_first;

static void learn(struct http_recall *recall, const char *head)
{
    struct http_parser parser;
    struct http_body body;
    size_t taken;
    uint8_t hint = 0;

    http_reset(&parser);
    REQUIRE(http_next(&parser, (const uint8_t *)head, strlen(head), &taken, &body) == HTTP_READY);
    http_recall_learn(recall, &hint, (const uint8_t *)head, taken, &parser.request, true);
}

/* Full, and with a head that is cut at its traceparent. */
static void fill(struct http_recall *recall)
{
    http_recall_init(recall);
    for (unsigned i = 0; i < LEARNT; i++)
        if (i != 1)
            learn(recall, heads[i]);
    for (unsigned i = 0; i < UINT8_MAX && recall->head[0].free_fields == 0; i++)
        learn(recall, heads[1]);
    REQUIRE(recall->heads == HTTP_RECALL_HEADS && recall->head[0].free_fields != 0);
}

static void check(const char *how)
{
    transcript_end(&other);
    if (strcmp(whole.text, other.text) == 0 && !whole.stuck && !other.stuck)
        return;
    fprintf(stderr, "whole: %s\n%s: %s\n", whole.text, how, other.text);
    abort();
}

/* Bytes are set, put in, or taken out, or a run of them is copied to elsewhere. */
static size_t edit(struct input *input, uint8_t *head, size_t len, size_t room)
{
    const unsigned what = take8(input);
    const size_t at = take16(input) % (len + 1), left = len - at;
    const size_t count = what % 64 < left ? what % 64 : left;

    switch (what >> 6) {
    case 0:
        if (left > 0)
            head[at] = take8(input);
        return len;
    case 1:
        memmove(head + at, head + at + count, left - count);
        return len - count;
    case 2:
        if (room - len < count)
            return len;
        memmove(head + at + count, head + at, left);
        memset(head + at, take8(input), count);
        return len + count;
    default:
        memmove(head + take16(input) % (len - count + 1), head + at, count);
        return len;
    }
}

static size_t make_stream(struct input *input, uint8_t *stream, size_t room)
{
    size_t len = 0;
    for (unsigned i = 0; i < HEADS_MAX && input->left > 0; i++) {
        uint8_t *const head = stream + len;
        const unsigned how = take8(input);
        size_t head_len = strlen(heads[how % HEADS]);
        memcpy(head, heads[how % HEADS], head_len);
        for (unsigned edits = (how >> 4) % (EDITS_MAX + 1); edits > 0; edits--)
            head_len = edit(input, head, head_len, room / HEADS_MAX - sizeof BODY);
        memcpy(head + head_len, BODY, sizeof BODY - 1);
        len += head_len + sizeof BODY - 1;
    }
    return len;
}

static void compare(const uint8_t *stream, size_t len, size_t piece, struct http_recall *recall,
                    const char *how)
{
    if (recall != &of_all)
        recall->skip = 0; /* what is not known is remembered at once */
    transcript_begin(&other, recall);
    for (size_t at = 0; at < len; at += piece)
        transcript_feed(&other, stream + at, len - at < piece ? len - at : piece);
    check(how);
}

/* The input as the fields of a head, at the end of its memory. */
static void compare_plain(const uint8_t *data, size_t size)
{
    const size_t len = sizeof LINE - 1 + size;
    uint8_t *const bytes = malloc(len);
    struct http_plain_field field[HTTP_PLAIN_FIELDS_MAX];
    struct http_plain plain, told;
    struct http_parser parser;
    struct http_body body;
    size_t taken;

    memcpy(bytes, LINE, sizeof LINE - 1);
    memcpy(bytes + sizeof LINE - 1, data, size);
    if (http_plain_read(bytes, len, sizeof LINE - 1, &plain, NULL)) {
        http_reset(&parser);
        REQUIRE(http_next(&parser, bytes, len, &taken, &body) == HTTP_READY);
        REQUIRE(taken == plain.head_len && plain.head_len + HTTP_PLAIN_SLACK <= len);
        REQUIRE(parser.request.has_length == plain.has_length);
        REQUIRE(parser.request.keep_alive && !parser.request.expect_continue &&
                !parser.request.is_encoded);
        REQUIRE(parser.remaining == plain.content_len);
        if (http_plain_read(bytes, len, sizeof LINE - 1, &told, field)) {
            REQUIRE(told.head_len == plain.head_len);
            REQUIRE(told.fields > 0 && field[told.fields - 1].end + 4u == plain.head_len);
        }
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t stream[HEADS_MAX * 1024];
    static struct http_recall of_this;
    struct input input = {.bytes = data, .left = size};

    if (at_first.heads == 0) {
        fill(&at_first);
        fill(&of_all);
    }
    compare_plain(data, size);

    const size_t piece = 1 + take16(&input) % 512;
    const size_t len = make_stream(&input, stream, sizeof stream);
    transcript_begin(&whole, NULL);
    transcript_feed(&whole, stream, len);
    transcript_end(&whole);
    of_this = at_first;
    compare(stream, len, len + 1, &of_this, "whole, with a few heads known");
    compare(stream, len, len + 1, &of_this, "whole, with its own heads known");
    compare(stream, len, piece, &of_this, "in pieces");
    compare(stream, len, len + 1, &of_all, "whole, with any heads known");
    return 0;
}

/*
 * What a stream of requests meant, as text, so that two ways of reading it can be compared and
 * written down:
 *
 *     "POST /event 1kl{hello}.GET / 1k.!400 bare line feed"
 *
 * Method, path, then 1 or 0 for HTTP/1.1 or 1.0, k for keep-alive, l for has_length, e for
 * expect_continue, c for is_encoded; {content}, or {length:checksum} where it is long; a full stop
 * for HTTP_DONE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "app/http/http.h"
#include "app/http/http_recall.h"

#define TRANSCRIPT_PIECE_MAX   (HTTP_BODY_BYTES_MAX + 16384)
#define TRANSCRIPT_CONTENT_MAX 64

struct transcript {
    struct http_parser parser;
    struct http_recall *recall; /* asked first where a request begins; NULL: not at all */
    uint8_t hint;
    unsigned recalled; /* how many heads it knew */
    bool failed;       /* HTTP_ERROR was said */
    bool stuck;        /* the parser broke its contract */
    size_t content_len;
    uint32_t checksum;
    char content[TRANSCRIPT_CONTENT_MAX];
    size_t len;
    char text[16384]; /* what does not fit is cut off */
};

static inline void transcript_add(struct transcript *t, const char *bytes, size_t len)
{
    const size_t room = sizeof t->text - 1 - t->len;
    if (len > room)
        len = room;
    memcpy(t->text + t->len, bytes, len);
    t->len += len;
    t->text[t->len] = '\0';
}

static inline void transcript_add_text(struct transcript *t, const char *text)
{
    transcript_add(t, text, strlen(text));
}

static inline void transcript_add_number(struct transcript *t, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    transcript_add(t, digits + at, sizeof digits - at);
}

static inline void transcript_begin(struct transcript *t, struct http_recall *recall)
{
    http_reset(&t->parser);
    t->recall = recall;
    t->hint = 0;
    t->recalled = 0;
    t->failed = t->stuck = false;
    t->content_len = 0;
    t->checksum = 0;
    t->len = 0;
    t->text[0] = '\0';
}

static inline void transcript_add_request(struct transcript *t, const struct http_request *request)
{
    static const char methods[][9] = {[HTTP_GET] = "GET ",
                                      [HTTP_HEAD] = "HEAD ",
                                      [HTTP_POST] = "POST ",
                                      [HTTP_OPTIONS] = "OPTIONS ",
                                      [HTTP_METHOD_OTHER] = "OTHER "};

    transcript_add_text(t, methods[request->method]);
    if (request->path_len > HTTP_PATH_BYTES_KEPT) {
        transcript_add(t, request->path, HTTP_PATH_BYTES_KEPT);
        transcript_add_text(t, "+");
        transcript_add_number(t, request->path_len - (uint64_t)HTTP_PATH_BYTES_KEPT);
    } else {
        transcript_add(t, request->path, request->path_len);
    }
    transcript_add_text(t, request->minor != 0 ? " 1" : " 0");
    transcript_add_text(t, request->keep_alive ? "k" : "");
    transcript_add_text(t, request->has_length ? "l" : "");
    transcript_add_text(t, request->expect_continue ? "e" : "");
    transcript_add_text(t, request->is_encoded ? "c" : "");
}

static inline void transcript_add_content(struct transcript *t)
{
    if (t->content_len == 0)
        return;
    transcript_add_text(t, "{");
    if (t->content_len <= sizeof t->content) {
        transcript_add(t, t->content, t->content_len);
    } else {
        transcript_add_number(t, t->content_len);
        transcript_add_text(t, ":");
        transcript_add_number(t, t->checksum);
    }
    transcript_add_text(t, "}");
    t->content_len = 0;
    t->checksum = 0;
}

/* One step: false when nothing is left to do with these bytes. */
static inline bool transcript_step(struct transcript *t, const uint8_t **bytes, size_t *len)
{
    const bool idle = http_is_idle(&t->parser);
    struct http_recalled found;
    struct http_body body = {NULL, 0};
    size_t taken = 0;

    if (idle && t->recall != NULL && http_recall_find(t->recall, &t->hint, *bytes, *len, &found)) {
        t->recalled++;
        transcript_add_request(t, found.request);
        http_begin_content(&t->parser, found.request, found.content_len);
        *bytes += found.head_len;
        *len -= found.head_len;
        return true;
    }
    const enum http_step step = http_next(&t->parser, *bytes, *len, &taken, &body);
    t->stuck = taken > *len || (step == HTTP_MORE && taken != *len) ||
               (step == HTTP_BODY &&
                (body.len == 0 || body.bytes < *bytes || body.bytes + body.len > *bytes + taken));
    if (t->stuck)
        return false;
    if (step == HTTP_READY) {
        transcript_add_request(t, &t->parser.request);
        if (idle && t->recall != NULL)
            http_recall_learn(t->recall, &t->hint, *bytes, taken, &t->parser.request, true);
    } else if (step == HTTP_BODY) {
        for (size_t i = 0; i < body.len; i++) {
            if (t->content_len < sizeof t->content)
                t->content[t->content_len] = (char)body.bytes[i];
            t->content_len++;
            t->checksum = (t->checksum ^ body.bytes[i]) * 16777619;
        }
    } else if (step == HTTP_DONE) {
        transcript_add_content(t);
        transcript_add_text(t, ".");
        http_reset(&t->parser);
    } else if (step == HTTP_ERROR) {
        transcript_add_content(t);
        transcript_add_text(t, "!");
        transcript_add_number(t, t->parser.error.status);
        transcript_add_text(t, " ");
        transcript_add_text(t, t->parser.error.message);
        t->failed = true;
    }
    *bytes += taken;
    *len -= taken;
    return step != HTTP_MORE && step != HTTP_ERROR;
}

/*
 * The next piece of the stream. The parser sees a copy, at the very end of its memory (so that
 * a sanitizer sees a read past it), which is gone when the next piece comes.
 */
static inline void transcript_feed(struct transcript *t, const void *bytes, size_t len)
{
    static uint8_t piece[TRANSCRIPT_PIECE_MAX];
    uint8_t *const copy = piece + sizeof piece - len;
    const uint8_t *p = copy;
    const size_t steps_max = 4 * len + 4;
    size_t left = len, steps = 0;

    if (t->failed || t->stuck)
        return;
    memcpy(copy, bytes, len);
    while (!t->stuck && transcript_step(t, &p, &left))
        t->stuck = ++steps > steps_max;
    memset(copy, 0xa5, len);
}

/* The stream is over; content of a request that is not complete is told too. */
static inline void transcript_end(struct transcript *t)
{
    transcript_add_content(t);
    if (t->stuck)
        transcript_add_text(t, "STUCK");
}

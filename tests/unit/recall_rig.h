/* A table of heads that tests fill and ask, as the application does. */
#pragma once

#include "app/http/http_recall.h"
#include "tests/unit/http_means.h"

#define HEAD(length)                                                                               \
    "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\nAccept: *\r\n\r\n"

static struct http_recall recall;
static struct http_recalled found;
static uint8_t hint;

/* As the application does: the parser reads a head, and the table is offered it. */
static inline void learn(const char *head)
{
    struct http_parser parser;
    struct http_body body;
    size_t taken;

    http_reset(&parser);
    if (http_next(&parser, (const uint8_t *)head, strlen(head), &taken, &body) == HTTP_READY)
        http_recall_learn(&recall, &hint, (const uint8_t *)head, taken, &parser.request, true);
}

static inline void start(void)
{
    http_recall_init(&recall);
    hint = 0;
}

static inline bool find_some(const char *bytes, size_t len)
{
    static uint8_t copy[HTTP_RECALL_HEAD_BYTES_MAX + 2]; /* at its end, for the sanitizer */
    memcpy(copy + sizeof copy - len, bytes, len);
    return http_recall_find(&recall, &hint, copy + sizeof copy - len, len, &found);
}

static inline bool find(const char *bytes)
{
    return find_some(bytes, strlen(bytes));
}

/* "GET /n HTTP/1.0", with numbers of one length, so that the heads are as alike as they can be. */
static inline const char *numbered(unsigned number)
{
    static char head[] = "GET /000000 HTTP/1.0\r\nHost: a\r\n\r\n";
    for (size_t at = 10; at > 4; at--, number /= 10)
        head[at] = (char)('0' + number % 10);
    return head;
}

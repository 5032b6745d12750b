/*
 * Request heads that were seen before, and heads that are like them. A client's next request mostly
 * has the same head as its last, byte for byte but for the digits of Content-Length, or but for an
 * id, a date or a cookie. Recognising it costs a comparison, where parsing it costs a state
 * machine. What is said of a head is what the full parser (http.h) said of those very bytes, or of
 * a head with the same request line if both have nothing but plain fields (http_plain.h). That
 * cannot differ from what the parser would say; differential fuzzers hold it to that.
 *
 *     if (http_recall_find(&recall, &conn->hint, bytes, len, &found)) {
 *         ... found.request; the content is bytes + found.head_len, found.content_len long ...
 *     } else if (http_next(&parser, bytes, len, &taken, &body) == HTTP_READY && first_call) {
 *         http_recall_learn(&recall, &conn->hint, bytes, taken, &parser.request, mark);
 *     }
 *
 * When the content has not all arrived with the head, http_begin_content() hands it to the parser.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/http/http.h"
#include "app/http/http_plain.h"

#define HTTP_RECALL_HEADS          8
#define HTTP_RECALL_HEAD_BYTES_MAX 2048 /* longer heads are not remembered */
#define HTTP_RECALL_PIECES_MAX     12

/* A run of a head's bytes, and what stands between it and the next. */
struct http_recall_piece {
    uint16_t begin, len;
    uint8_t then;
};

/* One head. */
struct http_recall_head {
    /* For one that is two pieces, cut by the digits, the second of them the end: of the first. */
    size_t quick_len; /* else SIZE_MAX */
    bool mark;
    bool used_lately;  /* recalled since the replacement last came by */
    uint16_t line_len; /* of its request line, if its fields are plain; else 0 */
    uint16_t len;
    uint32_t free_fields; /* bit i: a head with another value of the field is this head, too */
    struct http_request request;
    struct http_recall_piece piece[HTTP_RECALL_PIECES_MAX];
    uint8_t bytes[HTTP_RECALL_HEAD_BYTES_MAX + HTTP_PLAIN_SLACK];
};

/* Shared by all connections. The members are http_recall.c's. */
struct http_recall {
    uint8_t heads;        /* slots in use, the first ones */
    uint8_t replace_next; /* where the search for a slot to reuse goes on */
    uint8_t skip;         /* heads that are not known and are not to be remembered, from now */
    struct http_recall_head head[HTTP_RECALL_HEADS];
};

struct http_recalled {
    size_t head_len;    /* bytes of the head, blank line included */
    size_t content_len; /* of the content that follows: at most HTTP_BODY_BYTES_MAX */
    const struct http_request *request; /* valid until the next call of either function */
    bool mark;                          /* what the caller said when it was learnt */
};

void http_recall_init(struct http_recall *recall);

/*
 * `bytes` are where a request begins: http_is_idle(). True: a whole head is there, it is known or
 * like one that is, and *found says what it is. False: nothing is said about the bytes, and
 * http_next() must look at them.
 *
 * `hint` is a byte of the connection's, 0 at first: which head to try before the others. Any
 * value is safe.
 */
__attribute__((warn_unused_result)) bool http_recall_find(struct http_recall *recall, uint8_t *hint,
                                                          const uint8_t *bytes, size_t len,
                                                          struct http_recalled *found);

/*
 * Offers a head that http_recall_find() has just refused and http_next(), called once since
 * http_reset(), has then taken whole: `head_len` bytes, for which it said HTTP_READY and `request`.
 * What is worth remembering and may be remembered is decided here. `mark` is the caller's own, told
 * with the head when it is recalled: what follows from the request line alone is found out once.
 */
void http_recall_learn(struct http_recall *recall, uint8_t *hint, const uint8_t *head,
                       size_t head_len, const struct http_request *request, bool mark);

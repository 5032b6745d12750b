/*
 * Request heads that were seen before. A client's next request mostly has the same head as its
 * last, byte for byte but for the digits of Content-Length; recognising it costs a comparison,
 * where parsing it costs a state machine. What is recalled is what the full parser (http.h) said
 * of those very bytes: the two cannot differ, and a differential fuzzer holds them to it.
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

#define HTTP_RECALL_HEADS          8
#define HTTP_RECALL_HEAD_BYTES_MAX 512 /* longer heads are not remembered */

/* One head, without the digits of its Content-Length. */
struct http_recall_head {
    size_t prefix_len;   /* bytes before the digits; SIZE_MAX: empty slot */
    uint16_t suffix_len; /* from after the digits through the blank line; 0: no digits */
    bool mark;
    bool used_lately; /* recalled since the replacement last came by */
    struct http_request request;
    uint8_t bytes[HTTP_RECALL_HEAD_BYTES_MAX]; /* before the digits, then after them */
};

/* Shared by all connections. The members are http_recall.c's. */
struct http_recall {
    /* To tell at a glance which slots may match: the last 8 bytes before the digits, and where. */
    uint64_t prefix_end[HTTP_RECALL_HEADS];
    size_t prefix_len[HTTP_RECALL_HEADS];
    uint8_t replace_next; /* where the search for a slot to reuse goes on */
    uint8_t misses;       /* since a head was last replaced */
    struct http_recall_head head[HTTP_RECALL_HEADS];
};

struct http_recalled {
    size_t head_len;    /* bytes of the head, blank line included */
    size_t content_len; /* of the content that follows: at most HTTP_BODY_BYTES_MAX */
    const struct http_request *request; /* valid until the next http_recall_learn() */
    bool mark;                          /* what the caller said when it was learnt */
};

void http_recall_init(struct http_recall *recall);

/*
 * `bytes` are where a request begins: http_is_idle(). True: a whole head is there, it is known,
 * and *found says what it is. False: nothing is said about the bytes, and http_next() must look
 * at them.
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
 * with the head when it is recalled: what follows from the request alone is found out once.
 */
void http_recall_learn(struct http_recall *recall, uint8_t *hint, const uint8_t *head,
                       size_t head_len, const struct http_request *request, bool mark);

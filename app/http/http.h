/*
 * HTTP/1.1 requests, as they arrive: an incremental parser that holds no bytes of the
 * message but the start of its path (RFC 9110, RFC 9112). It allocates nothing, looks back at
 * nothing and needs no buffer: a request may be cut anywhere, down to single bytes, and means the
 * same. What it remembers between calls is struct http_parser, whose size does not depend on the
 * peer.
 *
 *     http_reset(&p);
 *     for (;;) switch (http_next(&p, bytes, len, &taken, &body)) { ... }
 *
 * The caller calls http_next() until it has nothing left to give; each call takes some bytes and
 * says what they meant.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Counted as the head: every byte from the first of the request line to the last of the blank line.
 * Empty lines before it do not count (there may be HTTP_EMPTY_LINES_MAX). A chunked body has
 * as much again for all its chunk extensions and its trailer section together.
 */
#define HTTP_HEAD_BYTES_MAX   8192  /* else 431 */
#define HTTP_EMPTY_LINES_MAX  4     /* before a request line (RFC 9112 2.2): else 400 */
#define HTTP_TARGET_BYTES_MAX 2048  /* else 414 */
#define HTTP_BODY_BYTES_MAX   65536 /* content, decoded: else 413 */
#define HTTP_PATH_BYTES_KEPT  32    /* longer than any route */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS, HTTP_METHOD_OTHER };

enum http_step {
    HTTP_MORE,  /* everything given was taken; the request goes on */
    HTTP_READY, /* the head is complete: `request` is valid. Bytes of the body may follow */
    HTTP_BODY,  /* *body is a run of decoded content within the bytes given, at least one byte */
    HTTP_DONE,  /* the request is complete; http_reset() before the next */
    HTTP_ERROR, /* `error` says which; the stream cannot be resynchronised: answer and close */
};

struct http_request {
    enum http_method method;
    uint8_t minor;        /* HTTP/1.minor: 0, or 1 for any other */
    bool keep_alive;      /* the connection persists after the answer (RFC 9112 9.3) */
    bool expect_continue; /* Expect: 100-continue in a 1.1 request that has content to come */
    bool has_length;      /* Content-Length or chunked was there */
    uint16_t path_len;    /* of the whole path, also where it is longer than what is kept */
    bool is_encoded;      /* Content-Encoding named a coding other than identity (RFC 9110 8.4) */
    char path[HTTP_PATH_BYTES_KEPT]; /* without query; "*" for the asterisk form; not terminated */
};

struct http_error {
    uint16_t status;     /* 400, 413, 414, 431, 501, 505 */
    const char *message; /* a static sentence that names what is wrong; safe inside a JSON string */
};

struct http_body {
    const uint8_t *bytes;
    size_t len;
};

struct http_parser {
    /* Valid from HTTP_READY to http_reset(); the method at once, HTTP_METHOD_OTHER before it. */
    struct http_request request;
    struct http_error error; /* valid after HTTP_ERROR */
    /* The rest is http.c's. */
    uint64_t length;       /* the method's letters, then the value of Content-Length */
    uint32_t remaining;    /* of the content, or of the current chunk */
    uint32_t body_bytes;   /* content announced by the chunks so far */
    uint16_t head_bytes;   /* counted against HTTP_HEAD_BYTES_MAX */
    uint16_t target_bytes; /* counted against HTTP_TARGET_BYTES_MAX */
    uint16_t flags;
    uint8_t state;
    uint8_t field;   /* which field's line is being read */
    uint8_t value;   /* where in the value of that field, or in an authority */
    uint8_t word;    /* which word a list's element may turn out to be */
    uint8_t matched; /* progress within a word, a number of digits or of empty lines */
};

void http_reset(struct http_parser *parser);

/* True while nothing has been taken since http_reset() but empty lines. */
bool http_is_idle(const struct http_parser *parser);

/*
 * Takes *taken of the `len` bytes (len may be 0: HTTP_READY and HTTP_DONE can need no further
 * byte) and says what came of them. With HTTP_READY the last byte taken is the last of the head.
 * After HTTP_DONE and HTTP_ERROR it must not be called before http_reset().
 */
enum http_step http_next(struct http_parser *parser, const uint8_t *bytes, size_t len,
                         size_t *taken, struct http_body *body);

/*
 * Puts a parser that was reset to where HTTP_READY leaves it, for a head that was recognised
 * without it (http_recall.h): `content_len` bytes of content, at most HTTP_BODY_BYTES_MAX, come
 * next.
 */
void http_begin_content(struct http_parser *parser, const struct http_request *request,
                        size_t content_len);

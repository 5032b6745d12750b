/*
 * The bytes of responses: status line, header fields, the date; the prepared 200 of POST /event.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the date (RFC 9110 section 6.6.1) ---- */

#define RESPONSE_DATE_BYTES 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

struct response_date {
    bool known; /* false: responses carry no Date */
    int64_t unix_s;
    char text[RESPONSE_DATE_BYTES];
};

#define RESPONSE_DATE_END 253402300800 /* 10000-01-01, in Unix time */

/* IMF-fixdate (RFC 9110 section 5.6.7); unix_s from 0 to RESPONSE_DATE_END, without it. */
void response_date_set(struct response_date *date, int64_t unix_s);

/* ---- heads ---- */

struct response {
    uint16_t status;
    bool close;         /* says Connection: close */
    bool keep_alive;    /* says Connection: keep-alive, which HTTP/1.0 wants to be told */
    const char *allow;  /* Allow; NULL: none */
    bool retry_after;   /* says Retry-After: 1 (RFC 9110 section 10.2.3) */
    bool no_codings;    /* says Accept-Encoding: identity (RFC 9110 section 12.5.3) */
    const char *type;   /* Content-Type; NULL: none */
    size_t content_len; /* Content-Length, but for 204 */
};

#define RESPONSE_HEAD_BYTES_MAX 256

#define RESPONSE_TYPE_JSON      "application/json"
#define RESPONSE_TYPE_HTML      "text/html; charset=utf-8"
#define RESPONSE_TYPE_METRICS   "text/plain; version=0.0.4; charset=utf-8"

size_t response_print_head(const struct response *response, const struct response_date *date,
                           char head[RESPONSE_HEAD_BYTES_MAX]);

/* Sent before the body is awaited (RFC 9110 section 10.1.1). */
#define RESPONSE_CONTINUE       "HTTP/1.1 100 Continue\r\n\r\n"
#define RESPONSE_CONTINUE_BYTES (sizeof RESPONSE_CONTINUE - 1)

/* ---- the 200 of POST /event, ready to send ---- */

/*
 * Several copies one after another, for a train of pipelined requests is answered in one piece.
 * Made once a second, when the date changes.
 */
#define RESPONSE_OK_BYTES_MAX  96
#define RESPONSE_OK_COPIES_MAX 32

struct response_ok {
    size_t bytes_each;
    char copies[RESPONSE_OK_COPIES_MAX * RESPONSE_OK_BYTES_MAX];
};

void response_ok_prepare(struct response_ok *ok, const struct response_date *date);

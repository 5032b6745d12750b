/*
 * The body of POST /event: strict JSON (RFC 8259), userId and value out.
 *
 * Two ways in, with one meaning:
 *   event_parse()  a whole body in one piece of memory and in the plain form that every client
 *                  sends; says no to anything else, never wrongly yes;
 *   event_feed()   any body, cut anywhere: an incremental parser with bounded state.
 * That they agree wherever event_parse() says yes is held by a differential fuzzer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/text/decimal.h"

#define EVENT_USER_ID_BYTES_MAX 1024 /* decoded, UTF-8; at least 1 */
#define EVENT_NESTING_MAX       128  /* levels below the event's own object */

struct event {
    const uint8_t *user_id; /* decoded bytes; in the body given, or in the parser */
    size_t user_id_len;
    /* Its value, finite: `whole` if is_whole, which is not below 0 and below 2^53; else `value`. */
    bool is_whole;
    int64_t whole;
    double value;
};

static inline double event_value(const struct event *event)
{
    return event->is_whole ? (double)event->whole : event->value;
}

/*
 * The plain form: {"userId":"...","value":N}, members in either order, JSON white space anywhere it
 * may stand, a userId of printable ASCII without escapes, a number of at most 19 digits without an
 * exponent. event->user_id points into `body`. False: nothing is said about the body, and *event is
 * undefined.
 */
__attribute__((warn_unused_result)) bool event_parse(const uint8_t *body, size_t len,
                                                     struct event *event);

enum event_error {
    EVENT_OK,
    EVENT_EMPTY,      /* no body, or white space only */
    EVENT_SYNTAX,     /* not JSON; offset_bytes says where */
    EVENT_UTF8,       /* not UTF-8; offset_bytes */
    EVENT_NESTING,    /* deeper than EVENT_NESTING_MAX; offset_bytes */
    EVENT_TRAILING,   /* something other than white space after the object; offset_bytes */
    EVENT_TRUNCATED,  /* the body ended inside a JSON value; offset_bytes is its length */
    EVENT_NOT_OBJECT, /* JSON, but not an object */
    EVENT_USER_ID_MISSING,
    EVENT_USER_ID_TYPE, /* not a string */
    EVENT_USER_ID_EMPTY,
    EVENT_USER_ID_LONG,
    EVENT_USER_ID_SURROGATE, /* \u escapes with a lone surrogate */
    EVENT_VALUE_MISSING,
    EVENT_VALUE_TYPE,  /* not a number */
    EVENT_VALUE_RANGE, /* its nearest double is not finite */
};

/*
 * Repeated members: the last one counts, also for whether it is acceptable. Names are compared
 * decoded.
 */
struct event_parser; /* defined in event_parser.h for those who hold one */

void event_begin(struct event_parser *parser);

/* Takes all bytes (not NULL). After an error it goes on taking and ignores them. */
void event_feed(struct event_parser *parser, const uint8_t *bytes, size_t len);

/* The body is over. EVENT_OK: *event is valid until the next event_begin(). */
__attribute__((warn_unused_result)) enum event_error event_end(struct event_parser *parser,
                                                               struct event *event);

/* After an error: the byte of the body (from 0) where it was found. */
size_t event_error_offset(const struct event_parser *parser);

/* True for the errors whose offset means something to the client. */
bool event_error_has_offset(enum event_error error);

/* A static sentence, safe inside a JSON string. */
const char *event_error_text(enum event_error error);

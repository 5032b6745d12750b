/*
 * Header fields in the plain form that nearly every client sends, read eight bytes at a time: in
 * front of the machine of http.h, as event_parse() is in front of event_feed(). It may only agree
 * with it: a differential fuzzer holds it to that.
 *
 * A field is plain if it is "Name: value" (or "Name:value"), the name of letters, digits, '-' and
 * '.', the value of visible ASCII and spaces, and if it means nothing to this server. Of those that
 * mean something these are plain:
 *   Host            name[:port], once
 *   Content-Length  up to 5 digits, at most HTTP_BODY_BYTES_MAX, once
 *   Connection      keep-alive, which HTTP/1.1 has anyway
 * Any other field that means something is not, nor are some that only look like one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_PLAIN_SLACK      12 /* bytes that follow the head at least, or it is not read */
#define HTTP_PLAIN_FIELDS_MAX 32 /* that are told one by one */

enum http_plain_meaning { HTTP_PLAIN_NOTHING, HTTP_PLAIN_LENGTH, HTTP_PLAIN_OTHER };

/* A field in a head: offsets in bytes. */
struct http_plain_field {
    uint16_t begin;
    uint16_t value; /* after the colon and a space */
    uint16_t end;   /* the carriage return */
    uint8_t meaning;
};

/* A head with plain fields. */
struct http_plain {
    size_t head_len; /* through the blank line: at most HTTP_HEAD_BYTES_MAX */
    bool has_host;   /* always */
    bool has_length;
    size_t content_len; /* 0 without has_length */
    unsigned fields;
};

/*
 * Reads the fields of a head in `bytes`, of which the first begins at `begin`. Looks at no byte
 * from bytes + len. True if all of them are there and plain, and one is Host. False: nothing is
 * said about the bytes, and *plain is undefined.
 *
 * `fields` has room for HTTP_PLAIN_FIELDS_MAX, and then they are no more; or it is NULL.
 */
__attribute__((warn_unused_result)) bool http_plain_read(const uint8_t *bytes, size_t len,
                                                         size_t begin, struct http_plain *plain,
                                                         struct http_plain_field *fields);

/*
 * Of the first byte in the word that is neither visible ASCII nor a space bit 7 is set, and of some
 * after it, but of none before it.
 */
static inline uint64_t http_plain_unprintable(uint64_t word)
{
    const uint64_t ones = UINT64_MAX / 255;
    return ((word - ones * ' ') | (word + ones)) & (ones * 0x80);
}

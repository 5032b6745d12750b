/*
 * What the files of the HTTP parser share: its states, and the bytes it tells apart. http.c drives
 * the machine and reads the content, http_line.c reads the request line, http_fields.c the fields.
 * Nobody else includes this.
 *
 * A taker reads bytes from `p`, of which there is at least one before `end`; it returns the first
 * that it left, or NULL when it has called http_fail().
 */
#pragma once

#include "app/http/http.h"

/* In this order: states before the head, those counted against its limit, the others. */
enum state {
    STATE_START,
    STATE_START_LF,

    STATE_METHOD,
    STATE_TARGET,
    STATE_SCHEME,
    STATE_AUTHORITY,
    STATE_PATH,
    STATE_QUERY,
    STATE_TARGET_END,
    STATE_VERSION,
    STATE_LINE_LF,
    STATE_FIELD,
    STATE_NAME,
    STATE_VALUE,
    STATE_VALUE_HOST,
    STATE_VALUE_LENGTH,
    STATE_VALUE_LIST,
    STATE_END_LF,
    STATE_EXTENSION_SPACE,
    STATE_EXTENSION_NAME,
    STATE_EXTENSION,

    STATE_READY,
    STATE_SIZE,
    STATE_SIZE_LF,
    STATE_CHUNK_CR,
    STATE_CHUNK_LF,
    STATE_CHUNK,
    STATE_CONTENT,
    STATE_DONE,

    STATE_COUNTED_FIRST = STATE_METHOD,
    STATE_COUNTED_LAST = STATE_EXTENSION,
};

enum flag {
    FLAG_HOST = 1 << 0,
    FLAG_LENGTH = 1 << 1,       /* Content-Length was there */
    FLAG_CODING = 1 << 2,       /* Transfer-Encoding was there */
    FLAG_CHUNKED = 1 << 3,      /* it named chunked */
    FLAG_CODING_OTHER = 1 << 4, /* it named another coding */
    FLAG_CODING_ORDER = 1 << 5, /* it named one after chunked */
    FLAG_CLOSE = 1 << 6,
    FLAG_KEEP_ALIVE = 1 << 7,
    FLAG_CONTINUE = 1 << 8,
    FLAG_TRAILER = 1 << 9,  /* fields are those of a trailer section */
    FLAG_ENCODED = 1 << 10, /* Content-Encoding named another coding than identity */
};

enum field {
    FIELD_OTHER,
    FIELD_HOST,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_ENCODING,
    FIELD_TRANSFER_ENCODING,
    FIELD_EXPECT,
};

/* Where in a host and port: the value of Host, or the authority of an absolute target. */
enum host {
    HOST_START,
    HOST_NAME,
    HOST_LITERAL_START,
    HOST_LITERAL,
    HOST_LITERAL_END,
    HOST_PORT,
    HOST_SPACE, /* after it, in a field */
    HOST_REFUSED,
};

enum byte_class {
    BYTE_TOKEN = 1,  /* RFC 9110 5.6.2: methods, field names, codings */
    BYTE_TARGET = 2, /* of a request target: visible ASCII but '#' (a fragment is never sent) */
    BYTE_HOST = 4,   /* of a registered name or IPv4 address (RFC 3986 3.2.2) */
    BYTE_ALL = BYTE_TOKEN | BYTE_TARGET | BYTE_HOST,
};

extern const uint8_t http_byte_classes[256];

static inline bool byte_is(uint8_t byte, enum byte_class class)
{
    return (http_byte_classes[byte] & class) != 0;
}

static inline bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* Not allowed in a field value (RFC 9110 5.5) nor in a chunk extension. */
static inline bool is_control(uint8_t byte)
{
    return (byte < ' ' && byte != '\t') || byte == 0x7f;
}

static inline bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static inline bool is_hex_digit(uint8_t byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static inline uint32_t hex_digit(uint8_t byte)
{
    return (uint32_t)(is_digit(byte) ? byte - '0' : (byte | 0x20) - 'a' + 10);
}

/* Of letters; other bytes that it changes become none that are compared with. */
static inline uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

/* Returns NULL, for a taker to return. */
const uint8_t *http_fail(struct http_parser *parser, uint16_t status, const char *message);

/* The same for a byte that is wrong where it stands: 400. */
const uint8_t *http_fail_byte(struct http_parser *parser, uint8_t byte, const char *message);

/* The step over one byte of uri-host [ ":" port ]. */
enum host http_host_step(enum host at, uint8_t byte);
bool http_host_may_end(enum host at);

/* ---- http_line.c ---- */
const uint8_t *http_take_method(struct http_parser *parser, const uint8_t *p, const uint8_t *end);
const uint8_t *http_take_target(struct http_parser *parser, const uint8_t *p, const uint8_t *end);
const uint8_t *http_take_version(struct http_parser *parser, const uint8_t *p, const uint8_t *end);

/* ---- http_fields.c ---- */

/* The first byte that may not stand in a field's value or a chunk extension, or `end`. */
const uint8_t *http_skip_value(const uint8_t *p, const uint8_t *end);

const uint8_t *http_take_field(struct http_parser *parser, const uint8_t *p, const uint8_t *end);
const uint8_t *http_take_name(struct http_parser *parser, const uint8_t *p, const uint8_t *end);
const uint8_t *http_take_value(struct http_parser *parser, const uint8_t *p, const uint8_t *end);
const uint8_t *http_take_host(struct http_parser *parser, const uint8_t *p, const uint8_t *end);
const uint8_t *http_take_length(struct http_parser *parser, const uint8_t *p, const uint8_t *end);
const uint8_t *http_take_list(struct http_parser *parser, const uint8_t *p, const uint8_t *end);

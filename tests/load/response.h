/*
 * HTTP responses, as they arrive: an incremental parser that may be given any cut of the stream
 * (RFC 9112). It keeps no text. Content is framed by Content-Length, by the close of the
 * connection, or is absent; a transfer coding is not asked for by this client and counts as
 * malformed, and so does whatever is not a response.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESPONSE_HEAD_BYTES_MAX 16384

enum response_step { RESPONSE_MORE, RESPONSE_DONE, RESPONSE_MALFORMED };

struct response {
    /* Valid after RESPONSE_DONE: */
    uint16_t status;
    bool close;             /* the server closes the connection after this response */
    uint64_t content_bytes; /* length of the content, which is the last that was taken */
    /* The rest is response.c's. */
    uint64_t remaining; /* of the content */
    uint32_t head_bytes;
    uint8_t state;
    uint8_t name_len;  /* of the field's name; over NAME_BYTES_MAX: not one of those known */
    uint8_t value_len; /* likewise, of the value of a field that is known */
    uint8_t field;
    bool has_length;
    bool closes_by_default; /* HTTP/1.0 without keep-alive */
    char word[24];          /* name, then value, in lower case */
};

void response_reset(struct response *response);

/* True while no byte of a response has been taken since the last reset. */
bool response_is_idle(const struct response *response);

/*
 * Takes *taken of the bytes; more than 0 of them. Interim responses (100 to 199) are skipped.
 * After RESPONSE_DONE and RESPONSE_MALFORMED it must be reset before it is called again.
 */
enum response_step response_feed(struct response *response, const char *bytes, size_t len,
                                 size_t *taken);

/* The stream has ended. True if that completes a response (content up to the close). */
bool response_ends_here(const struct response *response);

/*
 * The answers to a stream of equal requests are equal byte for byte for as long as their Date is.
 * The memo holds the bytes of the last one that was 200, kept the connection open and had no
 * content: what begins with the same bytes, head and empty line included, means the same.
 */
#define RESPONSE_MEMO_BYTES_MAX 512

struct response_memo {
    size_t len; /* 0: nothing held */
    char bytes[RESPONSE_MEMO_BYTES_MAX];
};

/* After RESPONSE_DONE of a response that lies whole in bytes[0, len). */
void response_memo_learn(struct response_memo *memo, const struct response *response,
                         const char *bytes, size_t len);

/* How many bytes the remembered response takes at the start of these; 0 if it is not there. */
size_t response_memo_match(const struct response_memo *memo, const char *bytes, size_t len);

/*
 * A byte machine. A state says what the next byte may be; a taker, one a state, takes the bytes it
 * can and moves the state on. Runs that need no decision (a path, a value nobody asked for) are
 * taken by a tight loop within one state, content by no loop at all.
 *
 *     START -> METHOD -> target -> VERSION -> LINE_LF -> FIELD -> NAME -> value
 *                                                ^        |                 |
 *                                                +--------|-----------------+
 *                                                         v
 *     DONE <------- CONTENT <------- READY <----------- END_LF
 *       ^                              v                  ^
 *       |  CHUNK <--- SIZE_LF <------ SIZE                |
 *       |    v          |              ^                  |
 *       |  CHUNK_CR ----|-------> CHUNK_LF                |
 *       |               +-> FIELD ... (trailer section) --+
 *       +---------------------------- after which END_LF leads here
 *
 * Fields are read by the same states in the head and in the trailer section of a chunked body.
 *
 * What is wrong with one byte is said when that byte arrives. What is wrong with the request as a
 * whole is said at the end of its head; there, what could be smuggling (400) is said before what
 * is merely unsupported (501) or too large (413). A limit is passed when the first byte beyond it
 * arrives, so how the bytes were cut cannot change the answer.
 */
#include "app/http/http_machine.h"

#include <assert.h>

const uint8_t http_byte_classes[256] = {
    ['0' ... '9'] = BYTE_ALL,
    ['A' ... 'Z'] = BYTE_ALL,
    ['a' ... 'z'] = BYTE_ALL,
    ['!'] = BYTE_ALL,
    ['$'] = BYTE_ALL,
    ['%'] = BYTE_ALL,
    ['&'] = BYTE_ALL,
    ['\''] = BYTE_ALL,
    ['*'] = BYTE_ALL,
    ['+'] = BYTE_ALL,
    ['-'] = BYTE_ALL,
    ['.'] = BYTE_ALL,
    ['_'] = BYTE_ALL,
    ['~'] = BYTE_ALL,
    ['^'] = BYTE_TOKEN | BYTE_TARGET,
    ['`'] = BYTE_TOKEN | BYTE_TARGET,
    ['|'] = BYTE_TOKEN | BYTE_TARGET,
    ['('] = BYTE_TARGET | BYTE_HOST,
    [')'] = BYTE_TARGET | BYTE_HOST,
    [','] = BYTE_TARGET | BYTE_HOST,
    [';'] = BYTE_TARGET | BYTE_HOST,
    ['='] = BYTE_TARGET | BYTE_HOST,
    ['#'] = BYTE_TOKEN,
    ['"'] = BYTE_TARGET,
    ['/'] = BYTE_TARGET,
    [':'] = BYTE_TARGET,
    ['<'] = BYTE_TARGET,
    ['>'] = BYTE_TARGET,
    ['?'] = BYTE_TARGET,
    ['@'] = BYTE_TARGET,
    ['['] = BYTE_TARGET,
    ['\\'] = BYTE_TARGET,
    [']'] = BYTE_TARGET,
    ['{'] = BYTE_TARGET,
    ['}'] = BYTE_TARGET,
};

const uint8_t *http_fail(struct http_parser *parser, uint16_t status, const char *message)
{
    parser->error = (struct http_error){.status = status, .message = message};
    return NULL;
}

const uint8_t *http_fail_byte(struct http_parser *parser, uint8_t byte, const char *message)
{
    if (byte == '\n')
        return http_fail(parser, 400, "bare line feed");
    return http_fail(parser, 400, message);
}

/* Empty lines before a request are ignored, a few of them (RFC 9112 2.2). */
static const uint8_t *take_start(struct http_parser *parser, const uint8_t *p)
{
    if (*p != '\r') {
        parser->state = STATE_METHOD;
        return p;
    }
    if (parser->matched == HTTP_EMPTY_LINES_MAX)
        return http_fail(parser, 400, "too many empty lines before the request");
    parser->matched++;
    parser->state = STATE_START_LF;
    return p + 1;
}

static const uint8_t *take_line_feed(struct http_parser *parser, const uint8_t *p, enum state then)
{
    if (*p != '\n')
        return http_fail(parser, 400, "bare carriage return");
    parser->state = (uint8_t)then;
    return p + 1;
}

/* ---- the end of the head ---- */

/* What only the whole head can show to be wrong: false, and the error is set. */
static bool check_head(struct http_parser *parser)
{
    const bool has_length = (parser->flags & FLAG_LENGTH) != 0;

    if (parser->request.minor != 0 && (parser->flags & FLAG_HOST) == 0)
        return http_fail(parser, 400, "HTTP/1.1 needs a Host") != NULL;
    if ((parser->flags & FLAG_CODING) != 0) {
        /* What two servers could read in two ways is refused first (RFC 9112 6.1, 6.3, 11.2). */
        if (has_length)
            return http_fail(parser, 400, "both Content-Length and Transfer-Encoding") != NULL;
        if (parser->request.minor == 0)
            return http_fail(parser, 400, "Transfer-Encoding in HTTP/1.0") != NULL;
        if ((parser->flags & FLAG_CODING_ORDER) != 0)
            return http_fail(parser, 400, "chunked is not the last transfer coding") != NULL;
        if ((parser->flags & FLAG_CODING_OTHER) != 0)
            return http_fail(parser, 501, "only chunked is known of transfer codings") != NULL;
    }
    if (has_length && parser->length > HTTP_BODY_BYTES_MAX)
        return http_fail(parser, 413, "content longer than 65536 bytes") != NULL;
    return true;
}

/* The blank line is over: of the head, or of the trailer section. */
static const uint8_t *take_end(struct http_parser *parser, const uint8_t *p)
{
    struct http_request *const request = &parser->request;
    const uint16_t flags = parser->flags;

    p = take_line_feed(parser, p, (flags & FLAG_TRAILER) != 0 ? STATE_DONE : STATE_READY);
    if (p == NULL || (flags & FLAG_TRAILER) != 0)
        return p;
    if (!check_head(parser))
        return NULL;
    const bool has_length = (flags & FLAG_LENGTH) != 0;
    const bool has_chunks = (flags & FLAG_CHUNKED) != 0;
    parser->remaining = has_length ? (uint32_t)parser->length : 0;
    request->has_length = has_length || has_chunks;
    request->is_encoded = (flags & FLAG_ENCODED) != 0;
    request->keep_alive =
        (flags & FLAG_CLOSE) == 0 && (request->minor != 0 || (flags & FLAG_KEEP_ALIVE) != 0);
    /* RFC 9110 10.1.1: not from a 1.0 client, nor where no content will come. */
    request->expect_continue = (flags & FLAG_CONTINUE) != 0 && request->minor != 0 &&
                               (has_chunks || parser->remaining > 0);
    return p;
}

/* After HTTP_READY. */
static void begin_content(struct http_parser *parser)
{
    parser->head_bytes = 0;
    parser->matched = 0;
    if ((parser->flags & FLAG_CHUNKED) != 0)
        parser->state = STATE_SIZE;
    else
        parser->state = parser->remaining > 0 ? STATE_CONTENT : STATE_DONE;
}

/* ---- chunks (RFC 9112 7.1) ---- */

/* 1*HEXDIG, with a bound on leading zeros. What is too much in all is known before it overflows. */
static const uint8_t *take_size(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    enum { DIGITS_MAX = 16 };

    for (; p < end && is_hex_digit(*p); p++) {
        if (parser->matched == DIGITS_MAX)
            return http_fail(parser, 400, "chunk size longer than 16 digits");
        parser->matched++;
        parser->remaining = parser->remaining * 16 + hex_digit(*p);
        if (parser->remaining > HTTP_BODY_BYTES_MAX - parser->body_bytes)
            return http_fail(parser, 413, "content longer than 65536 bytes");
    }
    if (p == end)
        return p;
    if (parser->matched > 0 && *p == '\r') {
        parser->state = STATE_SIZE_LF;
        return p + 1;
    }
    if (parser->matched == 0 || (*p != ';' && !is_space(*p)))
        return http_fail_byte(parser, *p, "malformed chunk size");
    parser->state = STATE_EXTENSION_SPACE; /* takes this byte, because it counts it */
    return p;
}

/* White space and the semicolon before an extension. */
static const uint8_t *take_extension_space(struct http_parser *parser, const uint8_t *p)
{
    if (*p == ';')
        parser->state = STATE_EXTENSION_NAME;
    else if (!is_space(*p))
        return http_fail_byte(parser, *p, "malformed chunk size");
    return p + 1;
}

static const uint8_t *take_extension_name(struct http_parser *parser, const uint8_t *p)
{
    if (byte_is(*p, BYTE_TOKEN))
        parser->state = STATE_EXTENSION;
    else if (!is_space(*p))
        return http_fail_byte(parser, *p, "malformed chunk extension");
    return p + 1;
}

/* Extensions mean nothing here and are skipped; a quoted string cannot hide a line end. */
static const uint8_t *take_extension(struct http_parser *parser, const uint8_t *p,
                                     const uint8_t *end)
{
    p = http_skip_value(p, end);
    if (p == end)
        return p;
    if (*p != '\r')
        return http_fail_byte(parser, *p, "control byte in a chunk extension");
    parser->state = STATE_SIZE_LF;
    return p + 1;
}

static const uint8_t *take_size_end(struct http_parser *parser, const uint8_t *p)
{
    parser->body_bytes += parser->remaining;
    if (parser->remaining > 0)
        return take_line_feed(parser, p, STATE_CHUNK);
    parser->flags |= FLAG_TRAILER;
    return take_line_feed(parser, p, STATE_FIELD);
}

static const uint8_t *take_chunk_end(struct http_parser *parser, const uint8_t *p)
{
    if (*p != '\r')
        return http_fail_byte(parser, *p, "chunk longer than its size");
    parser->matched = 0;
    parser->state = STATE_CHUNK_LF;
    return p + 1;
}

/* ---- the machine ---- */

static const uint8_t *step(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    switch ((enum state)parser->state) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case STATE_START:
        return take_start(parser, p);
    case STATE_START_LF:
        return take_line_feed(parser, p, STATE_START);
    case STATE_METHOD:
        return http_take_method(parser, p, end);
    case STATE_TARGET:
    case STATE_SCHEME:
    case STATE_AUTHORITY:
    case STATE_PATH:
    case STATE_QUERY:
    case STATE_TARGET_END:
        return http_take_target(parser, p, end);
    case STATE_VERSION:
        return http_take_version(parser, p, end);
    case STATE_LINE_LF:
        return take_line_feed(parser, p, STATE_FIELD);
    case STATE_FIELD:
        return http_take_field(parser, p, end);
    case STATE_NAME:
        return http_take_name(parser, p, end);
    case STATE_VALUE:
        return http_take_value(parser, p, end);
    case STATE_VALUE_HOST:
        return http_take_host(parser, p, end);
    case STATE_VALUE_LENGTH:
        return http_take_length(parser, p, end);
    case STATE_VALUE_LIST:
        return http_take_list(parser, p, end);
    case STATE_END_LF:
        return take_end(parser, p);
    case STATE_EXTENSION_SPACE:
        return take_extension_space(parser, p);
    case STATE_EXTENSION_NAME:
        return take_extension_name(parser, p);
    case STATE_EXTENSION:
        return take_extension(parser, p, end);
    case STATE_SIZE:
        return take_size(parser, p, end);
    case STATE_SIZE_LF:
        return take_size_end(parser, p);
    case STATE_CHUNK_CR:
        return take_chunk_end(parser, p);
    case STATE_CHUNK_LF:
        return take_line_feed(parser, p, STATE_SIZE);
    case STATE_READY: /* GCOVR_EXCL_START: no byte is taken in these */
    case STATE_CHUNK:
    case STATE_CONTENT:
    case STATE_DONE:
        break;
    } /* GCOVR_EXCL_STOP */
    assert(!"http: a state without a taker");
    return NULL;
}

static bool is_counted(const struct http_parser *parser)
{
    return parser->state >= STATE_COUNTED_FIRST && parser->state <= STATE_COUNTED_LAST;
}

/* As many steps as there are bytes for among those that count against the limit of the head. */
static const uint8_t *run_counted(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    const size_t room = HTTP_HEAD_BYTES_MAX - (size_t)parser->head_bytes;
    const uint8_t *const stop = (size_t)(end - p) > room ? p + room : end;
    const uint8_t *const begin = p;

    while (p != NULL && p < stop && is_counted(parser))
        p = step(parser, p, stop);
    if (p == NULL)
        return NULL;
    if (p < end && is_counted(parser))
        return http_fail(parser, 431, "header section longer than 8192 bytes");
    parser->head_bytes = (uint16_t)(parser->head_bytes + (p - begin));
    return p;
}

/* Content is not looked at: as much of it as there is, in one piece. */
static const uint8_t *run_content(struct http_parser *parser, const uint8_t *p, const uint8_t *end,
                                  struct http_body *body)
{
    const size_t given = (size_t)(end - p);
    const uint32_t len = given < parser->remaining ? (uint32_t)given : parser->remaining;

    *body = (struct http_body){.bytes = p, .len = len};
    parser->remaining -= len;
    if (parser->remaining == 0)
        parser->state = parser->state == STATE_CHUNK ? STATE_CHUNK_CR : STATE_DONE;
    return p + len;
}

enum http_step http_next(struct http_parser *parser, const uint8_t *bytes, size_t len,
                         size_t *taken, struct http_body *body)
{
    const uint8_t *const end = bytes + len;
    const uint8_t *p = bytes;
    enum http_step result = HTTP_MORE;

    while (p < end && parser->state < STATE_CHUNK && parser->state != STATE_READY) {
        p = is_counted(parser) ? run_counted(parser, p, end) : step(parser, p, end);
        if (p == NULL) {
            *taken = len;
            return HTTP_ERROR;
        }
    }
    if (parser->state == STATE_READY) {
        begin_content(parser);
        result = HTTP_READY;
    } else if (parser->state == STATE_DONE) {
        result = HTTP_DONE;
    } else if (p < end) {
        p = run_content(parser, p, end, body);
        result = HTTP_BODY;
    }
    *taken = (size_t)(p - bytes);
    return result;
}

void http_begin_content(struct http_parser *parser, const struct http_request *request,
                        size_t content_len)
{
    assert(parser->state == STATE_START && content_len <= HTTP_BODY_BYTES_MAX);
    parser->request = *request;
    parser->remaining = (uint32_t)content_len;
    begin_content(parser);
}

void http_reset(struct http_parser *parser)
{
    parser->request.method = HTTP_METHOD_OTHER;
    parser->request.path_len = 0;
    parser->length = 0;
    parser->remaining = 0;
    parser->body_bytes = 0;
    parser->head_bytes = 0;
    parser->target_bytes = 0;
    parser->flags = 0;
    parser->matched = 0;
    parser->state = STATE_START;
}

bool http_is_idle(const struct http_parser *parser)
{
    return parser->state == STATE_START;
}

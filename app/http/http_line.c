/*
 * The request line (RFC 9112 3): method, target, version. Of the target only the path is kept.
 */
#include "app/http/http_machine.h"

static uint64_t packed(const char *word)
{
    uint64_t letters = 0;

    while (*word != '\0')
        letters = letters << 8 | (uint8_t)*word++;
    return letters;
}

/* A longer method than those known keeps a letter above theirs, so it equals none of them. */
static enum http_method method_of(uint64_t letters)
{
    if (letters == packed("POST"))
        return HTTP_POST;
    if (letters == packed("GET"))
        return HTTP_GET;
    if (letters == packed("HEAD"))
        return HTTP_HEAD;
    if (letters == packed("OPTIONS"))
        return HTTP_OPTIONS;
    return HTTP_METHOD_OTHER;
}

const uint8_t *http_take_method(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    for (; p < end && byte_is(*p, BYTE_TOKEN); p++)
        parser->length = parser->length << 8 | *p;
    if (p == end)
        return p;
    if (*p != ' ' || parser->length == 0)
        return http_fail_byte(parser, *p, "malformed method");
    parser->request.method = method_of(parser->length);
    parser->state = STATE_TARGET;
    return p + 1;
}

/* uri-host [ ":" port ] (RFC 9110 7.2), checked for plausible bytes in plausible places. */
enum host http_host_step(enum host at, uint8_t byte)
{
    switch (at) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case HOST_START:
        if (byte == '[')
            return HOST_LITERAL_START;
        return byte_is(byte, BYTE_HOST) ? HOST_NAME : HOST_REFUSED;
    case HOST_NAME:
        if (byte == ':')
            return HOST_PORT;
        return byte_is(byte, BYTE_HOST) ? HOST_NAME : HOST_REFUSED;
    case HOST_LITERAL_START:
    case HOST_LITERAL:
        if (byte == ']' && at == HOST_LITERAL)
            return HOST_LITERAL_END;
        return byte == ':' || byte_is(byte, BYTE_HOST) ? HOST_LITERAL : HOST_REFUSED;
    case HOST_LITERAL_END:
        return byte == ':' ? HOST_PORT : HOST_REFUSED;
    case HOST_PORT:
        return is_digit(byte) ? HOST_PORT : HOST_REFUSED;
    case HOST_SPACE:
    case HOST_REFUSED:
        break;
    }
    return HOST_REFUSED;
}

bool http_host_may_end(enum host at)
{
    return at == HOST_NAME || at == HOST_LITERAL_END || at == HOST_PORT || at == HOST_SPACE;
}

static void path_append(struct http_request *request, uint8_t byte)
{
    if (request->path_len < HTTP_PATH_BYTES_KEPT)
        request->path[request->path_len] = (char)byte;
    request->path_len++;
}

/* The first byte of a target says which form it has (RFC 9112 3.2). */
static const uint8_t *run_target(struct http_parser *parser, const uint8_t *p)
{
    if (*p == '/') {
        parser->state = STATE_PATH;
    } else if (*p == 'h' || *p == 'H') {
        parser->state = STATE_SCHEME;
        parser->matched = 0;
    } else if (*p == '*') {
        parser->state = STATE_TARGET_END;
        path_append(&parser->request, *p++);
    }
    return p;
}

static const uint8_t *run_scheme(struct http_parser *parser, const uint8_t *p, const uint8_t *stop)
{
    static const char scheme[] = "http://";

    for (; p < stop && lower(*p) == (uint8_t)scheme[parser->matched]; p++) {
        if (++parser->matched < sizeof scheme - 1)
            continue;
        parser->state = STATE_AUTHORITY;
        parser->value = HOST_START;
        return p + 1;
    }
    return p;
}

/* An authority; an empty path after it means "/" (RFC 9110 4.2.3). */
static const uint8_t *run_authority(struct http_parser *parser, const uint8_t *p,
                                    const uint8_t *end, const uint8_t *stop)
{
    for (; p < stop; p++) {
        const enum host at = http_host_step(parser->value, *p);
        if (at == HOST_REFUSED)
            break;
        parser->value = (uint8_t)at;
    }
    if (p == end || !http_host_may_end(parser->value))
        return p;
    if (*p == '/') {
        parser->state = STATE_PATH;
    } else if (*p == '?' || *p == ' ') {
        path_append(&parser->request, '/');
        parser->state = *p == '?' ? STATE_QUERY : STATE_TARGET_END;
    }
    return p;
}

static const uint8_t *run_path(struct http_parser *parser, const uint8_t *p, const uint8_t *stop)
{
    for (; p < stop && byte_is(*p, BYTE_TARGET); p++) {
        if (*p == '?') {
            parser->state = STATE_QUERY;
            break;
        }
        path_append(&parser->request, *p);
    }
    return p;
}

static const uint8_t *run_query(const uint8_t *p, const uint8_t *stop)
{
    while (p < stop && byte_is(*p, BYTE_TARGET))
        p++;
    return p;
}

/* The runs take the bytes that their part of the target may have, and stop at any other. */
const uint8_t *http_take_target(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    const size_t room = HTTP_TARGET_BYTES_MAX - (size_t)parser->target_bytes;
    const uint8_t *const stop = (size_t)(end - p) > room ? p + room : end;
    const uint8_t *const begin = p;
    const enum state state = parser->state;

    if (state == STATE_PATH)
        p = run_path(parser, p, stop);
    else if (state == STATE_QUERY)
        p = run_query(p, stop);
    else if (state == STATE_TARGET)
        p = run_target(parser, p);
    else if (state == STATE_SCHEME)
        p = run_scheme(parser, p, stop);
    else if (state == STATE_AUTHORITY)
        p = run_authority(parser, p, end, stop);
    parser->target_bytes = (uint16_t)(parser->target_bytes + (p - begin));

    if (p == end || parser->state != state)
        return p;
    if (*p == ' ' && (state == STATE_PATH || state == STATE_QUERY || state == STATE_TARGET_END)) {
        parser->state = STATE_VERSION;
        parser->matched = 0;
        return p + 1;
    }
    if (p == stop && byte_is(*p, BYTE_TARGET))
        return http_fail(parser, 414, "request target longer than 2048 bytes");
    if (state == STATE_TARGET)
        return http_fail_byte(parser, *p, "request target is neither a path nor an http URI");
    return http_fail_byte(parser, *p, "malformed request target");
}

/* HTTP/1.x and the end of the line. "*" is for OPTIONS only (RFC 9112 3.2.4). */
const uint8_t *http_take_version(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    static const char version[] = "HTTP/1.";
    enum { MAJOR = 5, MINOR = 7 }; /* the places of the digits */
    struct http_request *const request = &parser->request;

    for (; p < end && parser->matched < MINOR; parser->matched++, p++) {
        if (parser->matched == MAJOR && is_digit(*p) && *p != '1')
            return http_fail(parser, 505, "only HTTP/1.x is spoken here");
        if (*p != (uint8_t)version[parser->matched])
            return http_fail_byte(parser, *p, "malformed HTTP version");
    }
    if (p == end)
        return p;
    if (parser->matched == MINOR) {
        if (!is_digit(*p))
            return http_fail_byte(parser, *p, "malformed HTTP version");
        request->minor = *p != '0';
    } else {
        if (*p != '\r')
            return http_fail_byte(parser, *p, "malformed HTTP version");
        if (request->path[0] == '*' && request->method != HTTP_OPTIONS)
            return http_fail(parser, 400, "the target * is for OPTIONS only");
        parser->state = STATE_LINE_LF;
    }
    parser->matched++;
    return p + 1;
}

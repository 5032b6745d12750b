/*
 * Fields (RFC 9112 5), of the head and of the trailer section. Of the head only a few have a
 * meaning here. A name is compared, while it arrives, with at most one word: the one that its
 * letters so far have left. Fields of a trailer section have no meaning (RFC 9110 6.5.1): they
 * are read for their form.
 */
#include "app/http/http_machine.h"

#include <string.h>

static const char field_names[][20] = {
    [FIELD_OTHER] = "",
    [FIELD_HOST] = "host",
    [FIELD_CONNECTION] = "connection",
    [FIELD_CONTENT_LENGTH] = "content-length",
    [FIELD_CONTENT_ENCODING] = "content-encoding",
    [FIELD_TRANSFER_ENCODING] = "transfer-encoding",
    [FIELD_EXPECT] = "expect",
};

/* The field whose name may begin with this letter; of several, the one that is first. */
static enum field field_beginning_with(uint8_t byte)
{
    switch (lower(byte)) {
    case 'h':
        return FIELD_HOST;
    case 'c':
        return FIELD_CONNECTION;
    case 't':
        return FIELD_TRANSFER_ENCODING;
    case 'e':
        return FIELD_EXPECT;
    default:
        return FIELD_OTHER;
    }
}

const uint8_t *http_take_field(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    if (byte_is(*p, BYTE_TOKEN)) {
        const bool trailer = (parser->flags & FLAG_TRAILER) != 0;
        parser->field = trailer ? FIELD_OTHER : (uint8_t)field_beginning_with(*p);
        parser->matched = 0;
        parser->state = STATE_NAME;
        return http_take_name(parser, p, end);
    }
    if (*p == '\r') {
        parser->state = STATE_END_LF;
        return p + 1;
    }
    if (is_space(*p))
        return http_fail(parser, 400, "folded header field or white space before one");
    if (*p == ':')
        return http_fail(parser, 400, "header field without a name");
    return http_fail_byte(parser, *p, "malformed header field name");
}

/* The field whose name shares its first letters with another's, but goes on with this letter. */
static enum field field_parting_from(enum field field, size_t matched, uint8_t letter)
{
    if (field == FIELD_CONNECTION && matched == sizeof "con" - 1 && letter == 't')
        return FIELD_CONTENT_LENGTH;
    if (field == FIELD_CONTENT_LENGTH && matched == sizeof "content-" - 1 && letter == 'e')
        return FIELD_CONTENT_ENCODING;
    return FIELD_OTHER;
}

/*
 * Goes on as long as the letters are those of the word, or of one that parts from it here. No byte
 * of a name is NUL, so none equals what ends the word.
 */
static const uint8_t *match_name(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    const char *name = field_names[parser->field];
    size_t matched = parser->matched;

    for (; p < end && byte_is(*p, BYTE_TOKEN); p++, matched++) {
        const uint8_t letter = lower(*p);
        if (letter == (uint8_t)name[matched])
            continue;
        parser->field = (uint8_t)field_parting_from(parser->field, matched, letter);
        if (parser->field == FIELD_OTHER)
            break;
        name = field_names[parser->field];
    }
    parser->matched = (uint8_t)matched;
    return p;
}

/* What the colon after a name begins. */
static const uint8_t *begin_value(struct http_parser *parser, const uint8_t *p)
{
    /* Only the start of a word is no field that means anything. */
    if (field_names[parser->field][parser->matched] != '\0')
        parser->field = FIELD_OTHER;
    parser->value = 0;
    switch ((enum field)parser->field) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case FIELD_OTHER:
        parser->state = STATE_VALUE;
        break;
    case FIELD_HOST:
        if ((parser->flags & FLAG_HOST) != 0)
            return http_fail(parser, 400, "repeated Host");
        parser->flags |= FLAG_HOST;
        parser->state = STATE_VALUE_HOST;
        break;
    case FIELD_CONTENT_LENGTH:
        if ((parser->flags & FLAG_LENGTH) != 0)
            return http_fail(parser, 400, "repeated Content-Length");
        parser->flags |= FLAG_LENGTH;
        parser->length = 0;
        parser->state = STATE_VALUE_LENGTH;
        break;
    case FIELD_TRANSFER_ENCODING:
        parser->flags |= FLAG_CODING;
        parser->state = STATE_VALUE_LIST;
        break;
    case FIELD_CONNECTION:
    case FIELD_CONTENT_ENCODING:
    case FIELD_EXPECT:
        parser->state = STATE_VALUE_LIST;
        break;
    }
    return p + 1;
}

const uint8_t *http_take_name(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    if (parser->field != FIELD_OTHER)
        p = match_name(parser, p, end);
    while (p < end && byte_is(*p, BYTE_TOKEN))
        p++;
    if (p == end)
        return p;
    if (*p == ':')
        return begin_value(parser, p);
    if (is_space(*p))
        return http_fail(parser, 400, "white space before the colon of a header field");
    return http_fail_byte(parser, *p, "malformed header field name");
}

/* The end of any value: a carriage return (and what must follow it), or a byte out of place. */
static const uint8_t *end_value(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    if (*p != '\r')
        return http_fail_byte(parser, *p, "control byte in a header field");
    if (end - p > 1 && p[1] == '\n') {
        parser->state = STATE_FIELD;
        return p + 2;
    }
    parser->state = STATE_LINE_LF;
    return p + 1;
}

/* The first byte from `p` that is a control (tabs too), or less than 8 bytes before `end`. */
static const uint8_t *skip_visible(const uint8_t *p, const uint8_t *end)
{
    const uint64_t ones = UINT64_MAX / 255;

    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        /* Top bits: of bytes below ' ', of those that are DEL, of some above such a byte. */
        const uint64_t deleted = word ^ (ones * 0x7f);
        const uint64_t below = (word - ones * ' ') & ~word;
        if (((below | ((deleted - ones) & ~deleted)) & (ones * 0x80)) != 0)
            break;
        p += 8;
    }
    return p;
}

const uint8_t *http_skip_value(const uint8_t *p, const uint8_t *end)
{
    do {
        p = skip_visible(p, end);
        for (size_t i = 0; i < 8 && p < end && !is_control(*p); i++)
            p++;
    } while (p < end && !is_control(*p));
    return p;
}

/* A value that nobody asked for. */
const uint8_t *http_take_value(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    p = http_skip_value(p, end);
    return p == end ? p : end_value(parser, p, end);
}

/* Once, and plausible (RFC 9112 3.2); http_host_step() says what is. */
const uint8_t *http_take_host(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    enum host at = parser->value;

    for (; p < end && !is_control(*p); p++) {
        if (at == HOST_NAME && byte_is(*p, BYTE_HOST))
            continue;
        if (is_space(*p))
            at = at == HOST_START ? HOST_START : http_host_may_end(at) ? HOST_SPACE : HOST_REFUSED;
        else
            at = http_host_step(at, *p);
        if (at == HOST_REFUSED)
            return http_fail(parser, 400, "malformed Host");
    }
    parser->value = (uint8_t)at;
    if (p == end)
        return p;
    /* Empty is well-formed (RFC 9112 3.2: what a client sends that has no authority to name). */
    if (*p == '\r' && at != HOST_START && !http_host_may_end(at))
        return http_fail(parser, 400, "malformed Host");
    return end_value(parser, p, end);
}

/* 1*DIGIT and nothing else (RFC 9110 8.6, which allows refusing a list of equal numbers). */
const uint8_t *http_take_length(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    enum { BEFORE, DIGITS, AFTER };

    for (; p < end && !is_control(*p); p++) {
        if (is_space(*p)) {
            if (parser->value == DIGITS)
                parser->value = AFTER;
            continue;
        }
        if (!is_digit(*p) || parser->value == AFTER)
            return http_fail(parser, 400, "Content-Length is not a number");
        const uint64_t digit = (uint64_t)(*p - '0');
        if (parser->length > (INT64_MAX - digit) / 10)
            return http_fail(parser, 400, "Content-Length is too large to be meant");
        parser->length = parser->length * 10 + digit;
        parser->value = DIGITS;
    }
    if (p == end)
        return p;
    if (*p == '\r' && parser->value == BEFORE)
        return http_fail(parser, 400, "empty Content-Length");
    return end_value(parser, p, end);
}

/* ---- lists of words: Connection, Content-Encoding, Transfer-Encoding, Expect ---- */

enum word { WORD_NONE, WORD_CLOSE, WORD_KEEP_ALIVE, WORD_CHUNKED, WORD_IDENTITY, WORD_CONTINUE };

static const char words[][16] = {
    [WORD_NONE] = "",           [WORD_CLOSE] = "close",       [WORD_KEEP_ALIVE] = "keep-alive",
    [WORD_CHUNKED] = "chunked", [WORD_IDENTITY] = "identity", [WORD_CONTINUE] = "100-continue",
};

enum list {
    LIST_START,      /* before an element */
    LIST_ELEMENT,    /* in it */
    LIST_AFTER,      /* white space after it */
    LIST_PARAMETERS, /* after its semicolon */
};

static enum word word_beginning_with(enum field field, uint8_t byte)
{
    if (field == FIELD_TRANSFER_ENCODING)
        return WORD_CHUNKED;
    if (field == FIELD_CONTENT_ENCODING)
        return WORD_IDENTITY;
    if (field == FIELD_EXPECT)
        return WORD_CONTINUE;
    return lower(byte) == 'c' ? WORD_CLOSE : WORD_KEEP_ALIVE;
}

/* The element in hand is complete, at a comma or at the end of the value. */
static void end_element(struct http_parser *parser)
{
    const enum word word =
        words[parser->word][parser->matched] == '\0' ? (enum word)parser->word : WORD_NONE;

    if (parser->field == FIELD_TRANSFER_ENCODING) {
        if ((parser->flags & FLAG_CHUNKED) != 0)
            parser->flags |= FLAG_CODING_ORDER;
        parser->flags |= word == WORD_CHUNKED ? FLAG_CHUNKED : FLAG_CODING_OTHER;
    } else if (parser->field == FIELD_CONTENT_ENCODING) {
        if (word != WORD_IDENTITY)
            parser->flags |= FLAG_ENCODED;
    } else if (word == WORD_CLOSE) {
        parser->flags |= FLAG_CLOSE;
    } else if (word == WORD_KEEP_ALIVE) {
        parser->flags |= FLAG_KEEP_ALIVE;
    } else if (word == WORD_CONTINUE) {
        parser->flags |= FLAG_CONTINUE;
    }
}

/* One more byte of an element: false if the element is malformed by it. */
static bool list_step(struct http_parser *parser, uint8_t byte)
{
    const enum list at = parser->value;

    if (at == LIST_PARAMETERS)
        return true;
    if (at == LIST_START) {
        parser->word = (uint8_t)word_beginning_with(parser->field, byte);
        parser->matched = 0;
        parser->value = LIST_ELEMENT;
    }
    const char expected = words[parser->word][parser->matched];
    if (at != LIST_AFTER && lower(byte) == (uint8_t)expected) {
        parser->matched++;
        return true;
    }
    /* Not a word of ours; if one is complete, a parameter is no part of it (RFC 9112 7.1). */
    const bool takes_none = parser->word != WORD_NONE && expected == '\0';
    parser->word = WORD_NONE;
    parser->matched = 0;
    if (byte == ';') {
        parser->value = LIST_PARAMETERS;
        return at != LIST_START && !takes_none;
    }
    return at != LIST_AFTER && byte_is(byte, BYTE_TOKEN);
}

/*
 * Elements between commas (RFC 9110 5.6.1). Of Connection and Expect whatever is not known is
 * ignored; of Content-Encoding it is a coding that cannot be undone, whatever its form.
 * Transfer-Encoding decides where the request ends, so there nothing is let pass that another
 * server could read in another way.
 */
const uint8_t *http_take_list(struct http_parser *parser, const uint8_t *p, const uint8_t *end)
{
    const bool strict = parser->field == FIELD_TRANSFER_ENCODING;

    for (; p < end && !is_control(*p); p++) {
        if (*p == ',') {
            if (parser->value != LIST_START)
                end_element(parser);
            else if (strict)
                return http_fail(parser, 400, "empty element in Transfer-Encoding");
            parser->value = LIST_START;
        } else if (is_space(*p)) {
            if (parser->value == LIST_ELEMENT)
                parser->value = LIST_AFTER;
        } else if (!list_step(parser, *p) && strict) {
            return http_fail(parser, 400, "malformed Transfer-Encoding");
        }
    }
    if (p == end)
        return p;
    if (*p == '\r' && parser->value != LIST_START)
        end_element(parser);
    else if (*p == '\r' && strict)
        return http_fail(parser, 400, "empty element in Transfer-Encoding");
    return end_value(parser, p, end);
}

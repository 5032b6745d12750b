/*
 * JSON (RFC 8259) as a machine that takes a byte at a time, or runs of bytes where a run is all of
 * one kind. Its states are in four groups, each with a function of its own that takes bytes until
 * it has a reason to leave the group:
 *
 *   take_token    between values: brackets, commas, colons, and the first byte of every value
 *   take_string   within quotes: plain runs, escapes, UTF-8
 *   take_number
 *   take_literal  true, false, null
 *
 * Instead of a stack, a bit for each open bracket says which kind it is. Nothing is built but
 * the two members of the event's own object, and the name being read: of that, only as many bytes
 * as the longest name of interest has, since names are compared decoded ("user\u0049d" is userId).
 *
 * Whether userId and value are acceptable is decided for the last of each only, when the body is
 * over: before that, a later member may replace it.
 */
#include "app/event/event_parser.h"

#include <math.h>

#include "app/event/event_scan.h"
#include "app/event/event_text.h"

enum state {
    /* take_token */
    STATE_START,       /* nothing but white space so far */
    STATE_VALUE,       /* a value must come */
    STATE_FIRST_VALUE, /* after '[': a value or ']' */
    STATE_NAME,        /* after ',' in an object: a name must come */
    STATE_FIRST_NAME,  /* after '{': a name or '}' */
    STATE_COLON,       /* after a name */
    STATE_AFTER_VALUE, /* ',' or the closing bracket */
    STATE_DONE,        /* white space only */
    /* take_string */
    STATE_STRING,
    STATE_ESCAPE, /* after '\' */
    STATE_HEX,    /* within \uXXXX */
    STATE_UTF8,   /* within a sequence of several bytes */
    /* take_number; the comment says what has been read */
    STATE_MINUS,    /* - */
    STATE_ZERO,     /* 0 */
    STATE_INTEGER,  /* 12 */
    STATE_POINT,    /* 12. */
    STATE_FRACTION, /* 12.5 */
    STATE_E,        /* 12.5e */
    STATE_E_SIGN,   /* 12.5e- */
    STATE_EXPONENT, /* 12.5e-7 */
    /* take_literal */
    STATE_LITERAL,

    STATE_FAILED,
};

void event_begin(struct event_parser *parser)
{
    parser->offset_bytes = 0;
    parser->state = STATE_START;
    parser->member = EVENT_MEMBER_OTHER;
    parser->depth = 0;
    parser->surrogate = 0;
    parser->is_object = false;
    parser->error = EVENT_OK;
    parser->user_id_error = EVENT_USER_ID_MISSING;
    parser->value_error = EVENT_VALUE_MISSING;
    parser->user_id_len = 0;
}

/* Returns `at`: that byte is the offending one, and the last that is looked at. */
static const uint8_t *fail(struct event_parser *parser, enum event_error error, const uint8_t *at)
{
    parser->state = STATE_FAILED;
    parser->error = (uint8_t)error;
    return at;
}

static bool in_object(const struct event_parser *parser)
{
    const unsigned level = parser->depth - 1u;
    return (parser->brackets[level / 8] >> level % 8 & 1) != 0;
}

static void end_value(struct event_parser *parser)
{
    parser->state = parser->depth == 0 ? STATE_DONE : STATE_AFTER_VALUE;
}

/* ---- Strings ---- */

static void begin_string(struct event_parser *parser, enum event_text text)
{
    parser->state = STATE_STRING;
    event_text_begin(parser, text);
}

static void end_string(struct event_parser *parser)
{
    event_text_end(parser);
    if (parser->text == EVENT_TEXT_NAME)
        parser->state = STATE_COLON;
    else
        end_value(parser);
}

/* The first byte that is not simply to be copied. */
static const uint8_t *skip_plain(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 8; at += 8) {
        const uint64_t special = event_special_bytes(bytes_load64(at));
        if (special != 0)
            return at + event_first_special(special);
    }
    while (at < end && *at >= ' ' && *at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

/*
 * The bounds of the second byte shut out overlong forms, surrogates and what is beyond U+10FFFF
 * (RFC 3629 s.4).
 */
static const uint8_t *begin_utf8(struct event_parser *parser, const uint8_t *at)
{
    const uint8_t lead = *at;
    if (lead < 0xc2 || lead > 0xf4)
        return fail(parser, EVENT_UTF8, at);
    parser->utf8_left = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    parser->utf8_min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    parser->utf8_max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    parser->state = STATE_UTF8;
    event_text_put(parser, at, 1);
    return at + 1;
}

static const uint8_t *take_utf8(struct event_parser *parser, const uint8_t *at)
{
    if (*at < parser->utf8_min || *at > parser->utf8_max)
        return fail(parser, EVENT_UTF8, at);
    parser->utf8_min = 0x80;
    parser->utf8_max = 0xbf;
    if (--parser->utf8_left == 0)
        parser->state = STATE_STRING;
    event_text_put(parser, at, 1);
    return at + 1;
}

static const uint8_t *take_escape(struct event_parser *parser, const uint8_t *at)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (*at == 'u') {
        parser->state = STATE_HEX;
        parser->hex_digits = 0;
        parser->code_unit = 0;
        return at + 1;
    }
    const char *const letter = memchr(letters, *at, sizeof letters - 1);
    if (letter == NULL)
        return fail(parser, EVENT_SYNTAX, at);
    event_text_end_surrogate(parser);
    event_text_put(parser, (const uint8_t *)&meanings[letter - letters], 1);
    parser->state = STATE_STRING;
    return at + 1;
}

static const uint8_t *take_hex(struct event_parser *parser, const uint8_t *at)
{
    const uint8_t lower = *at | 0x20;
    unsigned digit;
    if (event_is_digit(*at))
        digit = *at - (unsigned)'0';
    else if (lower >= 'a' && lower <= 'f')
        digit = lower - (unsigned)'a' + 10;
    else
        return fail(parser, EVENT_SYNTAX, at);
    parser->code_unit = (uint16_t)((unsigned)parser->code_unit << 4 | digit);
    if (++parser->hex_digits == 4) {
        parser->state = STATE_STRING;
        event_text_put_code_unit(parser, parser->code_unit);
    }
    return at + 1;
}

static const uint8_t *take_string(struct event_parser *parser, const uint8_t *at,
                                  const uint8_t *end)
{
    const uint8_t *const stop = skip_plain(at, end);
    if (stop != at) {
        event_text_end_surrogate(parser);
        event_text_put(parser, at, (size_t)(stop - at));
        return stop;
    }
    if (*at == '\\') {
        parser->state = STATE_ESCAPE;
        return at + 1;
    }
    event_text_end_surrogate(parser);
    if (*at == '"') {
        end_string(parser);
        return at + 1;
    }
    if (*at < ' ')
        return fail(parser, EVENT_SYNTAX, at);
    return begin_utf8(parser, at);
}

/* ---- Numbers ---- */

static bool number_is_complete(enum state state)
{
    return state == STATE_ZERO || state == STATE_INTEGER || state == STATE_FRACTION ||
           state == STATE_EXPONENT;
}

/* RFC 8259 s.6: the state after a byte, or STATE_FAILED where the number cannot go on with it. */
static enum state number_next(enum state state, uint8_t byte)
{
    const bool digit = event_is_digit(byte), exponent = byte == 'e' || byte == 'E';
    switch (state) {
    case STATE_MINUS:
        return byte == '0' ? STATE_ZERO : digit ? STATE_INTEGER : STATE_FAILED;
    case STATE_ZERO:
        return byte == '.' ? STATE_POINT : exponent ? STATE_E : STATE_FAILED;
    case STATE_INTEGER:
        return digit         ? STATE_INTEGER
               : byte == '.' ? STATE_POINT
               : exponent    ? STATE_E
                             : STATE_FAILED;
    case STATE_POINT:
        return digit ? STATE_FRACTION : STATE_FAILED;
    case STATE_FRACTION:
        return digit ? STATE_FRACTION : exponent ? STATE_E : STATE_FAILED;
    case STATE_E:
        if (byte == '+' || byte == '-')
            return STATE_E_SIGN;
        return digit ? STATE_EXPONENT : STATE_FAILED;
    default: /* STATE_E_SIGN, STATE_EXPONENT */
        return digit ? STATE_EXPONENT : STATE_FAILED;
    }
}

static void put_number(struct decimal *value, enum state state, uint8_t byte)
{
    const unsigned digit = byte - (unsigned)'0';
    if (state == STATE_ZERO || state == STATE_INTEGER)
        decimal_add_integer_digit(value, digit);
    else if (state == STATE_FRACTION)
        decimal_add_fraction_digit(value, digit);
    else if (state == STATE_EXPONENT)
        decimal_add_exponent_digit(value, digit);
    else if (state == STATE_E_SIGN)
        value->exponent_negative = byte == '-';
}

/* Only the byte after a number tells that it is over: that one is left to take_token(). */
static const uint8_t *take_number(struct event_parser *parser, const uint8_t *at,
                                  const uint8_t *end)
{
    const bool is_value = parser->member == EVENT_MEMBER_VALUE && parser->depth == 1;
    enum state state = parser->state;
    for (; at < end; at++) {
        const enum state next = number_next(state, *at);
        if (next == STATE_FAILED)
            break;
        if (is_value)
            put_number(&parser->value, next, *at);
        state = next;
    }
    parser->state = (uint8_t)state;
    if (at == end)
        return at;
    if (!number_is_complete(state))
        return fail(parser, EVENT_SYNTAX, at);
    end_value(parser);
    return at;
}

/* ---- true, false, null ---- */

static const char *const literals[] = {"true", "false", "null"};

static const uint8_t *take_literal(struct event_parser *parser, const uint8_t *at)
{
    const char *const literal = literals[parser->literal];
    if (*at != (uint8_t)literal[parser->literal_matched])
        return fail(parser, EVENT_SYNTAX, at);
    if (literal[++parser->literal_matched] == '\0')
        end_value(parser);
    return at + 1;
}

/* ---- Between values ---- */

static const uint8_t *open_bracket(struct event_parser *parser, const uint8_t *at)
{
    const unsigned level = parser->depth;
    if (level > EVENT_NESTING_MAX)
        return fail(parser, EVENT_NESTING, at);
    const bool object = *at == '{';
    const uint8_t bit = (uint8_t)(1u << level % 8);
    uint8_t *const brackets = &parser->brackets[level / 8];
    *brackets = (uint8_t)(object ? *brackets | bit : *brackets & ~bit);
    if (level == 0)
        parser->is_object = object;
    parser->depth++;
    parser->state = object ? STATE_FIRST_NAME : STATE_FIRST_VALUE;
    return at + 1;
}

static const uint8_t *close_bracket(struct event_parser *parser, const uint8_t *at)
{
    if (*at != (in_object(parser) ? '}' : ']'))
        return fail(parser, EVENT_SYNTAX, at);
    parser->depth--;
    end_value(parser);
    return at + 1;
}

/* What the value's first byte already says about a member that has to be of one type. */
static void note_type(struct event_parser *parser, uint8_t first)
{
    if (parser->depth != 1)
        return;
    if (parser->member == EVENT_MEMBER_USER_ID && first != '"')
        parser->user_id_error = EVENT_USER_ID_TYPE;
    if (parser->member == EVENT_MEMBER_VALUE) {
        const bool number = first == '-' || event_is_digit(first);
        parser->value_error = number ? EVENT_OK : EVENT_VALUE_TYPE;
        decimal_begin(&parser->value);
        parser->value.negative = first == '-';
    }
}

static const uint8_t *begin_value(struct event_parser *parser, const uint8_t *at)
{
    note_type(parser, *at);
    switch (*at) {
    case '{':
    case '[':
        return open_bracket(parser, at);
    case '"':
        begin_string(parser, parser->depth == 1 && parser->member == EVENT_MEMBER_USER_ID
                                 ? EVENT_TEXT_USER_ID
                                 : EVENT_TEXT_OTHER);
        return at + 1;
    case 't':
    case 'f':
    case 'n':
        parser->state = STATE_LITERAL;
        parser->literal = *at == 't' ? 0 : *at == 'f' ? 1 : 2;
        parser->literal_matched = 1;
        return at + 1;
    case '-':
        parser->state = STATE_MINUS;
        return at + 1;
    default:
        if (!event_is_digit(*at))
            return fail(parser, EVENT_SYNTAX, at);
        parser->state = STATE_MINUS; /* without one, the rest is the same */
        return at;
    }
}

static const uint8_t *begin_name(struct event_parser *parser, const uint8_t *at)
{
    if (*at != '"')
        return fail(parser, EVENT_SYNTAX, at);
    begin_string(parser, EVENT_TEXT_NAME);
    return at + 1;
}

static const uint8_t *take_token(struct event_parser *parser, const uint8_t *at, const uint8_t *end)
{
    while (event_is_space(*at))
        if (++at == end)
            return at;
    switch ((enum state)parser->state) {
    case STATE_START:
    case STATE_VALUE:
        return begin_value(parser, at);
    case STATE_FIRST_VALUE:
        return *at == ']' ? close_bracket(parser, at) : begin_value(parser, at);
    case STATE_FIRST_NAME:
        return *at == '}' ? close_bracket(parser, at) : begin_name(parser, at);
    case STATE_NAME:
        return begin_name(parser, at);
    case STATE_COLON:
        if (*at != ':')
            return fail(parser, EVENT_SYNTAX, at);
        parser->state = STATE_VALUE;
        return at + 1;
    case STATE_AFTER_VALUE:
        if (*at != ',')
            return close_bracket(parser, at);
        parser->state = in_object(parser) ? STATE_NAME : STATE_VALUE;
        return at + 1;
    default: /* STATE_DONE */
        return fail(parser, parser->is_object ? EVENT_TRAILING : EVENT_SYNTAX, at);
    }
}

/* Takes a byte or more, or moves to another group of states, or fails. */
static const uint8_t *take_some(struct event_parser *parser, const uint8_t *at, const uint8_t *end)
{
    switch ((enum state)parser->state) {
    case STATE_STRING:
        return take_string(parser, at, end);
    case STATE_ESCAPE:
        return take_escape(parser, at);
    case STATE_HEX:
        return take_hex(parser, at);
    case STATE_UTF8:
        return take_utf8(parser, at);
    case STATE_MINUS:
    case STATE_ZERO:
    case STATE_INTEGER:
    case STATE_POINT:
    case STATE_FRACTION:
    case STATE_E:
    case STATE_E_SIGN:
    case STATE_EXPONENT:
        return take_number(parser, at, end);
    case STATE_LITERAL:
        return take_literal(parser, at);
    default:
        return take_token(parser, at, end);
    }
}

void event_feed(struct event_parser *parser, const uint8_t *bytes, size_t len)
{
    const uint8_t *at = bytes, *const end = bytes + len;
    while (at < end && parser->state != STATE_FAILED)
        at = take_some(parser, at, end);
    parser->offset_bytes += (size_t)(at - bytes);
}

enum event_error event_end(struct event_parser *parser, struct event *event)
{
    if (parser->state == STATE_FAILED)
        return parser->error;
    if (parser->state == STATE_START)
        return EVENT_EMPTY;
    if (parser->depth == 0 && number_is_complete(parser->state))
        parser->state = STATE_DONE;
    if (parser->state != STATE_DONE)
        return EVENT_TRUNCATED;
    if (!parser->is_object)
        return EVENT_NOT_OBJECT;
    if (parser->user_id_error != EVENT_OK)
        return parser->user_id_error;
    if (parser->value_error != EVENT_OK)
        return parser->value_error;
    const double value = decimal_to_double(&parser->value);
    if (!isfinite(value))
        return EVENT_VALUE_RANGE;
    event->user_id = parser->user_id;
    event->user_id_len = parser->user_id_len;
    event->is_whole = false;
    event->value = value;
    return EVENT_OK;
}

size_t event_error_offset(const struct event_parser *parser)
{
    return parser->offset_bytes;
}

/*
 * The plain form of an event, and the texts of the errors.
 *
 * The recogniser walks the body once. That the body's last byte other than white space is '}' is
 * looked at first: every loop over single bytes (white space, digits) stops at that byte, which is
 * neither, so none of them needs to compare with the end. Only loads of eight bytes do, and the
 * userId, in which a '}' may stand. `last` is that byte's place in all of what follows.
 *
 * About 200 instructions for {"userId":"user_12345","value":123.5}.
 */
#include "app/event.h"

#include <assert.h>

#include "app/event_scan.h"

#define WORD_BYTES 8

static inline const uint8_t *skip_space(const uint8_t *at)
{
    while (__builtin_expect(event_is_space(*at), 0))
        at++;
    return at;
}

/*
 * At a colon, or white space before it: returns what follows it and the white space after; else
 * NULL.
 */
static inline const uint8_t *skip_colon(const uint8_t *at)
{
    at = skip_space(at);
    return *at == ':' ? skip_space(at + 1) : NULL;
}

/*
 * The string at `at`, quotes included; returns what follows it. At least WORD_BYTES precede `last`.
 */
static inline const uint8_t *take_user_id(const uint8_t *at, const uint8_t *last,
                                          struct event *event)
{
    if (*at != '"')
        return NULL;
    const uint8_t *const start = ++at;
    uint64_t special;
    for (;; at += WORD_BYTES) {
        const ptrdiff_t left = last - at;
        /*
         * Near the end the last full word is loaded, and shifted: zeros follow, which are special.
         */
        const uint64_t word = left >= WORD_BYTES
                                  ? event_load_word(at)
                                  : event_load_word(last - WORD_BYTES) >> (8 * (7 - left)) >> 8;
        special = event_special_bytes(word);
        if (special != 0)
            break;
    }
    at += event_first_special(special);
    const size_t len = (size_t)(at - start);
    if (*at != '"' || len == 0 || len > EVENT_USER_ID_BYTES_MAX)
        return NULL;
    event->user_id = start;
    event->user_id_len = len;
    return at + 1;
}

#define DIGITS_MAX 19 /* as many as fit a word, whichever they are */

_Static_assert(DIGITS_MAX <= DECIMAL_SIMPLE_EXPONENT_MAX, "with all of them after the point too");

/* The number at `at`, without an exponent; returns what follows it. */
static inline const uint8_t *take_value(const uint8_t *at, struct event *event)
{
    const bool negative = *at == '-';
    at += negative;
    const uint8_t *const start = at;
    uint64_t significand = 0;
    for (; event_is_digit(*at); at++)
        significand = significand * 10 + (uint64_t)(*at - '0');
    ptrdiff_t digits = at - start, fraction_digits = 0;
    if (digits == 0 || (digits > 1 && *start == '0'))
        return NULL;
    if (*at == '.') {
        const uint8_t *const fraction = ++at;
        for (; event_is_digit(*at); at++)
            significand = significand * 10 + (uint64_t)(*at - '0');
        fraction_digits = at - fraction;
        digits += fraction_digits;
        if (fraction_digits == 0)
            return NULL;
    }
    if (digits > DIGITS_MAX)
        return NULL;
    const bool simple = decimal_simple(significand, -(int)fraction_digits, negative, &event->value);
    assert(simple);
    return at;
}

/*
 * The name at `at` with its quotes, which make "userId" exactly a word, and the colon; returns what
 * follows.
 */
static inline const uint8_t *take_name_user_id(const uint8_t *at, const uint8_t *last)
{
    if (last - at < WORD_BYTES)
        return NULL;
    if (event_load_word(at) != event_load_word((const uint8_t *)"\"userId\""))
        return NULL;
    return skip_colon(at + 8);
}

/* "value" is a byte short of a word; the literal's terminator fills it. */
static inline const uint8_t *take_name_value(const uint8_t *at, const uint8_t *last)
{
    if (last - at < WORD_BYTES)
        return NULL;
    if ((event_load_word(at) << 8) != event_load_word((const uint8_t *)"\"value\"") << 8)
        return NULL;
    return skip_colon(at + 7);
}

/* At a comma, or white space before it. */
static inline const uint8_t *skip_comma(const uint8_t *at)
{
    at = skip_space(at);
    return *at == ',' ? skip_space(at + 1) : NULL;
}

/*
 * Compares 8 to 16 bytes as two words, which may overlap; false, too, where that many do not
 * precede `last`.
 */
static inline bool matches(const uint8_t *at, const uint8_t *last, const char *text, size_t len)
{
    const uint8_t *const expected = (const uint8_t *)text;
    if (last - at < (ptrdiff_t)len)
        return false;
    return event_load_word(at) == event_load_word(expected) &&
           event_load_word(at + len - WORD_BYTES) == event_load_word(expected + len - WORD_BYTES);
}

#define FIRST_NAME "{\"userId\":"
#define NEXT_NAME  ",\"value\":"

/*
 * From the first byte, or white space before it, to the userId's quote, when that member is the
 * first.
 */
static inline const uint8_t *reach_user_id(const uint8_t *body, const uint8_t *last)
{
    if (__builtin_expect(matches(body, last, FIRST_NAME, strlen(FIRST_NAME)), 1))
        return skip_space(body + strlen(FIRST_NAME));
    const uint8_t *const at = skip_space(body);
    return *at == '{' ? take_name_user_id(skip_space(at + 1), last) : NULL;
}

/* From the byte after the userId to the value's first. */
static inline const uint8_t *reach_value(const uint8_t *at, const uint8_t *last)
{
    if (__builtin_expect(matches(at, last, NEXT_NAME, strlen(NEXT_NAME)), 1))
        return skip_space(at + strlen(NEXT_NAME));
    at = skip_comma(at);
    return at != NULL ? take_name_value(at, last) : NULL;
}

/*
 * The same with the members the other way round, the rarer form: from '{' or white space before it.
 */
static __attribute__((noinline)) const uint8_t *
take_value_then_user_id(const uint8_t *at, const uint8_t *last, struct event *event)
{
    at = skip_space(at);
    if (*at != '{' || (at = take_name_value(skip_space(at + 1), last)) == NULL)
        return NULL;
    if ((at = take_value(at, event)) == NULL || (at = skip_comma(at)) == NULL)
        return NULL;
    at = take_name_user_id(at, last);
    return at != NULL ? take_user_id(at, last, event) : NULL;
}

static inline const uint8_t *take_members(const uint8_t *body, const uint8_t *last,
                                          struct event *event)
{
    const uint8_t *at = reach_user_id(body, last);
    if (at == NULL)
        return take_value_then_user_id(body, last, event);
    if ((at = take_user_id(at, last, event)) == NULL || (at = reach_value(at, last)) == NULL)
        return NULL;
    return take_value(at, event);
}

bool event_parse(const uint8_t *body, size_t len, struct event *event)
{
    if (len < WORD_BYTES)
        return false;
    const uint8_t *last = body + len - 1;
    while (__builtin_expect(event_is_space(*last), 0))
        if (last-- == body)
            return false;
    if (*last != '}')
        return false;
    const uint8_t *const at = take_members(body, last, event);
    return at != NULL && skip_space(at) == last;
}

bool event_error_has_offset(enum event_error error)
{
    switch (error) {
    case EVENT_SYNTAX:
    case EVENT_UTF8:
    case EVENT_NESTING:
    case EVENT_TRAILING:
    case EVENT_TRUNCATED:
        return true;
    default:
        return false;
    }
}

static const char *const error_texts[] = {
    [EVENT_OK] = "no error",
    [EVENT_EMPTY] = "the body is empty",
    [EVENT_SYNTAX] = "the body is not valid JSON",
    [EVENT_UTF8] = "the body is not valid UTF-8",
    [EVENT_NESTING] = "the body is nested too deeply",
    [EVENT_TRAILING] = "something follows the JSON object",
    [EVENT_TRUNCATED] = "the body ends inside a JSON value",
    [EVENT_NOT_OBJECT] = "the body is not a JSON object",
    [EVENT_USER_ID_MISSING] = "userId is missing",
    [EVENT_USER_ID_TYPE] = "userId is not a string",
    [EVENT_USER_ID_EMPTY] = "userId is empty",
    [EVENT_USER_ID_LONG] = "userId is longer than 1024 bytes",
    [EVENT_USER_ID_SURROGATE] = "userId contains a lone surrogate",
    [EVENT_VALUE_MISSING] = "value is missing",
    [EVENT_VALUE_TYPE] = "value is not a number",
    [EVENT_VALUE_RANGE] = "value is beyond the range of a double",
};

const char *event_error_text(enum event_error error)
{
    assert(error <= EVENT_VALUE_RANGE);
    return error_texts[error];
}

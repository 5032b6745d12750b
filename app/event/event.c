/*
 * The plain form of an event, and the texts of the errors.
 *
 * The recogniser walks the body once. That the body's last byte other than white space is '}' is
 * looked at first: every loop over single bytes (white space, digits) stops at that byte, which is
 * neither, so none of them needs to compare with the end. Only loads of eight bytes do, and the
 * userId, in which a '}' may stand. `last` is that byte's place in all of what follows.
 *
 * About 130 instructions for {"userId": "user_12345", "value": 123}.
 */
#include "app/event/event.h"

#include <assert.h>

#include "app/event/event_scan.h"

#define WORD_BYTES        8

#define PRINTED_BYTES_MIN 24 /* {"userId":"x","value":1} */
#define NEXT_BYTES_MIN    11 /* from the comma to the last byte, with a blank */

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
 * The end of the string that begins at `at`, which is its first byte that may not simply be copied.
 * At least WORD_BYTES precede `last`.
 */
static inline const uint8_t *find_string_end(const uint8_t *at, const uint8_t *last)
{
    for (;; at += WORD_BYTES) {
        const ptrdiff_t left = last - at;
        /*
         * Near the end the last full word is loaded, and shifted: zeros follow, which are special.
         */
        const uint64_t word = left >= WORD_BYTES
                                  ? bytes_load64(at)
                                  : bytes_load64(last - WORD_BYTES) >> (8 * (7 - left)) >> 8;
        const uint64_t special = event_special_bytes(word);
        if (special != 0)
            return at + event_first_special(special);
    }
}

/* The string at `at`, quotes included; returns what follows it. */
static inline const uint8_t *take_user_id(const uint8_t *at, const uint8_t *last,
                                          struct event *event)
{
    if (*at != '"')
        return NULL;
    const uint8_t *const start = at + 1;
    const uint8_t *const end = find_string_end(start, last);
    const size_t len = (size_t)(end - start);
    if (*end != '"' || len == 0 || len > EVENT_USER_ID_BYTES_MAX)
        return NULL;
    event->user_id = start;
    event->user_id_len = len;
    return end + 1;
}

#define DIGITS_MAX       19 /* as many as fit a word, whichever they are */
#define EXACT_DIGITS_MAX 15 /* whole numbers of so many are below 2^53 */

_Static_assert(DIGITS_MAX <= DECIMAL_SIMPLE_EXPONENT_MAX, "with all of them after the point too");

/* The digits at `at`, to be appended to *number, which wraps when they are more than DIGITS_MAX. */
static inline const uint8_t *take_digits(const uint8_t *at, uint64_t *number)
{
    for (unsigned digit; (digit = (unsigned)*at - '0') <= 9; at++)
        *number = *number * 10 + digit;
    return at;
}

/* A number that is not simply whole: `digits` digits before `at`, which are `significand`. */
__attribute__((noinline)) static const uint8_t *take_fraction(const uint8_t *at, ptrdiff_t digits,
                                                              uint64_t significand, bool negative,
                                                              struct event *event)
{
    ptrdiff_t fraction_digits = 0;
    if (*at == '.') {
        const uint8_t *const fraction = at + 1;
        at = take_digits(fraction, &significand);
        fraction_digits = at - fraction;
        if (fraction_digits == 0)
            return NULL;
    }
    if (digits + fraction_digits > DIGITS_MAX)
        return NULL;
    const bool simple = decimal_simple(significand, -(int)fraction_digits, negative, &event->value);
    assert(simple);
    event->is_whole = false;
    return at;
}

/* The number at `at`, without an exponent; returns what follows it. */
static inline const uint8_t *take_value(const uint8_t *at, struct event *event)
{
    const bool negative = *at == '-';
    const uint8_t *const start = at + negative;
    uint64_t significand = 0;
    at = take_digits(start, &significand);
    const ptrdiff_t digits = at - start;
    if (digits == 0 || (*start == '0' && digits > 1))
        return NULL;
    /* The negative ones are not whole, for one of them is -0. */
    if (*at == '.' || digits > EXACT_DIGITS_MAX || negative)
        return take_fraction(at, digits, significand, negative, event);
    event->whole = (int64_t)significand;
    event->is_whole = true;
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
    if (bytes_load64(at) != bytes_load64((const uint8_t *)"\"userId\""))
        return NULL;
    return skip_colon(at + 8);
}

/* "value" is a byte short of a word; the literal's terminator fills it. */
static inline const uint8_t *take_name_value(const uint8_t *at, const uint8_t *last)
{
    if (last - at < WORD_BYTES)
        return NULL;
    if ((bytes_load64(at) << 8) != bytes_load64((const uint8_t *)"\"value\"") << 8)
        return NULL;
    return skip_colon(at + 7);
}

/* At a comma, or white space before it. */
static inline const uint8_t *skip_comma(const uint8_t *at)
{
    at = skip_space(at);
    return *at == ',' ? skip_space(at + 1) : NULL;
}

/* The members the other way round, from the first one's name. */
static const uint8_t *take_value_then_user_id(const uint8_t *at, const uint8_t *last,
                                              struct event *event)
{
    if ((at = take_name_value(at, last)) == NULL)
        return NULL;
    if ((at = take_value(at, event)) == NULL || (at = skip_comma(at)) == NULL)
        return NULL;
    at = take_name_user_id(at, last);
    return at != NULL ? take_user_id(at, last, event) : NULL;
}

/* White space anywhere, and either order. */
static __attribute__((noinline)) const uint8_t *take_members(const uint8_t *at, const uint8_t *last,
                                                             struct event *event)
{
    at = skip_space(at);
    if (*at != '{')
        return NULL;
    const uint8_t *const name = skip_space(at + 1);
    if ((at = take_name_user_id(name, last)) == NULL)
        return take_value_then_user_id(name, last, event);
    if ((at = take_user_id(at, last, event)) == NULL || (at = skip_comma(at)) == NULL ||
        (at = take_name_value(at, last)) == NULL)
        return NULL;
    return take_value(at, event);
}

/*
 * What programs print: {"userId":"x","value":1} or {"userId": "x", "value": 1}, by words, with a
 * blank after each colon and the comma or none. Else NULL, and take_members() must look.
 */
static inline const uint8_t *take_printed(const uint8_t *at, const uint8_t *last,
                                          struct event *event)
{
    if (last - at < PRINTED_BYTES_MIN - 1 ||
        bytes_load64(at) != bytes_load64((const uint8_t *)"{\"userId") ||
        bytes_load16(at + 8) != bytes_load16((const uint8_t *)"\":"))
        return NULL;
    at += 10;
    at += *at == ' ';
    at = take_user_id(at, last, event);
    if (at == NULL || last - at < NEXT_BYTES_MIN || *at != ',')
        return NULL;
    at++;
    at += *at == ' ';
    if (bytes_load64(at) != bytes_load64((const uint8_t *)"\"value\":"))
        return NULL;
    at += 8;
    at += *at == ' ';
    return take_value(at, event);
}

bool event_parse(const uint8_t *body, size_t len, struct event *event)
{
    if (len < WORD_BYTES)
        return false;
    const uint8_t *last = body + len - 1;
    while (__builtin_expect(*last != '}', 0))
        if (!event_is_space(*last) || last-- == body)
            return false;
    const uint8_t *at = take_printed(body, last, event);
    if (__builtin_expect(at == NULL, 0) && (at = take_members(body, last, event)) == NULL)
        return false;
    return at == last || skip_space(at) == last;
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

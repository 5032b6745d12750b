#include "app/text/text.h"

#include <assert.h>
#include <string.h>

#include "app/text/decimal.h"

#define U64_DIGITS_MAX 20u

struct text text_begin(char *buffer, size_t bytes)
{
    return (struct text){.start = buffer, .at = buffer, .end = buffer + bytes};
}

size_t text_len(const struct text *text)
{
    return (size_t)(text->at - text->start);
}

void text_put_bytes(struct text *text, const void *bytes, size_t len)
{
    assert(len <= (size_t)(text->end - text->at));
    memcpy(text->at, bytes, len);
    text->at += len;
}

void text_put(struct text *text, const char *string)
{
    text_put_bytes(text, string, strlen(string));
}

void text_put_padded(struct text *text, uint64_t value, unsigned digits)
{
    assert(digits <= U64_DIGITS_MAX);
    char digit_text[U64_DIGITS_MAX];
    unsigned count = 0;
    while (value != 0 || count < digits) {
        digit_text[U64_DIGITS_MAX - ++count] = (char)('0' + value % 10);
        value /= 10;
    }
    text_put_bytes(text, digit_text + U64_DIGITS_MAX - count, count);
}

void text_put_u64(struct text *text, uint64_t value)
{
    text_put_padded(text, value, 1);
}

void text_put_double(struct text *text, double value)
{
    char digits[DECIMAL_TEXT_BYTES_MAX];
    const size_t len = decimal_print(value, digits);
    text_put_bytes(text, digits, len);
}

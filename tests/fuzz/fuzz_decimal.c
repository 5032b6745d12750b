/*
 * Numbers, both ways, against glibc's strtod and printf, which are exact.
 *
 * The input is read as text: the longest beginning that is a JSON number. Its double, and the
 * double whose bits are the first eight bytes, are printed.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/text/decimal.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            __builtin_trap();                                                                      \
    } while (0)

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static const char *add_digits(const char *text, struct decimal *decimal,
                              void (*add)(struct decimal *, unsigned))
{
    for (; is_digit(*text); text++)
        add(decimal, (unsigned)(*text - '0'));
    return text;
}

/* Returns what follows the number. */
static const char *read_number(const char *text, struct decimal *decimal)
{
    decimal_begin(decimal);
    decimal->negative = *text == '-';
    text += *text == '-';
    if (!is_digit(*text))
        return text;
    text = add_digits(text, decimal, decimal_add_integer_digit);
    if (*text == '.' && is_digit(text[1]))
        text = add_digits(text + 1, decimal, decimal_add_fraction_digit);
    if (*text != 'e' && *text != 'E')
        return text;
    const char *exponent = text + 1;
    const bool negative = *exponent == '-';
    exponent += *exponent == '-' || *exponent == '+';
    if (!is_digit(*exponent))
        return text;
    decimal->exponent_negative = negative;
    return add_digits(exponent, decimal, decimal_add_exponent_digit);
}

static bool same_bits(double left, double right)
{
    return memcmp(&left, &right, sizeof left) == 0;
}

/*
 * The number as significand * 10^exponent, with no more digits than it needs; from what is printed
 * here only.
 */
struct scientific {
    uint64_t significand;
    int exponent;
    unsigned digits;
};

static struct scientific scientific_of(const char *text)
{
    struct scientific number = {0};
    bool fraction = false;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (is_digit(*text)) {
            number.significand = number.significand * 10 + (uint64_t)(*text - '0');
            number.exponent -= fraction;
        }
        fraction |= *text == '.';
    }
    if (*text == 'e')
        number.exponent += atoi(text + 1);
    while (number.significand != 0 && number.significand % 10 == 0) {
        number.significand /= 10;
        number.exponent++;
    }
    for (uint64_t rest = number.significand; rest != 0; rest /= 10)
        number.digits++;
    return number;
}

static bool reads_as(uint64_t significand, int exponent, double magnitude)
{
    char text[64];
    snprintf(text, sizeof text, "%llue%d", (unsigned long long)significand, exponent);
    return strtod(text, NULL) == magnitude;
}

/* Neither neighbour of the value with a digit fewer reads back as it. */
static void check_no_shorter(const struct scientific *printed, double magnitude)
{
    const uint64_t below = printed->significand / 10;
    REQUIRE(!reads_as(below, printed->exponent + 1, magnitude));
    REQUIRE(!reads_as(below + 1, printed->exponent + 1, magnitude));
}

/* If the nearest decimal of as many digits reads back as the value, it is the one printed. */
static void check_nearest(const struct scientific *printed, double magnitude)
{
    char text[64];
    snprintf(text, sizeof text, "%.*e", (int)printed->digits - 1, magnitude);
    const struct scientific nearest = scientific_of(text);
    if (strtod(text, NULL) == magnitude)
        REQUIRE(nearest.significand == printed->significand &&
                nearest.exponent == printed->exponent);
}

static void check_print(double value)
{
    char text[DECIMAL_TEXT_BYTES_MAX];
    struct decimal decimal;
    if (!isfinite(value))
        return;
    const size_t len = decimal_print(value, text);
    REQUIRE(len == strlen(text) && len < sizeof text);
    REQUIRE(same_bits(strtod(text, NULL), value));
    REQUIRE(read_number(text, &decimal) == text + len);
    REQUIRE(same_bits(decimal_to_double(&decimal), value));
    if (value != 0.0) {
        const struct scientific printed = scientific_of(text);
        check_no_shorter(&printed, fabs(value));
        check_nearest(&printed, fabs(value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    double value;
    if (len >= sizeof value) {
        memcpy(&value, bytes, sizeof value);
        check_print(value);
    }
    char *const text = malloc(len + 1);
    memcpy(text, bytes, len);
    text[len] = '\0';
    struct decimal decimal;
    char *const end = text + (read_number(text, &decimal) - text);
    *end = '\0';
    if (end != text && is_digit(end[-1])) {
        value = decimal_to_double(&decimal);
        REQUIRE(same_bits(value, strtod(text, NULL)));
        check_print(value);
    }
    free(text);
    return 0;
}

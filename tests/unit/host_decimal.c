/* Both directions of app/text/decimal.h against glibc's strtod and printf, which are exact. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/text/decimal.h"
#include "tests/test.h"
#include "tests/unit/number_text.h"

/* A third any bits, a third like prices and scores, a third near powers of two. */
static double draw(unsigned kind, uint64_t *random)
{
    const uint64_t bits = random_next(random) & ~((uint64_t)1 << 63);
    if (kind == 0)
        return number_from_bits(bits);
    if (kind == 1)
        return (double)(bits % 100000000000) / (double)(1 + random_next(random) % 100000);
    return number_from_bits((bits & (uint64_t)0x7ff << 52) + bits % 5 - 2);
}

TEST(decimal_reads_like_strtod)
{
    uint64_t random = 7;
    for (unsigned i = 0; i < 60000; i++) {
        const double value = draw(i % 3, &random);
        if (!isfinite(value))
            continue;
        char text[64];
        snprintf(text, sizeof text, "%.*e", (int)(random_next(&random) % 40), value);
        CHECK_EQ(number_bits(number_read(text)), number_bits(strtod(text, NULL)));
    }
}

TEST(decimal_reads_digits_at_random_like_strtod)
{
    uint64_t random = 8;
    for (unsigned i = 0; i < 20000; i++) {
        char text[1100];
        size_t len = 0;
        const uint64_t digits = 1 + random_next(&random) % (i % 10 == 0 ? 1000 : 30);
        const uint64_t point = random_next(&random) % digits;
        for (uint64_t j = 0; j < digits; j++) {
            text[len++] = (char)('0' + random_next(&random) % 10);
            if (j == point)
                text[len++] = '.';
        }
        if (text[len - 1] == '.')
            text[len++] = '0';
        sprintf(text + len, "e%d", (int)(random_next(&random) % 700) - 350);
        CHECK_EQ(number_bits(number_read(text)), number_bits(strtod(text, NULL)));
    }
}

/* Up to 19 digits and an exponent of up to 27 either way: what decimal_simple() takes. */
TEST(decimal_reads_words_at_random_like_strtod)
{
    uint64_t random = 10;
    for (unsigned i = 0; i < 100000; i++) {
        char text[64];
        const unsigned long long word = random_next(&random) >> random_next(&random) % 12;
        const int exponent = (int)(random_next(&random) % 55) - 27;
        double value;
        CHECK(decimal_simple(word, exponent, false, &value));
        snprintf(text, sizeof text, "%llue%d", word, exponent);
        CHECK_EQ(number_bits(value), number_bits(strtod(text, NULL)));
    }
}

static unsigned digits_in(const char *text)
{
    unsigned digits = 0;
    for (; *text != '\0' && *text != 'e'; text++)
        digits += *text != '.';
    return digits;
}

/*
 * The fewest digits that printf needs to be read back are enough, and where as many are printed,
 * the same ones. Only numbers in the form d.ddde+XX, which shows no digit that is not significant;
 * and not the powers of two, where the nearest decimal may lie outside of the range and another of
 * as many digits inside.
 */
TEST(decimal_prints_as_few_digits_as_printf_needs)
{
    uint64_t random = 9;
    for (unsigned i = 0; i < 20000; i++) {
        const double value = draw(i % 3, &random);
        char ours[DECIMAL_TEXT_BYTES_MAX], theirs[64];
        if (!isfinite(value))
            continue;
        decimal_print(value, ours);
        CHECK_EQ(number_bits(strtod(ours, NULL)), number_bits(value));
        if ((value >= 1e-4 && value < 1e16) || value == 0.0 || number_bits(value) << 12 == 0)
            continue;
        int precision = 0;
        do
            snprintf(theirs, sizeof theirs, "%.*e", precision, value);
        while (strtod(theirs, NULL) != value && precision++ < 17);
        CHECK_EQ(digits_in(ours), digits_in(theirs));
        CHECK(strcmp(ours, theirs) == 0);
    }
}

/*
 * Writing: Steele and White's "dragon", as improved by Burger and Dybvig 1996 ("Printing
 * floating-point numbers quickly and accurately"): the number and the range of what reads back as
 * the same double are ratios of bignums; digits are divided off until what is left lies within the
 * range. Exact, shortest, nearest.
 *
 * Ryu and Grisu are faster and need tables, or a fallback; this runs twice a /stats, in 0.1 to 1.5
 * us.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "app/text/bignum.h"
#include "app/text/decimal.h"

#define SHORTEST_DIGITS_MAX 17

/* 0.d0d1... * 10^point */
struct shortest {
    int point;
    unsigned count;
    char digits[SHORTEST_DIGITS_MAX];
};

/*
 * The value being printed is rest / scale; half the distance to the double above and below it are
 * above / scale and below / scale: what is nearer than that reads back as the same double.
 */
struct generator {
    struct bignum rest, scale, above, below;
    bool inclusive; /* what lies exactly half way reads back too: ties go to even */
};

static bool reaches_next(const struct generator *generator)
{
    struct bignum sum = generator->rest;
    bignum_add(&sum, &generator->above);
    const int order = bignum_compare(&sum, &generator->scale);
    return order > 0 || (order == 0 && generator->inclusive);
}

static bool reaches_below(const struct generator *generator)
{
    const int order = bignum_compare(&generator->rest, &generator->below);
    return order < 0 || (order == 0 && generator->inclusive);
}

static void multiply_pow10(struct bignum *number, unsigned power)
{
    bignum_multiply_pow5(number, power);
    bignum_shift_left(number, power);
}

/*
 * value = significand * 2^exponent, scaled so that 0.1 <= rest / scale < 1 or near 1; returns the
 * point.
 */
static int generator_begin(struct generator *generator, uint64_t significand, int exponent,
                           bool nearer_below)
{
    const unsigned up = exponent > 0 ? (unsigned)exponent : 0;
    const unsigned down = exponent < 0 ? (unsigned)-exponent : 0;
    generator->inclusive = significand % 2 == 0;
    bignum_set(&generator->rest, significand);
    bignum_set(&generator->scale, 1);
    bignum_set(&generator->below, 1);
    /* All in units of half the distance to the double below. */
    bignum_shift_left(&generator->rest, up + 1 + nearer_below);
    bignum_shift_left(&generator->scale, down + 1 + nearer_below);
    bignum_shift_left(&generator->below, up);
    generator->above = generator->below;
    bignum_shift_left(&generator->above, nearer_below);

    /*
     * floor(log10(2^log2)) + 1, in whole numbers: exact for |log2| < 1650; the point or one less.
     */
    const int log2 = exponent + 63 - __builtin_clzll(significand);
    const int point = (int)(((int64_t)log2 * 78913) >> 18) + 1;
    if (point >= 0) {
        multiply_pow10(&generator->scale, (unsigned)point);
    } else {
        multiply_pow10(&generator->rest, (unsigned)-point);
        multiply_pow10(&generator->above, (unsigned)-point);
        multiply_pow10(&generator->below, (unsigned)-point);
    }
    return point;
}

static void generator_scale(struct generator *generator, uint64_t factor)
{
    bignum_multiply_add(&generator->rest, factor, 0);
    bignum_multiply_add(&generator->above, factor, 0);
    bignum_multiply_add(&generator->below, factor, 0);
}

static void generator_normalise(struct generator *generator)
{
    const uint64_t factor = (uint64_t)1 << bignum_normalising_shift(&generator->scale);
    generator_scale(generator, factor);
    bignum_multiply_add(&generator->scale, factor, 0);
}

/* The last digit: up or down as the range allows; where both do, to the nearer, ties to even. */
static unsigned last_digit(struct generator *generator, unsigned digit, bool below, bool above)
{
    if (below != above)
        return digit + above;
    bignum_shift_left(&generator->rest, 1);
    const int order = bignum_compare(&generator->rest, &generator->scale);
    return digit + (order > 0 || (order == 0 && digit % 2 != 0));
}

static void shortest_of(double value, struct shortest *shortest)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int biased = (int)(bits >> 52 & 0x7ff);
    const uint64_t leading = (uint64_t)1 << 52, fraction = bits & (leading - 1);
    const uint64_t significand = biased != 0 ? fraction | leading : fraction;

    struct generator generator;
    shortest->count = 0;
    shortest->point = generator_begin(&generator, significand, (biased != 0 ? biased : 1) - 1075,
                                      fraction == 0 && biased > 1);
    if (reaches_next(&generator))
        shortest->point++;
    else
        generator_scale(&generator, 10);
    generator_normalise(&generator);
    for (;;) {
        unsigned digit = bignum_divide_step(&generator.rest, &generator.scale);
        const bool below = reaches_below(&generator), above = reaches_next(&generator);
        if (below || above)
            digit = last_digit(&generator, digit, below, above);
        assert(digit <= 9 && shortest->count < SHORTEST_DIGITS_MAX);
        shortest->digits[shortest->count++] = (char)('0' + digit);
        if (below || above)
            return;
        generator_scale(&generator, 10);
    }
}

static char *put_zeros(char *text, int count)
{
    for (; count > 0; count--)
        *text++ = '0';
    return text;
}

static char *put_digits(char *text, const struct shortest *shortest, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to && i < shortest->count; i++)
        *text++ = shortest->digits[i];
    return text;
}

/* d.ddde+XX, with at least two digits of exponent, and no point after a single digit. */
static char *put_scientific(char *text, const struct shortest *shortest)
{
    int exponent = shortest->point - 1;
    text = put_digits(text, shortest, 0, 1);
    if (shortest->count > 1)
        *text++ = '.';
    text = put_digits(text, shortest, 1, shortest->count);
    *text++ = 'e';
    *text++ = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    if (exponent >= 100)
        *text++ = (char)('0' + exponent / 100);
    *text++ = (char)('0' + exponent / 10 % 10);
    *text++ = (char)('0' + exponent % 10);
    return text;
}

static char *put_plain(char *text, const struct shortest *shortest)
{
    const int point = shortest->point, count = (int)shortest->count;
    if (point <= 0) {
        *text++ = '0';
        *text++ = '.';
        text = put_zeros(text, -point);
        return put_digits(text, shortest, 0, shortest->count);
    }
    text = put_digits(text, shortest, 0, (unsigned)point);
    text = put_zeros(text, point - count);
    *text++ = '.';
    if (count <= point)
        *text++ = '0';
    return put_digits(text, shortest, (unsigned)point, shortest->count);
}

size_t decimal_print(double value, char text[DECIMAL_TEXT_BYTES_MAX])
{
    assert(isfinite(value));
    char *end = text;
    struct shortest shortest = {.point = 1, .count = 1, .digits = "0"};
    if (value != 0.0)
        shortest_of(value, &shortest);
    if (signbit(value))
        *end++ = '-';
    if (shortest.point > 16 || shortest.point < -3)
        end = put_scientific(end, &shortest);
    else
        end = put_plain(end, &shortest);
    *end = '\0';
    return (size_t)(end - text);
}

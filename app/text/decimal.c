/*
 * Reading; decimal_print.c has the other direction. Three ways, each exact, the first that applies:
 *
 *   1. significand <= 2^53 and |exponent| <= 22: both are doubles without error, so one
 *      multiplication or division rounds once (Clinger 1990). 5 instructions.
 *   2. 19 digits and |exponent| <= 27: 5^27 fits a word, so the number is a product of 128 bits, or
 *      the quotient of a word by a word; the remainder says on which side of a tie it lies. One
 *      128-bit division. This takes what programs print with 17 digits.
 *   3. anything else: the quotient digits / 5^k in bignums, of which the first 64 bits and whether
 *      there is a remainder are enough. Building both numbers is quadratic in their length, but
 *      that is at most 41 limbs: 1.2 us for the worst of numbers (779 digits, exponent -322), half
 *      of what scanning its text costs; 0.2 us for 20 digits and an exponent of -300. (Host, -O2.)
 *
 * Eisel-Lemire's method would be faster in the middle of case 3, needs a table of 10 KB, and falls
 * back to the same bignums for hostile input: not worth having.
 */
#include "app/text/decimal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "app/text/bignum.h"

typedef unsigned __int128 uint128;

_Static_assert(DECIMAL_SIMPLE_EXPONENT_MAX == BIGNUM_POW5_MAX, "a power of five fits a word");

#define POW10_MAX 22 /* the largest power of ten that is a double */

static const double pow10_double[POW10_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* An exponent that no number of digits in a body of any length can bring back into range. */
#define EXPONENT_SATURATED ((int64_t)1 << 56)

/*
 * 10^309 and up is infinite, 10^-324 and less rounds to zero: of 0.ddd * 10^magnitude, for any
 * digits.
 */
#define MAGNITUDE_MAX 309
#define MAGNITUDE_MIN (-323)

void decimal_begin(struct decimal *decimal)
{
    decimal->point = 0;
    decimal->exponent = 0;
    decimal->group_count = 0;
    decimal->group_digits = 0;
    decimal->negative = false;
    decimal->exponent_negative = false;
    decimal->sticky = false;
    decimal->groups[0] = 0;
}

static bool has_digits(const struct decimal *decimal)
{
    return (decimal->group_count | decimal->group_digits) != 0;
}

static void keep_digit(struct decimal *decimal, unsigned digit)
{
    if (decimal->group_count == DECIMAL_GROUPS) {
        decimal->sticky |= digit != 0;
        return;
    }
    uint64_t *const group = &decimal->groups[decimal->group_count];
    *group = (decimal->group_digits == 0 ? 0 : *group * 10) + digit;
    if (++decimal->group_digits == DECIMAL_GROUP_DIGITS) {
        decimal->group_digits = 0;
        decimal->group_count++;
    }
}

void decimal_add_integer_digit(struct decimal *decimal, unsigned digit)
{
    if (digit == 0 && !has_digits(decimal))
        return;
    keep_digit(decimal, digit);
    decimal->point++;
}

void decimal_add_fraction_digit(struct decimal *decimal, unsigned digit)
{
    if (digit == 0 && !has_digits(decimal))
        decimal->point--;
    else
        keep_digit(decimal, digit);
}

void decimal_add_exponent_digit(struct decimal *decimal, unsigned digit)
{
    if (decimal->exponent < EXPONENT_SATURATED)
        decimal->exponent = decimal->exponent * 10 + digit;
}

/* significand * 5^power * 2^power */
static double multiply_exactly(uint64_t significand, unsigned power)
{
    const uint128 product = (uint128)significand * bignum_pow5[power];
    const uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if (high == 0) {
        const int shift = __builtin_clzll(low);
        return bignum_word_to_double(low << shift, (int)power - shift, false);
    }
    const int shift = 64 - __builtin_clzll(high);
    return bignum_word_to_double((uint64_t)(product >> shift), (int)power + shift,
                                 low << (64 - shift) != 0);
}

/*
 * significand / 5^power / 2^power, for a power of 1 and up. With both shifted so that their highest
 * bits are set, dividend / divisor is between 1/2 and 2: the quotient has 64 bits exactly when the
 * dividend is given 63 or 64 more.
 */
static double divide_exactly(uint64_t significand, unsigned power)
{
    const int dividend_shift = __builtin_clzll(significand);
    const int divisor_shift = __builtin_clzll(bignum_pow5[power]);
    const uint64_t divisor = bignum_pow5[power] << divisor_shift;
    const uint64_t dividend = significand << dividend_shift;
    const int more = dividend >= divisor ? 63 : 64;
    const uint128 wide = (uint128)dividend << more;
    return bignum_word_to_double((uint64_t)(wide / divisor),
                                 divisor_shift - dividend_shift - more - (int)power,
                                 wide % divisor != 0);
}

static double with_sign(double magnitude, bool negative)
{
    return negative ? -magnitude : magnitude;
}

static __attribute__((noinline)) bool simple_by_integers(uint64_t significand, int exponent,
                                                         bool negative, double *value)
{
    if (exponent < -DECIMAL_SIMPLE_EXPONENT_MAX || exponent > DECIMAL_SIMPLE_EXPONENT_MAX)
        return false;
    if (significand == 0)
        *value = with_sign(0.0, negative);
    else if (exponent >= 0)
        *value = with_sign(multiply_exactly(significand, (unsigned)exponent), negative);
    else
        *value = with_sign(divide_exactly(significand, (unsigned)-exponent), negative);
    return true;
}

bool decimal_simple(uint64_t significand, int exponent, bool negative, double *value)
{
    if (significand > (uint64_t)1 << 53 || exponent < -POW10_MAX || exponent > POW10_MAX)
        return simple_by_integers(significand, exponent, negative, value);
    const double exact = (double)(int64_t)significand; /* signed: one instruction on x86-64 */
    const double result =
        exponent < 0 ? exact / pow10_double[-exponent] : exact * pow10_double[exponent];
    *value = with_sign(result, negative);
    return true;
}

static uint64_t pow10_word(unsigned power)
{
    assert(power <= DECIMAL_GROUP_DIGITS);
    return bignum_pow5[power] << power;
}

/* number / 5^power * 2^-power, both sides of the division brought to the same length first. */
static double divide_by_pow5(struct bignum *number, unsigned power, bool sticky)
{
    struct bignum divisor;
    bignum_set(&divisor, 1);
    bignum_multiply_pow5(&divisor, power);

    const int longer = (int)bignum_bits(number) - (int)bignum_bits(&divisor);
    if (longer >= 0)
        bignum_shift_left(&divisor, (unsigned)longer);
    else
        bignum_shift_left(number, (unsigned)-longer);
    int exponent = longer - (int)power;
    if (bignum_compare(number, &divisor) < 0) {
        bignum_shift_left(number, 1);
        exponent--;
    }
    const unsigned normalising = bignum_normalising_shift(&divisor);
    bignum_shift_left(&divisor, normalising);
    bignum_shift_left(number, normalising);

    /* 1 <= number / divisor < 2: 64 bits of the quotient, in two steps. */
    bignum_shift_left(number, 31);
    const uint64_t high = bignum_divide_step(number, &divisor);
    bignum_shift_left(number, 32);
    const uint64_t low = bignum_divide_step(number, &divisor);
    return bignum_word_to_double(high << 32 | low, exponent - 63,
                                 sticky || !bignum_is_zero(number));
}

/*
 * All digits kept as one number; returns how many there are, without the zeros of trailing groups.
 */
static unsigned significand_of(const struct decimal *decimal, struct bignum *number)
{
    unsigned full = decimal->group_count, rest = decimal->group_digits;
    if (rest == 0 || decimal->groups[full] == 0)
        for (rest = 0; full > 1 && decimal->groups[full - 1] == 0; full--)
            ;
    bignum_set(number, 0);
    for (unsigned i = 0; i < full; i++)
        bignum_multiply_add(number, pow10_word(DECIMAL_GROUP_DIGITS), decimal->groups[i]);
    if (rest != 0)
        bignum_multiply_add(number, pow10_word(rest), decimal->groups[full]);
    return full * DECIMAL_GROUP_DIGITS + rest;
}

static double magnitude_of(const struct decimal *decimal)
{
    const int64_t exponent = decimal->exponent_negative ? -decimal->exponent : decimal->exponent;
    const int64_t magnitude = decimal->point + exponent;
    if (!has_digits(decimal) || magnitude < MAGNITUDE_MIN)
        return 0.0;
    if (magnitude > MAGNITUDE_MAX)
        return (double)INFINITY;

    struct bignum number;
    const unsigned digits = significand_of(decimal, &number);
    const int power = (int)magnitude - (int)digits;
    double value;
    if (number.count == 1 && !decimal->sticky &&
        decimal_simple(number.limb[0], power, false, &value))
        return value;
    if (power < 0)
        return divide_by_pow5(&number, (unsigned)-power, decimal->sticky);
    bignum_multiply_pow5(&number, (unsigned)power);
    return bignum_to_double(&number, power, decimal->sticky);
}

double decimal_to_double(const struct decimal *decimal)
{
    return with_sign(magnitude_of(decimal), decimal->negative);
}

#include "app/text/bignum.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef unsigned __int128 uint128;

/* clang-format off */
const uint64_t bignum_pow5[BIGNUM_POW5_MAX + 1] = {
    1, 5, 25, 125,
    625, 3125, 15625, 78125,
    390625, 1953125, 9765625, 48828125,
    244140625, 1220703125, 6103515625, 30517578125,
    152587890625, 762939453125, 3814697265625, 19073486328125,
    95367431640625, 476837158203125, 2384185791015625, 11920928955078125,
    59604644775390625, 298023223876953125, 1490116119384765625, 7450580596923828125,
};
/* clang-format on */

void bignum_set(struct bignum *number, uint64_t value)
{
    number->limb[0] = value;
    number->count = value != 0;
}

bool bignum_is_zero(const struct bignum *number)
{
    return number->count == 0;
}

int bignum_compare(const struct bignum *left, const struct bignum *right)
{
    if (left->count != right->count)
        return left->count < right->count ? -1 : 1;
    for (uint32_t i = left->count; i-- > 0;)
        if (left->limb[i] != right->limb[i])
            return left->limb[i] < right->limb[i] ? -1 : 1;
    return 0;
}

unsigned bignum_bits(const struct bignum *number)
{
    if (number->count == 0)
        return 0;
    return 64 * number->count - (unsigned)__builtin_clzll(number->limb[number->count - 1]);
}

static void append(struct bignum *number, uint64_t limb)
{
    assert(number->count < BIGNUM_LIMBS);
    number->limb[number->count++] = limb;
}

static void drop_leading_zeros(struct bignum *number)
{
    while (number->count > 0 && number->limb[number->count - 1] == 0)
        number->count--;
}

void bignum_add(struct bignum *number, const struct bignum *addend)
{
    while (number->count < addend->count)
        append(number, 0);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < number->count; i++) {
        const uint64_t other = i < addend->count ? addend->limb[i] : 0;
        const uint128 total = (uint128)number->limb[i] + other + carry;
        number->limb[i] = (uint64_t)total;
        carry = (uint64_t)(total >> 64);
    }
    if (carry != 0)
        append(number, carry);
}

void bignum_multiply_add(struct bignum *number, uint64_t factor, uint64_t addend)
{
    uint64_t carry = addend;
    for (uint32_t i = 0; i < number->count; i++) {
        const uint128 product = (uint128)number->limb[i] * factor + carry;
        number->limb[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    if (carry != 0)
        append(number, carry);
    drop_leading_zeros(number);
}

void bignum_multiply_pow5(struct bignum *number, unsigned power)
{
    for (; power > BIGNUM_POW5_MAX; power -= BIGNUM_POW5_MAX)
        bignum_multiply_add(number, bignum_pow5[BIGNUM_POW5_MAX], 0);
    bignum_multiply_add(number, bignum_pow5[power], 0);
}

void bignum_shift_left(struct bignum *number, unsigned bits)
{
    const unsigned limbs = bits / 64, rest = bits % 64;
    if (number->count == 0)
        return;
    if (rest != 0) /* a factor of 2^rest */
        bignum_multiply_add(number, (uint64_t)1 << rest, 0);
    assert(number->count + limbs <= BIGNUM_LIMBS);
    memmove(number->limb + limbs, number->limb, number->count * sizeof number->limb[0]);
    memset(number->limb, 0, limbs * sizeof number->limb[0]);
    number->count += limbs;
}

uint64_t bignum_divide_small(struct bignum *number, uint64_t divisor)
{
    assert(divisor != 0);
    uint64_t remainder = 0;
    for (uint32_t i = number->count; i-- > 0;) {
        const uint128 dividend = (uint128)remainder << 64 | number->limb[i];
        number->limb[i] = (uint64_t)(dividend / divisor);
        remainder = (uint64_t)(dividend % divisor);
    }
    drop_leading_zeros(number);
    return remainder;
}

unsigned bignum_normalising_shift(const struct bignum *divisor)
{
    return (64 - bignum_bits(divisor) % 64) % 64;
}

/* number -= factor * other, which must not be more than it. */
static void subtract_multiple(struct bignum *number, const struct bignum *other, uint64_t factor)
{
    uint64_t borrow = 0;
    for (uint32_t i = 0; i < number->count; i++) {
        const uint64_t limb = i < other->count ? other->limb[i] : 0;
        const uint128 product = (uint128)limb * factor + borrow;
        borrow = (uint64_t)(product >> 64) + (number->limb[i] < (uint64_t)product);
        number->limb[i] -= (uint64_t)product;
    }
    assert(borrow == 0);
    drop_leading_zeros(number);
}

/*
 * The quotient is estimated from the highest limbs, rounded down (the divisor's counts as one more
 * than it is). As the divisor's highest bit is set and the quotient is below 2^32, the estimate is
 * short by at most 1: the error is below quotient / 2^63 + 1 / 2^63 before rounding.
 */
uint32_t bignum_divide_step(struct bignum *number, const struct bignum *divisor)
{
    const uint32_t count = divisor->count;
    assert(count > 0 && divisor->limb[count - 1] >> 63 == 1);
    if (number->count < count)
        return 0;
    assert(number->count <= count + 1);
    const uint64_t high = number->count > count ? number->limb[count] : 0;
    const uint128 top = (uint128)high << 64 | number->limb[count - 1];
    uint64_t quotient = (uint64_t)(top / ((uint128)divisor->limb[count - 1] + 1));
    if (quotient != 0)
        subtract_multiple(number, divisor, quotient);
    if (bignum_compare(number, divisor) >= 0) {
        subtract_multiple(number, divisor, 1);
        quotient++;
    }
    assert(quotient <= UINT32_MAX && bignum_compare(number, divisor) < 0);
    return (uint32_t)quotient;
}

/*
 * word * 2^exponent = 1.xxx * 2^scale. A normal double keeps 53 of the 64 bits, a subnormal one
 * those that are worth 2^-1074 or more. The bits of a double grow by 1 from each to the next, from
 * subnormal to normal and from the largest to infinity too: so rounding up is adding 1, whatever it
 * carries into.
 */
double bignum_word_to_double(uint64_t word, int exponent, bool sticky)
{
    assert(word >> 63 == 1);
    const int scale = exponent + 63;
    if (scale > 1023)
        return (double)INFINITY;
    if (scale < -1075) /* less than half of the smallest */
        return 0.0;
    const bool normal = scale >= -1022;
    const unsigned dropped = normal ? 11 : (unsigned)(11 - 1022 - scale); /* 11 to 64 */
    uint64_t bits = dropped < 64 ? word >> dropped : 0;
    const uint64_t rest = word << (64 - dropped), half = (uint64_t)1 << 63;
    const bool up = rest > half || (rest == half && (sticky || (bits & 1) != 0));
    if (normal) /* the leading 1, where it is, adds the last 1 to the exponent's field */
        bits += (uint64_t)(scale + 1022) << 52;
    bits += up;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double bignum_to_double(const struct bignum *number, int exponent, bool sticky)
{
    if (number->count == 0)
        return 0.0;
    const uint32_t top = number->count - 1;
    const unsigned shift = (unsigned)__builtin_clzll(number->limb[top]);
    uint64_t word = number->limb[top] << shift;
    if (top > 0 && shift > 0) {
        word |= number->limb[top - 1] >> (64 - shift);
        sticky |= number->limb[top - 1] << shift != 0;
    } else if (top > 0) {
        sticky |= number->limb[top - 1] != 0;
    }
    for (uint32_t i = 0; i + 1 < top && !sticky; i++)
        sticky = number->limb[i] != 0;
    return bignum_word_to_double(word, exponent + (int)(64 * top) - (int)shift, sticky);
}

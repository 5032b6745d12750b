/*
 * The exact sum against another: hexadecimal digits added by hand, one total for the positive and
 * one for the negative, divided by schoolbook and rounded a bit at a time.
 */
#include <float.h>
#include <math.h>

#include "app/aggregate/sum.h"
#include "tests/test.h"
#include "tests/unit/number_text.h"

#define DIGITS         620 /* of 4 bits, least significant first, from 2^-1074 */
#define EXTRA          40  /* digits of a quotient below that */
#define RANDOM_ROUNDS  4000
#define RANDOM_ADDENDS 60

struct total {
    uint8_t digit[DIGITS];
};

static void total_add(struct total *total, double magnitude)
{
    const uint64_t bits = number_bits(magnitude), exponent = bits >> 52, one = (uint64_t)1 << 52;
    uint64_t significand = (bits & (one - 1)) | (exponent != 0 ? one : 0);
    const uint64_t position = exponent != 0 ? exponent - 1 : 0;
    unsigned carry = 0;
    __extension__ unsigned __int128 rest = significand;
    rest <<= position % 4;
    for (size_t i = position / 4; rest != 0 || carry != 0; i++, rest >>= 4) {
        const unsigned digit = total->digit[i] + (unsigned)(rest & 15) + carry;
        total->digit[i] = digit & 15;
        carry = digit >> 4;
    }
}

static int total_compare(const struct total *left, const struct total *right)
{
    for (int i = DIGITS - 1; i >= 0; i--)
        if (left->digit[i] != right->digit[i])
            return left->digit[i] - right->digit[i];
    return 0;
}

static void total_subtract(struct total *total, const struct total *other)
{
    int borrow = 0;
    for (int i = 0; i < DIGITS; i++) {
        const int digit = total->digit[i] - other->digit[i] - borrow;
        total->digit[i] = digit & 15;
        borrow = digit < 0;
    }
}

static bool bit_of(const uint8_t *digit, int position)
{
    return position >= 0 && (digit[position / 4] >> position % 4 & 1) != 0;
}

/*
 * The digits * 2^exponent, looked at a bit at a time. (glibc's strtod of a hexadecimal subnormal
 * loses bits.)
 */
static double rounded(const uint8_t *digit, int digits, int exponent)
{
    int top = 4 * digits - 1;
    while (top >= 0 && !bit_of(digit, top))
        top--;
    const int lowest = top - 52 > -1074 - exponent ? top - 52 : -1074 - exponent;
    uint64_t significand = 0;
    for (int i = top; i >= lowest; i--)
        significand = significand << 1 | bit_of(digit, i);
    bool more = false;
    for (int i = lowest - 2; i >= 0; i--)
        more |= bit_of(digit, i);
    if (bit_of(digit, lowest - 1) && (more || significand % 2 != 0))
        significand++;
    const double value = ldexp((double)significand, exponent + lowest);
    return value > DBL_MAX ? DBL_MAX : value;
}

/* EXTRA digits more than it has, the last of them for whether there is a remainder. */
static double total_divided(const struct total *total, uint64_t count)
{
    static uint8_t quotient[EXTRA + DIGITS];
    __extension__ unsigned __int128 rest = 0;
    for (int i = DIGITS - 1; i >= 1 - EXTRA; i--) {
        rest = rest << 4 | (i >= 0 ? total->digit[i] : 0u);
        quotient[i + EXTRA] = (uint8_t)(rest / count);
        rest %= count;
    }
    quotient[0] = rest != 0;
    return rounded(quotient, EXTRA + DIGITS, -1074 - 4 * EXTRA);
}

struct pair_of_sums {
    struct sum sum;
    struct total positive, negative;
};

static void add(struct pair_of_sums *sums, double value)
{
    sum_add(&sums->sum, value);
    total_add(value < 0 ? &sums->negative : &sums->positive, fabs(value));
}

static bool agree(struct pair_of_sums *sums, uint64_t count)
{
    struct total difference;
    const bool negative = total_compare(&sums->positive, &sums->negative) < 0;
    difference = negative ? sums->negative : sums->positive;
    total_subtract(&difference, negative ? &sums->positive : &sums->negative);
    const double sign = negative ? -1.0 : 1.0;
    const double value = sign * total_divided(&difference, 1);
    const double average = sign * total_divided(&difference, count);
    return sum_value(&sums->sum) == value && sum_average(&sums->sum, count) == average;
}

/* Kinds of data: 0 anything; 1 near each other, so that they cancel; 2 subnormal; 3 the largest. */
static double draw(unsigned kind, uint64_t *random)
{
    uint64_t bits = random_next(random);
    const uint64_t fraction = bits & ~((uint64_t)0x7ff << 52);
    if (kind == 0)
        return isfinite(number_from_bits(bits)) ? number_from_bits(bits) : 1.0;
    if (kind == 1)
        return number_from_bits(fraction | (1000 + random_next(random) % 64) << 52);
    if (kind == 2)
        return number_from_bits(fraction | random_next(random) % 3 << 52);
    return number_from_bits(fraction | (2046 - random_next(random) % 3) << 52);
}

TEST(sum_agrees_with_addition_by_hand)
{
    static struct pair_of_sums sums;
    uint64_t random = 42;
    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        memset(&sums, 0, sizeof sums);
        sum_clear(&sums.sum);
        const uint64_t addends = random_next(&random) % RANDOM_ADDENDS + 1;
        for (uint64_t i = 0; i < addends; i++)
            add(&sums, draw(round % 4, &random));
        CHECK(agree(&sums, addends));
        CHECK(agree(&sums, (random_next(&random) >> random_next(&random) % 64) | 1));
    }
}

TEST(sum_agrees_with_addition_by_hand_across_carries)
{
    static struct pair_of_sums sums;
    uint64_t random = 43;
    for (unsigned kind = 0; kind < 4; kind++) {
        memset(&sums, 0, sizeof sums);
        sum_clear(&sums.sum);
        for (unsigned i = 1; i <= 20000; i++) {
            add(&sums, draw(kind, &random));
            if (i % 997 == 0)
                CHECK(agree(&sums, i));
        }
    }
}

/* As few as overflow a chunk that is never carried from, of those that change one most. */
TEST(sum_of_whole_numbers_carries_before_a_chunk_overflows)
{
    const int64_t largest = ((int64_t)1 << 53) - 1;
    const uint64_t count = (1 << 23) + (1 << 12);
    static struct sum sum;
    sum_clear(&sum);
    for (uint64_t i = 0; i < count; i++)
        sum_add_whole(&sum, largest);
    CHECK(sum_average(&sum, count) == (double)largest);
}

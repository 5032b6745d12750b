/*
 * A double is a whole number of 2^-1074, and so is any sum of doubles: a number of some 2,162 bits
 * holds it exactly. Adding to a number of that length would have to carry through it; so it is cut
 * into chunks of 32 bits, each kept in a signed word of 64, whose upper half collects the carries
 * until someone needs them.
 *
 *     weight of bit 0:  2^1037      ...      2^-19     2^-51     2^-83      ...   2^-1075
 *                       chunk[66]            chunk[33] chunk[32] chunk[31]        chunk[0]
 *
 *     one double's significand (53 bits, placed by its exponent), split at a chunk's border:
 *                               | high: 21 to 53 bits, signed |  low: 32 bits  |
 *                                         += chunk[i + 1]       += chunk[i]
 *
 * (The unit is 2^-1075, half of what is needed, as the exponent's field is then the place of the
 * significand's bit 0 without a subtraction.)
 *
 * An addition is two additions to adjacent words: no loop, no carry. Each changes a chunk by
 * less than 2^53 + 2^32, so 1,000 of them fit a signed word that starts below 2^32; then one pass
 * carries every upper half into the next chunk (67 steps, a fraction of an instruction per
 * addition).
 *
 * The values of the challenge (1 to 1000) fall into chunks 31 to 33: one cache line, of a sum that
 * is aligned to one.
 *
 * Alternatives: Shewchuk's expansions cost a data-dependent number of double operations an
 * addition; Kahan's and pairwise sums are not exact; Neal's large superaccumulator (one chunk an
 * exponent) saves about half of the instructions here and costs 33 KiB of cache.
 */
#include "app/aggregate/sum.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "app/text/bignum.h"
#include "kernel/lib/bytes.h"

#define ADDS_BETWEEN_CARRIES 1000
#define UNIT_EXPONENT        (-1075)             /* chunk[0] counts units of 2^-1075 */
#define LEADING_ONE          ((uint64_t)1 << 52) /* of a normal double's significand */

_Static_assert(ADDS_BETWEEN_CARRIES *((1LL << 53) + (1LL << 32)) < INT64_MAX - (1LL << 32),
               "a chunk holds every addition made between two carries");

void sum_clear(struct sum *sum)
{
    memset(sum, 0, sizeof *sum);
    sum->adds_until_carry = ADDS_BETWEEN_CARRIES;
}

/* Leaves every chunk but the highest between 0 and 2^32; the highest has the sign of the sum. */
static void carry_all(int64_t chunk[SUM_CHUNKS])
{
    for (unsigned i = 0; i + 1 < SUM_CHUNKS; i++) {
        chunk[i + 1] += chunk[i] >> 32; /* rounds down, for negative ones too */
        chunk[i] = (uint32_t)chunk[i];
    }
}

static void __attribute__((noinline)) carry_when_due(struct sum *sum)
{
    carry_all(sum->chunk);
    sum->adds_until_carry = ADDS_BETWEEN_CARRIES;
}

void sum_add(struct sum *sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t significand = bits & (LEADING_ONE - 1);
    uint64_t position = bits >> 52 & 0x7ff; /* of the significand's bit 0, in units of chunk[0] */
    if (__builtin_expect(position != 0, 1))
        significand |= LEADING_ONE;
    else
        position = 1; /* zero, or subnormal: the same place as the smallest normal ones */
    const int64_t addend = bits >> 63 ? -(int64_t)significand : (int64_t)significand;
    const unsigned shift = position % 32;

    int64_t *const chunk = &sum->chunk[position / 32];
    chunk[0] += (uint32_t)((uint64_t)addend << shift);
    chunk[1] += addend >> (32 - shift); /* rounds down: low is never negative */
    if (__builtin_expect(--sum->adds_until_carry == 0, 0))
        carry_when_due(sum);
}

void sum_add_whole(struct sum *sum, int64_t value)
{
    int64_t *const chunk = &sum->chunk[-UNIT_EXPONENT / 32];
    chunk[0] += (uint32_t)((uint64_t)value << -UNIT_EXPONENT % 32);
    chunk[1] += value >> (32 - -UNIT_EXPONENT % 32);
    if (__builtin_expect(--sum->adds_until_carry == 0, 0))
        carry_when_due(sum);
}

/* The sum in units of 2^UNIT_EXPONENT, without its sign; true when that is negative. */
static bool normalise(const struct sum *sum, int64_t chunk[SUM_WORDS])
{
    memcpy(chunk, sum->chunk, sizeof sum->chunk);
    chunk[SUM_CHUNKS] = 0;
    carry_all(chunk);
    const bool negative = chunk[SUM_CHUNKS - 1] < 0;
    if (negative) {
        for (unsigned i = 0; i < SUM_CHUNKS; i++)
            chunk[i] = -chunk[i];
        carry_all(chunk);
    }
    return negative;
}

static bool magnitude_of(const struct sum *sum, struct bignum *number)
{
    int64_t chunk[SUM_WORDS]; /* an even number of them, to pair them up as limbs */
    const bool negative = normalise(sum, chunk);
    _Static_assert(SUM_CHUNKS % 2 == 1, "the highest chunk is a limb of its own");
    number->count = 0;
    for (unsigned i = 0; i < SUM_CHUNKS; i += 2) {
        number->limb[i / 2] = (uint64_t)chunk[i] | (uint64_t)chunk[i + 1] << 32;
        if (number->limb[i / 2] != 0)
            number->count = i / 2 + 1;
    }
    return negative;
}

static double saturated(double magnitude, bool negative)
{
    if (magnitude > DBL_MAX)
        magnitude = DBL_MAX;
    return negative && magnitude != 0.0 ? -magnitude : magnitude;
}

double sum_value(const struct sum *sum)
{
    struct bignum number;
    const bool negative = magnitude_of(sum, &number);
    return saturated(bignum_to_double(&number, UNIT_EXPONENT, false), negative);
}

/*
 * The unit is half of the smallest double: the quotient has every bit to round by, the remainder is
 * below.
 */
double sum_average(const struct sum *sum, uint64_t count)
{
    if (count == 0)
        return 0.0;
    struct bignum number;
    const bool negative = magnitude_of(sum, &number);
    const uint64_t remainder = bignum_divide_small(&number, count);
    return saturated(bignum_to_double(&number, UNIT_EXPONENT, remainder != 0), negative);
}

size_t sum_encode(const struct sum *sum, uint8_t bytes[SUM_ENCODED_BYTES_MAX])
{
    int64_t chunk[SUM_WORDS];
    const bool negative = normalise(sum, chunk);
    chunk[SUM_WORDS - 1] = chunk[SUM_CHUNKS - 1] >> 32; /* the highest chunk is two words */

    size_t len = 2;
    for (unsigned i = 0; i < SUM_WORDS; i++) {
        const uint32_t word = (uint32_t)chunk[i];
        if (word == 0)
            continue;
        bytes[len] = (uint8_t)i;
        memcpy(bytes + len + 1, &word, sizeof word);
        len += 5;
    }
    bytes[0] = negative;
    bytes[1] = (uint8_t)((len - 2) / 5);
    return len;
}

bool sum_decode(struct sum *sum, const uint8_t *bytes, size_t len)
{
    if (len < 2 || len != 2 + (size_t)bytes[1] * 5 || bytes[0] > (bytes[1] != 0))
        return false;
    int64_t chunk[SUM_WORDS] = {0};
    int last = -1;
    for (size_t at = 2; at < len; at += 5) {
        const int index = bytes[at];
        const uint32_t word = bytes_load32(bytes + at + 1);
        if (index <= last || index >= SUM_WORDS || word == 0)
            return false;
        chunk[index] = word;
        last = index;
    }
    if (chunk[SUM_WORDS - 1] > INT32_MAX) /* beyond what 2^63 additions come to */
        return false;
    chunk[SUM_CHUNKS - 1] |= chunk[SUM_WORDS - 1] << 32;

    sum_clear(sum);
    for (unsigned i = 0; i < SUM_CHUNKS; i++)
        sum->chunk[i] = bytes[0] != 0 ? -chunk[i] : chunk[i];
    carry_all(sum->chunk);
    return true;
}

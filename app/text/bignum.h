/*
 * Natural numbers of bounded size, and their rounding to double: what decimal.c and sum.c share.
 *
 * 44 limbs of 64 bits hold the largest number either of them meets: 779 decimal digits or 5^1102
 * (2,588 and 2,559 bits) with a limb of room for normalising and one for a quotient step; an exact
 * sum of 2^63 doubles (2,163 bits). A result that did not fit is a programming error, and asserted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BIGNUM_LIMBS 44

struct bignum {
    uint32_t count;              /* limbs in use, the highest of them not 0; 0 for the number 0 */
    uint64_t limb[BIGNUM_LIMBS]; /* the least significant first; those not in use are undefined */
};

void bignum_set(struct bignum *number, uint64_t value);
bool bignum_is_zero(const struct bignum *number);

/* Negative, 0 or positive, as left is less than, equal to or more than right. */
int bignum_compare(const struct bignum *left, const struct bignum *right);

/* The position of the highest bit that is set, plus one; 0 for 0. */
unsigned bignum_bits(const struct bignum *number);

void bignum_add(struct bignum *number, const struct bignum *addend);

/* number = number * factor + addend */
void bignum_multiply_add(struct bignum *number, uint64_t factor, uint64_t addend);

#define BIGNUM_POW5_MAX 27 /* the largest power of five that fits a limb */

extern const uint64_t bignum_pow5[BIGNUM_POW5_MAX + 1];

/* number = number * 5^power */
void bignum_multiply_pow5(struct bignum *number, unsigned power);

void bignum_shift_left(struct bignum *number, unsigned bits);

/* number = number / divisor, rounded down; returns the remainder. The divisor must not be 0. */
uint64_t bignum_divide_small(struct bignum *number, uint64_t divisor);

/* By how much to shift a divisor left, and what it divides with it, for bignum_divide_step(). */
unsigned bignum_normalising_shift(const struct bignum *divisor);

/*
 * number = number mod divisor; returns the quotient, which MUST be below 2^32. The divisor's
 * highest limb MUST have its highest bit set.
 */
uint32_t bignum_divide_step(struct bignum *number, const struct bignum *divisor);

/*
 * The double nearest to number * 2^exponent, ties to even; infinite when that is beyond the
 * largest. `sticky`: the true number is a little larger, by less than 1 (before the scaling);
 * number must then have 54 bits or more, or its bit 0 be worth 2^-1075 at most: a bit to round by.
 */
double bignum_to_double(const struct bignum *number, int exponent, bool sticky);

/* The same for one word, whose highest bit MUST be set. */
double bignum_word_to_double(uint64_t word, int exponent, bool sticky);

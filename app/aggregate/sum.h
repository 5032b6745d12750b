/*
 * The exact sum of doubles, in any order: a fixed-point superaccumulator (Neal 2015, "Fast exact
 * summation using small and large superaccumulators", section 2). Rounded only when read.
 */
#pragma once

#include <stdint.h>

#define SUM_CHUNKS 67 /* the highest begins at 2^1037: room for 2^63 times the largest double */

struct sum {
    uint64_t adds_until_carry; /* additions left before carries must be propagated */
    int64_t chunk[SUM_CHUNKS]; /* chunk[i] counts units of 2^(32 i - 1075) */
};

void sum_clear(struct sum *sum);

/* Adds a finite double. Exact; cannot fail before 2^63 additions. */
void sum_add(struct sum *sum, double value);

/* The same of a whole number, 0 to 2^53, of which there is no double to be taken apart. */
void sum_add_whole(struct sum *sum, int64_t value);

/*
 * The exact sum, rounded once to the nearest double, ties to even. Beyond the largest finite
 * double: that one, with the sum's sign. Zero is +0.0.
 */
double sum_value(const struct sum *sum);

/* The exact sum divided by `count`, rounded once likewise. 0.0 when count is 0. */
double sum_average(const struct sum *sum, uint64_t count);

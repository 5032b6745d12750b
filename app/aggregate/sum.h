/*
 * The exact sum of doubles, in any order: a fixed-point superaccumulator (Neal 2015, "Fast exact
 * summation using small and large superaccumulators", section 2). Rounded only when read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
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

/*
 * The exact sum as bytes, for whoever keeps it: one encoding for each sum, however it came about.
 *
 *     sign (1 byte: 0, or 1 when negative) | words (1 byte) | words x (index (1) | word (4))
 *
 * The magnitude in units of 2^-1075, cut into words of 32 bits, little-endian; only those that are
 * not 0, by ascending index.
 */
#define SUM_WORDS             (SUM_CHUNKS + 1)
#define SUM_ENCODED_BYTES_MAX (2 + SUM_WORDS * 5)

/* Returns the length. */
size_t sum_encode(const struct sum *sum, uint8_t bytes[SUM_ENCODED_BYTES_MAX]);

/* False: these `len` bytes are not what sum_encode() makes of any sum; *sum is undefined. */
__attribute__((warn_unused_result)) bool sum_decode(struct sum *sum, const uint8_t *bytes,
                                                    size_t len);

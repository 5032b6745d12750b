/*
 * Decimal text to double and back, both exact.
 *
 *   in:  the nearest double, ties to even, however many digits there are (IEEE 754-2019 5.12.2).
 *        DECIMAL_DIGITS_KEPT significant digits are kept; those beyond them can decide only a tie,
 *        so one sticky bit stands for them: no number halfway between two doubles has more than 767
 *        (Clinger 1990).
 *   out: the shortest decimal that reads back as the same double; of those, the nearest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECIMAL_GROUP_DIGITS 19 /* as many as a word of 64 bits can hold */
#define DECIMAL_GROUPS       41
#define DECIMAL_DIGITS_KEPT  (DECIMAL_GROUPS * DECIMAL_GROUP_DIGITS)

/* A number being read, built digit by digit: 0.d0d1d2... * 10^(point + exponent), d0 not 0. */
struct decimal {
    int64_t point;
    int64_t exponent;                /* as written, without its sign; saturates, never overflows */
    uint8_t group_count;             /* groups that are full */
    uint8_t group_digits;            /* digits in the group after those: 0 to 18 */
    bool negative;                   /* for the caller to set */
    bool exponent_negative;          /* for the caller to set */
    bool sticky;                     /* a digit other than 0 was beyond those kept */
    uint64_t groups[DECIMAL_GROUPS]; /* 19 digits each, as numbers */
};

void decimal_begin(struct decimal *decimal);
void decimal_add_integer_digit(struct decimal *decimal, unsigned digit);
void decimal_add_fraction_digit(struct decimal *decimal, unsigned digit);
void decimal_add_exponent_digit(struct decimal *decimal, unsigned digit);

/* The nearest double; infinite, with its sign, when it lies beyond the largest. */
double decimal_to_double(const struct decimal *decimal);

#define DECIMAL_SIMPLE_EXPONENT_MAX 27

/*
 * The double nearest to significand * 10^exponent, for any significand and |exponent| <=
 * DECIMAL_SIMPLE_EXPONENT_MAX: what nearly every number in the wild is. False beyond that.
 */
__attribute__((warn_unused_result)) bool decimal_simple(uint64_t significand, int exponent,
                                                        bool negative, double *value);

#define DECIMAL_TEXT_BYTES_MAX 32

/*
 * The shortest text that reads back as `value` (finite), terminated; returns its length. Whole
 * numbers keep ".0"; 1e16 and up, and below 1e-4, in the form d.ddde+XX (as Python's repr writes
 * them).
 */
size_t decimal_print(double value, char text[DECIMAL_TEXT_BYTES_MAX]);

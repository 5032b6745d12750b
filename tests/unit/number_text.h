/*
 * Numbers as text, for the tests: to struct decimal by the calls that event_parser.c makes, and the
 * bits of a double, since 0.0 == -0.0.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "app/text/decimal.h"
#include "tests/unit/random.h"

static inline uint64_t number_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double number_from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* `text` must be a number. */
static inline double number_read(const char *text)
{
    struct decimal decimal;
    bool fraction = false;
    decimal_begin(&decimal);
    decimal.negative = *text == '-';
    for (text += *text == '-'; *text != '\0' && *text != 'e'; text++) {
        if (*text == '.')
            fraction = true;
        else if (fraction)
            decimal_add_fraction_digit(&decimal, (unsigned)(*text - '0'));
        else
            decimal_add_integer_digit(&decimal, (unsigned)(*text - '0'));
    }
    if (*text == 'e') {
        text++;
        decimal.exponent_negative = *text == '-';
        for (text += *text == '-' || *text == '+'; *text != '\0'; text++)
            decimal_add_exponent_digit(&decimal, (unsigned)(*text - '0'));
    }
    return decimal_to_double(&decimal);
}

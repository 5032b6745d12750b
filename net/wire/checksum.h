/* The ones' complement sum of RFC 1071, as far as headers need it. */
#pragma once

#include <stdint.h>

/*
 * Of words added up in 64 bits, to 16: each half is added to the other, and the carry out of that
 * addition is where it is wanted, at the bottom of the upper half.
 */
static inline uint16_t checksum_fold(uint64_t sum)
{
    const uint32_t low = (uint32_t)sum;
    uint32_t half = low + (uint32_t)(sum >> 32);
    half += half < low;
    const uint16_t quarter = (uint16_t)half;
    const uint16_t folded = (uint16_t)(quarter + (half >> 16));
    return (uint16_t)(folded + (folded < quarter));
}

/* The ones' complement sum of RFC 1071, as far as headers need it. */
#pragma once

#include <stdint.h>

/*
 * Of words added up in 64 bits, to 16: each half is added to the other, and the carry out of that
 * addition is where it is wanted, at the bottom of the upper half.
 */
static inline uint16_t checksum_fold(uint64_t sum)
{
    sum += sum >> 32 | sum << 32;
    const uint32_t half = (uint32_t)(sum >> 32);
    return (uint16_t)((half + (half >> 16 | half << 16)) >> 16);
}

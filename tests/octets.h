/* Network byte order and the Internet checksum, for whoever makes packets by hand. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static inline uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* RFC 1071: the sum of 16-bit words in ones' complement, on top of `sum`. 0xffff: all is well. */
static inline uint16_t sum16(const uint8_t *bytes, size_t len, uint64_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += get16(bytes + i);
    if (len % 2 != 0)
        sum += (uint32_t)bytes[len - 1] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* What belongs into the checksum's field, which holds 0. */
static inline uint16_t checksum16(const uint8_t *bytes, size_t len, uint64_t sum)
{
    return (uint16_t)~sum16(bytes, len, sum);
}

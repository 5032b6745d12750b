/*
 * Bytes in memory as words, and comparing them in line: what is compared here is too short for a
 * call of memcmp(). x86-64: little-endian, and SSE2 is always there.
 */
#pragma once

#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The byte at `bytes` in bits 0 to 7, and so on. */
static inline uint64_t bytes_load64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint32_t bytes_load32(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint16_t bytes_load16(const uint8_t *bytes)
{
    uint16_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline __m128i bytes_load128(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* All ones where the bytes are equal. */
static inline __m128i bytes_equal_16(const uint8_t *a, const uint8_t *b)
{
    return _mm_cmpeq_epi8(bytes_load128(a), bytes_load128(b));
}

static inline bool bytes_all(__m128i equal)
{
    return _mm_movemask_epi8(equal) == 0xffff;
}

/* bytes_equal() of lengths that few have: under 4, or over 16. */
static __attribute__((noinline, unused)) bool bytes_equal_odd(const uint8_t *a, const uint8_t *b,
                                                              size_t len)
{
    if (len < 4) {
        for (size_t i = 0; i < len; i++)
            if (a[i] != b[i])
                return false;
        return true;
    }
    __m128i equal = bytes_equal_16(a + len - 16, b + len - 16);
    for (size_t at = 0; at + 16 < len; at += 16)
        equal = _mm_and_si128(equal, bytes_equal_16(a + at, b + at));
    return bytes_all(equal);
}

/* memcmp() == 0; the last word overlaps those before it. */
static inline bool bytes_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len - 8 <= 8)
        return ((bytes_load64(a) ^ bytes_load64(b)) |
                (bytes_load64(a + len - 8) ^ bytes_load64(b + len - 8))) == 0;
    if (len - 4 < 4)
        return ((bytes_load32(a) ^ bytes_load32(b)) |
                (bytes_load32(a + len - 4) ^ bytes_load32(b + len - 4))) == 0;
    return bytes_equal_odd(a, b, len);
}

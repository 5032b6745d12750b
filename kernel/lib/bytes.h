/*
 * Bytes in memory as words, and comparing them in line: what is compared here is too short for a
 * call of memcmp(). Little-endian only, like the machine. Words of 8 bytes rather than SSE2's 16:
 * that takes as many instructions for what is this short, and QEMU's emulator keeps a vector in
 * memory, stores it there in halves and loads it whole: each time a processor waits for its stores.
 */
#pragma once

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
    uint64_t differ = bytes_load64(a + len - 8) ^ bytes_load64(b + len - 8);
    for (size_t at = 0; at + 8 < len; at += 8)
        differ |= bytes_load64(a + at) ^ bytes_load64(b + at);
    return differ == 0;
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

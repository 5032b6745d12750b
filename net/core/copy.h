/*
 * memcpy() in line, for the few hundred bytes of an answer: 16 at a time, the last 16 overlapping
 * those before them. The library's is `rep movsb`, which takes dozens of cycles to begin, and which
 * an emulator does byte by byte.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* `to` and `from` MUST NOT overlap. */
static inline void copy_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len < 16) {
        for (size_t i = 0; i < len; i++)
            to[i] = from[i];
        return;
    }
    memcpy(to + len - 16, from + len - 16, 16);
    for (; len > 64; len -= 64, to += 64, from += 64)
        memcpy(to, from, 64);
    for (; len > 16; len -= 16, to += 16, from += 16)
        memcpy(to, from, 16);
}

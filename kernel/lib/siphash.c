/*
 * SipHash-c-d, after "SipHash: a fast short-input PRF", section 2. Little-endian only, like the
 * machine. A user id of 8 to 15 bytes costs one block, the last block and the finalisation: five
 * rounds of 14 operations, about 95 instructions in all.
 *
 * The last block is read with loads that overlap what has been read before, not byte by byte:
 * for short ids the usual switch over the tail costs as much as two rounds.
 *
 * ROL keeps four of the six flags, so before each QEMU's emulator works out what they are, which
 * nobody asks for: the rotations are two thirds of the hash's time there. RORX touches no flag, and
 * is as fast as ROL on a processor, where it is BMI2's, and so must be asked for.
 */
#include "kernel/lib/siphash.h"

#include <cpuid.h>

#include "kernel/lib/bytes.h"

bool siphash_by_rorx;

__attribute__((constructor)) static void choose(void)
{
    unsigned eax, ebx = 0, ecx, edx;
    (void)__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx); /* writes nothing where there is no 7 */
    siphash_by_rorx = (ebx & bit_BMI2) != 0;
}

/* A statement, not a function: RORX wants a constant, optimised or not. */
#define ROTATE(word, bits)                                                                         \
    do {                                                                                           \
        uint64_t rotated = (word) << (bits) | (word) >> (64 - (bits));                             \
        if (by_rorx)                                                                               \
            __asm__("rorx %2, %1, %0" : "=r"(rotated) : "r"(word), "i"(64 - (bits)));              \
        (word) = rotated;                                                                          \
    } while (0)

/* The len % 8 bytes that no whole block holds; `bytes` is the start of the whole input. */
static inline uint64_t load_tail(const uint8_t *bytes, size_t len)
{
    const size_t left = len & 7;
    /* In two shifts, for the last may be by all 64 bits. */
    if (len >= 8)
        return bytes_load64(bytes + len - 8) >> 8 * (7 - left) >> 8;
    if (left >= 4)
        return bytes_load32(bytes) | (uint64_t)bytes_load32(bytes + left - 4) << 8 * (left - 4);
    if (left == 0)
        return 0;
    return (uint64_t)bytes[0] | (uint64_t)bytes[left / 2] << 8 * (left / 2) |
           (uint64_t)bytes[left - 1] << 8 * (left - 1);
}

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline void mix(struct state *s, int rounds, bool by_rorx)
{
#pragma GCC unroll 4
    for (int i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        ROTATE(s->v1, 13);
        ROTATE(s->v3, 16);
        s->v1 ^= s->v0;
        s->v3 ^= s->v2;
        ROTATE(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        ROTATE(s->v1, 17);
        ROTATE(s->v3, 21);
        s->v1 ^= s->v2;
        s->v3 ^= s->v0;
        ROTATE(s->v2, 32);
    }
}

static inline void absorb(struct state *s, uint64_t block, int rounds, bool by_rorx)
{
    s->v3 ^= block;
    mix(s, rounds, by_rorx);
    s->v0 ^= block;
}

static inline uint64_t siphash(const struct siphash_key *key, const uint8_t *bytes, size_t len,
                               int c, int d, bool by_rorx)
{
    /* Section 2.1: "somepseudorandomlygeneratedbytes". */
    struct state s = {
        .v0 = key->k0 ^ 0x736f6d6570736575,
        .v1 = key->k1 ^ 0x646f72616e646f6d,
        .v2 = key->k0 ^ 0x6c7967656e657261,
        .v3 = key->k1 ^ 0x7465646279746573,
    };
    for (size_t at = 0; at + 8 <= len; at += 8)
        absorb(&s, bytes_load64(bytes + at), c, by_rorx);
    absorb(&s, (uint64_t)len << 56 | load_tail(bytes, len), c, by_rorx);
    s.v2 ^= 0xff;
    mix(&s, d, by_rorx);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* Flattened: once for each way to rotate; the slower out of line, for its callers are in pages. */
__attribute__((noinline, flatten)) static uint64_t siphash13_by_rol(const struct siphash_key *key,
                                                                    const void *bytes, size_t len)
{
    return siphash(key, bytes, len, 1, 3, false);
}

__attribute__((flatten)) uint64_t siphash13(const struct siphash_key *key, const void *bytes,
                                            size_t len)
{
    return siphash_by_rorx ? siphash(key, bytes, len, 1, 3, true)
                           : siphash13_by_rol(key, bytes, len);
}

__attribute__((flatten)) uint64_t siphash24(const struct siphash_key *key, const void *bytes,
                                            size_t len)
{
    return siphash_by_rorx ? siphash(key, bytes, len, 2, 4, true)
                           : siphash(key, bytes, len, 2, 4, false);
}

/* SipHash-2-4 (Aumasson, Bernstein 2012). */
#include <string.h>

#include "net/tcp/isn.h"

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline void sip_start(uint64_t v[4], const uint64_t key[2])
{
    v[0] = key[0] ^ 0x736f6d6570736575u;
    v[1] = key[1] ^ 0x646f72616e646f6du;
    v[2] = key[0] ^ 0x6c7967656e657261u;
    v[3] = key[1] ^ 0x7465646279746573u;
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static inline uint64_t sip_end(uint64_t v[4])
{
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t isn_hash(const uint64_t key[2], const uint8_t *bytes, size_t len)
{
    uint64_t v[4];
    uint64_t word;
    size_t at = 0;

    sip_start(v, key);
    for (; at + 8 <= len; at += 8) {
        memcpy(&word, bytes + at, 8);
        sip_word(v, word);
    }
    word = (uint64_t)len << 56;
    for (size_t i = 0; at + i < len; i++)
        word |= (uint64_t)bytes[at + i] << (8 * i);
    sip_word(v, word);
    return sip_end(v);
}

uint64_t isn_hash_15(const uint64_t key[2], uint64_t first, uint64_t second)
{
    uint64_t v[4];
    sip_start(v, key);
    sip_word(v, first);
    sip_word(v, second | (uint64_t)15 << 56);
    return sip_end(v);
}

#include "kernel/plat/chacha.h"

#include <string.h>

enum { KEY_WORD = 4, COUNTER_WORD = 12, DOUBLE_ROUNDS = 10 };

static uint32_t rotate(uint32_t x, unsigned bits)
{
    return x << bits | x >> (32 - bits);
}

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b;
    *d = rotate(*d ^ *a, 16);
    *c += *d;
    *b = rotate(*b ^ *c, 12);
    *a += *b;
    *d = rotate(*d ^ *a, 8);
    *c += *d;
    *b = rotate(*b ^ *c, 7);
}

void chacha_init(struct chacha_state *state, const uint8_t key[32])
{
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

    memset(state, 0, sizeof *state);
    memcpy(state->words, constants, sizeof constants);
    memcpy(state->words + KEY_WORD, key, 32); /* little-endian, as the RFC has it */
}

void chacha_block(struct chacha_state *state, uint8_t out[64])
{
    uint32_t x[16];

    memcpy(x, state->words, sizeof x);
    for (unsigned i = 0; i < DOUBLE_ROUNDS; i++) {
        for (unsigned column = 0; column < 4; column++)
            quarter_round(&x[column], &x[4 + column], &x[8 + column], &x[12 + column]);
        for (unsigned diagonal = 0; diagonal < 4; diagonal++)
            quarter_round(&x[diagonal], &x[4 + (diagonal + 1) % 4], &x[8 + (diagonal + 2) % 4],
                          &x[12 + (diagonal + 3) % 4]);
    }
    for (unsigned i = 0; i < 16; i++)
        x[i] += state->words[i];
    memcpy(out, x, sizeof x);
    state->words[COUNTER_WORD]++;
}

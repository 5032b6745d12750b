/* The ChaCha20 block function (RFC 8439, 2.3), for entropy.c. */
#pragma once

#include <stdint.h>

struct chacha_state {
    uint32_t words[16]; /* constants, key (8), counter, nonce (3) */
};

void chacha_init(struct chacha_state *state, const uint8_t key[32]);

/* The next 64 bytes of the stream, with a nonce of zero. Counts blocks. */
void chacha_block(struct chacha_state *state, uint8_t out[64]);

/*
 * SipHash-1-3 (Aumasson and Bernstein 2012; the reduced rounds as in its authors' advice for
 * hash tables): a keyed hash, so that a client who does not know the key cannot build collisions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the processor has RORX, found out before main(). Results are the same without. */
extern bool siphash_by_rorx;

struct siphash_key {
    uint64_t k0, k1;
};

uint64_t siphash13(const struct siphash_key *key, const void *bytes, size_t len);

/* The same code with the rounds that have published vectors: how the tests prove the core. */
uint64_t siphash24(const struct siphash_key *key, const void *bytes, size_t len);

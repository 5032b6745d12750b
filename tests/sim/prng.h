/*
 * The one source of chance: SplitMix64 (Steele, Lea, Flood 2014). A run draws every decision from
 * it, in an order that depends on nothing but the seed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void prng_seed(uint64_t seed);
uint64_t prng_next(void);

/* 0 to n - 1; n is at least 1. */
uint32_t prng_below(uint32_t n);

/* low to high, both included. */
uint32_t prng_range(uint32_t low, uint32_t high);

/* True in so many of a thousand, or of a million. 0 draws nothing. */
bool prng_permille(uint32_t permille);
bool prng_ppm(uint32_t ppm);

/* Between low and high, but each power of two as likely as the next: small ones are not rare. */
uint32_t prng_scale(uint32_t low, uint32_t high);

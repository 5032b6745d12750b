/* Numbers that look random and are the same in every run, on the host and in the guest. */
#pragma once

#include <stdint.h>

static uint64_t random_state = 1; /* random_below()'s; a test may set it, but not to 0 */

/* xorshift64 (Marsaglia 2003) */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline uint32_t random_below(uint32_t bound)
{
    return (uint32_t)((random_next(&random_state) >> 32) * bound >> 32);
}

#include "tests/sim/prng.h"

static uint64_t state;

void prng_seed(uint64_t seed)
{
    state = seed;
}

uint64_t prng_next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t prng_below(uint32_t n)
{
    return (uint32_t)((prng_next() >> 32) * n >> 32);
}

uint32_t prng_range(uint32_t low, uint32_t high)
{
    return low + prng_below(high - low + 1);
}

bool prng_permille(uint32_t permille)
{
    return permille != 0 && prng_below(1000) < permille;
}

bool prng_ppm(uint32_t ppm)
{
    return ppm != 0 && prng_below(1000000) < ppm;
}

uint32_t prng_scale(uint32_t low, uint32_t high)
{
    uint32_t octaves = 1;
    while (octaves < 32 && (uint64_t)low << octaves < high)
        octaves++;
    const uint64_t top = (uint64_t)low << prng_range(1, octaves);
    return prng_range(low, top < high ? (uint32_t)top : high);
}

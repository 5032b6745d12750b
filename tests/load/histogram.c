#include "tests/load/histogram.h"

#include <assert.h>
#include <stddef.h>

/* Values of one power of two, 2^k to 2^(k+1), lie in HISTOGRAM_STEPS buckets of 2^(k-7) each. */
static size_t histogram_bucket_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (size_t)value;
    if (value >> HISTOGRAM_VALUE_BITS != 0)
        return HISTOGRAM_BUCKETS - 1;
    const unsigned top_bit = 63U - (unsigned)__builtin_clzll(value);
    const unsigned shift = top_bit - HISTOGRAM_STEP_BITS;
    /* value >> shift lies in [STEPS, 2 * STEPS): its top bit is already the next group's start. */
    return (size_t)shift * HISTOGRAM_STEPS + (size_t)(value >> shift);
}

static uint64_t histogram_upper_end(size_t bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    const size_t shift = bucket / HISTOGRAM_STEPS - 1;
    const uint64_t step = bucket - shift * HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->bucket[histogram_bucket_of(value)]++;
}

uint64_t histogram_percentile(const struct histogram *histogram, uint32_t parts_per_100000)
{
    assert(parts_per_100000 <= 100000);
    if (histogram->count == 0)
        return 0;
    const __uint128_t product = (__uint128_t)histogram->count * parts_per_100000;
    uint64_t rank = (uint64_t)((product + 99999) / 100000);
    if (rank == 0)
        rank = 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->bucket[i];
        if (seen >= rank && i < HISTOGRAM_BUCKETS - 1) {
            const uint64_t end = histogram_upper_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}

uint64_t histogram_mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0 : histogram->sum / histogram->count;
}

/*
 * Latencies, counted in fixed memory: a log-linear histogram.
 *
 * Each power of two is cut into HISTOGRAM_STEPS equal steps, so a value is known to 1 part in 128
 * (0.8 %) whether it is a microsecond or a minute. Values below HISTOGRAM_STEPS are exact.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_STEP_BITS  7
#define HISTOGRAM_STEPS      (1U << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_VALUE_BITS 41 /* larger values count as the largest: 36 minutes in ns */
#define HISTOGRAM_BUCKETS    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t count, sum, max; /* sum and max are of the values as given */
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/*
 * The value that `parts_per_100000` of all values do not exceed (50,000: the median):
 * the upper end of its step, never above the maximum. 0 when there is none.
 */
uint64_t histogram_percentile(const struct histogram *histogram, uint32_t parts_per_100000);

uint64_t histogram_mean(const struct histogram *histogram);

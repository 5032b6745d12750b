/*
 * Compares what the server says it counted with what was sent.
 *
 * Exact where it can be: totals, sum and average as text. Where answers were lost the server may
 * have counted their requests or not, so totals are held against a range; where the server was not
 * fresh, users that it already knew are not told apart, so uniqueUsers is. Either is said.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/load/stats.h"
#include "tests/load/workload.h"

#define CHECK_TEXT_BYTES_MAX 160

struct check {
    const char *name; /* the member of /stats */
    bool good;
    char expected[CHECK_TEXT_BYTES_MAX]; /* a number, a range, or why it cannot be told */
    char actual[STATS_NUMBER_BYTES_MAX];
};

#define CHECK_COUNT 4

/* True if all are good. */
bool check_stats(const struct stats *before, const struct stats *after,
                 const struct workload_tallies *tallies, struct check checks[CHECK_COUNT]);

/* The shortest text that reads back as `value`, whole numbers with ".0". */
void check_number_text(double value, char text[STATS_NUMBER_BYTES_MAX]);

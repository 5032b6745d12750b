/*
 * Compares what the server says it counted with what was sent.
 *
 * Exact where it can be: totals, sum and average as text. Where answers were lost the server may
 * have counted their requests or not, so totals are held against a range; where the server was not
 * fresh, users that it already knew are not told apart, so uniqueUsers is. Either is said. Where
 * others' events have left a sum that is not kept exactly as halves, its difference is not known:
 * that is neither good nor wrong, and not a success.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "tests/load/stats.h"
#include "tests/load/workload.h"

#define CHECK_TEXT_BYTES_MAX 160

enum check_outcome { CHECK_WRONG, CHECK_UNKNOWN, CHECK_GOOD }; /* the worst first */

struct check {
    const char *name; /* the member of /stats */
    enum check_outcome outcome;
    char expected[CHECK_TEXT_BYTES_MAX]; /* a number, a range, or why it cannot be told */
    char actual[STATS_NUMBER_BYTES_MAX];
};

#define CHECK_COUNT 4

/* The worst of the four. */
enum check_outcome check_stats(const struct stats *before, const struct stats *after,
                               const struct workload_tallies *tallies,
                               struct check checks[CHECK_COUNT]);

void check_print(const struct check checks[CHECK_COUNT], FILE *out);

/* An array. */
void check_print_json(const struct check checks[CHECK_COUNT], FILE *out);

/* The shortest text that reads back as `value`, whole numbers with ".0". */
void check_number_text(double value, char text[STATS_NUMBER_BYTES_MAX]);

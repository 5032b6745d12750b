#include "tests/load/check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HALVES_MAX 9007199254740992.0 /* 2^53: up to here every multiple of 0.5 / 2 is a double */

/* A sum as an integer of halves. False if it is not a multiple of one half, or too large. */
static bool check_halves(const char *text, int64_t *halves)
{
    char *end;
    const double value = strtod(text, &end) * 2;
    if (*end != '\0' || !(value > -HALVES_MAX && value < HALVES_MAX))
        return false;
    *halves = (int64_t)value;
    return value == (double)*halves;
}

void check_number_text(double value, char text[STATS_NUMBER_BYTES_MAX])
{
    char scientific[40];
    int digits = 0;
    do
        snprintf(scientific, sizeof scientific, "%.*e", digits, value);
    while (strtod(scientific, NULL) != value && ++digits < 17);
    const int exponent = atoi(strchr(scientific, 'e') + 1);
    if (value != 0 && (exponent < -4 || exponent >= 16)) {
        snprintf(text, STATS_NUMBER_BYTES_MAX, "%s", scientific);
        return;
    }
    const int decimals = digits > exponent ? digits - exponent : 1;
    snprintf(text, STATS_NUMBER_BYTES_MAX, "%.*f", decimals, value);
}

static enum check_outcome check_outcome_of(bool good)
{
    return good ? CHECK_GOOD : CHECK_WRONG;
}

static void check_count(struct check *check, const char *name, uint64_t actual, uint64_t min,
                        uint64_t max, const char *why_range)
{
    check->name = name;
    check->outcome = check_outcome_of(actual >= min && actual <= max);
    snprintf(check->actual, sizeof check->actual, "%" PRIu64, actual);
    if (min == max)
        snprintf(check->expected, sizeof check->expected, "%" PRIu64, min);
    else
        snprintf(check->expected, sizeof check->expected, "%" PRIu64 " to %" PRIu64 " (%s)", min,
                 max, why_range);
}

static void check_sum(struct check *check, const struct stats *before, const struct stats *after,
                      const struct workload_tallies *tallies)
{
    char min_text[STATS_NUMBER_BYTES_MAX], max_text[STATS_NUMBER_BYTES_MAX];
    int64_t start, actual;
    check->name = "sum";
    snprintf(check->actual, sizeof check->actual, "%s", after->sum);
    if (!check_halves(before->sum, &start)) {
        check->outcome = CHECK_UNKNOWN;
        snprintf(check->expected, sizeof check->expected,
                 "the sum before, %s, was no multiple of 0.5 below 2^52", before->sum);
        return;
    }
    const int64_t min = start + (int64_t)tallies->counted.half_sum;
    const int64_t max = min + (int64_t)tallies->uncertain.half_sum;
    if ((double)max >= HALVES_MAX) {
        check->outcome = CHECK_UNKNOWN;
        snprintf(check->expected, sizeof check->expected,
                 "the sum before, %s, and what was sent go beyond 2^52", before->sum);
        return;
    }
    check_number_text((double)min / 2, min_text);
    check_number_text((double)max / 2, max_text);
    if (tallies->uncertain.requests == 0) {
        snprintf(check->expected, sizeof check->expected, "%s", min_text);
        check->outcome = check_outcome_of(strcmp(after->sum, min_text) == 0);
        return;
    }
    snprintf(check->expected, sizeof check->expected, "%s to %s (answers were lost)", min_text,
             max_text);
    check->outcome =
        check_outcome_of(check_halves(after->sum, &actual) && actual >= min && actual <= max);
}

/* The average is that of the sum and the total beside it; these have checks of their own. */
static void check_average(struct check *check, const struct stats *after)
{
    int64_t halves;
    check->name = "avg";
    snprintf(check->actual, sizeof check->actual, "%s", after->avg);
    if (!check_halves(after->sum, &halves)) {
        check->outcome = CHECK_UNKNOWN;
        snprintf(check->expected, sizeof check->expected,
                 "the sum is no multiple of 0.5 below 2^52");
        return;
    }
    const double count = (double)after->total_requests;
    char expected[STATS_NUMBER_BYTES_MAX];
    check_number_text(count == 0 ? 0 : (double)halves / (2 * count), expected);
    snprintf(check->expected, sizeof check->expected, "%s", expected);
    check->outcome = check_outcome_of(strcmp(after->avg, expected) == 0);
}

enum check_outcome check_stats(const struct stats *before, const struct stats *after,
                               const struct workload_tallies *tallies,
                               struct check checks[CHECK_COUNT])
{
    const uint64_t total = before->total_requests + tallies->counted.requests;
    const bool fresh = before->total_requests == 0;
    uint64_t users_min = tallies->users_min;
    if (before->unique_users > users_min)
        users_min = before->unique_users;
    memset(checks, 0, CHECK_COUNT * sizeof *checks);
    check_count(&checks[0], "totalRequests", after->total_requests, total,
                total + tallies->uncertain.requests, "answers were lost");
    check_count(&checks[1], "uniqueUsers", after->unique_users, users_min,
                before->unique_users + tallies->users_max,
                fresh ? "answers were lost" : "the server was not fresh");
    check_sum(&checks[2], before, after, tallies);
    check_average(&checks[3], after);
    enum check_outcome worst = CHECK_GOOD;
    for (size_t i = 0; i < CHECK_COUNT; i++)
        if (checks[i].outcome < worst)
            worst = checks[i].outcome;
    return worst;
}

void check_print(const struct check checks[CHECK_COUNT], FILE *out)
{
    static const char *const outcomes[] = {[CHECK_WRONG] = "WRONG, expected:",
                                           [CHECK_UNKNOWN] = "cannot be checked:",
                                           [CHECK_GOOD] = "as expected:"};
    for (size_t i = 0; i < CHECK_COUNT; i++)
        fprintf(out, "%-14s %-16s %s %s\n", checks[i].name, checks[i].actual,
                outcomes[checks[i].outcome], checks[i].expected);
}

void check_print_json(const struct check checks[CHECK_COUNT], FILE *out)
{
    static const char *const outcomes[] = {
        [CHECK_WRONG] = "wrong", [CHECK_UNKNOWN] = "unknown", [CHECK_GOOD] = "good"};
    for (size_t i = 0; i < CHECK_COUNT; i++)
        fprintf(out,
                "%s{\"name\": \"%s\", \"outcome\": \"%s\", \"expected\": \"%s\", "
                "\"actual\": \"%s\"}",
                i == 0 ? "[" : ", ", checks[i].name, outcomes[checks[i].outcome],
                checks[i].expected, checks[i].actual);
    fprintf(out, "]");
}

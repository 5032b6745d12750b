/* What a run came to, for people and (--json) for programs. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "tests/load/check.h"
#include "tests/load/engine.h"

struct report {
    const struct options *options;
    const struct session *session;
    const struct engine_result *result;
    const struct stats *before,
        *after;                       /* after: NULL if it could not be had, or was not asked for */
    const char *stats_error;          /* why; NULL if there was no error */
    struct check checks[CHECK_COUNT]; /* valid with `after` */
    enum check_outcome checks_outcome;
};

/* Its numbers are the program's exit statuses. */
enum report_verdict {
    REPORT_SUCCESS = 0, /* every request was answered 200, and /stats agrees where it was asked */
    REPORT_FAILURE = 1,
    REPORT_INCONCLUSIVE = 3, /* answered 200, and nothing in /stats is wrong, but not all of it
                                can be checked */
};

enum report_verdict report_verdict(const struct report *report);

void report_print(const struct report *report, FILE *out);

void report_print_json(const struct report *report, FILE *out);

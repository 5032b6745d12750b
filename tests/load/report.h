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
    bool checks_good;
};

/* Every request was answered 200, and /stats agrees where it was to be asked. */
bool report_is_success(const struct report *report);

void report_print(const struct report *report, FILE *out);

void report_print_json(const struct report *report, FILE *out);

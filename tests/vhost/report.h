/* What a run came to, for people and (--json) for programs. */
#pragma once

#include <stdio.h>

#include "tests/vhost/run.h"

void report_print(const struct run_options *options, const struct run_result *result, FILE *out);

void report_print_json(const struct run_options *options, const struct run_result *result,
                       FILE *out);

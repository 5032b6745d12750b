/*
 * tally-load: sends the One Million Request Challenge to a server and checks the outcome exactly.
 *
 *     options.c     the command line
 *     workload.c    the requests, and what they amount to
 *     engine.c      which connection sends what, and when
 *     connection.c  one connection
 *     response.c    HTTP answers, cut anywhere
 *     histogram.c   latencies
 *     stats.c       GET /stats
 *     check.c       what the server counted against what was sent
 *     report.c      the outcome
 *     output.c      the file of --json
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/load/output.h"
#include "tests/load/report.h"

#define STATS_TIMEOUT_MS 10000

static void main_print_plan(const struct options *options, FILE *out)
{
    fprintf(out, "Starting: %llu requests to http://%s/event, %u connections%s, depth %u, ",
            (unsigned long long)options->requests, options->authority,
            (unsigned)options->connections, options->close ? ", one request on each" : "",
            (unsigned)options->depth);
    if (options->rate != 0)
        fprintf(out, "open loop of %llu req/s\n", (unsigned long long)options->rate);
    else
        fprintf(out, "closed loop\n");
    fflush(out);
}

__attribute__((noreturn)) static void main_fail_json(const char *path)
{
    fprintf(stderr, "tally-load: --json %s: %s\n", path, strerror(errno));
    exit(2);
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct session session;
    static struct engine_result result;
    static struct report report;
    static struct stats before, after;
    static char stats_error[STATS_ERROR_BYTES_MAX];

    options_parse(argc, argv, &options);
    FILE *text = options.json_path != NULL && strcmp(options.json_path, "-") == 0 ? stderr : stdout;
    if (options.check &&
        !stats_fetch(&options.address, options.authority, STATS_TIMEOUT_MS, &before, stats_error)) {
        fprintf(text, "FAILURE: http://%s: %s\n", options.authority, stats_error);
        return 1;
    }
    FILE *json = NULL;
    if (options.json_path != NULL && (json = output_open(options.json_path)) == NULL)
        main_fail_json(options.json_path);
    session.options = &options;
    session.workload = workload_create(options.data, options.authority, options.close);
    main_print_plan(&options, text);
    engine_run(&session, &result);

    report.options = &options;
    report.session = &session;
    report.result = &result;
    if (options.check) {
        const struct workload_tallies tallies = workload_get_tallies(session.workload);
        report.before = &before;
        if (stats_fetch(&options.address, options.authority, STATS_TIMEOUT_MS, &after,
                        stats_error)) {
            report.after = &after;
            report.checks_outcome = check_stats(&before, &after, &tallies, report.checks);
        } else {
            report.stats_error = stats_error;
        }
    }
    report_print(&report, text);
    if (json != NULL) {
        output_begin(json);
        report_print_json(&report, json);
        if (!output_end(json))
            main_fail_json(options.json_path);
    }
    return (int)report_verdict(&report);
}

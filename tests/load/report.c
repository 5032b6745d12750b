#include "tests/load/report.h"

#include <inttypes.h>

static const struct {
    const char *name;
    uint32_t parts_per_100000;
} report_percentiles[] = {
    {"p50", 50000}, {"p90", 90000}, {"p99", 99000}, {"p99.9", 99900}, {"max", 100000}};

#define PERCENTILES (sizeof report_percentiles / sizeof report_percentiles[0])

static double report_rate(const struct report *report)
{
    const double seconds = (double)report->result->run_ns / 1e9;
    return seconds > 0 ? (double)report->session->completed / seconds : 0;
}

static uint64_t report_errors(const struct session_errors *errors)
{
    return errors->connect + errors->reset + errors->timeout + errors->status + errors->malformed;
}

enum report_verdict report_verdict(const struct report *report)
{
    if (report->result->stopped != NULL || report->session->counted != report->options->requests)
        return REPORT_FAILURE;
    if (!report->options->check)
        return REPORT_SUCCESS;
    if (report->after == NULL || report->checks_outcome == CHECK_WRONG)
        return REPORT_FAILURE;
    return report->checks_outcome == CHECK_GOOD ? REPORT_SUCCESS : REPORT_INCONCLUSIVE;
}

static void report_print_errors(const struct session *session, FILE *out)
{
    const struct session_errors *errors = &session->errors;
    fprintf(out,
            "Errors:              %" PRIu64 " (connect %" PRIu64 ", reset %" PRIu64
            ", timeout %" PRIu64 ", status %" PRIu64 ", malformed %" PRIu64 ")\n",
            report_errors(errors), errors->connect, errors->reset, errors->timeout, errors->status,
            errors->malformed);
    for (unsigned i = 0; i < 500; i++)
        if (session->statuses[i] != 0 && i != 100)
            fprintf(out, "  answered %u:      %" PRIu64 "\n", i + 100, session->statuses[i]);
    if (session->lost != 0)
        fprintf(out,
                "  lost answers:      %" PRIu64 " (the server may have counted them, or not)\n",
                session->lost);
    if (session->closed_idle != 0)
        fprintf(out, "  closed while idle: %" PRIu64 " (no error)\n", session->closed_idle);
    if (session->unclosed != 0)
        fprintf(out, "  left open:         %" PRIu64 " (closed by this side after a second)\n",
                session->unclosed);
}

/* Which of the appliance's options may be the reason. */
static void report_print_hints(const struct report *report, FILE *out)
{
    const struct session *session = report->session;
    const struct session_errors *errors = &session->errors;
    if (session->statuses[507 - 100] != 0)
        fprintf(out,
                "  507: the server has no room for more users: give it a larger max-users=, or "
                "more memory (MEM=) if it has none\n");
    /* Of a server that has gone these are no news. */
    if ((report->result->stopped == NULL || report->after != NULL) &&
        (session->closed_idle != 0 || errors->reset != 0 || errors->connect != 0))
        fprintf(out, "  connections gave way, or were not let in, if there are more than the "
                     "server's max-connections= (4096 if not given, fewer in little memory: "
                     "MEM=)\n");
}

static void report_print_stats(const struct report *report, FILE *out)
{
    fprintf(out, "\n=== Server Stats ===\n");
    if (report->after == NULL) {
        fprintf(out, "%s\n", report->stats_error);
        return;
    }
    if (report->before->total_requests != 0)
        fprintf(out, "(it had counted %" PRIu64 " before: the difference is checked)\n",
                report->before->total_requests);
    check_print(report->checks, out);
    if (report->after->total_requests != 0)
        fprintf(out, "(it keeps these counts: restart it before a client that expects none)\n");
}

static void report_print_verdict(const struct report *report, FILE *out)
{
    static const char *const stats_is[] = {[CHECK_WRONG] = "is wrong",
                                           [CHECK_UNKNOWN] = "cannot all be checked",
                                           [CHECK_GOOD] = "agrees with that"};
    const struct session *session = report->session;
    const enum report_verdict verdict = report_verdict(report);
    if (verdict == REPORT_INCONCLUSIVE) {
        fprintf(out,
                "\nINCONCLUSIVE: all %" PRIu64 " requests were answered 200, but not all that was "
                "counted can be checked; a server that has counted nothing else settles it\n",
                report->options->requests);
        return;
    }
    if (verdict == REPORT_SUCCESS) {
        fprintf(out, "\nSUCCESS: all %" PRIu64 " requests were answered 200%s\n",
                report->options->requests,
                report->options->check ? " and counted exactly" : " (/stats was not asked for)");
        return;
    }
    fprintf(out, "\nFAILURE:");
    if (report->result->stopped != NULL)
        fprintf(out, " stopped early (%s);", report->result->stopped);
    if (session->counted != report->options->requests)
        fprintf(out, " %" PRIu64 " of %" PRIu64 " requests were answered 200;", session->counted,
                report->options->requests);
    if (report->options->check && report->after == NULL)
        fprintf(out, " no /stats;");
    else if (report->options->check)
        fprintf(out, " /stats %s", stats_is[report->checks_outcome]);
    fprintf(out, "\n");
}

void report_print(const struct report *report, FILE *out)
{
    const struct engine_result *result = report->result;
    const struct histogram *latency = &report->session->latency;
    fprintf(out, "\n=== Test Results ===\n");
    if (!report->options->close)
        fprintf(out, "Connections:         %u, opened in %.3f s\n",
                (unsigned)result->connections_at_start, (double)result->warm_ns / 1e9);
    fprintf(out, "Total time:          %.3f s\n", (double)result->run_ns / 1e9);
    fprintf(out, "Requests per second: %.2f\n", report_rate(report));
    fprintf(out, "Client's CPU time:   %.3f s\n", (double)result->cpu_ns / 1e9);
    report_print_errors(report->session, out);
    report_print_hints(report, out);
    fprintf(out, "Latency:             mean %.1f us", (double)histogram_mean(latency) / 1e3);
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, ", %s %.1f us", report_percentiles[i].name,
                (double)histogram_percentile(latency, report_percentiles[i].parts_per_100000) /
                    1e3);
    fprintf(out, "\n");
    if (report->options->check)
        report_print_stats(report, out);
    report_print_verdict(report, out);
}

static void report_json_stats(const char *name, const struct stats *stats, FILE *out)
{
    if (stats != NULL)
        fprintf(out,
                ",\n \"%s\": {\"totalRequests\": %" PRIu64 ", \"uniqueUsers\": %" PRIu64
                ", \"sum\": \"%s\", \"avg\": \"%s\"}",
                name, stats->total_requests, stats->unique_users, stats->sum, stats->avg);
}

void report_print_json(const struct report *report, FILE *out)
{
    const struct options *options = report->options;
    const struct session *session = report->session;
    const struct session_errors *errors = &session->errors;
    const struct engine_result *result = report->result;
    fprintf(out,
            "{\"success\": %s, \"requests\": %" PRIu64
            ", \"connections\": %u, \"depth\": %u, \"rate\": %" PRIu64
            ", \"close\": %s, \"data\": \"%s\",\n",
            report_verdict(report) == REPORT_SUCCESS ? "true" : "false", options->requests,
            (unsigned)options->connections, (unsigned)options->depth, options->rate,
            options->close ? "true" : "false", options->data == WORKLOAD_GO ? "go" : "fasterapi");
    fprintf(out,
            " \"seconds\": %.6f, \"requests_per_second\": %.2f, \"cpu_seconds\": %.6f, "
            "\"warm_seconds\": %.6f,\n",
            (double)result->run_ns / 1e9, report_rate(report), (double)result->cpu_ns / 1e9,
            (double)result->warm_ns / 1e9);
    fprintf(out,
            " \"answered_200\": %" PRIu64 ", \"lost\": %" PRIu64
            ", \"errors\": {\"connect\": %" PRIu64 ", \"reset\": %" PRIu64 ", \"timeout\": %" PRIu64
            ", \"status\": %" PRIu64 ", \"malformed\": %" PRIu64 "},\n",
            session->counted, session->lost, errors->connect, errors->reset, errors->timeout,
            errors->status, errors->malformed);
    fprintf(out, " \"latency_ns\": {\"mean\": %" PRIu64, histogram_mean(&session->latency));
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, ", \"%s\": %" PRIu64, report_percentiles[i].name,
                histogram_percentile(&session->latency, report_percentiles[i].parts_per_100000));
    fprintf(out, "},\n \"per_second\": [");
    for (uint32_t i = 0; i < result->seconds; i++)
        fprintf(out, "%s{\"answered_200\": %" PRIu64 ", \"cpu_ns\": %" PRIu64 "}",
                i == 0 ? "" : ", ", result->per_second[i].answered, result->per_second[i].cpu_ns);
    fprintf(out, "]");
    report_json_stats("stats_before", report->before, out);
    report_json_stats("stats_after", report->after, out);
    if (report->after != NULL) {
        fprintf(out, ",\n \"checks\": ");
        check_print_json(report->checks, out);
    }
    fprintf(out, "}\n");
}

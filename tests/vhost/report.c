#include "tests/vhost/report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tests/vhost/link.h"
#include "tests/vhost/rings.h"
#include "tests/vhost/tcp.h"

static const struct {
    const char *name;
    uint32_t parts_per_100000;
} percentiles[] = {
    {"p50", 50000}, {"p90", 90000}, {"p99", 99000}, {"p99.9", 99900}, {"max", 100000}};

#define PERCENTILES (sizeof percentiles / sizeof percentiles[0])

/* ---- figures ---- */

struct seconds {
    uint32_t min, median, max;
    double dip; /* how far the worst second falls below the one before it, 0 to 1 */
};

static int compare(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static struct seconds summarise(const struct run_result *result)
{
    static uint32_t sorted[RUN_SECONDS_MAX];
    struct seconds seconds = {0};
    const uint32_t count = result->seconds;

    if (count == 0)
        return seconds;
    for (uint32_t i = 0; i < count; i++) {
        sorted[i] = result->per_second[i];
        if (i > 0 && result->per_second[i - 1] > 0) {
            const double dip =
                1 - (double)result->per_second[i] / (double)result->per_second[i - 1];
            seconds.dip = dip > seconds.dip ? dip : seconds.dip;
        }
    }
    qsort(sorted, count, sizeof(*sorted), compare);
    seconds.min = sorted[0];
    seconds.median = sorted[count / 2];
    seconds.max = sorted[count - 1];
    return seconds;
}

static double rate(const struct run_result *result)
{
    return result->load_ns > 0 ? (double)result->answered * 1e9 / (double)result->load_ns : 0;
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static double load_s(const struct run_result *result)
{
    return (double)result->load_ns / 1e9;
}

static double microseconds(const struct run_result *result, size_t i)
{
    return (double)histogram_percentile(&result->latency, percentiles[i].parts_per_100000) / 1e3;
}

/* ---- for people ---- */

static void print_wire(FILE *out)
{
    const struct link_counters *const wire = link_get_counters();
    const struct tcp_counters *const tcp = tcp_get_counters();

    fprintf(out,
            "Frames:              %" PRIu64 " to the guest (%" PRIu64 " trains), %" PRIu64
            " from it; %" PRIu64 " retransmissions, %" PRIu64 " lost for want of its buffers\n",
            wire->sent_frames, wire->trains, wire->received_frames, tcp->retransmissions,
            wire->ring_full);
    if (tcp->repeated + tcp->out_of_order + wire->not_for_us > 0)
        fprintf(out,
                "  from the guest:    %" PRIu64 " segments repeated, %" PRIu64
                " out of order; %" PRIu64 " frames not for this client\n",
                tcp->repeated, tcp->out_of_order, wire->not_for_us);
    if (tcp->bad > 0)
        fprintf(out, "  segments that TCP does not allow: %" PRIu64 "; the first: %s\n", tcp->bad,
                tcp_first_bad());
    if (wire->insane > 0)
        fprintf(out, "  frames that are malformed: %" PRIu64 "; the first: %s\n", wire->insane,
                link_insanity());
}

static void print_stats(const struct run_result *result, FILE *out)
{
    if (!result->has_stats) {
        fprintf(out, "/stats was not had\n");
        return;
    }
    check_print(result->checks, out);
}

void report_print(const struct run_options *options, const struct run_result *result, FILE *out)
{
    const struct run_errors *const e = &result->errors;
    const struct seconds seconds = summarise(result);

    fprintf(out, "%u connections%s, depth %u: %" PRIu64 " requests answered in %.3f s\n",
            options->connections, options->churn ? ", each for one request" : "", options->depth,
            result->answered, load_s(result));
    fprintf(out, "Requests per second: %.0f", rate(result));
    if (result->seconds > 0)
        fprintf(out, " (by the second: min %u, median %u, max %u; deepest dip %.1f %%)",
                seconds.min, seconds.median, seconds.max, 100 * seconds.dip);
    fprintf(out, "\nLatency:            ");
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, " %s %.1f us%s", percentiles[i].name, microseconds(result, i),
                i + 1 < PERCENTILES ? "," : "\n");
    fprintf(out, "This program:        busy %.0f %% of the time\n",
            100 * share((double)result->busy_ns, (double)result->load_ns));
    fprintf(out, "QEMU's CPU time:     %.2f s (%.2f s its virtual CPU), %.2f us a request\n",
            result->guest_cpu.all_s, result->guest_cpu.vcpu_s,
            1e6 * share(result->guest_cpu.all_s, (double)result->answered));
    fprintf(out,
            "Errors:              connect %" PRIu64 ", reset %" PRIu64 ", timeout %" PRIu64
            ", closed %" PRIu64 ", status %" PRIu64 ", malformed %" PRIu64 "\n",
            e->connect, e->reset, e->timeout, e->closed, e->status, e->malformed);
    print_wire(out);
    print_stats(result, out);
    if (result->stopped != NULL)
        fprintf(out, "Stopped early: %s\n", result->stopped);
    fprintf(out, "%s\n",
            run_is_success(result) ? "SUCCESS: every request was answered 200 and counted exactly"
                                   : "FAILURE");
}

/* ---- for programs ---- */

static void print_json_wire(FILE *out)
{
    const struct link_counters *const wire = link_get_counters();
    const struct tcp_counters *const tcp = tcp_get_counters();

    fprintf(out,
            " \"frames\": {\"sent\": %" PRIu64 ", \"sent_bytes\": %" PRIu64 ", \"trains\": %" PRIu64
            ", \"received\": %" PRIu64 ", \"received_bytes\": %" PRIu64 ", \"ring_full\": %" PRIu64
            ", \"insane\": %" PRIu64 ", \"insanity\": \"%s\"},\n",
            wire->sent_frames, wire->sent_bytes, wire->trains, wire->received_frames,
            wire->received_bytes, wire->ring_full, wire->insane, link_insanity());
    fprintf(out,
            " \"retransmissions\": %" PRIu64 ", \"repeated\": %" PRIu64
            ", \"out_of_order\": %" PRIu64 ", \"bad_segments\": %" PRIu64 ",\n",
            tcp->retransmissions, tcp->repeated, tcp->out_of_order, tcp->bad);
}

static void print_json_seconds(const struct run_result *result, FILE *out)
{
    const struct seconds seconds = summarise(result);

    fprintf(
        out,
        " \"second_min\": %u, \"second_median\": %u, \"second_max\": %u, \"deepest_dip\": %.4f,\n"
        " \"per_second\": [",
        seconds.min, seconds.median, seconds.max, seconds.dip);
    for (uint32_t i = 0; i < result->seconds; i++)
        fprintf(out, "%s%u", i == 0 ? "" : ", ", result->per_second[i]);
    fprintf(out, "],\n");
}

void report_print_json(const struct run_options *options, const struct run_result *result,
                       FILE *out)
{
    const struct run_errors *const e = &result->errors;

    fprintf(out,
            "{\"success\": %s, \"stopped\": \"%s\", \"connections\": %u, \"depth\": %u, "
            "\"churn\": %s,\n \"issued\": %" PRIu64 ", \"answered_200\": %" PRIu64
            ", \"seconds\": %.6f, \"connect_seconds\": %.6f, \"requests_per_second\": %.2f,\n",
            run_is_success(result) ? "true" : "false",
            result->stopped != NULL ? result->stopped : "", options->connections, options->depth,
            options->churn ? "true" : "false", result->issued, result->answered, load_s(result),
            (double)result->connect_ns / 1e9, rate(result));
    print_json_seconds(result, out);
    fprintf(out, " \"latency_us\": {");
    for (size_t i = 0; i < PERCENTILES; i++)
        fprintf(out, "%s\"%s\": %.3f", i == 0 ? "" : ", ", percentiles[i].name,
                microseconds(result, i));
    fprintf(out,
            "},\n \"generator_busy\": %.4f, \"qemu_cpu_seconds\": %.2f, "
            "\"vcpu_cpu_seconds\": %.2f,\n",
            share((double)result->busy_ns, (double)result->load_ns), result->guest_cpu.all_s,
            result->guest_cpu.vcpu_s);
    fprintf(out,
            " \"errors\": {\"connect\": %" PRIu64 ", \"reset\": %" PRIu64 ", \"timeout\": %" PRIu64
            ", \"closed\": %" PRIu64 ", \"status\": %" PRIu64 ", \"malformed\": %" PRIu64 "},\n",
            e->connect, e->reset, e->timeout, e->closed, e->status, e->malformed);
    print_json_wire(out);
    fprintf(out, " \"checks\": ");
    if (result->has_stats)
        check_print_json(result->checks, out);
    else
        fprintf(out, "[]");
    fprintf(out, "}\n");
}

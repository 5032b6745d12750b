#define _GNU_SOURCE /* memmem() */

#include "tests/sim/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/page.h"
#include "tests/sim/commits.h"
#include "tests/sim/model.h"
#include "tests/sim/sim.h"

#define HEAD_BYTES_MAX    512
#define CONTENT_BYTES_MAX 28672

static const char json[] = "application/json";
static const char html[] = "text/html; charset=utf-8";
static const char metrics[] = "text/plain; version=0.0.4; charset=utf-8";

/* ---- reading ---- */

static const char *after(const char *line, const char *prefix)
{
    const size_t len = strlen(prefix);
    return strncmp(line, prefix, len) == 0 ? line + len : NULL;
}

static void read_type(struct answer *answer, const char *value)
{
    answer->type = strcmp(value, json) == 0      ? json
                   : strcmp(value, html) == 0    ? html
                   : strcmp(value, metrics) == 0 ? metrics
                                                 : NULL;
    SIM_CHECK(answer->type != NULL, "Content-Type: %s", value);
}

static void read_field(struct answer *answer, const char *line)
{
    const char *value;
    if ((value = after(line, "Content-Length: ")) != NULL) {
        char *end;
        answer->content_len = strtoul(value, &end, 10);
        SIM_CHECK(!answer->has_length && *value >= '0' && *value <= '9' && *end == '\0' &&
                      answer->content_len <= CONTENT_BYTES_MAX,
                  "an answer with %s", line);
        answer->has_length = true;
    } else if ((value = after(line, "Connection: ")) != NULL) {
        SIM_CHECK(strcmp(value, "close") == 0 || strcmp(value, "keep-alive") == 0,
                  "an answer with %s", line);
        answer->close = *value == 'c';
    } else if (after(line, "Allow: ") != NULL) {
        answer->has_allow = true;
    } else if ((value = after(line, "Accept-Encoding: ")) != NULL) {
        SIM_CHECK(answer->status == 415 && strcmp(value, "identity") == 0, "an answer with %s",
                  line);
        answer->has_codings = true;
    } else if ((value = after(line, "Content-Type: ")) != NULL) {
        read_type(answer, value);
    } else {
        value = after(line, "Date: ");
        SIM_CHECK(value != NULL && strlen(value) == 29, "an answer with \"%s\"", line);
    }
}

static void read_status(struct answer *answer, const char *line)
{
    const char *const status = after(line, "HTTP/1.1 ");
    SIM_CHECK(status != NULL && strlen(status) > 4 && status[3] == ' ',
              "an answer that begins with \"%s\"", line);
    answer->status = (uint16_t)atoi(status);
}

bool answer_read(const uint8_t *bytes, size_t len, bool head_only, struct answer *answer)
{
    char head[HEAD_BYTES_MAX + 1];
    const size_t kept = len < HEAD_BYTES_MAX ? len : HEAD_BYTES_MAX;

    memset(answer, 0, sizeof *answer);
    memcpy(head, bytes, kept);
    head[kept] = '\0';
    const size_t start = kept < 9 ? kept : 9;
    SIM_CHECK(memcmp(head, "HTTP/1.1 ", start) == 0, "no answer begins with \"%.40s\"", head);
    const char *const end = strstr(head, "\r\n\r\n");
    if (end == NULL) {
        SIM_CHECK(len <= HEAD_BYTES_MAX, "a head over %d bytes: %.80s", HEAD_BYTES_MAX, head);
        return false;
    }
    const size_t head_len = (size_t)(end - head) + 4;
    for (char *line = head; line < end;) {
        char *const line_end = strstr(line, "\r\n");
        *line_end = '\0';
        if (line == head)
            read_status(answer, line);
        else
            read_field(answer, line);
        line = line_end + 2;
    }
    const bool bodiless = answer->status == 100 || answer->status == 204;
    SIM_CHECK(answer->has_length == !bodiless, "a %u %s Content-Length", answer->status,
              bodiless ? "with" : "without");
    answer->content = bytes + head_len;
    /* A 408 may come before the appliance has seen that it is a HEAD request; it is one segment. */
    if (head_only && (answer->status != 408 || len == head_len))
        answer->content_len = 0;
    answer->len = head_len + answer->content_len;
    return answer->len <= len;
}

/* ---- judging ---- */

static void check_error(const struct request *request, const struct answer *answer)
{
    static const char begin[] = "{\"error\":\"";
    char expected[32];
    const size_t len = answer->content_len;
    const char *const content = (const char *)answer->content;

    SIM_CHECK(answer->type == json, "a %u that is not JSON", answer->status);
    if (request->head_only)
        return;
    SIM_CHECK(len > sizeof begin + 1 && memcmp(content, begin, sizeof begin - 1) == 0 &&
                  memcmp(content + len - 2, "\"}", 2) == 0,
              "the error is %.*s", (int)len, content);
    for (size_t i = sizeof begin - 1; i < len - 2; i++)
        SIM_CHECK(content[i] >= ' ' && content[i] <= '~' && content[i] != '"', "the error is %.*s",
                  (int)len, content);
    if (request->error_offset < 0 || answer->status != 400)
        return;
    const int n = snprintf(expected, sizeof expected, " at byte %d\"}", request->error_offset);
    SIM_CHECK(len > (size_t)n && memcmp(content + len - (size_t)n, expected, (size_t)n) == 0,
              "the error is %.*s, not%s", (int)len, content, expected);
}

static void check_metrics(const struct request *request, const struct answer *answer)
{
    static const char name[] = "\nevents_processed_total ";
    const char *const content = (const char *)answer->content;
    SIM_CHECK(answer->type == metrics, "metrics of another type");
    if (request->head_only)
        return;
    const char *const at = memmem(content, answer->content_len, name, sizeof name - 1);
    SIM_CHECK(at != NULL, "metrics without events_processed_total");
    const uint64_t count = strtoull(at + sizeof name - 1, NULL, 10);
    SIM_CHECK(count >= request->count_min && count <= model_count(), "metrics say %llu events",
              (unsigned long long)count);
    SIM_CHECK(content[answer->content_len - 1] == '\n', "metrics without end");
}

static bool content_is(const struct answer *answer, const char *text)
{
    return answer->content_len == strlen(text) &&
           memcmp(answer->content, text, answer->content_len) == 0;
}

static void check_content(const struct request *request, const struct answer *answer)
{
    const bool head_only = request->head_only;
    switch (request->kind) {
    case ANSWER_EVENT:
        SIM_CHECK(answer->content_len == 0 && answer->type == NULL, "a 200 with content");
        break;
    case ANSWER_ERROR:
        check_error(request, answer);
        break;
    case ANSWER_STATS:
        SIM_CHECK(answer->type == json, "/stats that is not JSON");
        if (!head_only)
            model_check_stats((const char *)answer->content, answer->content_len,
                              request->count_min);
        break;
    case ANSWER_METRICS:
        check_metrics(request, answer);
        break;
    case ANSWER_HEALTH:
        SIM_CHECK(answer->type == json, "/health that is not JSON");
        SIM_CHECK(
            head_only || content_is(answer, "{\"status\":\"healthy\"}") ||
                (model_is_full() && content_is(answer, "{\"status\":\"degraded\","
                                                       "\"reason\":\"no room for another user\"}")),
            "/health is %.*s", (int)answer->content_len, (const char *)answer->content);
        break;
    case ANSWER_PAGE:
        SIM_CHECK(answer->type == html, "a page that is not HTML");
        SIM_CHECK(head_only || content_is(answer, page_html), "the page is another");
        break;
    case ANSWER_NOTHING:
        SIM_CHECK(answer->type == NULL, "a 204 with a type");
        break;
    case ANSWER_ANY:
        break;
    }
}

void answer_check(const struct request *request, const struct answer *answer)
{
    const enum event_fate fate = request->event == 0 ? FATE_PENDING : model_fate(request->event);
    if (request->kind == ANSWER_EVENT) {
        const uint16_t right = fate == FATE_COUNTED ? 200 : fate == FATE_FULL ? 507 : 408;
        SIM_CHECK(answer->status == right, "event %u was answered with %u, not %u", request->event,
                  answer->status, right);
        if (answer->status == 200)
            commits_see_answer();
    }
    if (answer->status == 408 || answer->status == 507) {
        check_error(request, answer);
        SIM_CHECK(answer->close == (answer->status == 408 || request->closes),
                  "a %u that does not say what becomes of the connection", answer->status);
        return;
    }
    SIM_CHECK(answer->status == request->status, "a %u instead of a %u", answer->status,
              request->status);
    SIM_CHECK(answer->close == request->closes, "a %u that %s close", answer->status,
              request->closes ? "does not" : "does");
    SIM_CHECK(answer->has_allow == (answer->status == 204 || answer->status == 405),
              "a %u and Allow", answer->status);
    SIM_CHECK(answer->has_codings == (answer->status == 415), "a %u and Accept-Encoding",
              answer->status);
    check_content(request, answer);
}

#include "tests/sim/request.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/commits.h"
#include "tests/sim/event_body.h"
#include "tests/sim/model.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"

static struct bytes body;

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- heads ---- */

enum form { FORM_NO_BODY, FORM_LENGTH, FORM_CHUNKED };

struct head {
    const char *method, *path;
    enum form form;
    bool plain; /* the head that the client always sends */
    bool close, expects, coded;
};

static void put_case(struct bytes *out, const char *name)
{
    const uint32_t style = prng_below(3);
    for (; *name != '\0'; name++) {
        const bool letter = *name >= 'a' && *name <= 'z';
        const bool upper = letter && (style == 0 || (style == 1 && prng_permille(500)));
        bytes_fill(out, (uint8_t)(upper ? *name - 'a' + 'A' : *name), 1);
    }
}

static void put_other_fields(struct bytes *out)
{
    static const char *const fields[] = {
        "Accept: */*\r\n",
        "User-Agent: sim\r\n",
        "Content-Type: text/plain\r\n",
        "X-Empty:\r\n",
        "Connection: keep-alive\r\n",
        "Cookie: a=b; c=\"d\"\r\n",
        "Hosts: none\r\n",
        "Content-Lengthy: 7\r\n",
        "X: \xe9\xff\t \r\n",
        "Transfer-Encodings: x\r\n",
    };
    while (prng_permille(500))
        bytes_text(out, fields[prng_below(COUNT(fields))]);
    if (prng_permille(100)) {
        bytes_text(out, "X-Long: ");
        bytes_fill(out, 'l', prng_scale(1, 2000));
        bytes_text(out, "\r\n");
    }
}

static void put_length(struct bytes *out, const struct head *head, size_t len)
{
    if (head->form == FORM_LENGTH)
        bytes_format(out, "Content-Length: %zu\r\n", len);
    else if (head->form == FORM_CHUNKED)
        bytes_text(out, "Transfer-Encoding: chunked\r\n");
    if (head->coded)
        bytes_text(out, "Content-Encoding: gzip\r\n");
}

static void put_varied_head(struct bytes *out, const struct head *head, size_t len)
{
    for (unsigned lines = prng_permille(100) ? prng_range(1, 3) : 0; lines > 0; lines--)
        bytes_text(out, "\r\n");
    bytes_format(out, "%s %s%s%s HTTP/1.1\r\n", head->method,
                 prng_permille(150) ? "http://any.host:80" : "", head->path,
                 prng_permille(200) ? "?a=b&c=/event" : "");
    put_other_fields(out);
    put_case(out, "host");
    bytes_text(out, prng_permille(500) ? ": t\r\n" : ":\t[::1]:8080 \r\n");
    put_other_fields(out);
    if (head->expects)
        bytes_text(out, "Expect: 100-continue\r\n");
    put_length(out, head, len);
    if (head->close)
        bytes_text(out, "Connection: close\r\n");
    bytes_text(out, "\r\n");
}

static void put_head(struct bytes *out, const struct head *head, size_t len)
{
    if (!head->plain) {
        put_varied_head(out, head, len);
        return;
    }
    bytes_format(out, "%s %s HTTP/1.1\r\nHost: t%u\r\nContent-Type: application/json\r\n",
                 head->method, head->path, prng_below(profile.hosts));
    if (head->expects)
        bytes_text(out, "Expect: 100-continue\r\n");
    put_length(out, head, len);
    bytes_text(out, head->close ? "Connection: close\r\n\r\n" : "\r\n");
}

static void put_chunks(struct bytes *out, const uint8_t *at, size_t len)
{
    while (len > 0) {
        const size_t n = prng_scale(1, (uint32_t)len);
        const size_t here = n < len ? n : len;
        bytes_format(out, prng_permille(500) ? "%zx" : "%03zX", here);
        if (prng_permille(200))
            bytes_text(out, ";name=\"va;lue\"");
        bytes_text(out, "\r\n");
        bytes_put(out, at, here);
        bytes_text(out, "\r\n");
        at += here;
        len -= here;
    }
    bytes_text(out, "0\r\n");
    if (prng_permille(200))
        bytes_text(out, "Trailer-Field: x\r\nContent-Length: 5\r\n");
    bytes_text(out, "\r\n");
}

/* The head, and what is in `body`. */
static void put_request(struct request *request, struct bytes *out, const struct head *head)
{
    put_head(out, head, body.len);
    request->closes = head->close;
    request->expects = head->expects && body.len > 0;
    if (head->form == FORM_CHUNKED && head->expects)
        request->expects = true;
    request->content = out->len;
    if (head->form == FORM_CHUNKED)
        put_chunks(out, body.at, body.len);
    else if (head->form == FORM_LENGTH)
        bytes_put(out, body.at, body.len);
}

static struct head draw_head(const char *method, const char *path, enum form form,
                             const struct request_limits *limits)
{
    struct head head = {.method = method, .path = path, .form = form};
    head.plain = !profile.habit[HABIT_VARIED_HEADS] || prng_permille(500);
    if (form == FORM_LENGTH && profile.habit[HABIT_CHUNKED] && prng_permille(300))
        head.form = FORM_CHUNKED;
    if (form != FORM_NO_BODY && profile.habit[HABIT_EXPECT] && prng_permille(200))
        head.expects = true;
    head.close = limits->last && prng_permille(500);
    return head;
}

/* ---- kinds of requests ---- */

static uint32_t draw_user(void)
{
    return prng_below(profile.population);
}

static uint32_t new_event(enum event_rule rule, const struct request_limits *limits)
{
    return model_new_event(draw_user(), limits->unreached ? RULE_UNREACHED : rule);
}

static void make_event(struct request *request, struct bytes *out,
                       const struct request_limits *limits)
{
    size_t padding = 0;
    request->kind = ANSWER_EVENT;
    request->status = 200;
    request->event = new_event(RULE_GOOD, limits);
    const bool longer = profile.habit[HABIT_LONG_BODIES] || profile.habit[HABIT_OVERRUN];
    if (longer && prng_permille(150) && limits->body_max > 1200)
        padding = prng_scale(1, (uint32_t)limits->body_max - 1100);
    const bool varied = profile.habit[HABIT_VARIED_BODIES] && prng_permille(600);
    event_body_good(&body, request->event, varied, padding);
    const struct head head = draw_head("POST", "/event", FORM_LENGTH, limits);
    put_request(request, out, &head);
}

static void make_refused(struct request *request, struct bytes *out,
                         const struct request_limits *limits)
{
    request->kind = ANSWER_ERROR;
    request->status = 400;
    request->event = new_event(RULE_REFUSED, limits);
    event_body_bad(&body, request->event, &request->error_offset);
    const struct head head = draw_head("POST", "/event", FORM_LENGTH, limits);
    put_request(request, out, &head);
}

/* An event that says it is in a coding that it is not in, for the sake of being good otherwise. */
static void make_coded(struct request *request, struct bytes *out,
                       const struct request_limits *limits)
{
    request->kind = ANSWER_ERROR;
    request->status = 415;
    request->event = new_event(RULE_REFUSED, limits);
    event_body_good(&body, request->event, false, 0);
    struct head head = draw_head("POST", "/event", FORM_LENGTH, limits);
    head.coded = true;
    head.expects = false;
    put_request(request, out, &head);
}

static const struct route {
    const char *method, *path;
    enum answer_kind kind;
    uint16_t status;
    bool has_body;
} routes[] = {
    {"GET", "/stats", ANSWER_STATS, 200, false},
    {"GET", "/stats", ANSWER_STATS, 200, false},
    {"GET", "/stats", ANSWER_STATS, 200, true},
    {"GET", "/health", ANSWER_HEALTH, 200, false},
    {"GET", "/metrics", ANSWER_METRICS, 200, false},
    {"GET", "/", ANSWER_PAGE, 200, false},
    {"HEAD", "/stats", ANSWER_STATS, 200, false},
    {"HEAD", "/", ANSWER_PAGE, 200, false},
    {"HEAD", "/metrics", ANSWER_METRICS, 200, false},
    {"HEAD", "/health", ANSWER_HEALTH, 200, false},
    {"OPTIONS", "/event", ANSWER_NOTHING, 204, false},
    {"OPTIONS", "/stats", ANSWER_NOTHING, 204, true},
    {"GET", "/event", ANSWER_ERROR, 405, false},
    {"PUT", "/event", ANSWER_ERROR, 405, true},
    {"post", "/event", ANSWER_ERROR, 405, true},
    {"POST", "/stats", ANSWER_ERROR, 405, true},
    {"POST", "/events", ANSWER_ERROR, 404, true},
    {"POST", "/Event", ANSWER_ERROR, 404, true},
    {"POST", "/event/", ANSWER_ERROR, 404, true},
    {"GET", "/nothing", ANSWER_ERROR, 404, false},
    {"HEAD", "/nothing", ANSWER_ERROR, 404, false},
};

static void make_other(struct request *request, struct bytes *out,
                       const struct request_limits *limits, bool is_long)
{
    const struct route *route = &routes[prng_below(COUNT(routes))];
    while (is_long && route->kind != ANSWER_METRICS && route->kind != ANSWER_PAGE)
        route = &routes[prng_below(COUNT(routes))];
    request->kind = route->kind;
    request->status = route->status;
    request->head_only = strcmp(route->method, "HEAD") == 0;
    if (route->has_body) {
        request->event = new_event(RULE_REFUSED, limits);
        event_body_good(&body, request->event, false, 0);
    }
    const struct head head =
        draw_head(route->method, route->path, route->has_body ? FORM_LENGTH : FORM_NO_BODY, limits);
    put_request(request, out, &head);
}

/* B stands for an event, % for its length, 9 for 3,000 bytes; @ for POST /event up to its Host. */
static const struct {
    uint16_t status;
    const char *text;
} broken[] = {
    {400, "@Content-Length: %\r\nContent-Length: %\r\n\r\nB"},
    {400, "@Content-Length: %\r\nTransfer-Encoding: chunked\r\n\r\nB"},
    {400, "@Transfer-Encoding: chunked\r\nContent-Length: %\r\n\r\nB"},
    {400, "@Content-Length: +%\r\n\r\nB"},
    {400, "@Content-Length: %, %\r\n\r\nB"},
    {400, "@Content-Length : %\r\n\r\nB"},
    {400, "@Content-Length: 0x%\r\n\r\nB"},
    {400, "@Content-Length: 99999999999999999999\r\n\r\nB"},
    {400, "@Host: u\r\nContent-Length: %\r\n\r\nB"},
    {400, "@X: a\r\n b\r\nContent-Length: %\r\n\r\nB"},
    {400, "@X: a\rb\r\nContent-Length: %\r\n\r\nB"},
    {400, "@: a\r\nContent-Length: %\r\n\r\nB"},
    {400, "@Transfer-Encoding: chunked\r\n\r\nzz\r\nB"},
    {400, "@Transfer-Encoding: chunked\r\n\r\n-1\r\nB"},
    {400, "@Transfer-Encoding: chunked\r\n\r\n%\nB"},
    {400, "@Transfer-Encoding: chunked\r\n\r\n1\r\n{x\r\nB"},
    {400, "POST /event HTTP/1.1\r\nContent-Length: %\r\n\r\nB"},
    {400, "POST  /event HTTP/1.1\r\nHost: t\r\nContent-Length: %\r\n\r\nB"},
    {400, "POST event HTTP/1.1\r\nHost: t\r\nContent-Length: %\r\n\r\nB"},
    {400, "POST /event http/1.1\r\nHost: t\r\nContent-Length: %\r\n\r\nB"},
    {400, "POST /event\r\nHost: t\r\nContent-Length: %\r\n\r\nB"},
    {400, "\x16\x03\x01\x02"},
    {501, "@Transfer-Encoding: gzip\r\n\r\nB"},
    {501, "@Transfer-Encoding: gzip, chunked\r\n\r\nB"},
    {505, "POST /event HTTP/2.0\r\nHost: t\r\nContent-Length: %\r\n\r\nB"},
    {414, "POST /event?9 HTTP/1.1\r\nHost: t\r\nContent-Length: %\r\n\r\nB"},
    {431, "@A: 9\r\nB: 9\r\nC: 9\r\nContent-Length: %\r\n\r\nB"},
    {413, "@Content-Length: 65537\r\n\r\nB"},
    {413, "@Transfer-Encoding: chunked\r\n\r\n10001\r\nB"},
};

static void put_broken(struct bytes *out, const char *at, uint32_t event)
{
    event_body_good(&body, event, false, 0);
    for (; *at != '\0'; at++) {
        if (*at == '@')
            bytes_text(out, "POST /event HTTP/1.1\r\nHost: t\r\n");
        else if (*at == '%')
            bytes_format(out, "%zu", body.len);
        else if (*at == '9' && at[1] != '9' && at[-1] != '9')
            bytes_fill(out, '9', 3000);
        else if (*at == 'B' && at[1] != ':')
            bytes_put(out, body.at, body.len);
        else
            bytes_fill(out, (uint8_t)*at, 1);
    }
}

static void make_broken(struct request *request, struct bytes *out,
                        const struct request_limits *limits)
{
    const uint32_t which = prng_below(COUNT(broken));
    request->kind = ANSWER_ERROR;
    request->status = broken[which].status;
    request->closes = true;
    request->event = new_event(RULE_REFUSED, limits);
    put_broken(out, broken[which].text, request->event);
}

/* An event, of whose head one byte is another. (In the body it might become another event.) */
static void make_mutated(struct request *request, struct bytes *out,
                         const struct request_limits *limits)
{
    const size_t begin = out->len;
    make_event(request, out, limits);
    /* Made anew with the rule that fits. */
    body.len = 0;
    out->len = begin;
    request->event = new_event(RULE_DOUBTFUL, limits);
    event_body_good(&body, request->event, false, 0);
    const struct head head = draw_head("POST", "/event", FORM_LENGTH, limits);
    put_request(request, out, &head);
    const size_t head_len = request->content - begin;
    out->at[begin + prng_below((uint32_t)head_len)] = (uint8_t)prng_below(256);
    request->kind = ANSWER_ANY;
    request->closes = true;
}

/* HTTP/1.0 closes unless it is told not to. */
static void make_old(struct request *request, struct bytes *out,
                     const struct request_limits *limits)
{
    request->kind = ANSWER_EVENT;
    request->status = 200;
    request->event = new_event(RULE_GOOD, limits);
    request->closes = limits->last && prng_permille(500);
    event_body_good(&body, request->event, false, 0);
    bytes_format(out, "POST /event HTTP/1.0\r\n%sContent-Length: %zu\r\n\r\n",
                 request->closes ? "" : "Connection: Keep-Alive\r\n", body.len);
    request->content = out->len;
    bytes_put(out, body.at, body.len);
}

void request_make(struct request *request, struct bytes *bytes, const struct request_limits *limits)
{
    const bool *const habit = profile.habit;
    *request = (struct request){.error_offset = -1, .count_min = commits_visible()};
    request->begin = bytes->len;
    body.len = 0;
    if (habit[HABIT_BROKEN] && limits->last && prng_permille(200))
        make_broken(request, bytes, limits);
    else if (habit[HABIT_MUTATED] && limits->last && !limits->honest && prng_permille(300))
        make_mutated(request, bytes, limits);
    else if (habit[HABIT_INVALID] && prng_permille(200))
        make_refused(request, bytes, limits);
    else if (habit[HABIT_INVALID] && prng_permille(30))
        make_coded(request, bytes, limits);
    else if (habit[HABIT_LONG_ANSWERS] && prng_permille(400))
        make_other(request, bytes, limits, true);
    else if (habit[HABIT_OTHER_ROUTES] && prng_permille(250))
        make_other(request, bytes, limits, false);
    else if (habit[HABIT_VARIED_HEADS] && prng_permille(50))
        make_old(request, bytes, limits);
    else if (prng_permille(100))
        make_other(request, bytes, limits, false);
    else
        make_event(request, bytes, limits);
    request->end = bytes->len;
}

void request_make_last(struct request *request, struct bytes *bytes, bool stats)
{
    *request = (struct request){.error_offset = -1, .count_min = model_count()};
    request->begin = bytes->len;
    body.len = 0;
    const struct request_limits limits = {.honest = true};
    if (stats) {
        const struct head head = {.method = "GET", .path = "/stats", .plain = true};
        request->kind = ANSWER_STATS;
        request->status = 200;
        put_request(request, bytes, &head);
    } else {
        make_event(request, bytes, &limits);
    }
    request->end = bytes->len;
}

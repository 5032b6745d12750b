/*
 * From bytes to answers. A connection's bytes go one of two ways:
 *
 *     take_plain_events()   a request begins, its head is one seen before or like one
 *                           (http_recall.h), all of it is there, and its event is in the plain
 *                           form (event_parse()): nearly all requests of a client that means
 *                           business. No state is touched but the aggregate; the 200s of a
 *                           pipelined train are sent in one piece.
 *     take_request()        all else: the incremental parsers, cut anywhere.
 *
 * The first takes what it can and leaves what follows to the second, request by request.
 *
 * The first way touches 16 bytes of a connection. The parsers have a hundred times as many, and lie
 * apart: with them 10,000 connections are spread over 4,000 pages instead of 40, more than a
 * processor's TLB holds, and an emulator's grows larger than its cache.
 */
#include "app/routes.h"

#include <assert.h>
#include <string.h>

#include "app/event/event.h"
#include "app/event/event_parser.h"
#include "app/http/http.h"
#include "app/http/http_recall.h"
#include "app/page.h"
#include "app/routes_metrics.h"
#include "app/text/text.h"

/* A new date is looked for so often, and is late by no more. */
#define DATE_CHECK_NS 100000000u

/*
 * Prepared 200s of as many seconds may be on their way at once. Who does not acknowledge holds one
 * until send-timeout=; with all of them held, one more is used that is copied for each answer.
 */
#define OKS_KEPT 4

enum phase {
    PHASE_BETWEEN,     /* between requests */
    PHASE_EMPTY_LINES, /* as yet, too, but the parser has taken some and must go on */
    PHASE_HEAD,
    PHASE_CONTENT,
    PHASE_CLOSED,
};

/* Of a request on the second way; its parsers are reset when it begins. */
struct incoming {
    uint64_t begun_ns; /* the batch that brought its first byte */
    uint8_t endpoint;
    struct http_parser http;
    struct event_parser event;
};

struct connection {
    uint8_t phase;
    uint8_t hint;      /* http_recall.h's */
    uint8_t waiting;   /* what server_wait_for() was last told */
    uint8_t in_flight; /* counted as such under an endpoint: 1 + that; 0: not counted */
    struct incoming *in;
};

struct ok_200 {
    struct response_ok response;
    struct server_kept kept;
};

static struct {
    struct stats stats;
    struct http_recall recall;
    struct response_date date;
    uint64_t date_due_ns;
    struct ok_200 *ok;           /* the one with the current date */
    struct server_kept *ok_kept; /* its own, or NULL for the one that is only copied */
    struct ok_200 oks[OKS_KEPT + 1];
    struct metrics metrics;
    struct routes_config config;
    char content[METRICS_BYTES_MAX];
} routes;

/* ---- sending ---- */

static void renew_ok(void)
{
    unsigned i = 0;
    while (i < OKS_KEPT && routes.oks[i].kept.uses > 0)
        i++;
    routes.ok = &routes.oks[i];
    routes.ok_kept = i < OKS_KEPT ? &routes.ok->kept : NULL;
    response_ok_prepare(&routes.ok->response, &routes.date);
}

__attribute__((noinline)) static void look_for_new_date(void)
{
    int64_t unix_s;
    routes.date_due_ns = server_batch_ns() + DATE_CHECK_NS;
    if (!routes.config.wall_s(&unix_s) || (routes.date.known && routes.date.unix_s == unix_s))
        return;
    response_date_set(&routes.date, unix_s);
    renew_ok();
}

static void refresh_date(void)
{
    if (server_batch_ns() >= routes.date_due_ns)
        look_for_new_date();
}

static void send_ok(struct server_conn *conn, size_t answers)
{
    const struct response_ok *const ok = &routes.ok->response;
    while (answers > RESPONSE_OK_COPIES_MAX) {
        server_send_kept(conn, ok->copies, RESPONSE_OK_COPIES_MAX * ok->bytes_each, routes.ok_kept);
        answers -= RESPONSE_OK_COPIES_MAX;
    }
    server_send_kept(conn, ok->copies, answers * ok->bytes_each, routes.ok_kept);
}

static void close_connection(struct server_conn *conn, struct connection *c)
{
    c->phase = PHASE_CLOSED;
    server_close(conn);
}

/* Sends the head that *response describes and `content`, and closes where the response says so. */
static void send_response(struct server_conn *conn, struct connection *c,
                          const struct response *response, const char *content, bool head_only)
{
    char head[RESPONSE_HEAD_BYTES_MAX];
    const size_t head_len = response_print_head(response, &routes.date, head);
    server_send(conn, head, head_len);
    if (response->content_len != 0 && !head_only)
        server_send(conn, content, response->content_len);
    if (response->close)
        close_connection(conn, c);
}

/* Answers the request in c->in->http. */
static void answer(struct server_conn *conn, struct connection *c, uint16_t status,
                   const char *type, const char *content, size_t content_len)
{
    const struct http_request *const request = &c->in->http.request;
    const bool has_allow = status == 204 || status == 405;
    const struct response response = {
        .status = status,
        .close = !request->keep_alive,
        .keep_alive = request->minor == 0,
        .allow = has_allow ? endpoint_allow((enum endpoint)c->in->endpoint) : NULL,
        .no_codings = status == 415,
        .type = type,
        .content_len = content_len,
    };
    send_response(conn, c, &response, content, request->method == HTTP_HEAD);
}

/* {"error":"..."}, in routes.content; returns its length. `offset`: SIZE_MAX, or of what byte. */
static size_t print_error(const char *message, size_t offset)
{
    struct text text = text_begin(routes.content, sizeof routes.content);
    text_put(&text, "{\"error\":\"");
    text_put(&text, message);
    if (offset != SIZE_MAX) {
        text_put(&text, " at byte ");
        text_put_u64(&text, offset);
    }
    text_put(&text, "\"}");
    return text_len(&text);
}

static void answer_error(struct server_conn *conn, struct connection *c, uint16_t status,
                         const char *message, size_t offset)
{
    const size_t len = print_error(message, offset);
    answer(conn, c, status, RESPONSE_TYPE_JSON, routes.content, len);
}

/* Answers a request that came to no route, and closes: where it ends nobody knows. */
static void refuse(struct server_conn *conn, struct connection *c, uint16_t status,
                   const char *message)
{
    const bool head_only = c->in->http.request.method == HTTP_HEAD; /* RFC 9110 9.3.2: always */
    const size_t len = print_error(message, SIZE_MAX);
    const struct response response = {
        .status = status,
        .close = true,
        .type = RESPONSE_TYPE_JSON,
        .content_len = len,
    };
    metrics_count_broken(&routes.metrics, status);
    send_response(conn, c, &response, routes.content, head_only);
}

/* ---- the routes ---- */

static bool is_event(const struct connection *c)
{
    return c->in->endpoint == ENDPOINT_EVENT && c->in->http.request.method == HTTP_POST;
}

static void answer_encoded_event(struct server_conn *conn, struct connection *c)
{
    routes.metrics.events_encoded++;
    answer_error(conn, c, 415, "no content coding but identity is known", SIZE_MAX);
}

static void answer_event(struct server_conn *conn, struct connection *c)
{
    struct event event;
    if (c->in->http.request.is_encoded) {
        answer_encoded_event(conn, c);
        return;
    }
    const enum event_error error = event_end(&c->in->event, &event);
    if (error != EVENT_OK) {
        const size_t offset =
            event_error_has_offset(error) ? event_error_offset(&c->in->event) : SIZE_MAX;
        routes.metrics.events_failed[error]++;
        answer_error(conn, c, 400, event_error_text(error), offset);
    } else if (!stats_add(&routes.stats, &event)) {
        routes.metrics.events_full++;
        answer_error(conn, c, 507, "no room for another user", SIZE_MAX);
    } else {
        routes.metrics.answered[ENDPOINT_EVENT][HTTP_POST]++;
        answer(conn, c, 200, NULL, NULL, 0);
    }
}

static size_t print_metrics(void)
{
    struct metrics_machine machine = {
        .connections_limit = routes.config.connections_max,
        .users_limit = users_limit(routes.stats.users),
        .users_memory_used = users_memory_used(routes.stats.users),
        .users_memory_limit = users_memory_limit(routes.stats.users),
        .uptime_ns = server_batch_ns(),
    };
    routes_get_counters(&machine);
    return metrics_print(&routes.metrics, &machine, &routes.stats, routes.content);
}

/*
 * Once a new user has found no room none will, for users are never forgotten. But those that are
 * known still count: whoever takes a machine for dead that is not healthy must not end this one.
 */
static void answer_health(struct server_conn *conn, struct connection *c)
{
    const char *const health =
        routes.metrics.events_full == 0
            ? "{\"status\":\"healthy\"}"
            : "{\"status\":\"degraded\",\"reason\":\"no room for another user\"}";
    answer(conn, c, 200, RESPONSE_TYPE_JSON, health, strlen(health));
}

static void answer_content(struct server_conn *conn, struct connection *c)
{
    switch ((enum endpoint)c->in->endpoint) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case ENDPOINT_STATS:
        answer(conn, c, 200, RESPONSE_TYPE_JSON, routes.content,
               stats_print(&routes.stats, routes.content));
        return;
    case ENDPOINT_HEALTH:
        answer_health(conn, c);
        return;
    case ENDPOINT_METRICS:
        answer(conn, c, 200, RESPONSE_TYPE_METRICS, routes.content, print_metrics());
        return;
    case ENDPOINT_PAGE:
        assert(page_html_len <= METRICS_BYTES_MAX); /* the greatest content that is reckoned with */
        answer(conn, c, 200, RESPONSE_TYPE_HTML, page_html, page_html_len);
        return;
    case ENDPOINT_EVENT: /* GCOVR_EXCL_START: endpoint_status() says 200 of none of them */
    case ENDPOINT_SERVER:
    case ENDPOINT_OTHER:
        break;
    } /* GCOVR_EXCL_STOP */
    assert(!"a route that has no content");
}

static void answer_request(struct server_conn *conn, struct connection *c)
{
    const enum http_method method = c->in->http.request.method;
    if (is_event(c)) {
        answer_event(conn, c);
        return;
    }
    routes.metrics.answered[c->in->endpoint][method]++;
    const uint16_t status = endpoint_status((enum endpoint)c->in->endpoint, method);
    switch (status) { /* GCOVR_EXCL_BR_LINE: each status of a route has its case */
    case 200:
        answer_content(conn, c);
        return;
    case 204:
        answer(conn, c, 204, NULL, NULL, 0);
        return;
    case 404:
        answer_error(conn, c, 404, "no such path", SIZE_MAX);
        return;
    case 405:
        answer_error(conn, c, 405, "this path does not know the method", SIZE_MAX);
        return;
    }
    assert(!"a status that no route has");
}

/* ---- requests, cut anywhere ---- */

static bool has_begun(const struct connection *c)
{
    return c->phase == PHASE_HEAD || c->phase == PHASE_CONTENT;
}

/* What durations and requests in flight are counted under; the head is complete. */
static enum endpoint main_endpoint(const struct connection *c)
{
    return endpoint_main((enum endpoint)c->in->endpoint, c->in->http.request.method);
}

static void leave_flight(struct connection *c)
{
    if (c->in_flight != 0)
        routes.metrics.in_flight[c->in_flight - 1]--;
    c->in_flight = 0;
}

/* Out of line, for on_bytes() to fit its page: a plain event never gets here. */
__attribute__((noinline)) static void enter_flight(struct connection *c)
{
    const enum endpoint endpoint = c->phase == PHASE_CONTENT ? main_endpoint(c) : ENDPOINT_OTHER;
    leave_flight(c);
    c->in_flight = (uint8_t)(1 + endpoint);
    routes.metrics.in_flight[endpoint]++;
}

/* Whether its answer is the prepared 200 without content, if its event is good. */
static bool is_plain_event(const struct http_request *request)
{
    static const char path[6] = "/event";
    return request->method == HTTP_POST && request->path_len == sizeof path &&
           memcmp(request->path, path, sizeof path) == 0 && request->minor == 1 &&
           request->keep_alive && !request->is_encoded;
}

/* http_next(), but for a head that has been seen before, or one like it. */
static enum http_step next_step(struct connection *c, const uint8_t *bytes, size_t len,
                                size_t *taken, struct http_body *body)
{
    if (c->phase != PHASE_BETWEEN)
        return http_next(&c->in->http, bytes, len, taken, body);

    struct http_recalled head;
    if (http_recall_find(&routes.recall, &c->hint, bytes, len, &head)) {
        http_begin_content(&c->in->http, head.request, head.content_len);
        *taken = head.head_len;
        return HTTP_READY;
    }
    const enum http_step step = http_next(&c->in->http, bytes, len, taken, body);
    if (step == HTTP_READY)
        http_recall_learn(&routes.recall, &c->hint, bytes, *taken, &c->in->http.request,
                          is_plain_event(&c->in->http.request));
    return step;
}

/*
 * The head is complete. False: it has been answered. Content in a coding that is not known is read
 * past like any other, so that the connection can go on. A client that asks first is told at once,
 * and the connection closed: whether its content still comes nobody knows (RFC 9110 10.1.1).
 */
static bool begin_content(struct server_conn *conn, struct connection *c)
{
    struct http_request *const request = &c->in->http.request;
    c->phase = PHASE_CONTENT;
    c->in->endpoint = (uint8_t)endpoint_find(request);
    if (is_event(c))
        event_begin(&c->in->event);
    if (!request->expect_continue)
        return true;
    if (is_event(c) && request->is_encoded) {
        request->keep_alive = false;
        answer_encoded_event(conn, c);
        return false;
    }
    /* Also when content is there already, which RFC 9110 10.1.1 permits: then it is in order. */
    server_send(conn, RESPONSE_CONTINUE, RESPONSE_CONTINUE_BYTES);
    return true;
}

/*
 * Takes bytes up to the end of one request, or all of them; there is space for one answer. True in
 * *answered if the request was answered.
 */
__attribute__((noinline)) static size_t take_request(struct server_conn *conn, struct connection *c,
                                                     const uint8_t *bytes, size_t len,
                                                     bool *answered)
{
    size_t used = 0;
    if (c->phase == PHASE_BETWEEN)
        http_reset(&c->in->http);
    if (!has_begun(c))
        c->in->begun_ns = server_batch_ns();
    for (;;) {
        size_t taken = 0;
        struct http_body body;
        const enum http_step step = next_step(c, bytes + used, len - used, &taken, &body);
        used += taken;
        switch (step) { /* GCOVR_EXCL_BR_LINE: each value has its case */
        case HTTP_MORE:
            if (c->phase != PHASE_CONTENT)
                c->phase = http_is_idle(&c->in->http) ? PHASE_EMPTY_LINES : PHASE_HEAD;
            return used;
        case HTTP_READY:
            if (begin_content(conn, c))
                continue;
            break;
        case HTTP_BODY:
            if (is_event(c))
                event_feed(&c->in->event, body.bytes, body.len);
            continue;
        case HTTP_DONE:
            c->phase = PHASE_BETWEEN;
            answer_request(conn, c);
            break;
        case HTTP_ERROR:
            refuse(conn, c, c->in->http.error.status, c->in->http.error.message);
            break;
        }
        leave_flight(c);
        metrics_answered(&routes.metrics, step == HTTP_ERROR ? ENDPOINT_OTHER : main_endpoint(c),
                         c->in->begun_ns, routes.config.now_ns);
        *answered = true;
        return used;
    }
}

/* ---- requests in the plain form, all there ---- */

static size_t take_plain_events(struct server_conn *conn, struct connection *c,
                                const uint8_t *bytes, size_t len, bool *answered)
{
    const size_t answer_bytes = routes.ok->response.bytes_each;
    size_t space = server_send_space(conn);
    size_t used = 0, answers = 0;
    while (used < len && space >= answer_bytes) {
        struct http_recalled head;
        struct event event;
        if (!http_recall_find(&routes.recall, &c->hint, bytes + used, len - used, &head))
            break;
        const size_t request_len = head.head_len + head.content_len;
        if (request_len > len - used || !head.mark ||
            !event_parse(bytes + used + head.head_len, head.content_len, &event) ||
            !stats_add(&routes.stats, &event))
            break; /* take_request() says what is to be said about it */
        used += request_len;
        space -= answer_bytes;
        answers++;
    }
    if (answers == 0)
        return 0;
    send_ok(conn, answers);
    routes.metrics.answered[ENDPOINT_EVENT][HTTP_POST] += answers;
    routes.metrics.batch_events += answers;
    *answered = true;
    return used;
}

/* ---- handlers ---- */

static void on_open(struct server_conn *conn, void *state, void *cold_state)
{
    (void)conn;
    struct connection *const c = state;
    c->phase = PHASE_BETWEEN;
    c->waiting = SERVER_WAIT_REQUEST;
    c->in = cold_state;
}

/* After the bytes of one call: what is waited for now, and whether a request hangs in the air. */
static void settle(struct server_conn *conn, struct connection *c, bool answered)
{
    static const uint8_t waits[] = {
        [PHASE_BETWEEN] = SERVER_WAIT_REQUEST,
        [PHASE_EMPTY_LINES] = SERVER_WAIT_REQUEST,
        [PHASE_HEAD] = SERVER_WAIT_HEAD,
        [PHASE_CONTENT] = SERVER_WAIT_BODY,
    };
    if (c->phase == PHASE_CLOSED)
        return;
    if (has_begun(c))
        enter_flight(c);
    if (answered || c->waiting != waits[c->phase]) {
        c->waiting = waits[c->phase];
        server_wait_for(conn, (enum server_wait)c->waiting);
    }
}

/*
 * With all that a plain event calls in one function, which fits a page: where calls are dear
 * (boot/image.ld), that is an eighth of an emulated request's time.
 */
__attribute__((flatten)) static size_t on_bytes(struct server_conn *conn, void *state,
                                                const uint8_t *bytes, size_t len)
{
    struct connection *const c = state;
    size_t used = 0;
    bool answered = false;
    refresh_date();
    while (used < len && c->phase != PHASE_CLOSED) {
        if (c->phase == PHASE_BETWEEN) {
            used += take_plain_events(conn, c, bytes + used, len - used, &answered);
            if (used == len || server_send_space(conn) < ROUTES_RESPONSE_BYTES_MAX)
                break;
        }
        used += take_request(conn, c, bytes + used, len - used, &answered);
    }
    settle(conn, c, answered);
    return c->phase == PHASE_CLOSED ? len : used;
}

static void on_timeout(struct server_conn *conn, void *state)
{
    struct connection *const c = state;
    assert(c->phase != PHASE_CLOSED);
    leave_flight(c);
    if (!has_begun(c) || server_send_space(conn) < ROUTES_RESPONSE_BYTES_MAX) {
        close_connection(conn, c);
        return;
    }
    refresh_date();
    refuse(conn, c, 408, "the request did not come to its end in time");
    metrics_observe(&routes.metrics, ENDPOINT_OTHER, routes.config.now_ns() - c->in->begun_ns, 1);
}

static void on_batch(void)
{
    metrics_end_batch(&routes.metrics, server_batch_ns(), routes.config.now_ns());
}

static void on_close(struct server_conn *conn, void *state)
{
    (void)conn;
    leave_flight(state);
}

/* ---- the outside ---- */

void routes_init(const struct routes_config *config)
{
    memset(&routes, 0, sizeof routes);
    routes.config = *config;
    stats_init(&routes.stats, config->users);
    http_recall_init(&routes.recall);
    renew_ok();
}

void routes_configure(struct server_config *server)
{
    server->state_bytes = sizeof(struct connection);
    server->cold_state_bytes = sizeof(struct incoming);
    server->response_bytes_max = ROUTES_RESPONSE_BYTES_MAX;
    server->handlers = (struct server_handlers){
        .on_open = on_open,
        .on_bytes = on_bytes,
        .on_timeout = on_timeout,
        .on_close = on_close,
        .on_batch = on_batch,
    };
}

const struct stats *routes_stats(void)
{
    return &routes.stats;
}

uint64_t routes_events_full(void)
{
    return routes.metrics.events_full;
}

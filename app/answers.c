#include "app/answers.h"

#include <assert.h>
#include <string.h>

#include "app/event/event.h"
#include "app/http/endpoint.h"
#include "app/idle.h"
#include "app/page.h"
#include "app/routes_metrics.h"
#include "app/text/text.h"
#include "net/server.h"

void close_connection(struct server_conn *conn, struct connection *c)
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

void answer_broken(struct server_conn *conn, struct connection *c, uint16_t status,
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

void answer_encoded_event(struct server_conn *conn, struct connection *c)
{
    routes.metrics.events_encoded++;
    answer_error(conn, c, 415, "no content coding but identity is known", SIZE_MAX);
}

/* A 5xx to an event says that it was not counted. */
static void answer_unavailable(struct server_conn *conn, struct connection *c)
{
    const struct http_request *const request = &c->in->http.request;
    const size_t len = print_error("the disk does not answer", SIZE_MAX);
    const struct response response = {
        .status = 503,
        .close = !request->keep_alive,
        .keep_alive = request->minor == 0,
        .retry_after = true,
        .type = RESPONSE_TYPE_JSON,
        .content_len = len,
    };
    routes.metrics.events_unavailable++;
    send_response(conn, c, &response, routes.content, false);
}

void answer_counted_event(struct server_conn *conn, struct connection *c)
{
    routes.metrics.answered[ENDPOINT_EVENT][HTTP_POST]++;
    answer(conn, c, 200, NULL, NULL, 0);
}

static void answer_good_event(struct server_conn *conn, struct connection *c,
                              const struct event *event)
{
    const struct gate *const gate = routes.config.gate;
    if (gate != NULL && gate->state != GATE_OPEN) {
        answer_unavailable(conn, c);
    } else if (!stats_add(&routes.stats, event)) {
        routes.metrics.events_full++;
        answer_error(conn, c, 507, "no room for another user", SIZE_MAX);
    } else if (gate != NULL) {
        c->phase = PHASE_HELD;
        hold_answers(conn, c, gate);
    } else {
        answer_counted_event(conn, c);
    }
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
    } else {
        answer_good_event(conn, c, &event);
    }
}

/* What may be seen of the aggregate. */
static struct stats_snapshot visible_stats(void)
{
    return routes.config.gate != NULL ? routes.config.gate->stats : stats_snapshot(&routes.stats);
}

static size_t print_metrics(void)
{
    struct metrics_machine machine = {
        .connections_limit = routes.config.connections_max,
        .users_limit = users_limit(routes.stats.users),
        .users_memory_used = users_memory_used(routes.stats.users),
        .users_memory_limit = users_memory_limit(routes.stats.users),
        .uptime_ns = server_batch_ns(),
        .sleeps = idle_sleeps(),
        .store = routes.config.gate != NULL ? &routes.config.gate->counters : NULL,
    };
    const struct stats_snapshot stats = visible_stats();
    routes_get_counters(&machine);
    return metrics_print(&routes.metrics, &machine, &stats, routes.content);
}

/*
 * Once a new user has found no room none will, for users are never forgotten. But those that are
 * known still count: whoever takes a machine for dead that is not healthy must not end this one.
 */
static void answer_health(struct server_conn *conn, struct connection *c)
{
    static const char unhealthy[] =
        "{\"status\":\"unhealthy\",\"reason\":\"the disk does not answer\"}";
    if (routes.config.gate != NULL && routes.config.gate->state != GATE_OPEN) {
        routes.metrics.answered[ENDPOINT_HEALTH][c->in->http.request.method]--;
        routes.metrics.unhealthy[c->in->http.request.method == HTTP_HEAD]++;
        answer(conn, c, 503, RESPONSE_TYPE_JSON, unhealthy, sizeof unhealthy - 1);
        return;
    }
    const char *const health =
        routes.metrics.events_full == 0
            ? "{\"status\":\"healthy\"}"
            : "{\"status\":\"degraded\",\"reason\":\"no room for another user\"}";
    answer(conn, c, 200, RESPONSE_TYPE_JSON, health, strlen(health));
}

static void answer_stats(struct server_conn *conn, struct connection *c)
{
    const struct stats_snapshot stats = visible_stats();
    answer(conn, c, 200, RESPONSE_TYPE_JSON, routes.content,
           stats_print_snapshot(&stats, routes.content));
}

static void answer_content(struct server_conn *conn, struct connection *c)
{
    switch ((enum endpoint)c->in->endpoint) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case ENDPOINT_STATS:
        answer_stats(conn, c);
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

void answer_request(struct server_conn *conn, struct connection *c)
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

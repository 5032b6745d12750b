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
 * With a store there is a gate (gate.h), and 200s of events are held: on the first way they are a
 * number, `owed`; on the second the one whose request is in `in` (PHASE_HELD). While a connection
 * is owed answers it is served on the first way alone, and only with events that share their
 * commit. All else waits unread in net/ until they have left, so answers keep their order.
 *
 * The first way touches 16 bytes of a connection. The parsers have a hundred times as many, and lie
 * apart: with them 10,000 connections are spread over 4,000 pages instead of 40, more than a
 * processor's TLB holds, and an emulator's grows larger than its cache.
 */
#include "app/routes.h"

#include <assert.h>
#include <string.h>

#include "app/answers.h"
#include "app/event/event.h"
#include "app/event/event_parser.h"
#include "app/routes_state.h"

/* A new date is looked for so often, and is late by no more. */
#define DATE_CHECK_NS 100000000u

struct routes routes;

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
            answer_broken(conn, c, c->in->http.error.status, c->in->http.error.message);
            break;
        }
        leave_flight(c);
        if (c->phase == PHASE_HELD)
            return used;
        metrics_answered(&routes.metrics, step == HTTP_ERROR ? ENDPOINT_OTHER : main_endpoint(c),
                         c->in->begun_ns, routes.config.now_ns);
        *answered = true;
        return used;
    }
}

/* ---- requests in the plain form, all there ---- */

/* Of a connection's space, what its answers that are held do not need. */
static size_t space_beyond(size_t space, size_t owed_bytes)
{
    return space > owed_bytes ? space - owed_bytes : 0;
}

static inline size_t take_plain_events(struct server_conn *conn, struct connection *c,
                                       const uint8_t *bytes, size_t len, bool *answered,
                                       const struct gate *gate)
{
    const size_t answer_bytes = routes.ok->response.bytes_each;
    size_t space = server_send_space(conn);
    size_t used = 0, answers = 0;
    if (gate != NULL)
        space = gate->state == GATE_OPEN ? space_beyond(space, c->owed * answer_bytes) : 0;
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
    if (gate != NULL) {
        c->owed = (uint16_t)(c->owed + answers);
        hold_answers(conn, c, gate);
        return used;
    }
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

static bool is_held(const struct connection *c)
{
    return c->owed != 0 || c->phase == PHASE_HELD;
}

/* `gate` is NULL where there is none, and costs nothing then: each caller has a copy of its own. */
static inline __attribute__((always_inline)) size_t take_bytes(struct server_conn *conn,
                                                               struct connection *c,
                                                               const uint8_t *bytes, size_t len,
                                                               const struct gate *gate)
{
    size_t used = 0;
    bool answered = false;
    refresh_date();
    while (used < len && c->phase != PHASE_CLOSED) {
        if (c->phase == PHASE_BETWEEN) {
            used += take_plain_events(conn, c, bytes + used, len - used, &answered, gate);
            if (used == len || server_send_space(conn) < ROUTES_RESPONSE_BYTES_MAX)
                break;
        }
        if (gate != NULL && c->owed != 0)
            break;
        used += take_request(conn, c, bytes + used, len - used, &answered);
        if (gate != NULL && c->phase == PHASE_HELD)
            break;
    }
    if (gate == NULL || !is_held(c))
        settle(conn, c, answered);
    return c->phase == PHASE_CLOSED ? len : used;
}

/*
 * With all that a plain event calls in one function, which fits a page: where calls are dear
 * (boot/image.ld), that is an eighth of an emulated request's time.
 */
__attribute__((flatten)) static size_t on_bytes(struct server_conn *conn, void *state,
                                                const uint8_t *bytes, size_t len)
{
    return take_bytes(conn, state, bytes, len, NULL);
}

/* ---- with a gate ---- */

__attribute__((flatten)) static size_t on_gated_bytes(struct server_conn *conn, void *state,
                                                      const uint8_t *bytes, size_t len)
{
    struct connection *const c = state;
    const struct gate *const gate = routes.config.gate;
    if (is_held(c) && (c->phase == PHASE_HELD || c->epoch != (uint16_t)gate->epoch))
        return 0;
    return take_bytes(conn, c, bytes, len, gate);
}

/* The answer in another form than the usual. False: there is no space. */
static bool send_held(struct server_conn *conn, struct connection *c)
{
    if (server_send_space(conn) < RESPONSE_HEAD_BYTES_MAX)
        return false;
    c->phase = PHASE_BETWEEN;
    metrics_observe(&routes.metrics, ENDPOINT_EVENT, routes.config.now_ns() - c->in->begun_ns, 1);
    answer_counted_event(conn, c);
    return true;
}

/* As many of the answers owed as there is space for. True: all. */
static bool send_owed(struct server_conn *conn, struct connection *c, uint64_t held_ns)
{
    const size_t fit = server_send_space(conn) / routes.ok->response.bytes_each;
    const size_t answers = c->owed < fit ? c->owed : fit;
    if (answers == 0)
        return false;
    c->owed = (uint16_t)(c->owed - answers);
    routes.metrics.answered[ENDPOINT_EVENT][HTTP_POST] += answers;
    metrics_observe(&routes.metrics, ENDPOINT_EVENT, held_ns, answers);
    send_ok(conn, answers);
    return c->owed == 0;
}

static bool on_resume(struct server_conn *conn, void *state, uint64_t held_ns)
{
    struct connection *const c = state;
    if ((int16_t)((uint16_t)routes.config.gate->stable - c->epoch) < 0) {
        /* It was counted, and will not be stable. Nothing that is true can be said about it. */
        c->owed = 0;
        close_connection(conn, c);
        return true;
    }
    refresh_date();
    if (!(c->phase == PHASE_HELD ? send_held(conn, c) : send_owed(conn, c, held_ns)))
        return false;
    if (c->phase != PHASE_CLOSED) {
        c->waiting = SERVER_WAIT_REQUEST;
        server_wait_for(conn, SERVER_WAIT_REQUEST);
    }
    return true;
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
    answer_broken(conn, c, 408, "the request did not come to its end in time");
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

void routes_configure(struct server_config *server, bool gated)
{
    server->state_bytes = sizeof(struct connection);
    server->cold_state_bytes = sizeof(struct incoming);
    server->response_bytes_max = ROUTES_RESPONSE_BYTES_MAX;
    server->handlers = (struct server_handlers){
        .on_open = on_open,
        .on_bytes = gated ? on_gated_bytes : on_bytes,
        .on_resume = on_resume,
        .on_timeout = on_timeout,
        .on_close = on_close,
        .on_batch = on_batch,
    };
}

struct stats *routes_stats(void)
{
    return &routes.stats;
}

uint64_t routes_events_full(void)
{
    return routes.metrics.events_full;
}

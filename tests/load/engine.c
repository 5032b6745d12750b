#include "tests/load/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#define TICK_NS          100000000ULL   /* deadlines are looked at, failed handshakes tried again */
#define WARM_LIMIT_NS    30000000000ULL /* then it starts with the connections there are */
#define NOTICE_NS        3000000000ULL  /* silence, or connecting, for so long is worth a line */
#define GONE_S           5U             /* refused for so long, it is not coming back */
#define PROGRESS_EACH    100000U
#define EVENTS_AT_ONCE   256
#define SECOND_NS        1000000000ULL
#define DESCRIPTORS_KEPT 64U /* for all that is not a connection */

/* A queue of connections; each stands in it once at most, so it cannot overflow. */
struct queue {
    struct connection **slots;
    uint32_t size, first, count;
};

struct engine {
    struct session *session;
    struct engine_result *result;
    const struct options *options;
    struct connection *connections;
    uint32_t open, connecting;
    struct queue to_open;   /* CLOSED: a handshake is to be started */
    struct queue to_retry;  /* CLOSED: the same, at the next tick */
    struct queue available; /* open loop: can take a request; --close: CLOSED and without one */
    uint64_t claimed;       /* requests sent, or (--close) promised to a connection */
    uint64_t start_ns, tick_ns, second_ns, progress_at;
    struct engine_second second_began; /* `answered` and `cpu_ns` in all by then */
    uint64_t notice_ns;                /* how long a silence gets its next line */
    uint64_t there_ns;                 /* when the server last was not plainly gone */
    bool running;
};

static uint64_t engine_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * SECOND_NS + (uint64_t)used.tv_nsec;
}

static void *engine_allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        fputs("tally-load: no memory for so many connections\n", stderr);
        exit(2);
    }
    return memory;
}

static void queue_create(struct queue *queue, uint32_t size)
{
    *queue = (struct queue){.slots = engine_allocate(size, sizeof *queue->slots), .size = size};
}

static void queue_push(struct queue *queue, struct connection *connection)
{
    assert(queue->count < queue->size);
    queue->slots[(queue->first + queue->count++) % queue->size] = connection;
}

static struct connection *queue_pop(struct queue *queue)
{
    assert(queue->count > 0);
    struct connection *connection = queue->slots[queue->first];
    queue->first = (queue->first + 1) % queue->size;
    queue->count--;
    return connection;
}

static bool engine_is_open_loop(const struct engine *engine)
{
    return engine->options->rate != 0;
}

/* Open loop: when request `number` is meant to be sent. */
static uint64_t engine_intended_ns(const struct engine *engine, uint64_t number)
{
    return engine->start_ns + (uint64_t)((__uint128_t)number * SECOND_NS / engine->options->rate);
}

static void engine_make_available(struct engine *engine, struct connection *connection)
{
    if (!connection->is_available) {
        connection->is_available = true;
        queue_push(&engine->available, connection);
    }
}

/*
 * --close: gives a closed connection a request, which makes it connect. Its latency counts from
 * `since_ns`; 0: from when its handshake starts.
 */
static void engine_claim(struct engine *engine, struct connection *connection, uint64_t since_ns)
{
    connection->claim_ns = since_ns;
    engine->claimed++;
    queue_push(&engine->to_open, connection);
}

/* A connection can take requests: gives it those that there are for it. */
static void engine_feed(struct engine *engine, struct connection *connection)
{
    uint32_t room = connection_room(engine->session, connection);
    if (!engine->running || room == 0)
        return;
    if (engine->options->close) {
        connection->active_ns = session_now_ns();
        connection_add(engine->session, connection, connection->claim_ns);
        connection_flush(engine->session, connection);
        return;
    }
    if (engine_is_open_loop(engine)) {
        engine_make_available(engine, connection);
        return;
    }
    const uint64_t left = engine->options->requests - engine->claimed;
    if (room > left)
        room = (uint32_t)left;
    if (room == 0)
        return;
    const uint64_t now_ns = session_now_ns();
    if (connection->count == 0)
        connection->active_ns = now_ns;
    for (uint32_t i = 0; i < room; i++)
        connection_add(engine->session, connection, now_ns);
    engine->claimed += room;
    connection_flush(engine->session, connection);
}

/* A connection is closed: decides whether it is wanted again. `failed`: the handshake failed. */
static void engine_closed(struct engine *engine, struct connection *connection, bool failed)
{
    if (failed) { /* --close: it keeps the request that it was promised */
        queue_push(&engine->to_retry, connection);
        return;
    }
    const bool more = engine->claimed < engine->options->requests;
    if (!engine->options->close && more)
        queue_push(&engine->to_open, connection);
    else if (engine->options->close && engine_is_open_loop(engine))
        engine_make_available(engine, connection);
    else if (engine->options->close && more)
        engine_claim(engine, connection, 0);
}

static void engine_opened(struct engine *engine, struct connection *connection)
{
    engine->open++;
    engine_feed(engine, connection);
    if (connection->state == CONNECTION_CLOSED) {
        engine->open--;
        engine_closed(engine, connection, false);
    }
}

static void engine_start_handshakes(struct engine *engine)
{
    /* Of those queued now only: what fails at once comes back to another queue. */
    while (engine->to_open.count > 0 && engine->connecting < engine->options->connecting) {
        struct connection *connection = queue_pop(&engine->to_open);
        if (connection->claim_ns == 0)
            connection->claim_ns = session_now_ns();
        if (!connection_open(engine->session, connection))
            engine_closed(engine, connection, true);
        else if (connection->state == CONNECTION_OPEN)
            engine_opened(engine, connection);
        else
            engine->connecting++;
    }
}

/* Open loop: sends what is due, each request to the connection that has waited longest. */
static void engine_dispatch(struct engine *engine, uint64_t now_ns)
{
    while (engine->available.count > 0 && engine->claimed < engine->options->requests) {
        const uint64_t intended_ns = engine_intended_ns(engine, engine->claimed);
        if (intended_ns > now_ns)
            return;
        struct connection *connection = queue_pop(&engine->available);
        connection->is_available = false;
        if (engine->options->close) {
            engine_claim(engine, connection, intended_ns);
            continue;
        }
        if (connection_room(engine->session, connection) == 0)
            continue; /* closed, or full, since it was queued */
        if (connection->count == 0)
            connection->active_ns = now_ns;
        connection_add(engine->session, connection, intended_ns);
        engine->claimed++;
        connection_flush(engine->session, connection);
        if (connection->state == CONNECTION_CLOSED) {
            engine->open--;
            engine_closed(engine, connection, false);
        } else if (connection_room(engine->session, connection) > 0) {
            engine_make_available(engine, connection);
        }
    }
}

static void engine_handle(struct engine *engine, struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (connection->state == CONNECTION_CONNECTING) {
        engine->connecting--;
        if (connection_opened(engine->session, connection))
            engine_opened(engine, connection);
        else
            engine_closed(engine, connection, true);
        return;
    }
    if (events & EPOLLOUT)
        connection_writable(engine->session, connection);
    if (connection->state != CONNECTION_CLOSED && (events & ~(uint32_t)EPOLLOUT))
        connection_readable(engine->session, connection);
    if (connection->state == CONNECTION_OPEN && !engine->options->close)
        engine_feed(engine, connection);
    if (connection->state == CONNECTION_CLOSED) {
        engine->open--;
        engine_closed(engine, connection, false);
    }
}

/*
 * Whether the server has something to answer, or would have if it let connections be opened. When
 * it is gone no request is in flight, for none can be sent: that is silence too.
 */
static bool engine_is_owed(const struct engine *engine, uint64_t now_ns)
{
    return engine->session->completed != engine->claimed || !engine_is_open_loop(engine) ||
           engine_intended_ns(engine, engine->claimed) <= now_ns;
}

/* No connection is left, and the server, or its host, refuses new ones. */
static bool engine_is_refused(const struct engine *engine)
{
    return engine->open == 0 && engine->session->refusal != 0;
}

static void engine_print_notice(const struct engine *engine, uint64_t silence_ns)
{
    const struct options *options = engine->options;
    const unsigned long long silence_s = silence_ns / SECOND_NS;
    if (!engine->running)
        fprintf(stderr, "Connecting: %u of %u connections after %llu s%s\n", (unsigned)engine->open,
                (unsigned)options->connections, silence_s,
                engine->session->closed_idle == 0
                    ? ""
                    : "; the server closes idle ones for new ones: see its max-connections=");
    else if (engine_is_refused(engine))
        fprintf(stderr, "No answer for %llu s: %llu/%llu completed, new connections fail: %s\n",
                silence_s, (unsigned long long)engine->session->completed,
                (unsigned long long)options->requests, strerror(engine->session->refusal));
    else
        fprintf(stderr,
                "No answer for %llu s: %llu/%llu completed, %u of %u connections open; "
                "given up after %u s\n",
                silence_s, (unsigned long long)engine->session->completed,
                (unsigned long long)options->requests, (unsigned)engine->open,
                (unsigned)options->connections, (unsigned)options->stall_timeout_s);
}

/* Says when nothing comes, and gives the run up when that lasts. */
static void engine_watch(struct engine *engine, uint64_t now_ns)
{
    static char stopped[80];
    struct session *session = engine->session;
    if (engine->running && !engine_is_owed(engine, now_ns))
        session->answered_ns = now_ns;
    const uint64_t silence_ns = now_ns - session->answered_ns;
    if (silence_ns < NOTICE_NS)
        engine->notice_ns = NOTICE_NS;
    if (silence_ns >= engine->notice_ns && !engine->options->quiet) {
        engine_print_notice(engine, silence_ns);
        engine->notice_ns = silence_ns + NOTICE_NS;
    }
    if (!engine_is_refused(engine))
        engine->there_ns = now_ns;
    const uint32_t stall_s = engine->options->stall_timeout_s;
    const uint32_t gone_s = stall_s < GONE_S ? stall_s : GONE_S;
    if (now_ns - engine->there_ns >= gone_s * SECOND_NS)
        snprintf(stopped, sizeof stopped, "the server is gone: %s", strerror(session->refusal));
    else if (engine->running && silence_ns >= stall_s * SECOND_NS)
        snprintf(stopped, sizeof stopped, "no answer for %u s", (unsigned)stall_s);
    else
        return;
    engine->result->stopped = stopped;
}

static void engine_tick(struct engine *engine, uint64_t now_ns)
{
    while (engine->to_retry.count > 0)
        queue_push(&engine->to_open, queue_pop(&engine->to_retry));
    for (uint32_t i = 0; i < engine->options->connections; i++) {
        struct connection *connection = &engine->connections[i];
        const enum connection_state before = connection->state;
        connection_check_deadline(engine->session, connection, now_ns);
        if (before == CONNECTION_CLOSED || connection->state != CONNECTION_CLOSED)
            continue;
        if (before == CONNECTION_CONNECTING)
            engine->connecting--;
        else
            engine->open--;
        engine_closed(engine, connection, before == CONNECTION_CONNECTING);
    }
    engine_watch(engine, now_ns);
}

/* One entry a second: if none of its turns was in it, as one without answers. */
static void engine_end_second(struct engine *engine)
{
    struct engine_result *result = engine->result;
    const struct engine_second now = {engine->session->counted, engine_cpu_ns()};
    if (result->seconds < engine->options->timeout_s)
        result->per_second[result->seconds++] = (struct engine_second){
            now.answered - engine->second_began.answered, now.cpu_ns - engine->second_began.cpu_ns};
    engine->second_began = now;
}

static void engine_report(struct engine *engine, uint64_t now_ns)
{
    struct session *session = engine->session;
    for (; now_ns >= engine->second_ns; engine->second_ns += SECOND_NS)
        engine_end_second(engine);
    if (session->completed < engine->progress_at)
        return;
    engine->progress_at = session->completed / PROGRESS_EACH * PROGRESS_EACH + PROGRESS_EACH;
    if (engine->options->quiet)
        return;
    fprintf(stderr, "Completed: %llu/%llu (%.1f req/s)\n", (unsigned long long)session->completed,
            (unsigned long long)engine->options->requests,
            (double)session->completed / ((double)(now_ns - engine->start_ns) / 1e9));
}

/* Waits for sockets, until the next tick or the next request that is due. */
static void engine_wait(struct engine *engine)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t until_ns = engine->tick_ns;
    if (engine->running && engine_is_open_loop(engine) && engine->available.count > 0 &&
        engine->claimed < engine->options->requests) {
        const uint64_t intended_ns = engine_intended_ns(engine, engine->claimed);
        if (intended_ns < until_ns)
            until_ns = intended_ns;
    }
    const uint64_t now_ns = session_now_ns();
    const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    const struct timespec timeout = {.tv_sec = (time_t)(wait_ns / SECOND_NS),
                                     .tv_nsec = (long)(wait_ns % SECOND_NS)};
    const int count =
        epoll_pwait2(engine->session->epoll_fd, events, EVENTS_AT_ONCE, &timeout, NULL);
    if (count < 0 && errno != EINTR) {
        perror("tally-load: epoll_pwait2");
        exit(2);
    }
    for (int i = 0; i < count; i++)
        engine_handle(engine, events[i].data.ptr, events[i].events);
}

static void engine_turn(struct engine *engine)
{
    engine_start_handshakes(engine);
    engine_wait(engine);
    const uint64_t now_ns = session_now_ns();
    if (engine->running && engine_is_open_loop(engine))
        engine_dispatch(engine, now_ns);
    if (now_ns >= engine->tick_ns) {
        engine_tick(engine, now_ns);
        engine->tick_ns = now_ns + TICK_NS;
    }
    if (engine->running)
        engine_report(engine, now_ns);
}

static void engine_warm(struct engine *engine)
{
    const uint64_t begin_ns = session_now_ns();
    engine->session->answered_ns = begin_ns; /* the silence before the first request */
    for (uint32_t i = 0; i < engine->options->connections; i++)
        queue_push(&engine->to_open, &engine->connections[i]);
    engine->there_ns = begin_ns;
    while (engine->open < engine->options->connections && engine->result->stopped == NULL &&
           session_now_ns() - begin_ns < WARM_LIMIT_NS)
        engine_turn(engine);
    engine->result->warm_ns = session_now_ns() - begin_ns;
    engine->result->connections_at_start = engine->open;
    if (engine->open == 0 && engine->result->stopped == NULL)
        engine->result->stopped = "no connection could be opened";
}

/* Gives every connection its first requests. */
static void engine_begin(struct engine *engine)
{
    engine->running = true;
    engine->start_ns = session_now_ns();
    engine->second_ns = engine->start_ns + SECOND_NS;
    engine->second_began = (struct engine_second){0, engine_cpu_ns()};
    engine->session->answered_ns = engine->start_ns;
    engine->there_ns = engine->start_ns;
    engine->progress_at = PROGRESS_EACH;
    for (uint32_t i = 0; i < engine->options->connections; i++) {
        struct connection *connection = &engine->connections[i];
        if (engine->options->close) {
            engine_closed(engine, connection, false);
        } else if (connection->state == CONNECTION_OPEN) {
            engine_feed(engine, connection);
            if (connection->state == CONNECTION_CLOSED) {
                engine->open--;
                engine_closed(engine, connection, false);
            }
        }
    }
}

static void engine_raise_descriptors(uint32_t connections)
{
    struct rlimit limit;
    const rlim_t need = connections + DESCRIPTORS_KEPT;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= need)
        return;
    limit.rlim_cur = need;
    if (limit.rlim_max < need)
        limit.rlim_max = need;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        fprintf(stderr, "tally-load: %u connections need %llu open files: %s (ulimit -n)\n",
                (unsigned)connections, (unsigned long long)need, strerror(errno));
        exit(2);
    }
}

static void engine_create(struct engine *engine, struct session *session)
{
    const struct options *options = session->options;
    engine_raise_descriptors(options->connections);
    session->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (session->epoll_fd < 0) {
        perror("tally-load: epoll_create1");
        exit(2);
    }
    session->received = engine_allocate(1, SESSION_RECEIVE_BYTES);
    session->batch = engine_allocate(options->depth, workload_request_bytes_max(session->workload));
    engine->connections = engine_allocate(options->connections, sizeof *engine->connections);
    struct in_flight *rings =
        engine_allocate((size_t)options->connections * options->depth, sizeof *rings);
    for (uint32_t i = 0; i < options->connections; i++)
        engine->connections[i].ring = rings + (size_t)i * options->depth;
    queue_create(&engine->to_open, options->connections);
    queue_create(&engine->to_retry, options->connections);
    queue_create(&engine->available, options->connections);
    engine->result->per_second =
        engine_allocate(options->timeout_s, sizeof *engine->result->per_second);
}

void engine_run(struct session *session, struct engine_result *result)
{
    struct engine engine = {.session = session, .result = result, .options = session->options};
    *result = (struct engine_result){0};
    engine_create(&engine, session);
    prctl(PR_SET_TIMERSLACK, 1UL); /* an open loop's requests go out when they are due */
    engine.tick_ns = session_now_ns() + TICK_NS;
    if (!engine.options->close)
        engine_warm(&engine);
    if (result->stopped != NULL)
        return;
    const uint64_t cpu_ns = engine_cpu_ns();
    engine_begin(&engine);
    const uint64_t end_ns = engine.start_ns + engine.options->timeout_s * SECOND_NS;
    while (session->completed < engine.options->requests && result->stopped == NULL) {
        engine_turn(&engine);
        if (session_now_ns() >= end_ns)
            result->stopped = "the time given by --timeout-s is over";
    }
    result->run_ns = session_now_ns() - engine.start_ns;
    result->cpu_ns = engine_cpu_ns() - cpu_ns;
    for (uint32_t i = 0; i < engine.options->connections; i++)
        if (engine.connections[i].state != CONNECTION_CLOSED)
            connection_close(session, &engine.connections[i]);
}

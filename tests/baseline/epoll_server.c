/*
 * The baseline: the appliance's own app/ files behind an ordinary epoll loop of Linux.
 *
 * It implements net/server.h over the host's sockets, so that whatever differs from the appliance
 * in a measurement is what lies under app/: a kernel, its TCP and its system calls, against lwIP
 * and a polled ring. It does what a careful server of its kind does and no more: one thread,
 * non-blocking sockets, level-triggered epoll, one read and at most one write for each connection
 * that has something, TCP_NODELAY.
 *
 *     epoll-server [ADDRESS:]PORT [CONNECTIONS_MAX [USERS_MAX]]
 *
 * SIGINT and SIGTERM end it with status 0. What it is not: protected. Its deadlines are swept once
 * a second, and a peer that does not read is closed only then.
 */
#define _GNU_SOURCE /* accept4() */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "app/aggregate/users.h"
#include "app/routes.h"
#include "net/server.h"

#define RECEIVE_BYTES       65536
#define EVENTS_MAX          512
#define CONNECTIONS_DEFAULT 20000
#define USERS_DEFAULT       1000000
#define USER_ID_BYTES       16 /* on average */
#define NS_PER_MS           1000000u

struct server_conn {
    int fd;           /* -1: the slot is free */
    bool closing;     /* server_close() was called */
    bool peer_ended;  /* read() has returned 0 */
    bool wants_write; /* epoll watches for EPOLLOUT */
    enum server_wait wait;
    uint64_t since_ns; /* of `wait`, or of the last octet sent, or of closing */
    size_t out_begin, out_end;
    size_t held; /* octets in `in` that the application has not taken */
    struct server_conn *next_free;
    uint8_t *in, *out;
};

static struct {
    struct server_config config;
    struct server_counters counters;
    struct server_conn *conns, *free;
    uint8_t *states, *cold_states;
    size_t out_bytes_max;
    uint64_t batch_ns, swept_ns;
    int listener, epoll;
    bool stopped, touched;
} server;

static volatile sig_atomic_t stop_asked;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool wall_s(int64_t *unix_s)
{
    *unix_s = time(NULL);
    return true;
}

static void *state_of(const struct server_conn *conn)
{
    return server.states + (size_t)(conn - server.conns) * server.config.state_bytes;
}

static void *cold_state_of(const struct server_conn *conn)
{
    return server.cold_states + (size_t)(conn - server.conns) * server.config.cold_state_bytes;
}

/* ---- connections ---- */

static void watch(struct server_conn *conn, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(server.epoll, operation, conn->fd, &event) != 0)
        fail("epoll_ctl");
}

static void drop(struct server_conn *conn)
{
    server.config.handlers.on_close(conn, state_of(conn));
    close(conn->fd);
    conn->fd = -1;
    conn->next_free = server.free;
    server.free = conn;
    server.counters.connections_open--;
}

static void accept_all(void)
{
    static const int on = 1;
    for (int i = 0; i < EVENTS_MAX; i++) {
        const int fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct server_conn *const conn = server.free;
        if (conn == NULL) {
            close(fd);
            server.counters.connections_refused++;
            continue;
        }
        server.free = conn->next_free;
        uint8_t *const in = conn->in, *const out = conn->out;
        *conn = (struct server_conn){.fd = fd, .since_ns = server.batch_ns, .in = in, .out = out};
        if (conn->out == NULL)
            conn->out = malloc(server.out_bytes_max);
        if (conn->out == NULL)
            fail("malloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        memset(state_of(conn), 0, server.config.state_bytes);
        server.counters.connections_accepted++;
        server.counters.connections_open++;
        watch(conn, EPOLL_CTL_ADD, EPOLLIN);
        server.config.handlers.on_open(conn, state_of(conn), cold_state_of(conn));
    }
}

/* Writes what is queued. False if the connection is gone. */
static bool flush(struct server_conn *conn)
{
    while (conn->out_begin < conn->out_end) {
        const ssize_t sent = send(conn->fd, conn->out + conn->out_begin,
                                  conn->out_end - conn->out_begin, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0) {
            drop(conn);
            return false;
        }
        conn->out_begin += (size_t)sent;
        conn->since_ns = server.batch_ns;
    }
    const bool is_empty = conn->out_begin == conn->out_end;
    if (is_empty)
        conn->out_begin = conn->out_end = 0;
    if (conn->wants_write == is_empty) {
        conn->wants_write = !is_empty;
        watch(conn, EPOLL_CTL_MOD, is_empty ? EPOLLIN : EPOLLOUT);
    }
    if (is_empty && conn->closing)
        shutdown(conn->fd, SHUT_WR);
    if (is_empty && conn->peer_ended && conn->held == 0) {
        drop(conn);
        return false;
    }
    return true;
}

/* Hands octets to the application; returns how many it took. */
static size_t hand_over(struct server_conn *conn, const uint8_t *bytes, size_t len)
{
    if (conn->closing)
        return len;
    if (server_send_space(conn) < server.config.response_bytes_max)
        return 0;
    server.touched = true;
    return server.config.handlers.on_bytes(conn, state_of(conn), bytes, len);
}

/* Keeps what was not taken until there is space to answer it. */
static void hold(struct server_conn *conn, const uint8_t *bytes, size_t len)
{
    if (len > 0 && conn->in == NULL)
        conn->in = malloc(RECEIVE_BYTES);
    if (len > 0 && conn->in == NULL)
        fail("malloc");
    if (len > 0)
        memmove(conn->in, bytes, len);
    conn->held = len;
}

/*
 * Writes, and hands over what was held, until nothing is held or the socket takes no more: only
 * then does epoll say when to go on.
 */
static void resume(struct server_conn *conn)
{
    while (flush(conn) && conn->held > 0 && !conn->wants_write) {
        const size_t taken = hand_over(conn, conn->in, conn->held);
        hold(conn, conn->in + taken, conn->held - taken);
    }
}

static void receive(struct server_conn *conn)
{
    static uint8_t bytes[RECEIVE_BYTES];
    const ssize_t len = recv(conn->fd, bytes, sizeof bytes, 0);
    if (len < 0 && errno == EAGAIN)
        return;
    if (len < 0 || (len == 0 && conn->closing)) {
        drop(conn);
        return;
    }
    if (len == 0)
        conn->peer_ended = true;
    const size_t taken = len > 0 ? hand_over(conn, bytes, (size_t)len) : 0;
    hold(conn, bytes + taken, (size_t)len - taken);
    resume(conn);
}

static uint32_t limit_ms(const struct server_conn *conn)
{
    const struct server_config *const config = &server.config;
    if (conn->closing)
        return config->linger_ms;
    if (conn->out_begin < conn->out_end)
        return config->send_ms;
    if (conn->wait == SERVER_WAIT_REQUEST)
        return config->idle_ms;
    return conn->wait == SERVER_WAIT_HEAD ? config->head_ms : config->body_ms;
}

static void sweep(void)
{
    for (struct server_conn *conn = server.conns;
         conn < server.conns + server.config.connections_max; conn++) {
        if (conn->fd < 0 || server.batch_ns - conn->since_ns < limit_ms(conn) * (uint64_t)NS_PER_MS)
            continue;
        server.counters.timeouts++;
        if (conn->closing || conn->out_begin < conn->out_end || conn->wait == SERVER_WAIT_REQUEST) {
            drop(conn);
            continue;
        }
        server.config.handlers.on_timeout(conn, state_of(conn));
        flush(conn);
    }
}

/* ---- net/server.h ---- */

size_t server_memory_bytes(const struct server_config *config)
{
    return config->connections_max *
           (sizeof(struct server_conn) + config->state_bytes + config->cold_state_bytes);
}

void server_init(const struct server_config *config, void *memory)
{
    static const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(config->port), .sin_addr.s_addr = config->address};

    server.config = *config;
    server.out_bytes_max = 2 * config->response_bytes_max;
    server.conns = memory;
    server.states = (uint8_t *)memory + config->connections_max * sizeof(struct server_conn);
    server.cold_states = server.states + config->connections_max * config->state_bytes;
    for (uint32_t i = config->connections_max; i-- > 0;) {
        server.conns[i] = (struct server_conn){.fd = -1, .next_free = server.free};
        server.free = &server.conns[i];
    }
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server.epoll < 0 || server.listener < 0)
        fail("socket");
    setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server.listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(server.listener, 4096) != 0)
        fail("cannot listen");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(server.epoll, EPOLL_CTL_ADD, server.listener, &event) != 0)
        fail("epoll_ctl");
}

bool server_poll(void)
{
    struct epoll_event events[EVENTS_MAX];
    const int count = epoll_wait(server.epoll, events, EVENTS_MAX, 100);

    server.batch_ns = now_ns();
    server.touched = false;
    for (int i = 0; i < count; i++) {
        struct server_conn *const conn = events[i].data.ptr;
        if (conn == NULL)
            accept_all();
        else if (conn->fd >= 0 && conn->wants_write)
            resume(conn);
        else if (conn->fd >= 0)
            receive(conn);
    }
    if (server.touched) {
        server.counters.batches++;
        server.config.handlers.on_batch();
    }
    if (server.batch_ns - server.swept_ns >= 1000 * (uint64_t)NS_PER_MS) {
        server.swept_ns = server.batch_ns;
        sweep();
    }
    return count > 0;
}

uint64_t server_batch_ns(void)
{
    return server.batch_ns;
}

size_t server_send_space(const struct server_conn *conn)
{
    return server.out_bytes_max - conn->out_end;
}

void server_send(struct server_conn *conn, const void *bytes, size_t len)
{
    memcpy(conn->out + conn->out_end, bytes, len);
    conn->out_end += len;
}

void server_send_kept(struct server_conn *conn, const void *bytes, size_t len,
                      struct server_kept *kept)
{
    (void)kept; /* copied */
    server_send(conn, bytes, len);
}

void server_wait_for(struct server_conn *conn, enum server_wait what)
{
    conn->wait = what;
    conn->since_ns = server.batch_ns;
}

void server_close(struct server_conn *conn)
{
    conn->closing = true;
    conn->since_ns = server.batch_ns;
}

/* The routes were given no gate. */
void server_hold(struct server_conn *conn, uint32_t ticket)
{
    (void)conn;
    (void)ticket;
    abort();
}

void server_get_counters(struct server_counters *counters)
{
    *counters = server.counters;
}

/* ---- the program ---- */

static void on_signal(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value < min || value > max) {
        fprintf(stderr, "epoll-server: '%s' is not a number from %llu to %llu\n", text,
                (unsigned long long)min, (unsigned long long)max);
        exit(2);
    }
    return value;
}

static void *take(size_t bytes)
{
    void *const memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    return memory;
}

static struct users *make_users(uint64_t users_max)
{
    const size_t bytes = users_memory_bytes(users_max, USER_ID_BYTES);
    struct siphash_key key;
    if (getrandom(&key, sizeof key, 0) != sizeof key)
        fail("getrandom");
    return users_init(take(bytes), bytes, users_max, &key);
}

static void parse_listen(const char *text, struct server_config *config)
{
    const char *const colon = strchr(text, ':');
    char address[INET_ADDRSTRLEN] = "127.0.0.1";
    struct in_addr parsed;

    if (colon != NULL && (size_t)(colon - text) < sizeof address) {
        memcpy(address, text, (size_t)(colon - text));
        address[colon - text] = '\0';
    }
    if (inet_pton(AF_INET, address, &parsed) != 1) {
        fprintf(stderr, "epoll-server: '%s' is not ADDRESS:PORT\n", text);
        exit(2);
    }
    config->address = parsed.s_addr;
    config->port = (uint16_t)number(colon != NULL ? colon + 1 : text, 1, 65535);
}

int main(int argc, char **argv)
{
    struct server_config config = {.connections_max = CONNECTIONS_DEFAULT,
                                   .idle_ms = 60000,
                                   .head_ms = 10000,
                                   .body_ms = 10000,
                                   .send_ms = 30000,
                                   .linger_ms = 2000};
    const struct sigaction action = {.sa_handler = on_signal};

    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: epoll-server [ADDRESS:]PORT [CONNECTIONS_MAX [USERS_MAX]]\n");
        return 2;
    }
    parse_listen(argv[1], &config);
    if (argc > 2)
        config.connections_max = (uint32_t)number(argv[2], 1, 1000000);
    const uint64_t users_max = argc > 3 ? number(argv[3], 1, 100000000) : USERS_DEFAULT;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    const struct routes_config routes = {
        .users = make_users(users_max),
        .connections_max = config.connections_max,
        .now_ns = now_ns,
        .wall_s = wall_s,
    };
    routes_init(&routes);
    routes_configure(&config, false);
    server_init(&config, take(server_memory_bytes(&config)));
    printf("listening on %s\n", argv[1]);
    fflush(stdout);
    while (!stop_asked)
        server_poll();
    return 0;
}

#include "tests/load/connection.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ENDING_TIMEOUT_NS 1000000000ULL

uint64_t session_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void connection_watch(struct session *session, struct connection *connection, int operation,
                             uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(session->epoll_fd, operation, connection->fd, &event) != 0) {
        perror("tally-load: epoll_ctl");
        exit(2);
    }
}

/* A handshake has failed. Silence, or a want of this host's own, says nothing of the server. */
static void connection_not_opened(struct session *session, int error)
{
    const bool is_plain = error == ECONNREFUSED || error == ECONNRESET || error == EHOSTUNREACH ||
                          error == ENETUNREACH;
    session->errors.connect++;
    session->refusal = is_plain ? error : 0;
}

bool connection_open(struct session *session, struct connection *connection)
{
    const struct sockaddr_in *address = &session->options->address;
    const int on = 1;
    assert(connection->state == CONNECTION_CLOSED);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) {
        connection_not_opened(session, errno);
        return false;
    }
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    response_reset(&connection->response);
    connection->active_ns = session_now_ns();
    if (connect(connection->fd, (const struct sockaddr *)address, sizeof *address) == 0) {
        session->refusal = 0;
        connection->state = CONNECTION_OPEN;
        connection_watch(session, connection, EPOLL_CTL_ADD, EPOLLIN);
        return true;
    }
    if (errno != EINPROGRESS) {
        connection_not_opened(session, errno);
        close(connection->fd);
        return false;
    }
    connection->state = CONNECTION_CONNECTING;
    connection_watch(session, connection, EPOLL_CTL_ADD, EPOLLOUT);
    return true;
}

bool connection_opened(struct session *session, struct connection *connection)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        connection_not_opened(session, error);
        connection_close(session, connection);
        return false;
    }
    session->refusal = 0;
    connection->state = CONNECTION_OPEN;
    connection_watch(session, connection, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

uint32_t connection_room(const struct session *session, const struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN || connection->unsent != NULL)
        return 0;
    return session->options->depth - connection->count;
}

void connection_add(struct session *session, struct connection *connection, uint64_t since_ns)
{
    assert(connection->count < session->options->depth);
    uint32_t slot = connection->first + connection->count;
    if (slot >= session->options->depth)
        slot -= session->options->depth;
    connection->ring[slot] = (struct in_flight){session->next_index, since_ns};
    connection->count++;
    session->batch_len += workload_write(session->workload, session->next_index++,
                                         session->batch + session->batch_len);
}

static void connection_keep_unsent(struct connection *connection, const char *bytes, size_t len)
{
    connection->unsent = malloc(len);
    if (connection->unsent == NULL) {
        fputs("tally-load: no memory for a short write\n", stderr);
        exit(2);
    }
    memcpy(connection->unsent, bytes, len);
    connection->unsent_len = len;
}

void connection_flush(struct session *session, struct connection *connection)
{
    const size_t len = session->batch_len;
    session->batch_len = 0;
    ssize_t sent = send(connection->fd, session->batch, len, MSG_NOSIGNAL);
    if (sent == (ssize_t)len)
        return;
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        session->errors.reset++;
        connection_close(session, connection);
        return;
    }
    if (sent < 0)
        sent = 0;
    connection_keep_unsent(connection, session->batch + sent, len - (size_t)sent);
    connection_watch(session, connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

void connection_writable(struct session *session, struct connection *connection)
{
    if (connection->unsent == NULL)
        return;
    const ssize_t sent =
        send(connection->fd, connection->unsent, connection->unsent_len, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            session->errors.reset++;
            connection_close(session, connection);
        }
        return;
    }
    connection->unsent_len -= (size_t)sent;
    memmove(connection->unsent, connection->unsent + sent, connection->unsent_len);
    if (connection->unsent_len == 0) {
        free(connection->unsent);
        connection->unsent = NULL;
        connection_watch(session, connection, EPOLL_CTL_MOD, EPOLLIN);
    }
}

/* The oldest request in flight has its answer. */
static void connection_answered(struct session *session, struct connection *connection,
                                uint16_t status, uint64_t now_ns)
{
    const struct in_flight request = connection->ring[connection->first];
    connection->first =
        connection->first + 1 == session->options->depth ? 0 : connection->first + 1;
    connection->count--;
    connection->active_ns = now_ns;
    session->answered_ns = now_ns;
    session->completed++;
    session->statuses[status - 100]++;
    if (status == 200) {
        session->counted++;
        workload_counted(session->workload, request.index);
        histogram_add(&session->latency, now_ns > request.since_ns ? now_ns - request.since_ns : 0);
    } else {
        session->errors.status++;
    }
}

/* The answer was the connection's last. */
static void connection_ends(struct session *session, struct connection *connection)
{
    if (session->options->close) {
        connection->state = CONNECTION_ENDING;
        return;
    }
    if (connection->count > 0)
        session->errors.reset++;
    connection_close(session, connection);
}

/* Takes one response, or the part of it that is there. Returns the bytes taken, 0 when closed. */
static size_t connection_take(struct session *session, struct connection *connection,
                              const char *bytes, size_t len, uint64_t now_ns)
{
    struct response *response = &connection->response;
    const bool idle = response_is_idle(response);
    if (idle) {
        const size_t same = response_memo_match(&session->memo, bytes, len);
        if (same != 0) {
            connection_answered(session, connection, 200, now_ns);
            return same;
        }
    }
    size_t taken;
    switch (response_feed(response, bytes, len, &taken)) {
    case RESPONSE_MORE:
        return taken;
    case RESPONSE_MALFORMED:
        session->errors.malformed++;
        connection_close(session, connection);
        return 0;
    case RESPONSE_DONE:
        break;
    }
    if (idle)
        response_memo_learn(&session->memo, response, bytes, taken);
    connection_answered(session, connection, response->status, now_ns);
    const bool last = response->close;
    response_reset(response);
    if (last)
        connection_ends(session, connection);
    return connection->state == CONNECTION_OPEN ? taken : 0;
}

static void connection_ended_by_server(struct session *session, struct connection *connection)
{
    if (connection->count > 0 && response_ends_here(&connection->response))
        connection_answered(session, connection, connection->response.status, session_now_ns());
    if (connection->count > 0)
        session->errors.reset++;
    else if (connection->state == CONNECTION_OPEN && !session->options->close)
        session->closed_idle++;
    connection_close(session, connection);
}

void connection_readable(struct session *session, struct connection *connection)
{
    const ssize_t got = recv(connection->fd, session->received, SESSION_RECEIVE_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0 && connection->count > 0) {
        session->errors.reset++;
        connection_close(session, connection);
        return;
    }
    if (got <= 0) {
        connection_ended_by_server(session, connection);
        return;
    }
    const uint64_t now_ns = session_now_ns();
    size_t at = 0;
    while (at < (size_t)got) {
        if (connection->count == 0) { /* nothing was asked for */
            session->errors.malformed++;
            connection_close(session, connection);
            return;
        }
        const size_t taken =
            connection_take(session, connection, session->received + at, (size_t)got - at, now_ns);
        if (taken == 0)
            return;
        at += taken;
    }
    if (session->options->close && connection->count == 0)
        connection->state = CONNECTION_ENDING; /* also when the answer did not announce it */
}

void connection_check_deadline(struct session *session, struct connection *connection,
                               uint64_t now_ns)
{
    const uint64_t timeout_ns = (uint64_t)session->options->request_timeout_ms * 1000000U;
    const uint64_t waited_ns = now_ns > connection->active_ns ? now_ns - connection->active_ns : 0;
    switch (connection->state) {
    case CONNECTION_CONNECTING:
        if (waited_ns > timeout_ns) {
            connection_not_opened(session, ETIMEDOUT);
            connection_close(session, connection);
        }
        break;
    case CONNECTION_OPEN:
        if (connection->count > 0 && waited_ns > timeout_ns) {
            session->errors.timeout++;
            connection_close(session, connection);
        }
        break;
    case CONNECTION_ENDING:
        if (waited_ns > ENDING_TIMEOUT_NS) {
            /* A reset rather than a FIN: TIME_WAIT on this side would use up the local ports. */
            const struct linger linger = {.l_onoff = 1, .l_linger = 0};
            setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
            session->unclosed++;
            connection_close(session, connection);
        }
        break;
    case CONNECTION_CLOSED:
        break;
    }
}

void connection_close(struct session *session, struct connection *connection)
{
    assert(connection->state != CONNECTION_CLOSED);
    for (; connection->count > 0; connection->count--) {
        workload_uncertain(session->workload, connection->ring[connection->first].index);
        connection->first =
            connection->first + 1 == session->options->depth ? 0 : connection->first + 1;
        session->completed++;
        session->lost++;
    }
    free(connection->unsent);
    connection->unsent = NULL;
    connection->unsent_len = 0;
    close(connection->fd);
    connection->state = CONNECTION_CLOSED;
}

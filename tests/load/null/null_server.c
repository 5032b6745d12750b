/*
 * The least that a server can do: finds the end of each request and answers a constant. It counts
 * nothing, so the load client wants --no-check with it. What the client reaches here is the
 * client's own limit (both share the machine: on two cores, one each).
 *
 *     null-server [PORT [close]]      on 127.0.0.1, one thread, until it is killed
 *
 * With `close` it closes each connection once it has answered (for the client's --close).
 */
#define _GNU_SOURCE /* memmem, accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_BYTES 65536
#define DESCRIPTORS   65536
#define LISTEN_QUEUE  4096
#define EVENTS        256

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
#define ANSWER_BYTES (sizeof answer - 1)

/*
 * Per connection: how much of a request that was cut is still to come. A request is taken to be
 * head, empty line, Content-Length bytes; a cut head is kept until the rest is there.
 */
struct peer {
    uint32_t body_left;
    uint32_t kept;
    char *head; /* RECEIVE_BYTES once something had to be kept */
};

static struct peer peers[DESCRIPTORS];
static char received[2 * RECEIVE_BYTES];
static char answers[RECEIVE_BYTES];
static bool closes;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint32_t content_length(const char *head, size_t len)
{
    static const char name[] = "\r\nContent-Length: ";
    const char *at = memmem(head, len, name, sizeof name - 1);
    return at == NULL ? 0 : (uint32_t)strtoul(at + sizeof name - 1, NULL, 10);
}

/* Returns how many requests end within the bytes; keeps what is left of a cut head. */
static size_t count_requests(struct peer *peer, const char *bytes, size_t len)
{
    size_t at = peer->body_left < len ? peer->body_left : len;
    size_t requests = at > 0 && at == peer->body_left;
    peer->body_left -= (uint32_t)at;
    peer->kept = 0;
    while (at < len) {
        const char *end = memmem(bytes + at, len - at, "\r\n\r\n", 4);
        if (end == NULL) {
            peer->kept = (uint32_t)(len - at);
            break;
        }
        const size_t head_len = (size_t)(end - (bytes + at)) + 4;
        const uint32_t body = content_length(bytes + at, head_len);
        at += head_len;
        if (body > len - at) {
            peer->body_left = body - (uint32_t)(len - at);
            break;
        }
        at += body;
        requests++;
    }
    if (peer->kept > 0) {
        if (peer->head == NULL)
            peer->head = malloc(RECEIVE_BYTES);
        if (peer->head == NULL || peer->kept > RECEIVE_BYTES)
            die("null-server: head");
        memcpy(peer->head, bytes + len - peer->kept, peer->kept);
    }
    return requests;
}

static bool serve(int fd)
{
    struct peer *peer = &peers[fd];
    if (peer->kept > 0)
        memcpy(received, peer->head, peer->kept);
    const ssize_t got = recv(fd, received + peer->kept, RECEIVE_BYTES, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    size_t requests = count_requests(peer, received, peer->kept + (size_t)got);
    const bool done = closes && requests > 0;
    while (requests > 0) {
        const size_t most = sizeof answers / ANSWER_BYTES;
        const size_t now = requests < most ? requests : most;
        if (send(fd, answers, now * ANSWER_BYTES, MSG_NOSIGNAL) != (ssize_t)(now * ANSWER_BYTES))
            return false; /* the client does not read: not what this server is for */
        requests -= now;
    }
    return !done;
}

static void accept_all(int epoll_fd, int listener)
{
    const int on = 1;
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peers[fd].body_left = 0;
        peers[fd].kept = 0;
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            die("null-server: epoll_ctl");
    }
}

static int listen_on(uint16_t port)
{
    const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, LISTEN_QUEUE) != 0)
        die("null-server: listen");
    return fd;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    closes = argc > 2 && strcmp(argv[2], "close") == 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (size_t i = 0; i + ANSWER_BYTES <= sizeof answers; i += ANSWER_BYTES)
        memcpy(answers + i, answer, ANSWER_BYTES);

    const int listener = listen_on(argc > 1 ? (uint16_t)strtoul(argv[1], NULL, 10) : 8080);
    const int epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) != 0)
        die("null-server: epoll_ctl");
    for (;;) {
        const int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            const int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(epoll_fd, listener);
            else if (!serve(fd))
                close(fd);
        }
    }
}

/*
 * Thousands of connections that hold on to what they have:
 *
 *     byte     a byte of an endless head every 2.5 s
 *     silent   connected, and not a word
 *     deaf     asks for a page again and again, and never reads an answer
 *
 * Whoever is closed comes back, 250 a second. A first line tells when each has been connected once;
 * the last, after SECONDS from then, what became of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/abuse/abuse.h"

enum { CONNECTIONS_MAX = 15000, CONNECTING_MAX = 128, EVENTS = 256, TICK_MS = 20, AGAIN_MAX = 5 };

#define GATHER_NS_MAX 20000000000u /* for the first line to be printed */

enum kind { BYTE, SILENT, DEAF };

struct slow {
    struct sockaddr_in server;
    enum kind kind;
    unsigned count;
    int epoll;
    int *sockets; /* -1: none */
    bool *connected;
    unsigned connecting, open, open_most;
    unsigned turn; /* whose byte is next */
    unsigned next; /* to be connected */
    uint64_t opened, answered, closed, reset, refused, bytes;
};

static const char head_begin[] = "POST /event HTTP/1.1\r\nHost: t\r\nX-A: ";
static const char deaf_request[] = "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n";

static void forget(struct slow *slow, unsigned i)
{
    if (slow->connected[i])
        slow->open--;
    else
        slow->connecting--;
    close(slow->sockets[i]);
    slow->sockets[i] = -1;
}

static void begin(struct slow *slow, unsigned i)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int yes = 1, small = 1024;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.u32 = i};

    if (fd < 0)
        abuse_fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (slow->kind == DEAF) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        event.events = EPOLLOUT;
    }
    if (connect(fd, (const struct sockaddr *)&slow->server, sizeof slow->server) != 0 &&
        errno != EINPROGRESS)
        abuse_fail("connect: %s", strerror(errno));
    if (epoll_ctl(slow->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        abuse_fail("epoll: %s", strerror(errno));
    slow->sockets[i] = fd;
    slow->connected[i] = false;
    slow->connecting++;
}

static void ended(struct slow *slow, unsigned i, int error)
{
    if (!slow->connected[i])
        slow->refused++;
    else if (error != 0)
        slow->reset++;
    else
        slow->closed++;
    forget(slow, i);
}

/* The rest of its life it is only watched for the other side's end of it. */
static void connected(struct slow *slow, unsigned i)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = i};
    if (slow->kind == DEAF)
        event.events = EPOLLOUT;
    epoll_ctl(slow->epoll, EPOLL_CTL_MOD, slow->sockets[i], &event);
    slow->connected[i] = true;
    slow->connecting--;
    slow->opened++;
    if (++slow->open > slow->open_most)
        slow->open_most = slow->open;
    if (slow->kind == BYTE)
        (void)!send(slow->sockets[i], head_begin, sizeof head_begin - 1, MSG_NOSIGNAL);
}

static void handle(struct slow *slow, const struct epoll_event *event)
{
    const unsigned i = event->data.u32;
    char text[256];
    int error = 0;
    socklen_t len = sizeof error;

    if (slow->sockets[i] < 0)
        return;
    getsockopt(slow->sockets[i], SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0 || (event->events & EPOLLERR) != 0) {
        ended(slow, i, error != 0 ? error : ECONNRESET);
        return;
    }
    if (!slow->connected[i] && (event->events & EPOLLOUT) != 0)
        connected(slow, i);
    if (slow->kind == DEAF) {
        const ssize_t n =
            send(slow->sockets[i], deaf_request, sizeof deaf_request - 1, MSG_NOSIGNAL);
        if (n > 0)
            slow->bytes += (uint64_t)n;
        return;
    }
    if ((event->events & (EPOLLIN | EPOLLRDHUP)) == 0)
        return;
    const ssize_t n = read(slow->sockets[i], text, sizeof text);
    if (n > 0)
        slow->answered++;
    else if (n == 0 || errno != EAGAIN)
        ended(slow, i, n == 0 ? 0 : errno);
}

/* A byte of each connection every 2.5 s. */
static void send_bytes(struct slow *slow)
{
    for (unsigned n = slow->count * TICK_MS / 2500 + 1; n > 0; n--) {
        const unsigned i = slow->turn++ % slow->count;
        if (slow->sockets[i] >= 0 && slow->connected[i] &&
            send(slow->sockets[i], "a", 1, MSG_NOSIGNAL) == 1)
            slow->bytes++;
    }
}

static void connect_some(struct slow *slow, unsigned most)
{
    for (unsigned tried = 0; tried < slow->count && most > 0; tried++) {
        if (slow->sockets[slow->next] < 0 && slow->connecting < CONNECTING_MAX) {
            begin(slow, slow->next);
            most--;
        }
        slow->next = (slow->next + 1) % slow->count;
    }
}

static void report(const struct slow *slow)
{
    printf("%u open, %llu opened, %llu answered, %llu closed, %llu reset, %llu refused, "
           "%llu bytes\n",
           slow->open_most, (unsigned long long)slow->opened, (unsigned long long)slow->answered,
           (unsigned long long)slow->closed, (unsigned long long)slow->reset,
           (unsigned long long)slow->refused, (unsigned long long)slow->bytes);
    fflush(stdout);
}

static void run(struct slow *slow, uint64_t seconds)
{
    const uint64_t began_ns = abuse_now_ns();
    uint64_t ready_ns = 0;
    uint64_t ticked_ns = 0;

    for (;;) {
        const uint64_t now_ns = abuse_now_ns();
        if (ready_ns == 0 && (slow->opened >= slow->count || now_ns - began_ns > GATHER_NS_MAX)) {
            ready_ns = now_ns;
            report(slow);
        }
        if (ready_ns != 0 && now_ns - ready_ns >= seconds * 1000000000u)
            break;
        if (ready_ns == 0)
            connect_some(slow, CONNECTING_MAX);
        if (now_ns - ticked_ns >= TICK_MS * 1000000u) {
            ticked_ns = now_ns;
            connect_some(slow, AGAIN_MAX);
            if (slow->kind == BYTE)
                send_bytes(slow);
        }
        struct epoll_event events[EVENTS];
        const int count = epoll_wait(slow->epoll, events, EVENTS, TICK_MS / 2);
        for (int i = 0; i < count; i++)
            handle(slow, &events[i]);
    }
    report(slow);
}

int slow_main(int argc, char **argv)
{
    static const char *const kinds[] = {[BYTE] = "byte", [SILENT] = "silent", [DEAF] = "deaf"};
    static struct slow slow = {.server.sin_family = AF_INET};
    bool known = false;
    (void)argc;

    if (inet_pton(AF_INET, argv[0], &slow.server.sin_addr) != 1)
        abuse_fail("\"%s\" is not an address", argv[0]);
    slow.server.sin_port = htons((uint16_t)abuse_number("PORT", argv[1], 1, 65535));
    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(argv[2], kinds[i]) == 0) {
            slow.kind = (enum kind)i;
            known = true;
        }
    }
    if (!known)
        abuse_fail("no such kind: %s", argv[2]);
    slow.count = (unsigned)abuse_number("CONNECTIONS", argv[3], 1, CONNECTIONS_MAX);
    const uint64_t seconds = abuse_number("SECONDS", argv[4], 1, ABUSE_SECONDS_MAX);

    const struct rlimit files = {slow.count + 64, slow.count + 64};
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) != 0 ||
        (now.rlim_cur < files.rlim_cur && setrlimit(RLIMIT_NOFILE, &files) != 0))
        abuse_fail("%u files cannot be open", slow.count);
    slow.epoll = epoll_create1(0);
    slow.sockets = malloc(slow.count * sizeof *slow.sockets);
    slow.connected = calloc(slow.count, sizeof *slow.connected);
    if (slow.epoll < 0 || slow.sockets == NULL || slow.connected == NULL)
        abuse_fail("no memory");
    for (unsigned i = 0; i < slow.count; i++)
        slow.sockets[i] = -1;
    run(&slow, seconds);
    return 0;
}

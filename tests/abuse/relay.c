/*
 * A wire with faults, where the kernel has no netem: what comes in at one interface goes out at the
 * other, or does not.
 *
 *     the machine ── NEAR (its tap) ── relay ── FAR (a tap of ours, the host's side)
 *
 * Each frame is lost, repeated, held back for longer than those behind it, or has one bit flipped
 * in its IP packet, with the chance that was asked for; all are delayed. ARP is never corrupted:
 * nothing in it would tell, and Ethernet's own sum is not simulated. Ends at SIGTERM, and says how
 * much of what it did.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/abuse/abuse.h"

enum { FRAME_BYTES_MAX = 9100, HELD_MAX = 4096, READ_MAX = 64, REORDER_MS = 8 };

struct held {
    uint64_t due_ns;
    unsigned out; /* the side it leaves by */
    size_t len;
    uint8_t bytes[FRAME_BYTES_MAX];
};

struct relay {
    int fds[2]; /* near, far */
    unsigned loss, duplicate, reorder, corrupt;
    uint64_t delay_ns;
    uint64_t random;
    uint64_t passed, lost, repeated, reordered, corrupted, overflowed;
    unsigned heap[HELD_MAX], heap_len; /* indexes into `held`, the next due first */
    unsigned free[HELD_MAX], free_len;
};

static struct held held[HELD_MAX];
static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static bool chance(struct relay *relay, unsigned in_1000)
{
    return abuse_random(&relay->random) % 1000 < in_1000;
}

/* ---- frames by the time they are due: a binary heap ---- */

static void swap(struct relay *relay, unsigned a, unsigned b)
{
    const unsigned kept = relay->heap[a];
    relay->heap[a] = relay->heap[b];
    relay->heap[b] = kept;
}

static bool is_earlier(const struct relay *relay, unsigned a, unsigned b)
{
    return held[relay->heap[a]].due_ns < held[relay->heap[b]].due_ns;
}

static void push(struct relay *relay, unsigned index)
{
    unsigned at = relay->heap_len++;
    relay->heap[at] = index;
    for (; at > 0 && is_earlier(relay, at, (at - 1) / 2); at = (at - 1) / 2)
        swap(relay, at, (at - 1) / 2);
}

static unsigned pop(struct relay *relay)
{
    const unsigned first = relay->heap[0];
    relay->heap[0] = relay->heap[--relay->heap_len];
    for (unsigned at = 0;;) {
        unsigned child = 2 * at + 1;
        if (child >= relay->heap_len)
            return first;
        if (child + 1 < relay->heap_len && is_earlier(relay, child + 1, child))
            child++;
        if (!is_earlier(relay, child, at))
            return first;
        swap(relay, child, at);
        at = child;
    }
}

/* ---- the faults ---- */

static void hold(struct relay *relay, unsigned out, const uint8_t *bytes, size_t len)
{
    if (relay->free_len == 0) {
        relay->overflowed++;
        return;
    }
    const unsigned index = relay->free[--relay->free_len];
    struct held *const frame = &held[index];

    frame->due_ns = abuse_now_ns() + relay->delay_ns;
    if (chance(relay, relay->reorder)) {
        frame->due_ns += REORDER_MS * 1000000u;
        relay->reordered++;
    }
    frame->out = out;
    frame->len = len;
    memcpy(frame->bytes, bytes, len);
    const bool is_ip = len > 14 && bytes[12] == 0x08 && bytes[13] == 0x00;
    if (is_ip && chance(relay, relay->corrupt)) {
        const uint32_t bit = abuse_random(&relay->random) % (uint32_t)((len - 14) * 8);
        frame->bytes[14 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        relay->corrupted++;
    }
    push(relay, index);
}

static void take(struct relay *relay, unsigned in, const uint8_t *bytes, size_t len)
{
    if (chance(relay, relay->loss)) {
        relay->lost++;
        return;
    }
    hold(relay, 1 - in, bytes, len);
    if (chance(relay, relay->duplicate)) {
        relay->repeated++;
        hold(relay, 1 - in, bytes, len);
    }
}

/* Nothing, or a frame of a side; what the host itself sends out at NEAR is none of the wire's. */
static ssize_t receive(const struct relay *relay, unsigned in, uint8_t *bytes)
{
    if (in == 1)
        return read(relay->fds[1], bytes, FRAME_BYTES_MAX);
    struct sockaddr_ll from = {.sll_pkttype = PACKET_OUTGOING};
    socklen_t from_len = sizeof from;
    const ssize_t len =
        recvfrom(relay->fds[0], bytes, FRAME_BYTES_MAX, 0, (struct sockaddr *)&from, &from_len);
    return len > 0 && from.sll_pkttype == PACKET_OUTGOING ? 0 : len;
}

static void send_due(struct relay *relay)
{
    const uint64_t now_ns = abuse_now_ns();
    while (relay->heap_len > 0 && held[relay->heap[0]].due_ns <= now_ns) {
        const unsigned index = pop(relay);
        if (write(relay->fds[held[index].out], held[index].bytes, held[index].len) > 0)
            relay->passed++;
        relay->free[relay->free_len++] = index;
    }
}

static void run(struct relay *relay, uint64_t seconds)
{
    static uint8_t bytes[FRAME_BYTES_MAX];
    const uint64_t end_ns = abuse_now_ns() + seconds * 1000000000u;
    struct pollfd fds[2] = {{relay->fds[0], POLLIN, 0}, {relay->fds[1], POLLIN, 0}};
    uint64_t now_ns;

    while (stopped == 0 && (now_ns = abuse_now_ns()) < end_ns) {
        uint64_t wait_ns = 50000000;
        if (relay->heap_len > 0) {
            const uint64_t due_ns = held[relay->heap[0]].due_ns;
            wait_ns = due_ns > now_ns ? due_ns - now_ns : 0;
        }
        (void)poll(fds, 2, wait_ns > 50000000 ? 50 : (int)(wait_ns / 1000000));
        for (unsigned in = 0; in < 2; in++) {
            for (unsigned n = 0; n < READ_MAX; n++) {
                const ssize_t len = receive(relay, in, bytes);
                if (len < 0)
                    break;
                if (len > 0)
                    take(relay, in, bytes, (size_t)len);
            }
        }
        send_due(relay);
    }
}

static int open_tap(const char *name)
{
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        abuse_fail("tap %s: %s", name, strerror(errno));
    return fd;
}

int relay_main(int argc, char **argv)
{
    static struct relay relay = {.random = 0x7a11e1a9};
    (void)argc;

    relay.fds[0] = abuse_packet_socket(argv[0]);
    relay.fds[1] = open_tap(argv[1]);
    (void)fcntl(relay.fds[0], F_SETFL, O_NONBLOCK);
    relay.loss = (unsigned)abuse_number("LOSS", argv[2], 0, 1000);
    relay.duplicate = (unsigned)abuse_number("DUPLICATE", argv[3], 0, 1000);
    relay.reorder = (unsigned)abuse_number("REORDER", argv[4], 0, 1000);
    relay.corrupt = (unsigned)abuse_number("CORRUPT", argv[5], 0, 1000);
    relay.delay_ns = abuse_number("DELAY_MS", argv[6], 0, 1000) * 1000000u;
    const uint64_t seconds = abuse_number("SECONDS", argv[7], 1, ABUSE_SECONDS_MAX);
    for (unsigned i = 0; i < HELD_MAX; i++)
        relay.free[relay.free_len++] = i;

    (void)signal(SIGTERM, stop);
    printf("ready\n");
    fflush(stdout);
    run(&relay, seconds);
    printf("%llu passed, %llu lost, %llu repeated, %llu reordered, %llu corrupted, "
           "%llu overflowed\n",
           (unsigned long long)relay.passed, (unsigned long long)relay.lost,
           (unsigned long long)relay.repeated, (unsigned long long)relay.reordered,
           (unsigned long long)relay.corrupted, (unsigned long long)relay.overflowed);
    return 0;
}

/*
 * Frames from forged addresses, as fast as an interface takes them or at a rate.
 *
 *     syn        SYNs from anywhere: the answers go to the gateway, which drops them
 *     syn-link   SYNs from the link's own addresses: the answers want an ARP resolution each
 *     ack        segments of connections that never were
 *     arp        requests from changing addresses; arp-reply: replies that nobody asked for
 *     icmp       echo requests of every length
 *     udp        datagrams to ports where nobody listens
 *     land       segments that claim to come from the very socket that they are for
 *     fragment   first, middle and overlapping last fragments, never the whole
 *     options    SYNs whose TCP options are cut off, of length 0 or 1, or ask for an MSS of 0 to 7
 *     garbage    true headers, then random bytes, cut anywhere
 */
#define _GNU_SOURCE /* sendmmsg */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/abuse/abuse.h"
#include "tests/abuse/packet.h"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };
enum { BATCH = 32, PIECE_NS = 1000000 };

#define FRAMES_MAX 20000000

struct flood {
    struct packet_path path;
    uint64_t random;
    uint64_t sent, refused;
    size_t (*make)(struct flood *flood, uint8_t *frame);
};

/* RFC 2544's other half, 198.19/16: no address of anybody's. */
static uint32_t forged_address(struct flood *flood)
{
    return htonl(0xc6130000 | (abuse_random(&flood->random) & 0xffff));
}

static uint32_t link_address(struct flood *flood)
{
    return htonl((ntohl(flood->path.to) & 0xffffff00) | (3 + abuse_random(&flood->random) % 250));
}

static uint16_t forged_port(struct flood *flood)
{
    return (uint16_t)(1024 + abuse_random(&flood->random) % 64000);
}

static struct packet_tcp segment(struct flood *flood, uint8_t flags)
{
    return (struct packet_tcp){
        .from = forged_address(flood),
        .from_port = forged_port(flood),
        .number = abuse_random(&flood->random),
        .acknowledged = (flags & ACK) != 0 ? abuse_random(&flood->random) : 0,
        .flags = flags,
        .window = 65535,
    };
}

static size_t make_syn(struct flood *flood, uint8_t *frame)
{
    static const uint8_t mss[] = {2, 4, 0x05, 0xb4};
    struct packet_tcp tcp = segment(flood, SYN);
    tcp.options = mss;
    tcp.options_len = sizeof mss;
    return packet_tcp(frame, &flood->path, &tcp);
}

static size_t make_syn_link(struct flood *flood, uint8_t *frame)
{
    struct packet_tcp tcp = segment(flood, SYN);
    tcp.from = link_address(flood);
    return packet_tcp(frame, &flood->path, &tcp);
}

static size_t make_ack(struct flood *flood, uint8_t *frame)
{
    static const uint8_t flags[] = {ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, SYN | ACK};
    struct packet_tcp tcp = segment(flood, flags[abuse_random(&flood->random) % sizeof flags]);
    tcp.data = "GET / HTTP/1.1\r\n";
    tcp.data_len = abuse_random(&flood->random) % 17;
    return packet_tcp(frame, &flood->path, &tcp);
}

static size_t make_arp(struct flood *flood, uint8_t *frame)
{
    return packet_arp(frame, &flood->path, link_address(flood), 1);
}

static size_t make_arp_reply(struct flood *flood, uint8_t *frame)
{
    return packet_arp(frame, &flood->path, link_address(flood), 2);
}

static size_t make_icmp(struct flood *flood, uint8_t *frame)
{
    const size_t len = abuse_random(&flood->random) % 1473;
    return packet_echo(frame, &flood->path, forged_address(flood), (uint16_t)flood->sent, len);
}

static size_t make_udp(struct flood *flood, uint8_t *frame)
{
    struct packet_path path = flood->path;
    path.to_port = forged_port(flood);
    return packet_udp(frame, &path, forged_address(flood), forged_port(flood),
                      abuse_random(&flood->random) % 1473);
}

static size_t make_land(struct flood *flood, uint8_t *frame)
{
    struct packet_tcp tcp = segment(flood, abuse_random(&flood->random) % 2 != 0 ? SYN : SYN | ACK);
    tcp.from = flood->path.to;
    tcp.from_port = flood->path.to_port;
    return packet_tcp(frame, &flood->path, &tcp);
}

static size_t make_fragment(struct flood *flood, uint8_t *frame)
{
    /* More to come, at 0; more, at 8; the last, at 16; one that ends beyond 65,535. */
    static const uint16_t places[] = {0x2000, 0x2001, 0x0002, 0x1fff};
    struct packet_tcp tcp = segment(flood, SYN);
    tcp.data = "0123456789abcdefghijklmn";
    tcp.data_len = 24;
    const size_t len = packet_tcp(frame, &flood->path, &tcp);
    const uint16_t place = htons(places[abuse_random(&flood->random) % 4]);
    memcpy(frame + 14 + 6, &place, 2);
    packet_sum_ip(frame);
    return len;
}

static size_t make_options(struct flood *flood, uint8_t *frame)
{
    static const uint8_t options[][8] = {
        {2},                      /* MSS, and nothing after */
        {2, 4, 0, 0},             /* 0 */
        {2, 4, 0, 1},             /* 1 */
        {2, 4, 0, 7, 2, 4, 0, 0}, /* 7, then 0 */
        {2, 0, 0, 0},             /* no length can be 0 */
        {2, 1, 0, 0},             /* nor 1 */
        {2, 40, 5, 180},          /* ends beyond the header */
        {1, 1, 1, 3},             /* a window scale without its length */
        {1, 1, 1, 1, 1, 1, 1, 8}, /* a timestamp without its length */
        {254, 255, 1, 1},         /* unknown, too long */
        {3, 3, 255, 1},           /* a shift of 255 */
        {4, 2, 5, 2, 8, 10, 0},   /* SACK permitted; no SACK; a cut timestamp */
    };
    const uint32_t which = abuse_random(&flood->random);
    struct packet_tcp tcp = segment(flood, SYN);
    tcp.options = options[which % (sizeof options / sizeof options[0])];
    tcp.options_len = which % 7 == 0 ? 4 : 8;
    return packet_tcp(frame, &flood->path, &tcp);
}

static size_t make_garbage(struct flood *flood, uint8_t *frame)
{
    size_t (*const base[])(struct flood *, uint8_t *) = {make_syn, make_arp, make_icmp, make_udp,
                                                         make_options};
    const size_t len = base[abuse_random(&flood->random) % 5](flood, frame);
    /* Up to 4 bytes of the headers, and perhaps the sum of what came of it. */
    for (uint32_t n = abuse_random(&flood->random) % 5; n > 0; n--)
        frame[12 + abuse_random(&flood->random) % 50] = (uint8_t)abuse_random(&flood->random);
    if (abuse_random(&flood->random) % 2 != 0)
        packet_sum_ip(frame);
    return 14 + abuse_random(&flood->random) % (len - 13);
}

/* What does not go out for want of room in the interface's queue is counted apart. */
static void send_frames(struct flood *flood, int fd, unsigned count)
{
    static uint8_t frames[BATCH][PACKET_BYTES_MAX];
    struct iovec pieces[BATCH];
    struct mmsghdr messages[BATCH];

    memset(messages, 0, sizeof messages);
    for (unsigned i = 0; i < count; i++) {
        pieces[i] = (struct iovec){frames[i], flood->make(flood, frames[i])};
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    for (unsigned done = 0; done < count;) {
        const int sent = sendmmsg(fd, messages + done, count - done, 0);
        if (sent > 0) {
            done += (unsigned)sent;
            flood->sent += (unsigned)sent;
        } else if (errno == ENOBUFS || errno == EAGAIN) {
            done++;
            flood->refused++;
        } else if (errno != EINTR) {
            abuse_fail("send: %s", strerror(errno));
        }
    }
}

static void run(struct flood *flood, int fd, uint64_t rate, uint64_t seconds)
{
    const uint64_t began_ns = abuse_now_ns();
    uint64_t elapsed_ns = 0;

    while ((elapsed_ns = abuse_now_ns() - began_ns) < seconds * 1000000000u) {
        const uint64_t done = flood->sent + flood->refused;
        const uint64_t due = rate == 0 ? done + BATCH : elapsed_ns * rate / 1000000000u;
        if (done >= FRAMES_MAX)
            break;
        if (due > done)
            send_frames(flood, fd, due - done < BATCH ? (unsigned)(due - done) : BATCH);
        else
            usleep(PIECE_NS / 1000);
    }
    printf("%llu sent, %llu refused, %llu ms\n", (unsigned long long)flood->sent,
           (unsigned long long)flood->refused, (unsigned long long)(elapsed_ns / 1000000));
}

static void set_path(struct flood *flood, int fd, char **argv)
{
    struct ifreq request;
    unsigned mac[6];

    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, argv[0], IFNAMSIZ - 1);
    if (ioctl(fd, SIOCGIFHWADDR, &request) != 0)
        abuse_fail("%s: %s", argv[0], strerror(errno));
    memcpy(flood->path.from_mac, request.ifr_hwaddr.sa_data, 6);
    if (sscanf(argv[1], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
               &mac[5]) != 6)
        abuse_fail("\"%s\" is not a MAC", argv[1]);
    for (unsigned i = 0; i < 6; i++)
        flood->path.to_mac[i] = (uint8_t)mac[i];
    if (inet_pton(AF_INET, argv[2], &flood->path.to) != 1)
        abuse_fail("\"%s\" is not an address", argv[2]);
    flood->path.to_port = (uint16_t)abuse_number("PORT", argv[3], 1, 65535);
}

int flood_main(int argc, char **argv)
{
    static const struct {
        const char *name;
        size_t (*make)(struct flood *flood, uint8_t *frame);
    } kinds[] = {
        {"syn", make_syn},         {"syn-link", make_syn_link},   {"ack", make_ack},
        {"arp", make_arp},         {"arp-reply", make_arp_reply}, {"icmp", make_icmp},
        {"udp", make_udp},         {"land", make_land},           {"fragment", make_fragment},
        {"options", make_options}, {"garbage", make_garbage},
    };
    static struct flood flood = {.random = 0x7a11f100d};
    const int fd = abuse_packet_socket(argv[0]);
    (void)argc;

    set_path(&flood, fd, argv);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(argv[4], kinds[i].name) == 0)
            flood.make = kinds[i].make;
    }
    if (flood.make == NULL)
        abuse_fail("no such kind: %s", argv[4]);
    /* Nothing is read here: let nothing queue up. */
    const int least = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    run(&flood, fd, abuse_number("RATE", argv[5], 0, 1000000),
        abuse_number("SECONDS", argv[6], 1, ABUSE_SECONDS_MAX));
    return 0;
}

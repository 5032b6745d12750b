#include "tests/bench/peers.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/wire.h"
#include "tests/octets.h"

#define ADDRESS    0x0a000001u /* 10.0.0.1 */
#define PORT_FIRST 2000u
#define MSS        1460
#define OPENING    32u   /* handshakes at a time: fewer than the server holds half open */
#define POLLS_MAX  1000u /* without an answer */

#define FIN        0x01
#define SYN        0x02
#define RST        0x04
#define PSH        0x08
#define ACK        0x10

#define HEADERS    54u /* Ethernet 14, IPv4 20, TCP 20 */

static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 1};

static struct peer peers[PEERS_MAX];
static unsigned peer_count, established;

_Noreturn void peers_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("native: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- sending ---- */

static void put_ip_header(uint8_t *ip, size_t packet_len)
{
    memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)packet_len);
    ip[8] = 64;
    ip[9] = 6;
    put32(ip + 12, ADDRESS);
    put32(ip + 16, PEERS_SERVER);
    put16(ip + 10, checksum16(ip, 20, 0));
}

static void send_segment(struct peer *peer, uint8_t flags, const void *bytes, size_t len)
{
    const size_t options = (flags & SYN) != 0 ? 4 : 0;
    const size_t frame_len = HEADERS + options + len;
    uint8_t *const frame = wire_room(frame_len);
    uint8_t *const tcp = frame + 34;

    if (frame == NULL)
        peers_fail("the receive ring is full");
    memcpy(frame, wire_server_mac, 6);
    memcpy(frame + 6, mac, 6);
    put16(frame + 12, 0x0800);
    put_ip_header(frame + 14, frame_len - 14);
    put16(tcp, peer->port);
    put16(tcp + 2, PEERS_PORT);
    put32(tcp + 4, peer->next);
    put32(tcp + 8, peer->expected);
    tcp[12] = (uint8_t)((20 + options) / 4 << 4);
    tcp[13] = flags;
    put16(tcp + 14, 65535);
    put32(tcp + 16, 0); /* no checksum: the device vouches for it */
    if (options != 0)
        put32(tcp + 20, 0x02040000u | MSS);
    memcpy(tcp + 20 + options, bytes, len);
    wire_arrive(frame_len);
    peer->next += (uint32_t)len + ((flags & SYN) != 0);
}

void peers_send(struct peer *peer, const void *bytes, size_t len, uint8_t *answer)
{
    peer->answer = answer;
    peer->answer_len = 0;
    send_segment(peer, PSH | ACK, bytes, len);
}

/* An ARP request: the server learns our address from it, again whenever it asks. */
static void introduce(void)
{
    uint8_t *const arp = wire_room(60);
    if (arp == NULL)
        peers_fail("the receive ring is full");
    memset(arp, 0, 60);
    memcpy(arp, wire_server_mac, 6);
    memcpy(arp + 6, mac, 6);
    memcpy(arp + 12, "\x08\x06\0\1\x08\0\6\4\0\1", 10);
    memcpy(arp + 22, mac, 6);
    put32(arp + 28, ADDRESS);
    put32(arp + 38, PEERS_SERVER);
    wire_arrive(60);
}

/* ---- receiving ---- */

static void take_data(struct peer *peer, const uint8_t *bytes, size_t len)
{
    if (peer->answer == NULL || peer->answer_len + len > PEERS_ANSWER_BYTES)
        peers_fail("port %u: %zu bytes that nobody asked for", (unsigned)peer->port, len);
    memcpy(peer->answer + peer->answer_len, bytes, len);
    peer->answer_len += len;
    peer->expected += (uint32_t)len;
}

static void take_segment(const uint8_t *tcp, size_t len)
{
    const size_t header = (size_t)(tcp[12] >> 4) * 4;
    const unsigned index = get16(tcp + 2) - PORT_FIRST;
    const uint8_t flags = tcp[13];

    if (index >= peer_count || header < 20 || header > len)
        peers_fail("a segment that is for nobody");
    struct peer *const peer = &peers[index];
    if ((flags & (RST | FIN)) != 0)
        peers_fail("port %u: the server ends the connection", (unsigned)peer->port);
    if (get32(tcp + 8) != peer->next)
        peers_fail("port %u: not all that was sent is acknowledged", (unsigned)peer->port);
    if ((flags & SYN) != 0) {
        peer->expected = get32(tcp + 4) + 1;
        send_segment(peer, ACK, NULL, 0);
        established++;
    } else if (get32(tcp + 4) != peer->expected) {
        peers_fail("port %u: a segment is missing, or sent again", (unsigned)peer->port);
    } else {
        take_data(peer, tcp + header, len - header);
    }
}

void peers_take(void)
{
    static uint8_t frame[WIRE_FRAME_BYTES_MAX];
    size_t len;
    while ((len = wire_take(frame)) > 0) {
        if (get16(frame + 12) == 0x0806 && get16(frame + 20) == 1)
            introduce();
        else if (get16(frame + 12) == 0x0800 && len >= HEADERS)
            take_segment(frame + 34, 14u + get16(frame + 16) - 34u);
    }
}

struct peer *peers_connect(unsigned count, void (*poll)(void))
{
    introduce();
    for (unsigned begun = 0; begun < count;) {
        const unsigned end = begun + OPENING < count ? begun + OPENING : count;
        for (; begun < end; begun++) {
            peers[begun].port = (uint16_t)(PORT_FIRST + begun);
            peers[begun].next = 1000003u * begun;
            send_segment(&peers[begun], SYN, NULL, 0);
        }
        peer_count = end;
        for (unsigned polls = 0; established < end; polls++) {
            if (polls == POLLS_MAX)
                peers_fail("%u of %u connections were made, then no more", established, count);
            poll();
            peers_take();
        }
        poll(); /* the last ACKs */
    }
    return peers;
}

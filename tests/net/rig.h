/*
 * What the tests of net/ stand on: a server over the fake device, an application of a few lines,
 * and a TCP peer made by hand, segment by segment.
 *
 * lwIP and the server can be started once in a process, so each test is a process of its own:
 * NET_TEST() forks, and the test fails if its child does.
 *
 * The application takes lines. What it answers:
 *     e          "ok\n"
 *     b<number>  so many bytes, each the low byte of its offset
 *     k<number>  the same, kept by the application: rig_kept counts how often
 *     c          "bye\n", and closes
 *     w          nothing; waits as SERVER_WAIT_BODY
 *     q          nothing, and closes
 *     h          "held " by rig_held_bytes, once rig_ticket as it was is released
 *     else       "?\n", and closes
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "net/server.h"
#include "tests/fake_netdev.h"
#include "tests/octets.h"
#include "tests/test.h"

#define NET_TEST(name)                                                                             \
    static void net_##name(void);                                                                  \
    TEST(name)                                                                                     \
    {                                                                                              \
        CHECK_EQ(rig_run(net_##name), 0);                                                          \
    }                                                                                              \
    static void net_##name(void)

/* Within a NET_TEST: prints and ends the process. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            rig_fail(__FILE__, __LINE__, #condition);                                              \
    } while (0)

#define EXPECT_EQ(left, right)                                                                     \
    rig_expect_eq(__FILE__, __LINE__, #left " == " #right, (long long)(left), (long long)(right))

int rig_run(void (*body)(void));
_Noreturn void rig_fail(const char *file, int line, const char *what);
void rig_expect_eq(const char *file, int line, const char *what, long long left, long long right);

/* ---- the server ---- */

#define RIG_SERVER_ADDRESS 0x0a000002u /* 10.0.0.2, host byte order like all below */
#define RIG_PEER_ADDRESS   0x0a000001u
#define RIG_PORT           8080

/* Where peers find the server: RIG_SERVER_ADDRESS until a test changes it. */
extern uint32_t rig_server_address;

struct rig_app {
    unsigned opened, closed, timed_out, requests, batches, resumed;
    uint64_t held_ns; /* what on_resume was told last */
};

extern struct rig_app rig_app;
extern struct server_kept rig_kept;
extern uint32_t rig_ticket;
extern size_t rig_held_bytes; /* 5, at most 24,576 */

/* Idle 60 s, head and body 10, send 15, linger 2, hold 30 s; answers of up to 24,576 bytes. */
struct server_config rig_config(uint32_t connections_max);

/* Starts the server on a device, and has the peer's MAC address known to it. */
void rig_start(const struct server_config *config, const struct fake_netdev_config *device);
void rig_start_default(uint32_t connections_max);

/* 64 connections over a device that has so few descriptors for sending. */
void rig_start_with_transmit_ring(unsigned descriptors);

/* An ARP request from the peer to rig_server_address: the server knows its MAC address then. */
void rig_introduce_peer(void);

/* The same from a host of any MAC and IPv4 address. */
void rig_introduce(const uint8_t mac[6], uint32_t address);

/* server_poll() until nothing happens. */
void rig_poll(void);

/* Lets time pass in steps of a few ms, polling. */
void rig_wait_ms(uint64_t ms);

struct server_counters rig_counters(void);

/* The levels of all pools, to be compared. */
struct rig_levels {
    uint32_t blocks[8];
    unsigned receive_free;
};

struct rig_levels rig_levels(void);

/* Takes all blocks of the pools, but those for PCBs and ARP; each begins with the next, or NULL. */
void **rig_take_memory(void);
void rig_give_back(void **blocks);

/* ---- frames ---- */

struct rig_segment {
    uint32_t address; /* the other side's */
    uint16_t port;    /* the other side's */
    uint16_t server_port;
    uint32_t number, ack;
    uint16_t window, mss; /* mss 0: no option */
    uint8_t flags;
    uint8_t options_len;
    uint8_t options[40];
    size_t len;
    uint8_t data[FAKE_FRAME_BYTES_MAX];
};

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

/* Writes the frame of a segment to the server; returns its length. */
size_t rig_frame(const struct rig_segment *segment, uint8_t frame[FAKE_FRAME_BYTES_MAX]);

/* Whether the application closes each connection in on_open. */
extern bool rig_closes_at_once;

/* Whether the device vouches for checksums of what arrives: true until a test changes it. */
extern bool rig_vouches;

/* Writes the frame of an ICMP echo request; its data are the low bytes of their offsets. */
size_t rig_ping(uint32_t address, size_t data_len, uint8_t frame[FAKE_FRAME_BYTES_MAX]);

/* Puts it on the wire; true if the ring took it. */
bool rig_arrive(const struct rig_segment *segment);

/* A SYN from an address that is nobody's, another for each number; the ring must take it. */
void rig_arrive_forged_syn(uint32_t number);

/* The next segment that the server sent there; false if there is none. Polls first. */
bool rig_next(uint32_t address, uint16_t port, struct rig_segment *segment);

/* The next frame that is not TCP; 0 if there is none. Polls first. */
size_t rig_other(uint8_t frame[FAKE_FRAME_BYTES_MAX]);

/* Forgets all that the server sent and nobody took. */
void rig_discard(void);

/* ---- a peer (peer.c) ---- */

struct peer {
    uint32_t address;
    uint16_t port;
    uint16_t window, mss;
    uint32_t next;     /* our next sequence number */
    uint32_t expected; /* the next of the server's */
    bool holds_acks;   /* does not acknowledge what it takes */
    /* What peer_take() has seen: */
    size_t received;
    bool fin, reset;
    unsigned segments, empty_segments;
    uint8_t bytes[70000];
};

void peer_init(struct peer *peer, uint16_t port);

/* SYN; takes the SYN-ACK; ACK. */
void peer_connect(struct peer *peer);
/* Each of a row, from ports that follow one another; each is initialised. */
void peers_connect(struct peer *peers, unsigned count, uint16_t first_port);

void peer_send_syn(struct peer *peer);
bool peer_take_syn_ack(struct peer *peer);

/* One segment each; `next` advances. */
void peer_send(struct peer *peer, const char *text);
void peer_send_bytes(struct peer *peer, const void *bytes, size_t len);
void peer_send_fin(struct peer *peer);
void peer_send_reset(struct peer *peer);
void peer_send_ack(struct peer *peer);

/* What peer_send() would put on the wire, to be changed before; `next` stays. */
void peer_compose(const struct peer *peer, const char *text, struct rig_segment *segment);

/* A segment with any flags and numbers; `next` stays. */
void peer_segment(struct peer *peer, uint8_t flags, uint32_t number, uint32_t ack,
                  const void *bytes, size_t len);

/* rig_next() for this peer. */
bool peer_next(struct peer *peer, struct rig_segment *segment);

/*
 * Takes all segments that the server sent to this peer, in order, and acknowledges them at the end
 * (unless holds_acks). Data out of order is an error.
 */
void peer_take(struct peer *peer);

/* The server closes first, and so has TIME-WAIT. */
void peer_be_closed(struct peer *peer);

/* peer_take(), and what was received since the last call is `text`. */
void peer_expect(struct peer *peer, const char *text);

/*
 * The clients of the native benchmark: TCP of the simplest kind, on a wire that loses nothing.
 *
 * Each connection is opened by a real handshake. Then it sends one frame at a time, which also
 * acknowledges what was answered to the one before. What is answered is followed by its sequence
 * numbers: a segment that is lost, repeated or out of its order stops the benchmark with a message.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PEERS_PORT         8080
#define PEERS_SERVER       0x0a000002u /* 10.0.0.2 */
#define PEERS_MAX          50000u
#define PEERS_ANSWER_BYTES 16384 /* the longest that is waited for */

struct peer {
    uint32_t next;     /* the sequence number of what it sends next */
    uint32_t expected; /* the server's next */
    uint16_t port;
    size_t answer_len; /* received since peers_send() */
    uint8_t *answer;
};

/* `count` connections, established. `poll` runs the server once. */
struct peer *peers_connect(unsigned count, void (*poll)(void));

/* Puts a frame with these bytes on the wire, which must have room. `answer`: PEERS_ANSWER_BYTES. */
void peers_send(struct peer *peer, const void *bytes, size_t len, uint8_t *answer);

/* Takes all that the server has sent, to the peers that it is for. */
void peers_take(void);

_Noreturn void peers_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

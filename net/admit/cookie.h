/*
 * SYN cookies (Bernstein 1996; RFC 4987 section 3.6): when nothing more can be kept about those who
 * began a handshake, our initial sequence number keeps it for us. The ACK that ends the handshake
 * brings it back; who never got it cannot make it up.
 *
 *     31                            3 2      1 0
 *     | 29 bits of F(peer, n, secret) | MSS n | g |        F is SipHash-2-4
 *
 * `peer` is its address and port, our address, and its own initial sequence number. The MSS that it
 * told is one of four (`n`); nothing else of its SYN would be used. `g` tells two generations of
 * the secret apart: each is issued from for 8 s and believed for 16. A blind guess is right once in
 * 2^29: at 50,000 a second, every three hours one connection opens to someone who cannot hear us.
 *
 * A cookie is good once. The segment that brings it may carry a request, and a copy of that segment
 * that comes late, when its connection is over and forgotten, would have it counted twice. So those
 * that were used are remembered, as long as their generation is believed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who begins a handshake. */
struct cookie_peer {
    uint32_t address, our_address; /* as they are in a header */
    uint16_t port;
    uint32_t number; /* of its SYN */
};

size_t cookies_memory_bytes(uint32_t connections_max);

/* `memory` is aligned to 4. */
void cookies_init(uint32_t connections_max, void *memory);

/* Our initial sequence number for a peer that told an MSS of `mss`. */
uint32_t cookie_make(const struct cookie_peer *peer, uint16_t mss, uint64_t now_ns);

/*
 * Whether `cookie` was made for this peer, not long ago, and not used. If so `mss` is the peer's,
 * rounded down (536 at least).
 */
bool cookie_is_good(const struct cookie_peer *peer, uint32_t cookie, uint64_t now_ns,
                    uint16_t *mss);

/* The cookie last found good has opened its connection. */
void cookie_use(void);

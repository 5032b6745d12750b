/*
 * Handshakes of which nothing is kept: a SYN is answered with a cookie for a number (cookie.h), and
 * lwIP hears of it only when the cookie comes back. What else lwIP would have kept of the SYN is
 * the peer's window, which the ACK tells again. Nothing is lost by that, because we never agree to
 * window scaling, selective acknowledgement or timestamps.
 *
 * Nobody sends the SYN-ACK again if it is lost, but the peer sends its SYN again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/core/conn.h"
#include "net/wire/guard.h"

/* After link_init(). */
void handshake_init(void);

/*
 * Answers a SYN to where its frame came from. `packet` is all of its packet, or as much as was
 * copied with its headers (`len`); `sound`: its checksum is known to be right. Without a descriptor
 * and a frame for the answer it does nothing: as if that were lost.
 */
void handshake_answer(const struct guard_segment *syn, const uint8_t *packet, size_t len,
                      bool sound);

/*
 * Whether the segment brings back a cookie of ours that is good; `mss` is the peer's then. It
 * remains good until cookie_use().
 */
bool handshake_cookie_is_good(const struct guard_segment *ack, uint16_t *mss);

/*
 * Has lwIP believe that it received the SYN, and answered it with the cookie that `ack` brings. A
 * connection half open, for which `ack` is what completes it; NULL if there is no memory for it.
 */
struct server_conn *handshake_rebuild(const struct guard_segment *ack, uint16_t mss);

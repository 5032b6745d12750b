/* The side of a connection that faces lwIP: its callbacks, and the checks it lacks. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "net/core/conn.h"
#include "net/link/link.h"

/*
 * The smallest MSS believed. Every host can reassemble 576 bytes (RFC 1122 section 3.3.2), so
 * segments of 536 can always be sent; a peer that claims less would have us keep an answer in
 * hundreds of pbufs, and with 1 in none at all.
 */
#define ENDPOINT_MSS_MIN 536

/* Listens on `port`. Called once. */
void endpoint_listen(uint16_t port);

/* The peer's segments come this way, perhaps from now on; ours go back that way (link.c). */
static inline void endpoint_follow(struct server_conn *conn)
{
    memcpy(conn->mac, link_source(), sizeof conn->mac);
}

uint64_t endpoint_retransmissions(void);

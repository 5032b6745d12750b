/*
 * Bytes that arrived in order and were not taken yet: where they are, and until when.
 *
 * Until the connection's turn they lie in the receive ring, where the device put them. What the
 * turn leaves is copied into blocks of the pool: the ring is all connections', and a peer who does
 * not read his answers shall not hold it. That is at most a window (TCP_WND) a connection, and its
 * order is: blocks first, then what came after.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lwip/pbuf.h"
#include "net/core/conn.h"

/* lwIP gives a chain of pbufs; it is the connection's now. */
void unread_add(struct server_conn *conn, struct pbuf *p);

static inline bool unread_is_empty(const struct server_conn *conn)
{
    return conn->unread_first == NULL && conn->spill_first == NULL;
}

/* The next bytes, as many as lie in one piece of memory; 0 when nothing is unread. */
size_t unread_next(struct server_conn *conn, const uint8_t **bytes);

/* Drops the first `len` bytes, of those that unread_next() gave. */
void unread_take(struct server_conn *conn, size_t len);

/* Drops all; returns how many bytes that was. */
size_t unread_discard(struct server_conn *conn);

/* The full blocks of the pool that it takes at most to keep `len` bytes of one segment. */
size_t unread_blocks(size_t len);

/* Whether a large block is enough for them. */
bool unread_is_small(size_t len);

/*
 * Keeps bytes of a connection that has none in the ring. Returns how many of the `len`: if not all,
 * memory is out.
 */
size_t unread_copy(struct server_conn *conn, const uint8_t *bytes, size_t len);

/* Copies what lies in the ring. False if memory is out: to be called again when there is some. */
__attribute__((warn_unused_result)) bool unread_keep(struct server_conn *conn);

/* Frees all. */
void unread_forget(struct server_conn *conn);

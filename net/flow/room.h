/*
 * What the pool's blocks are promised to, and who gives way when they are short.
 *
 * server_send() cannot fail, so no more is promised to a connection than tcp_write() can take
 * whatever it is: bounded by lwIP's limits for the connection, and by blocks that are free in the
 * pool now, a full one a segment at worst. When the pool has less than an answer takes, the
 * connection whose peer has read nothing for longest is reset (deadlines_slowest_reader()): those
 * who read go on.
 *
 * What TCP has acknowledged must be kept until its turn comes, so room for it is set aside before
 * TCP sees it (room_admits()). Without room the segment is dropped, as if the wire had lost it:
 * the peer sends it again, and nobody is reset.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/core/conn.h"

/* After pools_init(). */
void room_init(void);

/* Bytes that the connection may send now. */
size_t room_to_send(const struct server_conn *conn);

/* Makes room in the pool for an answer of `conn`, as far as there is somebody to give way. */
void room_reclaim(const struct server_conn *conn);

/*
 * Resets a connection that has kept others waiting for `waited_ms` or more, the one for longest.
 * False when nobody but `conn` itself, if anybody, has.
 */
bool room_evict_slowest(const struct server_conn *conn, uint32_t waited_ms);

/*
 * Whether `len` bytes of data may come in for `conn`: only if they can be kept, should they have to
 * wait for their turn. Sets that memory aside until the turn, which the caller sees to by touching;
 * conn->reserved_blocks says how much it is.
 */
bool room_admits(struct server_conn *conn, size_t len);

/* Sets blocks aside, if that leaves enough for an answer. */
bool room_reserve(size_t blocks);

/* The turn has come: what was set aside is the pool's again. */
void room_release(size_t blocks);

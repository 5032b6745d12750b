/*
 * A connection's turn: its bytes go to the application, the answers to TCP, and what TCP then has
 * to say to the wire. At once for a segment that is just what was expected; else after the batch,
 * once for each connection that was touched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "net/core/conn.h"

size_t turn_memory_bytes(void);
void turn_init(void *memory);

struct tcp_hdr;

/*
 * Takes a segment's data, `len` bytes (not 0), and gives `conn`, which is OPEN, its turn. False if
 * it must wait for lwIP and the end of the batch: nothing was done.
 */
bool turn_serve(struct server_conn *conn, const struct tcp_hdr *header, const uint8_t *bytes,
                size_t len);

/* Gives every connection that was touched its turn. */
void turns_run(void);

/*
 * Touches connections whose answers are released, no more of them than there are descriptors: those
 * that it leaves are touched in the next batch.
 */
void turns_release(void);

/* Tries again what had no memory, or no descriptors. Before the batch. */
void turns_retry(void);

/* True if there is something to be tried again, or released, in the next batch. */
bool turns_are_due(void);

/* Closes an idle connection, which is gone for the application at once. */
void turn_retire(struct server_conn *conn);

/* Ends what has waited too long (deadlines.h). */
void turns_expire(void);

/*
 * After lwIP had to do with the connection outside of a turn: keeps its place in the lists of
 * timers.c and deadlines.c, and ends its life as a connection when TCP has.
 */
void turn_settle(struct server_conn *conn);

/*
 * The table of connections: their records, finding one by its addresses and ports, and what lwIP
 * gets to see of them. conn_table.c begins with the idea.
 */
#pragma once

#include <stddef.h>

#include "net/core/conn.h"

/* Slots for what is no connection yet, or no more. */
uint32_t conns_half_open_max(const struct server_config *config);
uint32_t conns_closing_max(const struct server_config *config);

size_t conns_memory_bytes(const struct server_config *config);
void conns_init(const struct server_config *config, void *memory);

/* How many there are in `phase` now. */
uint32_t conns_count(enum conn_phase phase);

/* The peer's address (network byte order) and port (host byte order). */
static inline uint64_t conns_key(uint32_t address, uint16_t port)
{
    return (uint64_t)address << 16 | port;
}

/* NULL if there is none. */
struct server_conn *conns_find(uint64_t key);

/* A record for a new PCB, half open. NULL if there is none, which cannot be for long. */
struct server_conn *conns_add(uint64_t key, struct tcp_pcb *pcb);

/* HALF_OPEN to OPEN: gives it a zeroed state. A slot MUST be free. */
void conns_open(struct server_conn *conn);

/* The cold part of the state, as it was left. `conn` MUST be OPEN. */
void *conns_cold_state(const struct server_conn *conn);

/* OPEN to CLOSING: takes back the state. */
void conns_close(struct server_conn *conn);

/* The PCB is gone: nobody will find it, and it counts no more. */
void conns_drop(struct server_conn *conn);

/* GONE to FREE. */
void conns_release(struct server_conn *conn);

/*
 * Adds the connection to those that get a turn at the end of the batch. The order is that of the
 * first touch.
 */
void conns_touch(struct server_conn *conn);

/* Takes the first one touched; NULL when there is none. */
struct server_conn *conns_next_touched(void);

/* Shows lwIP the one connection that the next segment is for. */
void conns_show(struct server_conn *conn);

/* Shows lwIP none: so it must be whenever it is not handling a segment or running its timers. */
void conns_hide(void);

/* Calls `call` for each that is HALF_OPEN, OPEN or CLOSING; which may drop that one. */
void conns_each(void (*call)(struct server_conn *conn));

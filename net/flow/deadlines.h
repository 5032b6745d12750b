/*
 * How long a connection may wait for what. Each kind of wait lasts as long for every connection, so
 * a list in the order of entry is sorted by deadline: starting one is an append, and whether one
 * has passed is seen at the head. turns_expire() looks some 30 times a second.
 *
 *     HALF_OPEN  for the ACK of our SYN                        then forgotten
 *     IDLE       for the next request           idle_ms        then closed
 *     HEAD, BODY for the rest of a request      head_ms, ...   then on_timeout
 *     LINGER     for the peer to close          linger_ms      then reset
 *     CLOSING    for the last ACK, or TIME-WAIT                then forgotten
 *     HELD       for server_release()           hold_ms        then reset
 *     RESUMING   for room to send what was held, of the same hold_ms
 *
 * Time in which the host had stopped the machine does not count (server.c): the rest of a request
 * that came meanwhile still lies in the receive ring.
 *
 * Apart from these, while output waits: `send_ms` without an octet acknowledged, then reset. Output
 * waits and is acknowledged with every request, so this list is not kept sorted: each of its
 * connections is looked at once a second.
 */
#pragma once

#include "net/core/conn.h"

void deadlines_init(const struct server_config *config);

/* (Re)starts the deadline, in place of the one that ran. */
void deadlines_start(struct server_conn *conn, enum conn_deadline kind);

/* Has the deadline that runs run on as one of another kind. Each kind has one it may come from. */
void deadlines_become(struct server_conn *conn, enum conn_deadline kind);

/* The one that has waited longest for `kind`; NULL if none does. */
struct server_conn *deadlines_oldest(enum conn_deadline kind);

/*
 * Which connection gives way to a new one: the oldest that only waits for its peer to close, else
 * the oldest idle one that has nothing unread. NULL if there is none.
 */
struct server_conn *deadlines_evictable(void);

/* To be told after each turn of the connection whether output waits, and how far it got. */
void deadlines_sending(struct server_conn *conn);

/*
 * The connection whose output has waited longest for acknowledgement, if that is `waited_ms` or
 * more: when memory is short, it gives way. One that holds little does so only if none holds much.
 * NULL if there is none.
 */
struct server_conn *deadlines_slowest_reader(uint32_t waited_ms);

/*
 * A connection whose deadline has passed: conn->deadline says what it waited for in vain. That
 * deadline has been started again, so whoever asks MUST ask until NULL, and end or change the wait
 * if the connection is not to come back after as long again.
 */
struct server_conn *deadlines_next_expired(void);

/* A connection whose peer has acknowledged nothing for send_ms; likewise until NULL. */
struct server_conn *deadlines_next_stuck(void);

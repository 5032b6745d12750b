/*
 * A connection, from the SYN that asks for it to the end of its TIME-WAIT: the structure that the
 * files of net/ share. (To app/ it is opaque, and exists only while CONN_OPEN.)
 *
 *     CONN_FREE
 *       │ a SYN
 *     CONN_HALF_OPEN
 *       │ the ACK of ours
 *     CONN_OPEN         counted in connections_max; the application knows of it
 *       │ on_close
 *     CONN_CLOSING      what TCP has still to do: LAST-ACK, TIME-WAIT
 *       │
 *     CONN_FREE
 *
 * Each of the three has slots of its own: a flood of SYNs cannot take those of connections, nor can
 * TIME-WAIT. A PCB may go at any moment in lwIP; then the record is CONN_GONE until the end of the
 * batch, because lists of the batch may still name it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lwip/tcp.h"
#include "net/core/list.h"
#include "net/server.h"

enum conn_phase { CONN_FREE, CONN_HALF_OPEN, CONN_OPEN, CONN_CLOSING, CONN_GONE };

/* Which deadline runs (deadlines.c). */
enum conn_deadline {
    DEADLINE_HALF_OPEN,
    DEADLINE_IDLE,
    DEADLINE_HEAD,
    DEADLINE_BODY,
    DEADLINE_LINGER,
    DEADLINE_CLOSING,
    DEADLINE_HELD,
    DEADLINE_RESUMING,
    DEADLINE_KINDS
};

#define CONN_TOUCHED   0x01 /* in the list of those whose turn it is in this batch */
#define CONN_NEW       0x02 /* on_open is due */
#define CONN_PEER_FIN  0x04 /* nothing follows what is unread */
#define CONN_CLOSE     0x08 /* nothing is read any more; our FIN is due or sent */
#define CONN_FIN       0x10 /* our FIN is sent, or lwIP knows that it must */
#define CONN_ACK_DUE   0x20 /* an ACK that waits for the answer to carry it */
#define CONN_TIME_WAIT 0x40 /* has entered TIME-WAIT */

#define CONN_TIMED     0x80 /* in one of the timers' lists */

/* Answers that the application holds back (server_hold()). */
enum conn_hold {
    HOLD_NONE,
    HOLD_HELD,
    HOLD_RELEASED, /* on_resume is due, or has not sent all yet */
};

/* A block of bytes that could not be taken in the batch that brought them (unread.c). */
struct conn_spill;

/*
 * By cache lines: what the arrival of a request touches, what its answer does, and what neither
 * does when all goes well. Of a PCB they touch all four, of the application's state one.
 */
struct server_conn {
    uint64_t key;        /* conns_key() */
    struct tcp_pcb *pcb; /* NULL once CONN_GONE */
    void *state;         /* the application's; NULL unless CONN_OPEN */
    struct pbuf *unread_first, *unread_last;
    struct conn_spill *spill_first;
    uint16_t unread_offset; /* bytes of unread_first that were taken */
    uint8_t phase, deadline, flags;
    uint8_t slice;            /* of the timers (timers.c) */
    uint16_t reserved_blocks; /* blocks set aside for what has come in this batch (room.c) */
    uint8_t mac[6];           /* where its segments come from, and go to (link.c) */
    uint8_t hold;             /* enum conn_hold */

    _Alignas(64) struct server_conn *touched_next;
    struct list_node deadline_node;
    uint64_t deadline_since_ns;
    struct list_node sending_node; /* output waits for acknowledgement (deadlines.c) */
    uint64_t progress_ns;          /* when a segment was last acknowledged, or the wait began */
    uint32_t oldest_number;        /* of the segment that is waited for; network byte order */
    uint32_t held_until;           /* the ticket of server_hold() */

    _Alignas(64) struct server_conn *hash_next;
    struct list_node timed_node; /* lwIP's timers have to do with it (timers.c) */
    struct list_node retry_node; /* could not go on for want of memory or descriptors (turn.c) */
    uint64_t sending_examined_ns;
    struct conn_spill *spill_last;
};

_Static_assert(sizeof(struct server_conn) == 3 * 64, "each part is a cache line");

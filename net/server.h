/*
 * The face that net/ shows to app/: a TCP server on one port, on one core, driven by server_poll().
 *
 * One turn of the loop (a batch): take what the device has received; serve each segment that is
 * just what its connection expects, feed the others to lwIP; run the timers that are due; then call
 * the application once for each connection that something else came to, and send what it answered
 * with one tcp_output() a connection; refill, kick.
 *
 * app/ decides what the bytes mean; net/ decides who may be connected, for how long, and with how
 * much memory. The application's state for a connection lives in memory that net/ owns, so that a
 * connection costs one slot and nothing is allocated while it lives. It is in two parts: what every
 * request needs lies side by side for all connections, apart from what is seldom looked at
 * ("structure splitting": Chilimbi, Davidson, Larus 1999, "Cache-conscious structure definition").
 *
 * Calls marked "in a handler" may be made only while net/ is calling one of the handlers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_conn; /* one connection; valid from on_open until on_close returns */

/* What a connection waits for: decides its deadline, and whether it may be made to give way. */
enum server_wait {
    SERVER_WAIT_REQUEST, /* idle between requests: idle_ms, then closed without on_timeout; the
                            oldest of these gives way when every slot is taken */
    SERVER_WAIT_HEAD,    /* a request has begun: head_ms */
    SERVER_WAIT_BODY,    /* its head is complete: body_ms */
};

struct server_handlers {
    /*
     * A connection is established; `state` is zeroed, `cold_state` holds anything. Both stay where
     * they are until on_close returns. It waits as SERVER_WAIT_REQUEST.
     */
    void (*on_open)(struct server_conn *conn, void *state, void *cold_state);
    /*
     * The next bytes of the stream, in order, at least one; they stay where they are only during
     * the call. Returns how many were taken (0 to len). What was not taken is offered again, first,
     * once server_send_space() has grown; the peer's window stays closed by as much meanwhile.
     * Return less than len ONLY when server_send_space() has sunk below response_bytes_max, after
     * server_close(), or while the connection is held. Called only while server_send_space() >=
     * response_bytes_max.
     */
    size_t (*on_bytes)(struct server_conn *conn, void *state, const uint8_t *bytes, size_t len);
    /*
     * The connection was held, for `held_ns` until now, and is released. May send. True: all is
     * sent, and server_wait_for(), server_close() or server_hold() has said what comes next; what
     * was not taken meanwhile is offered. False: server_send_space() is too short for the rest;
     * called again once it has grown. NULL if server_hold() is never called.
     */
    bool (*on_resume)(struct server_conn *conn, void *state, uint64_t held_ns);
    /* The deadline of SERVER_WAIT_HEAD or _BODY has passed, before any server_close(). May send,
       should server_close(). */
    void (*on_timeout)(struct server_conn *conn, void *state);
    /* The connection is gone, for whatever reason; the last call that names it. No sending. */
    void (*on_close)(struct server_conn *conn, void *state);
    /* After each batch in which on_bytes was called, once its answers were handed to TCP. */
    void (*on_batch)(void);
};

struct server_config {
    uint32_t address, netmask, gateway; /* IPv4, network byte order; address 0: DHCP */
    uint16_t port;
    uint32_t connections_max;
    size_t state_bytes;        /* of the application's, a connection; aligned to 16 */
    size_t cold_state_bytes;   /* likewise; aligned to 64 */
    size_t response_bytes_max; /* the most that one request is answered with, head included */
    uint32_t idle_ms, head_ms, body_ms;
    uint32_t send_ms;   /* no octet acknowledged for so long while output waits: aborted */
    uint32_t linger_ms; /* after server_close(): how long the peer may take to close its side */
    uint32_t hold_ms;   /* held for so long, or released without room to send: aborted */
    struct server_handlers handlers;
};

/* How many bytes server_init() will need of its caller, for this configuration. */
size_t server_memory_bytes(const struct server_config *config);

/*
 * Brings the network up and listens. `memory` (server_memory_bytes() long, aligned to 4,096, need
 * not be zeroed) belongs to net/ from then on. With DHCP it listens at once and is reachable when
 * a lease has come. response_bytes_max MUST NOT exceed 49,640. Called once.
 */
void server_init(const struct server_config *config, void *memory);

/* One turn of the loop. True if anything was received or sent: the caller may PAUSE if not. */
bool server_poll(void);

/* True once an address is configured and the link is up. */
bool server_is_reachable(void);

/* The address in use, network byte order; 0 while DHCP has none. */
uint32_t server_address(void);

/* clock_ns() as read when the current batch began: what every event in it is dated with. */
uint64_t server_batch_ns(void);

/* When the last turn was over that received or sent something. */
uint64_t server_worked_ns(void);

/*
 * When there will be a turn to take though nothing has come: a time that has passed if there is
 * one now. Deadlines of connections are not in it: a turn each 100 ms or so sees to them.
 */
uint64_t server_due_ns(void);

/* ---- in a handler ---- */

/*
 * Bytes that server_send() will take now without fail. 0 also when memory for sending is short, and
 * for any connection but the one that the handler was called for.
 */
size_t server_send_space(const struct server_conn *conn);

/* Appends to the stream; copies. len MUST NOT exceed server_send_space(). */
void server_send(struct server_conn *conn, const void *bytes, size_t len);

/* How often bytes of the application are on their way. It MUST NOT change them until that is 0. */
struct server_kept {
    uint32_t uses;
};

/*
 * The same for bytes that stay where they are. With `kept` they may be sent from there, and sent
 * again, until the peer has acknowledged them or is gone. With NULL they are copied, if only once:
 * they must stay until the next batch.
 */
void server_send_kept(struct server_conn *conn, const void *bytes, size_t len,
                      struct server_kept *kept);

/* (Re)starts the deadline of what the connection waits for from now on. Not while it is held. */
void server_wait_for(struct server_conn *conn, enum server_wait what);

/*
 * No more will be read; what was sent is delivered, then FIN, then whatever the peer still sends is
 * read and discarded until it closes too or linger_ms is over (so that an error's text is not lost
 * to a reset: RFC 9112 section 9.6). on_close follows.
 */
void server_close(struct server_conn *conn);

/*
 * The answers to what was taken may not leave yet. Until server_release() of `ticket` the
 * connection is not idle: it does not give way, and does not close, even when its peer has closed
 * its side. Bytes that come meanwhile are offered as ever, and may be left. Tickets rise: from one
 * call to the next, of any connection, by 0 or more. A second call before the release does nothing.
 */
void server_hold(struct server_conn *conn, uint32_t ticket);

/* ---- not in a handler ---- */

/* on_resume is due for every connection that is held with a ticket up to this one. */
void server_release(uint32_t ticket);

/* ---- shutting down ---- */

/* Accepts no more, closes idle connections; others finish their request. Poll on until drained. */
void server_stop(void);

/*
 * Every connection is closed, its client has acknowledged that and all answers, and the device has
 * taken the last frame. A client that has vanished may keep this from ever coming.
 */
bool server_is_drained(void);

/* ---- counted since boot ---- */

#define SERVER_POOLS 7 /* tiny, small, medium, large, full, pcb, arp: see net/core/pool.h */

struct server_counters {
    uint64_t connections_accepted, connections_refused, connections_gave_way;
    uint64_t connections_reset_short; /* gave way because memory was short, not slots */
    uint32_t connections_open;
    uint64_t syn_cookies_sent;     /* SYNs of which nothing was kept (handshake.h) */
    uint64_t syn_cookies_accepted; /* connections made of them */
    uint64_t retransmissions;
    uint64_t batches;
    uint64_t segments_predicted;  /* that were just what was expected (predict.h) */
    uint64_t busy_ns;             /* in turns that received or sent something */
    uint64_t longest_turn_ns;     /* of those turns */
    uint64_t longest_turn_frames; /* that it had received */
    uint64_t timeouts;            /* deadlines that passed, of any kind */
    uint64_t dropped_frames;      /* refused before lwIP saw them */
    uint64_t memory_short; /* allocations that lwIP was refused, segments that found no room */
    uint32_t pool_blocks_free[SERVER_POOLS];
    /* of the device: */
    uint64_t received_frames, received_bytes, transmitted_frames, transmitted_bytes;
    uint64_t kicks; /* times it was told that there is something in a ring: a VM exit each */
};

void server_get_counters(struct server_counters *counters);

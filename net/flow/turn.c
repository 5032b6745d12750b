/*
 * A segment that is just what its connection expects (predict.h), as nearly all are, is served at
 * once, where it lies: turn_serve(). What else arrives is for lwIP to judge; its callbacks only
 * queue it, and the application is called after the batch. So it never runs inside of lwIP, and
 * what ten segments bring that lwIP had to judge is answered together:
 *
 *     predict ──────────────┐
 *     lwIP ──► unread ──► on_bytes ──► staged ──► tcp_write ──► tcp_output
 *                           (server_send)    once          once, with the ACK and the window
 *                                         └───► reply_send, where that is one segment (reply.h)
 *
 * To queue all, and to answer a connection once a batch, costs some 140 instructions a segment, an
 * eighth of an emulated request's time. Answers to a train are fewer that way only where it comes
 * in many segments, and a device with GUEST_TSO makes one of them; still, after a few that nobody
 * has acknowledged, that is what happens.
 *
 * The staging buffer is one for all: a turn leaves it empty. Copying an answer twice costs less
 * than calling tcp_write() for each: a train of 16 requests is one pbuf and one segment. An answer
 * in one piece that the application keeps (server_send_kept()) is copied only once, or not at all.
 *
 * When there is no room for an answer even after others gave way (room.h), the turn is tried
 * again in the next batch.
 */
#include "net/flow/turn.h"

#include <assert.h>
#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/copy.h"
#include "net/core/server_state.h"
#include "net/flow/deadlines.h"
#include "net/flow/room.h"
#include "net/flow/timers.h"
#include "net/flow/unread.h"
#include "net/link/link.h"
#include "net/tcp/predict.h"
#include "net/tcp/reply.h"
#include "net/tcp/segment.h"

/*
 * Of answers that are not acknowledged, in pbufs: to whom so many are under way, further segments
 * are answered together. One to each would take blocks of the pool that it reckons for others.
 */
#define SERVED_QUEUE_MAX 4

#define RETRIES_MAX      64 /* a batch */
#define RELEASES_MAX     64 /* a batch */

static struct {
    struct server_conn *conn; /* whose turn it is; only that one may send */
    size_t used, limit;       /* of `bytes` */
    const uint8_t *bytes;     /* what is sent: `staged`, or one piece that the application keeps */
    struct server_kept *kept; /* how often it is in use; NULL: it may not be for longer */
    uint8_t *staged;
    struct list_node retries;
} turn;

size_t turn_memory_bytes(void)
{
    return TCP_SND_BUF;
}

void turn_init(void *memory)
{
    turn.conn = NULL;
    turn.used = 0;
    turn.limit = 0;
    turn.staged = memory;
    turn.bytes = turn.staged;
    turn.kept = NULL;
    list_init(&turn.retries);
}

/* ---- the application's side ---- */

__attribute__((noinline)) static bool reclaim_for_answer(const struct server_conn *conn)
{
    room_reclaim(conn);
    turn.limit = room_to_send(conn);
    return turn.limit >= server.config.response_bytes_max;
}

static bool can_answer(const struct server_conn *conn)
{
    return turn.limit - turn.used >= server.config.response_bytes_max ||
           (turn.used == 0 && reclaim_for_answer(conn));
}

size_t server_send_space(const struct server_conn *conn)
{
    return conn == turn.conn ? turn.limit - turn.used : 0;
}

__attribute__((noinline)) void server_send(struct server_conn *conn, const void *bytes, size_t len)
{
    assert(conn == turn.conn && len <= turn.limit - turn.used);
    if (turn.bytes != turn.staged) {
        copy_bytes(turn.staged, turn.bytes, turn.used);
        turn.bytes = turn.staged;
        turn.kept = NULL;
    }
    copy_bytes(turn.staged + turn.used, bytes, len);
    turn.used += len;
}

void server_send_kept(struct server_conn *conn, const void *bytes, size_t len,
                      struct server_kept *kept)
{
    if (turn.used > 0) {
        server_send(conn, bytes, len);
        return;
    }
    assert(conn == turn.conn && len <= turn.limit);
    turn.bytes = bytes;
    turn.used = len;
    turn.kept = kept;
}

void server_close(struct server_conn *conn)
{
    if ((conn->flags & CONN_CLOSE) != 0)
        return;
    conn->flags |= CONN_CLOSE;
    deadlines_start(conn, DEADLINE_LINGER);
}

void server_wait_for(struct server_conn *conn, enum server_wait what)
{
    static const uint8_t deadline[] = {
        [SERVER_WAIT_REQUEST] = DEADLINE_IDLE,
        [SERVER_WAIT_HEAD] = DEADLINE_HEAD,
        [SERVER_WAIT_BODY] = DEADLINE_BODY,
    };
    if ((conn->flags & CONN_CLOSE) != 0)
        return;
    if (server.stopping && what == SERVER_WAIT_REQUEST)
        server_close(conn);
    else
        deadlines_start(conn, (enum conn_deadline)deadline[what]);
}

void server_hold(struct server_conn *conn, uint32_t ticket)
{
    if (conn->hold != HOLD_NONE)
        return;
    conn->hold = HOLD_HELD;
    conn->held_until = ticket;
    deadlines_start(conn, DEADLINE_HELD);
}

void server_release(uint32_t ticket)
{
    server.released = ticket;
}

static inline __attribute__((always_inline)) void begin_turn(struct server_conn *conn)
{
    turn.conn = conn;
    turn.limit = room_to_send(conn);
}

static void end_turn(void)
{
    turn.conn = NULL;
    turn.bytes = turn.staged;
    turn.kept = NULL;
    turn.used = 0;
    turn.limit = 0;
}

/* Hands what was sent to TCP. */
static void write_staged(struct server_conn *conn)
{
    if (turn.used == 0)
        return;
    const err_t err = tcp_write(conn->pcb, turn.bytes, (u16_t)turn.used, TCP_WRITE_FLAG_COPY);
    assert(err == ERR_OK);
}

/* Returns how many of the bytes the application took. An answer fits: can_answer(). */
static inline __attribute__((always_inline)) size_t offer(struct server_conn *conn,
                                                          const uint8_t *bytes, size_t len)
{
    const size_t taken = server.config.handlers.on_bytes(conn, conn->state, bytes, len);
    server.answered = true;
    assert(taken == len || (conn->flags & CONN_CLOSE) != 0 || conn->hold != HOLD_NONE ||
           turn.limit - turn.used < server.config.response_bytes_max);
    return taken;
}

/* Calls on_resume, if it is due. False: the rest of what was held waits for room to send. */
static bool resume(struct server_conn *conn)
{
    if (conn->hold != HOLD_RELEASED)
        return true;
    const uint64_t held_ns = server.ran_ns - conn->deadline_since_ns;
    conn->hold = HOLD_NONE;
    if (server.config.handlers.on_resume(conn, conn->state, held_ns))
        return true;
    conn->hold = HOLD_RELEASED;
    return false;
}

/* Returns the bytes taken or discarded: the window opens by as much. */
static size_t give_unread(struct server_conn *conn)
{
    const uint8_t *bytes;
    size_t taken = 0;
    size_t len;

    if (!resume(conn))
        return 0;
    while ((conn->flags & CONN_CLOSE) == 0 && (len = unread_next(conn, &bytes)) > 0 &&
           can_answer(conn)) {
        const size_t n = offer(conn, bytes, len);
        unread_take(conn, n);
        taken += n;
        if (n < len && conn->hold != HOLD_NONE)
            break;
    }
    if ((conn->flags & CONN_CLOSE) != 0)
        taken += unread_discard(conn);
    return taken;
}

/*
 * What could not be taken is kept out of the ring. False if there is no memory for that: then the
 * connection cannot go on, for TCP has acknowledged it.
 */
static bool keep_unread(struct server_conn *conn)
{
    while (!unread_keep(conn)) {
        /* Whoever has waited longest, however short that is: else `conn` must go. */
        if (!room_evict_slowest(conn, 0))
            return false;
    }
    return true;
}

/* The same for what was served where it lies. False: the connection is gone. */
__attribute__((noinline)) static bool keep_bytes(struct server_conn *conn, const uint8_t *bytes,
                                                 size_t len)
{
    size_t kept = unread_copy(conn, bytes, len);
    while (kept < len) {
        if (!room_evict_slowest(conn, 0)) {
            end_turn();
            tcp_abort(conn->pcb);
            return false;
        }
        kept += unread_copy(conn, bytes + kept, len - kept);
    }
    return true;
}

/* ---- TCP's side ---- */

/* Its place in the lists of those that time has to do with. */
static void watch(struct server_conn *conn)
{
    timers_watch(conn);
    deadlines_sending(conn);
}

static void retry_later(struct server_conn *conn)
{
    if (list_is_alone(&conn->retry_node))
        list_append(&turn.retries, &conn->retry_node);
}

void turns_retry(void)
{
    for (unsigned i = 0; i < RETRIES_MAX && !list_is_alone(&turn.retries); i++) {
        struct server_conn *const conn =
            list_entry(turn.retries.next, struct server_conn, retry_node);
        list_remove(&conn->retry_node);
        conns_touch(conn);
    }
}

static bool is_due(const struct server_conn *held)
{
    return held != NULL && (int32_t)(server.released - held->held_until) >= 0;
}

void turns_release(void)
{
    struct server_conn *conn;
    for (size_t left = LWIP_MIN(link_space(RELEASES_MAX), RELEASES_MAX);
         left > 0 && is_due(conn = deadlines_oldest(DEADLINE_HELD)); left--) {
        conn->hold = HOLD_RELEASED;
        deadlines_become(conn, DEADLINE_RESUMING);
        conns_touch(conn);
    }
}

bool turns_are_due(void)
{
    return !list_is_alone(&turn.retries) || is_due(deadlines_oldest(DEADLINE_HELD));
}

/* Sends our FIN once nothing is left to be read or answered. */
static void close_when_done(struct server_conn *conn)
{
    if ((conn->flags & CONN_PEER_FIN) != 0 && unread_is_empty(conn) && conn->hold == HOLD_NONE)
        server_close(conn);
    if ((conn->flags & (CONN_CLOSE | CONN_FIN)) != CONN_CLOSE)
        return;
    conn->flags |= CONN_FIN;
    /* Without memory for the FIN lwIP remembers it, and its timer tries again. */
    (void)tcp_shutdown(conn->pcb, 0, 1);
}

/* One tcp_output() for all that the batch brought. */
__attribute__((noinline)) static void output(struct server_conn *conn)
{
    struct tcp_pcb *const pcb = conn->pcb;

    if ((conn->flags & CONN_ACK_DUE) != 0) {
        conn->flags &= (uint8_t)~CONN_ACK_DUE;
        /* Unless a segment has carried it meanwhile. */
        if ((pcb->flags & TF_ACK_DELAY) != 0)
            tcp_ack_now(pcb);
    }
    if (pcb->unsent != NULL || (pcb->flags & TF_ACK_NOW) != 0)
        (void)tcp_output(pcb);
    /*
     * The ring was full: nothing is lost, and this is no loss to be counted in a second's time. A
     * SYN-ACK waits for lwIP's timer: it may be to somebody there is no route to, or no memory for
     * the resolution, and SYNs from many such must not be tried every batch.
     */
    if ((pcb->flags & TF_NAGLEMEMERR) != 0 && conn->phase != CONN_HALF_OPEN)
        retry_later(conn);
}

/* What a turn comes to that is more than a request and its answer. */
__attribute__((noinline)) static void finish(struct server_conn *conn, size_t taken)
{
    write_staged(conn);
    end_turn();

    if (!keep_unread(conn)) {
        tcp_abort(conn->pcb);
        return;
    }
    if (taken > 0)
        tcp_recved(conn->pcb, (u16_t)taken);
    close_when_done(conn);
    /* Without an acknowledgement or a release to come nothing else would bring it back. */
    if ((!unread_is_empty(conn) || conn->hold == HOLD_RELEASED) && conn->hold != HOLD_HELD &&
        !pcb_has_output(conn->pcb))
        retry_later(conn);
}

static inline __attribute__((always_inline)) void open_if_new(struct server_conn *conn)
{
    if ((conn->flags & CONN_NEW) == 0)
        return;
    conn->flags &= (uint8_t)~CONN_NEW;
    server.config.handlers.on_open(conn, conn->state, conns_cold_state(conn));
}

/* What the turn comes to, of which mostly all that is to be said fits one segment (reply.h). */
static inline __attribute__((always_inline)) void answer(struct server_conn *conn, size_t taken)
{
    if (turn.used > 0 && (conn->flags & (CONN_CLOSE | CONN_PEER_FIN)) == 0 &&
        unread_is_empty(conn) && reply_send(conn, turn.bytes, turn.used, turn.kept, taken)) {
        end_turn();
        watch(conn);
        return;
    }
    finish(conn, taken);
    /* If it is gone now, that touched it. */
    if (conn->phase == CONN_GONE)
        return;
    output(conn);
    turn_settle(conn);
}

/*
 * There is nothing to be said yet: an ACK, if one is due, can wait for the end of the batch. (Where
 * the window has opened by 4 segments tcp_recved() says so at once.)
 */
__attribute__((noinline)) static void wait_for_more(struct server_conn *conn, size_t taken)
{
    end_turn();
    tcp_recved(conn->pcb, (u16_t)taken);
    conns_touch(conn);
}

/* Gives a segment's data to the application, and keeps what is not taken: turn_serve() saw room. */
static inline __attribute__((always_inline)) void serve_bytes(struct server_conn *conn,
                                                              const uint8_t *bytes, size_t len)
{
    size_t taken = 0;
    begin_turn(conn);
    open_if_new(conn);
    if ((conn->flags & CONN_CLOSE) == 0 && can_answer(conn))
        taken = offer(conn, bytes, len);
    if ((conn->flags & CONN_CLOSE) != 0)
        taken = len;
    if (taken < len && !keep_bytes(conn, bytes + taken, len - taken))
        return;
    if (turn.used == 0)
        wait_for_more(conn, taken);
    else
        answer(conn, taken);
}

static inline bool many_are_unacknowledged(const struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
    return pcb->snd_queuelen >= SERVED_QUEUE_MAX && lwip_ntohl(header->ackno) != pcb->snd_nxt;
}

/* With what it calls in one function, but for on_bytes and reply_send() (boot/image.ld). */
__attribute__((noinline, flatten)) bool
turn_serve(struct server_conn *conn, const struct tcp_hdr *header, const uint8_t *bytes, size_t len)
{
    const size_t blocks = unread_blocks(len);
    if (!unread_is_empty(conn) || (conn->flags & CONN_CLOSE) != 0 ||
        many_are_unacknowledged(conn->pcb, header) || !room_reserve(blocks))
        return false;
    if (!predict_segment(conn, header, len)) {
        room_release(blocks);
        return false;
    }
    server.counters.segments_predicted++;
    link_follow_peer(conn);
    serve_bytes(conn, bytes, len);
    room_release(blocks);
    return true;
}

static void take_turn(struct server_conn *conn)
{
    if (conn->phase == CONN_GONE) {
        conns_release(conn);
    } else if (conn->phase == CONN_OPEN) {
        begin_turn(conn);
        open_if_new(conn);
        answer(conn, give_unread(conn));
    } else {
        output(conn);
        turn_settle(conn);
    }
}

void turns_run(void)
{
    struct server_conn *conn;
    while ((conn = conns_next_touched()) != NULL) {
        const uint16_t reserved = conn->reserved_blocks;
        conn->reserved_blocks = 0;
        take_turn(conn);
        room_release(reserved);
    }
}

/* ---- the end of a connection ---- */

/* The application is done with it; TCP may have to wait. */
static void end_connection(struct server_conn *conn)
{
    if ((conn->flags & CONN_NEW) == 0)
        server.config.handlers.on_close(conn, conn->state);
    unread_forget(conn);
    conns_close(conn);
    deadlines_start(conn, DEADLINE_CLOSING);
    if (conns_count(CONN_CLOSING) > conns_closing_max(&server.config))
        tcp_abandon(deadlines_oldest(DEADLINE_CLOSING)->pcb, 0);
}

void turn_retire(struct server_conn *conn)
{
    struct tcp_pcb *const pcb = conn->pcb;
    end_connection(conn);
    if ((conn->flags & CONN_FIN) != 0) {
        /* What the peer still sends is answered with a reset. */
        tcp_set_flags(pcb, TF_RXCLOSED);
    } else {
        conn->flags |= CONN_CLOSE | CONN_FIN;
        (void)tcp_close(pcb);
    }
    if (conn->phase != CONN_GONE)
        turn_settle(conn);
}

/* Both have closed, and the peer has everything but the acknowledgement of its FIN. */
static bool is_over(const struct server_conn *conn)
{
    switch (conn->pcb->state) {
    case TIME_WAIT:
        return true;
    case LAST_ACK:
    case CLOSING:
        return !pcb_has_unacknowledged_data(conn->pcb);
    default:
        return false;
    }
}

__attribute__((noinline)) void turn_settle(struct server_conn *conn)
{
    struct tcp_pcb *const pcb = conn->pcb;

    if (conn->phase == CONN_OPEN && is_over(conn))
        end_connection(conn);
    if (pcb->state == TIME_WAIT && (conn->flags & CONN_TIME_WAIT) == 0) {
        conn->flags |= CONN_TIME_WAIT;
        deadlines_start(conn, DEADLINE_CLOSING);
    }
    watch(conn);
}

/* ---- deadlines that pass ---- */

/* Calls on_timeout. */
static void time_out(struct server_conn *conn)
{
    begin_turn(conn);
    server.config.handlers.on_timeout(conn, conn->state);
    write_staged(conn);
    end_turn();
    conns_touch(conn);
}

static void expire(struct server_conn *conn)
{
    switch ((enum conn_deadline)conn->deadline) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case DEADLINE_HALF_OPEN:
    case DEADLINE_CLOSING:
        tcp_abandon(conn->pcb, 0);
        return;
    case DEADLINE_IDLE:
    case DEADLINE_LINGER:
        /* While output waits for its reader, send_ms is what counts. */
        if (pcb_has_unacknowledged_data(conn->pcb))
            return;
        /* Its request has come in this batch, or waits for memory: the turn decides. */
        if (conn->deadline == DEADLINE_IDLE && !unread_is_empty(conn))
            return;
        server.counters.timeouts++;
        if (conn->deadline == DEADLINE_IDLE)
            turn_retire(conn);
        else
            tcp_abort(conn->pcb);
        return;
    case DEADLINE_HELD:
    case DEADLINE_RESUMING:
        server.counters.timeouts++;
        tcp_abort(conn->pcb);
        return;
    case DEADLINE_HEAD:
    case DEADLINE_BODY:
        server.counters.timeouts++;
        time_out(conn);
        return;
    case DEADLINE_KINDS: /* GCOVR_EXCL_START: their number is none of them */
        break;
    } /* GCOVR_EXCL_STOP */
}

__attribute__((noinline)) void turns_expire(void)
{
    struct server_conn *conn;
    while ((conn = deadlines_next_expired()) != NULL)
        expire(conn);
    while ((conn = deadlines_next_stuck()) != NULL) {
        server.counters.timeouts++;
        tcp_abort(conn->pcb);
    }
}

/*
 * lwIP's callbacks only queue what arrives; the application is called here, after the batch. So it
 * never runs inside of lwIP, a connection whose requests came in ten segments is called once, and
 * what it answers goes out together:
 *
 *     unread ──► on_bytes ──► staged ──► tcp_write ──► tcp_output
 *                   (server_send)    once          once, with the ACK and the window
 *
 * The staging buffer is one for all: a turn leaves it empty. Copying an answer twice costs less than
 * calling tcp_write() for each: a train of 16 requests is one pbuf and one segment.
 *
 * Send space. server_send() cannot fail, so server_send_space() promises no more than tcp_write()
 * can take whatever it is: bounded by lwIP's limits for the connection, and by blocks that are free
 * in the pool now, a full one a segment at worst. When the pool has less than an answer takes, the
 * connection whose peer has read nothing for longest is reset (deadlines_slowest_reader()): those
 * who read go on. When there is none such, the turn is tried again in the next batch.
 *
 * What cannot be taken for want of send space is copied out of the receive ring: the ring is all
 * connections', and a peer who does not read his answers shall not hold it. It is at most a window
 * (TCP_WND) a connection, in full blocks of the pool.
 */
#include "net/turn.h"

#include <assert.h>
#include <string.h>

#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "net/conn_table.h"
#include "net/deadlines.h"
#include "net/link.h"
#include "net/pool.h"
#include "net/server_state.h"
#include "net/timers.h"

/* Blocks that data leaves to ACKs, ARP and frames that must be copied. */
#define RESERVED_FULL 16
#define RESERVED_TINY 64

/* tcp_write() may use a pbuf more than there are segments, and fill up a segment begun before. */
#define SPARE_SEGMENTS 2

#define RETRIES_MAX    64 /* a batch */
#define VICTIMS_MAX    4  /* a turn */

struct conn_spill {
    struct conn_spill *next;
    uint16_t begin, end; /* what is left of `bytes` */
    uint8_t bytes[];
};

#define SPILL_BYTES (POOL_FULL_BYTES - sizeof(struct conn_spill))

static struct {
    struct server_conn *conn; /* whose turn it is; only that one may send */
    size_t used, limit;       /* of `staged` */
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
    list_init(&turn.retries);
}

/* ---- what is unread ---- */

static bool has_unread(const struct server_conn *conn)
{
    return conn->unread_first != NULL || conn->spill_first != NULL;
}

void turn_queue(struct server_conn *conn, struct pbuf *p)
{
    if (conn->unread_first == NULL) {
        conn->unread_first = p;
        conn->unread_offset = 0;
    } else {
        conn->unread_last->next = p;
    }
    while (p->next != NULL)
        p = p->next;
    conn->unread_last = p;
}

static void free_first_pbuf(struct server_conn *conn)
{
    struct pbuf *const p = conn->unread_first;
    conn->unread_first = p->next;
    conn->unread_offset = 0;
    p->next = NULL;
    pbuf_free(p);
}

static void free_first_spill(struct server_conn *conn)
{
    struct conn_spill *const spill = conn->spill_first;
    conn->spill_first = spill->next;
    pool_free(spill);
}

void turn_forget(struct server_conn *conn)
{
    while (conn->unread_first != NULL)
        free_first_pbuf(conn);
    while (conn->spill_first != NULL)
        free_first_spill(conn);
}

/* The next bytes, as many as lie in one piece of memory; 0 when nothing is unread. */
static size_t next_run(struct server_conn *conn, const uint8_t **bytes)
{
    if (conn->spill_first != NULL) {
        const struct conn_spill *const spill = conn->spill_first;
        *bytes = spill->bytes + spill->begin;
        return (size_t)(spill->end - spill->begin);
    }
    while (conn->unread_first != NULL && conn->unread_first->len == conn->unread_offset)
        free_first_pbuf(conn);
    const struct pbuf *p = conn->unread_first;
    if (p == NULL)
        return 0;
    *bytes = (const uint8_t *)p->payload + conn->unread_offset;
    size_t len = (size_t)(p->len - conn->unread_offset);
    for (p = p->next; p != NULL && (const uint8_t *)p->payload == *bytes + len; p = p->next)
        len += p->len;
    return len;
}

/* Drops the first `len` bytes of what is unread. */
static void consume(struct server_conn *conn, size_t len)
{
    if (conn->spill_first != NULL) {
        conn->spill_first->begin = (uint16_t)(conn->spill_first->begin + len);
        if (conn->spill_first->begin == conn->spill_first->end)
            free_first_spill(conn);
        return;
    }
    while (len > 0) {
        const size_t here = (size_t)(conn->unread_first->len - conn->unread_offset);
        if (len < here) {
            conn->unread_offset = (uint16_t)(conn->unread_offset + len);
            return;
        }
        len -= here;
        free_first_pbuf(conn);
    }
}

static size_t discard(struct server_conn *conn)
{
    const uint8_t *bytes;
    size_t discarded = 0;
    size_t len;
    while ((len = next_run(conn, &bytes)) > 0) {
        consume(conn, len);
        discarded += len;
    }
    return discarded;
}

/* ---- memory for sending, and who gives way when it is short ---- */

static size_t segment_bytes(const struct tcp_pcb *pcb)
{
    const size_t half_window = pcb->snd_wnd_max / 2;
    return pcb->mss < half_window ? pcb->mss : half_window;
}

static size_t above(size_t level, size_t reserved)
{
    return level > reserved ? level - reserved : 0;
}

static size_t pool_segments(void)
{
    const size_t full = above(pool_level(POOL_FULL), RESERVED_FULL);
    const size_t tiny = above(pool_level(POOL_TINY), RESERVED_TINY);
    return above(full < tiny ? full : tiny, SPARE_SEGMENTS);
}

static size_t send_limit(const struct server_conn *conn)
{
    const struct tcp_pcb *const pcb = conn->pcb;
    if (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT)
        return 0;
    const size_t queue = above(TCP_SND_QUEUELEN, pcb->snd_queuelen + SPARE_SEGMENTS);
    const size_t pool = pool_segments();
    const size_t bytes = (queue < pool ? queue : pool) * segment_bytes(pcb);
    return bytes < pcb->snd_buf ? bytes : pcb->snd_buf;
}

/* False when nobody but `conn` itself, if anybody, keeps others waiting. */
static bool make_way_for(const struct server_conn *conn)
{
    struct server_conn *const slowest = deadlines_slowest_reader();
    if (slowest == NULL || slowest == conn)
        return false;
    server.counters.connections_gave_way++;
    tcp_abort(slowest->pcb);
    return true;
}

/* Whether an answer can be sent; makes room in the pool if that is what it takes. */
static bool can_answer(struct server_conn *conn)
{
    const size_t wanted = server.config.response_bytes_max;
    if (turn.limit - turn.used >= wanted)
        return true;
    if (turn.used > 0)
        return false;
    for (unsigned i = 0; i < VICTIMS_MAX; i++) {
        if (pool_segments() * segment_bytes(conn->pcb) >= wanted || !make_way_for(conn))
            break;
    }
    turn.limit = send_limit(conn);
    return turn.limit >= wanted;
}

/* ---- the application's side ---- */

size_t server_send_space(const struct server_conn *conn)
{
    return conn == turn.conn ? turn.limit - turn.used : 0;
}

void server_send(struct server_conn *conn, const void *bytes, size_t len)
{
    assert(conn == turn.conn && len <= turn.limit - turn.used);
    memcpy(turn.staged + turn.used, bytes, len);
    turn.used += len;
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

static void begin_turn(struct server_conn *conn)
{
    turn.conn = conn;
    turn.limit = send_limit(conn);
}

/* Hands what was sent to TCP. */
static void end_turn(struct server_conn *conn)
{
    if (turn.used > 0) {
        const err_t err = tcp_write(conn->pcb, turn.staged, (u16_t)turn.used, TCP_WRITE_FLAG_COPY);
        assert(err == ERR_OK);
    }
    turn.conn = NULL;
    turn.used = 0;
    turn.limit = 0;
}

/* Returns the bytes taken or discarded: the window opens by as much. */
static size_t give_unread(struct server_conn *conn)
{
    const struct server_handlers *const handlers = &server.config.handlers;
    const uint8_t *bytes;
    size_t taken = 0;
    size_t len;

    while ((conn->flags & CONN_CLOSE) == 0 && (len = next_run(conn, &bytes)) > 0 &&
           can_answer(conn)) {
        const size_t n = handlers->on_bytes(conn, conn->state, bytes, len);
        server.answered = true;
        consume(conn, n);
        taken += n;
        assert(n == len || (conn->flags & CONN_CLOSE) != 0 || !can_answer(conn));
    }
    if ((conn->flags & CONN_CLOSE) != 0)
        taken += discard(conn);
    return taken;
}

void turn_time_out(struct server_conn *conn)
{
    begin_turn(conn);
    server.config.handlers.on_timeout(conn, conn->state);
    end_turn(conn);
    conns_touch(conn);
}

/* ---- keeping what could not be taken ---- */

static struct conn_spill *add_spill(struct server_conn *conn)
{
    struct conn_spill *spill = pool_alloc(POOL_FULL_BYTES);
    if (spill == NULL && make_way_for(conn))
        spill = pool_alloc(POOL_FULL_BYTES);
    if (spill == NULL)
        return NULL;
    *spill = (struct conn_spill){.next = NULL, .begin = 0, .end = 0};
    if (conn->spill_first == NULL)
        conn->spill_first = spill;
    else
        conn->spill_last->next = spill;
    conn->spill_last = spill;
    return spill;
}

static bool spill_bytes(struct server_conn *conn, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        struct conn_spill *spill = conn->spill_first == NULL ? NULL : conn->spill_last;
        if (spill == NULL || spill->end == SPILL_BYTES)
            spill = add_spill(conn);
        if (spill == NULL)
            return false;
        const size_t room = SPILL_BYTES - spill->end;
        const size_t n = len < room ? len : room;
        memcpy(spill->bytes + spill->end, bytes, n);
        spill->end = (uint16_t)(spill->end + n);
        bytes += n;
        len -= n;
    }
    return true;
}

/* False if there is no memory for it: then the connection cannot go on, for TCP acknowledged it. */
static bool spill_unread(struct server_conn *conn)
{
    while (conn->unread_first != NULL) {
        const struct pbuf *const p = conn->unread_first;
        if (!spill_bytes(conn, (const uint8_t *)p->payload + conn->unread_offset,
                         (size_t)(p->len - conn->unread_offset)))
            return false;
        free_first_pbuf(conn);
    }
    return true;
}

/* ---- TCP's side ---- */

static bool output_is_empty(const struct tcp_pcb *pcb)
{
    return pcb->unacked == NULL && pcb->unsent == NULL;
}

/* The FIN is last, and in a segment of its own or with the last octets. */
bool turn_output_waits(const struct server_conn *conn)
{
    const struct tcp_pcb *const pcb = conn->pcb;
    return (pcb->unacked != NULL && pcb->unacked->len > 0) ||
           (pcb->unsent != NULL && pcb->unsent->len > 0);
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

/* Sends our FIN once nothing is left to be read or answered. */
static void close_when_done(struct server_conn *conn)
{
    if ((conn->flags & CONN_PEER_FIN) != 0 && !has_unread(conn))
        server_close(conn);
    if ((conn->flags & (CONN_CLOSE | CONN_FIN)) != CONN_CLOSE)
        return;
    conn->flags |= CONN_FIN;
    /* Without memory for the FIN lwIP remembers it, and its timer tries again. */
    (void)tcp_shutdown(conn->pcb, 0, 1);
}

/* One tcp_output() for all that the batch brought. */
static void output(struct server_conn *conn)
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
    /* The ring was full: nothing is lost, and this is no loss to be counted in a second's time. */
    if ((pcb->flags & TF_NAGLEMEMERR) != 0)
        retry_later(conn);
}

static void serve(struct server_conn *conn)
{
    begin_turn(conn);
    if ((conn->flags & CONN_NEW) != 0) {
        conn->flags &= (uint8_t)~CONN_NEW;
        server.config.handlers.on_open(conn, conn->state);
    }
    const size_t taken = give_unread(conn);
    end_turn(conn);

    if (!spill_unread(conn)) {
        tcp_abort(conn->pcb);
        return;
    }
    if (taken > 0)
        tcp_recved(conn->pcb, (u16_t)taken);
    close_when_done(conn);
    /* Without an acknowledgement to come nothing else would bring it back. */
    if (has_unread(conn) && output_is_empty(conn->pcb))
        retry_later(conn);
}

void turns_run(void)
{
    struct server_conn *conn;
    while ((conn = conns_next_touched()) != NULL) {
        if (conn->phase == CONN_GONE) {
            conns_release(conn);
            continue;
        }
        if (conn->phase == CONN_OPEN)
            serve(conn);
        /* If it is gone now, that touched it once more. */
        if (conn->phase == CONN_GONE)
            continue;
        output(conn);
        turn_settle(conn);
    }
}

/* ---- the end of a connection ---- */

/* The application is done with it; TCP may have to wait. */
static void leave(struct server_conn *conn)
{
    if ((conn->flags & CONN_NEW) == 0)
        server.config.handlers.on_close(conn, conn->state);
    turn_forget(conn);
    conns_close(conn);
    deadlines_start(conn, DEADLINE_CLOSING);
    if (conns_count(CONN_CLOSING) > conns_closing_max(&server.config))
        tcp_abandon(deadlines_oldest(DEADLINE_CLOSING)->pcb, 0);
}

void turn_retire(struct server_conn *conn)
{
    struct tcp_pcb *const pcb = conn->pcb;
    leave(conn);
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
        return !turn_output_waits(conn);
    default:
        return false;
    }
}

void turn_settle(struct server_conn *conn)
{
    struct tcp_pcb *const pcb = conn->pcb;

    /*
     * lwIP asserts in its timer that a persist timer runs only while there is unsent output and
     * nothing in flight, and forgets to stop it when a window probe is acknowledged that was all
     * there was. A peer could halt the machine by that.
     */
    if (pcb->persist_backoff != 0 && (pcb->unsent == NULL || pcb->unacked != NULL))
        pcb->persist_backoff = 0;

    if (conn->phase == CONN_OPEN && is_over(conn))
        leave(conn);
    if (pcb->state == TIME_WAIT && (conn->flags & CONN_RESTED) == 0) {
        conn->flags |= CONN_RESTED;
        deadlines_start(conn, DEADLINE_CLOSING);
    }
    timers_watch(conn);
    deadlines_sending(conn);
}

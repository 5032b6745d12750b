/*
 * Who may come in. A SYN takes a half-open slot, or is answered with a cookie. The ACK that
 * completes a handshake takes a connection's slot, if need be that of an idle connection. A segment
 * of a connection is let through to lwIP if there is memory to keep its data.
 */
#include "net/admit/admission.h"

#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "net/admit/cookie.h"
#include "net/admit/handshake.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/core/server_state.h"
#include "net/flow/deadlines.h"
#include "net/flow/room.h"
#include "net/flow/turn.h"
#include "net/tcp/isn.h"

/* Rebuilt from the cookie in the segment that lwIP is being given. */
static struct server_conn *rebuilt;

/* A slot for a connection, if need be that of one that can be missed. */
static bool reserve_slot(void)
{
    if (conns_count(CONN_OPEN) < server.config.connections_max)
        return true;
    struct server_conn *const conn = deadlines_evictable();
    if (conn == NULL)
        return false;
    server.counters.connections_gave_way++;
    turn_retire(conn);
    return true;
}

static bool half_open_is_full(void)
{
    return conns_count(CONN_HALF_OPEN) >= conns_half_open_max(&server.config);
}

/*
 * A SYN takes a half-open slot. With none free it is answered all the same, and nothing is kept of
 * it: a flood of them keeps nobody out, and forgets nobody's handshake. Nobody gives way for a SYN,
 * only for the ACK that follows it: what comes from a forged address costs no connection.
 */
static bool admit_syn(const struct guard_segment *segment, const uint8_t *packet, size_t len,
                      bool sound)
{
    if (server.stopping)
        return false;
    if (conns_count(CONN_OPEN) >= server.config.connections_max && deadlines_evictable() == NULL) {
        server.counters.connections_refused++;
        return false;
    }
    if (half_open_is_full()) {
        handshake_answer(segment, packet, len, sound);
        return false;
    }
    pool_expect_pcb(true);
    return true;
}

/* Most SYNs of a flood end here. */
__attribute__((noinline)) bool admission_answer(const struct guard_segment *segment,
                                                const uint8_t *packet, size_t len, bool sound)
{
    if ((segment->flags & (TCP_SYN | TCP_ACK)) != TCP_SYN || segment->port != server.config.port ||
        !half_open_is_full() ||
        conns_find(conns_key(segment->source, segment->source_port)) != NULL)
        return false;
    (void)admit_syn(segment, packet, len, sound);
    return true;
}

/*
 * Of a peer that lwIP knows nothing of. A reset cannot mean anything; what else is no SYN lwIP
 * resets.
 */
static enum link_verdict admit_stranger(const struct guard_segment *segment, struct pbuf *p,
                                        bool sound)
{
    if ((segment->flags & TCP_RST) != 0)
        return LINK_DROP;
    if ((segment->flags & TCP_ACK) != 0 || admit_syn(segment, p->payload, p->len, sound))
        return LINK_PASS;
    return LINK_DROP;
}

/*
 * Whether the segment may be the last of a handshake that was answered with a cookie: also of one
 * whose SYN came again when there was a slot, and was answered again with another number.
 */
static bool may_bring_cookie(const struct server_conn *conn, const struct guard_segment *segment)
{
    return (segment->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK && !server.stopping &&
           (conn == NULL || (conn->phase == CONN_HALF_OPEN && segment->ack != conn->pcb->snd_nxt));
}

/* The connection of a good cookie, in place of `conn`; NULL if there is no room for it. */
static struct server_conn *rebuild(struct server_conn *conn, const struct guard_segment *segment,
                                   uint16_t mss)
{
    if (!reserve_slot()) {
        server.counters.connections_refused++;
        return NULL;
    }
    if (conn != NULL)
        tcp_abandon(conn->pcb, 0);
    rebuilt = handshake_rebuild(segment, mss);
    return rebuilt;
}

/*
 * RFC 9293 section 3.6.1 and RFC 1122 section 4.2.2.13: a SYN with a number above all that the old
 * connection used opens a new one out of TIME-WAIT. lwIP would reset it.
 */
static bool reopens(const struct server_conn *conn, const struct guard_segment *segment)
{
    return (segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
           TCP_SEQ_GEQ(segment->number, conn->pcb->rcv_nxt);
}

/*
 * Whether lwIP will take the segment for the last of the handshake. Who cannot tell our number (a
 * forged address) makes nobody give way.
 */
static bool completes_handshake(const struct server_conn *conn, const struct guard_segment *segment)
{
    return conn->phase == CONN_HALF_OPEN &&
           (segment->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK &&
           segment->ack == conn->pcb->snd_nxt && segment->number == conn->pcb->rcv_nxt;
}

/* A segment of an old connection; true if a new one may begin in its place. */
static bool reopen_time_wait(struct server_conn *conn, const struct guard_segment *segment)
{
    if (reopens(conn, segment)) {
        isn_stay_above(conn->pcb->snd_nxt);
        tcp_abandon(conn->pcb, 0);
        return true;
    }
    if ((segment->flags & TCP_FIN) != 0)
        deadlines_start(conn, DEADLINE_CLOSING);
    return false;
}

__attribute__((noinline)) static enum link_verdict
admit(struct server_conn *conn, const struct guard_segment *segment, struct pbuf *p, bool sound)
{
    if (conn != NULL && conn->pcb->state == TIME_WAIT && reopen_time_wait(conn, segment)) {
        /* The oldest half-open one gives way, if need be: a cookie's number could be below ours. */
        if (half_open_is_full())
            tcp_abandon(deadlines_oldest(DEADLINE_HALF_OPEN)->pcb, 0);
        conn = NULL;
    }
    uint16_t mss;
    if (may_bring_cookie(conn, segment) && handshake_cookie_is_good(segment, &mss)) {
        conn = rebuild(conn, segment, mss);
        if (conn == NULL)
            return LINK_DROP;
    }
    if (conn == NULL) {
        const enum link_verdict verdict = admit_stranger(segment, p, sound);
        if (verdict == LINK_DROP)
            isn_choose_freely();
        return verdict;
    }
    if (completes_handshake(conn, segment) && !reserve_slot()) {
        server.counters.connections_refused++;
        return LINK_DROP;
    }
    conns_show(conn);
    conns_touch(conn);
    return LINK_PASS;
}

enum link_verdict admission_admit(const struct guard_segment *segment, struct pbuf *p, bool sound)
{
    if (segment->port != server.config.port)
        return LINK_PASS; /* lwIP resets it */
    struct server_conn *conn = conns_find(conns_key(segment->source, segment->source_port));

    if (conn != NULL && conn->phase == CONN_OPEN) {
        const size_t len = p->tot_len - (size_t)(IP_HLEN + TCP_HLEN);
        if (len > 0 && (conn->flags & CONN_CLOSE) == 0 && !room_admits(conn, len))
            return LINK_DROP;
        conns_touch(conn);
    }
    return admit(conn, segment, p, sound);
}

void admission_done(void)
{
    conns_hide();
    pool_expect_pcb(false);
    isn_choose_freely();
    if (rebuilt == NULL)
        return;
    /* Its checksum was wrong: it will come again. */
    if (rebuilt->phase == CONN_HALF_OPEN) {
        tcp_abandon(rebuilt->pcb, 0);
    } else {
        cookie_use();
        server.counters.syn_cookies_accepted++;
    }
    rebuilt = NULL;
}

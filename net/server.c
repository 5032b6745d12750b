/*
 * The server: one loop, and who may be connected. What a connection does in its turn is turn.c's;
 * how long it may wait deadlines.c's.
 */
#include "net/server.h"

#include <assert.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/init.h"
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
#include "net/flow/timers.h"
#include "net/flow/turn.h"
#include "net/flow/unread.h"
#include "net/link/link.h"
#include "net/tcp/endpoint.h"
#include "net/tcp/isn.h"

struct server server;

static uint32_t address_used; /* by the connections there are */

_Static_assert(SERVER_POOLS == POOL_CLASSES, "server.h names each");

/* Recalled by the cookie in the segment that lwIP is being given. */
static struct server_conn *recalled;

#define PAGE_UP(bytes) (((bytes) + 4095) & ~(size_t)4095)

static struct pool_budget budget_for(const struct server_config *config)
{
    return pool_budget_for(config->connections_max, conns_half_open_max(config),
                           conns_closing_max(config));
}

size_t server_memory_bytes(const struct server_config *config)
{
    const struct pool_budget budget = budget_for(config);
    return pool_memory_bytes(&budget) + PAGE_UP(conns_memory_bytes(config)) +
           PAGE_UP(cookies_memory_bytes(config->connections_max)) + PAGE_UP(turn_memory_bytes());
}

void server_init(const struct server_config *config, void *memory)
{
    const struct pool_budget budget = budget_for(config);
    uint8_t *at = memory;

    assert(config->connections_max > 0 && config->response_bytes_max <= TCP_SND_BUF);
    server = (struct server){.config = *config, .batch_ns = clock_ns()};
    server.ran_ns = server.batch_ns;
    /* The table's buckets, at its end, lie beside the pool's smallest blocks: both are in use. */
    conns_init(config, at);
    at += PAGE_UP(conns_memory_bytes(config));
    pool_init(&budget, at);
    at += pool_memory_bytes(&budget);
    cookies_init(config->connections_max, at);
    at += PAGE_UP(cookies_memory_bytes(config->connections_max));
    room_init();
    turn_init(at);

    isn_init();
    deadlines_init(config);
    timers_init();
    lwip_init();
    link_init(config->address, config->netmask, config->gateway);
    handshake_init();
    address_used = link_address();
    endpoint_listen(config->port);
    (void)link_flush();
}

/* ---- who may come in ---- */

/* A slot for a connection, if need be that of one that can be missed. */
static bool make_room(void)
{
    if (conns_count(CONN_OPEN) < server.config.connections_max)
        return true;
    struct server_conn *const conn = deadlines_give_way();
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
    if (conns_count(CONN_OPEN) >= server.config.connections_max && deadlines_give_way() == NULL) {
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
__attribute__((noinline)) bool link_answer(const struct guard_segment *segment,
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
static struct server_conn *recall(struct server_conn *conn, const struct guard_segment *segment,
                                  uint16_t mss)
{
    if (!make_room()) {
        server.counters.connections_refused++;
        return NULL;
    }
    if (conn != NULL)
        tcp_abandon(conn->pcb, 0);
    recalled = handshake_recall(segment, mss);
    return recalled;
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
static bool leave_time_wait(struct server_conn *conn, const struct guard_segment *segment)
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
    if (conn != NULL && conn->pcb->state == TIME_WAIT && leave_time_wait(conn, segment)) {
        /* The oldest half-open one gives way, if need be: a cookie's number could be below ours. */
        if (half_open_is_full())
            tcp_abandon(deadlines_oldest(DEADLINE_HALF_OPEN)->pcb, 0);
        conn = NULL;
    }
    uint16_t mss;
    if (may_bring_cookie(conn, segment) && handshake_is_remembered(segment, &mss)) {
        conn = recall(conn, segment, mss);
        if (conn == NULL)
            return LINK_DROP;
    }
    if (conn == NULL) {
        const enum link_verdict verdict = admit_stranger(segment, p, sound);
        if (verdict == LINK_DROP)
            isn_shall_be_any();
        return verdict;
    }
    if (completes_handshake(conn, segment) && !make_room()) {
        server.counters.connections_refused++;
        return LINK_DROP;
    }
    conns_show(conn);
    conns_touch(conn);
    return LINK_PASS;
}

enum link_verdict link_admit(const struct guard_segment *segment, struct pbuf *p, bool sound)
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

bool link_serve(const struct guard_segment *segment, const uint8_t *packet, size_t len)
{
    const size_t headers = IP_HLEN + TCP_HLEN;
    if (len <= headers || segment->port != server.config.port)
        return false;
    struct server_conn *const conn = conns_find(conns_key(segment->source, segment->source_port));
    return conn != NULL && conn->phase == CONN_OPEN &&
           turn_serve(conn, (const struct tcp_hdr *)(packet + IP_HLEN), packet + headers,
                      len - headers);
}

const uint8_t *link_peer(uint32_t address, uint16_t peer_port, uint16_t port)
{
    if (port != server.config.port)
        return NULL;
    const struct server_conn *const conn = conns_find(conns_key(address, peer_port));
    return conn != NULL ? conn->mac : NULL;
}

void link_admitted(void)
{
    conns_hide();
    pool_expect_pcb(false);
    isn_shall_be_any();
    if (recalled == NULL)
        return;
    /* Its checksum was wrong: it will come again. */
    if (recalled->phase == CONN_HALF_OPEN) {
        tcp_abandon(recalled->pcb, 0);
    } else {
        cookie_use();
        server.counters.syn_cookies_accepted++;
    }
    recalled = NULL;
}

/* ---- the loop ---- */

static void abandon(struct server_conn *conn)
{
    tcp_abandon(conn->pcb, 0);
}

/* Connections to an address that is no longer ours cannot go on. */
static void follow_address(void)
{
    const uint32_t address = link_address();
    if (address == address_used)
        return;
    if (address_used != 0)
        conns_each(abandon);
    address_used = address;
}

static void count_turn(uint64_t ns)
{
    server.counters.busy_ns += ns;
    if (ns > server.counters.longest_turn_ns) {
        server.counters.longest_turn_ns = ns;
        server.counters.longest_turn_frames = server.frames;
    }
}

/*
 * No more of the idle than there are descriptors for their FINs: they stay open until the next
 * batch. For one that is closing may have to give its slot to the next, and then it must be told.
 */
static void stop(struct server_conn *conn)
{
    if (conn->phase == CONN_HALF_OPEN)
        tcp_abandon(conn->pcb, 0);
    else if (conn->phase == CONN_OPEN && conn->deadline == DEADLINE_IDLE && unread_is_empty(conn) &&
             link_space(1) > 0)
        turn_retire(conn);
}

bool server_poll(void)
{
    const uint64_t now_ns = clock_ns();
    const uint64_t passed_ns = now_ns - server.batch_ns;
    if (server.worked)
        count_turn(passed_ns);
    server.ran_ns += passed_ns < PAUSE_NS ? passed_ns : PAUSE_NS;
    server.batch_ns = now_ns;
    server.answered = false;
    link_reap();
    turns_retry();
    server.frames = link_receive();
    server.counters.batches += server.frames > 0;
    timers_run();
    follow_address();
    turns_run();
    if (server.stopping)
        conns_each(stop);
    if (server.answered)
        server.config.handlers.on_batch();
    server.worked = link_flush();
    return server.worked;
}

bool server_is_reachable(void)
{
    return link_address() != 0 && link_is_up();
}

uint32_t server_address(void)
{
    return link_address();
}

uint64_t server_batch_ns(void)
{
    return server.batch_ns;
}

/* ---- shutting down ---- */

void server_stop(void)
{
    server.stopping = true;
    conns_each(stop);
    /* If that was all, nobody will poll again. */
    (void)link_flush();
}

static void look_for_output(struct server_conn *conn)
{
    server.output_is_left |= conn->pcb->unacked != NULL;
}

bool server_is_drained(void)
{
    if (conns_count(CONN_OPEN) != 0 || conns_count(CONN_HALF_OPEN) != 0 || !link_is_idle())
        return false;
    server.output_is_left = false;
    conns_each(look_for_output);
    return !server.output_is_left;
}

/* ---- counters ---- */

void server_get_counters(struct server_counters *counters)
{
    const struct netdev_counters *const device = netdev_get_counters();

    *counters = server.counters;
    counters->connections_open = conns_count(CONN_OPEN);
    counters->retransmissions = endpoint_retransmissions();
    counters->dropped_frames = link_refused();
    counters->memory_short += pool_refused();
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        counters->pool_blocks_free[class] = pool_level((enum pool_class) class);
    counters->received_frames = device->received_frames;
    counters->received_bytes = device->received_bytes;
    counters->transmitted_frames = device->transmitted_frames;
    counters->transmitted_bytes = device->transmitted_bytes;
}

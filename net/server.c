/*
 * The server: one loop over the rooms below it, from start to stop. flow/turn.c has what a
 * connection does in its turn, with the calls that a handler may make then (server_send() and the
 * like). admit/admission.c has who may come in.
 */
#include "net/server.h"

#include <assert.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/init.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "net/admit/admission.h"
#include "net/admit/cookie.h"
#include "net/admit/handshake.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/core/server_state.h"
#include "net/flow/deadlines.h"
#include "net/flow/listener.h"
#include "net/flow/room.h"
#include "net/flow/timers.h"
#include "net/flow/turn.h"
#include "net/flow/unread.h"
#include "net/link/link.h"
#include "net/tcp/isn.h"
#include "net/tcp/mend.h"

static struct {
    uint32_t address;    /* that the connections there are use */
    bool worked;         /* the last turn did something */
    uint64_t worked_ns;  /* when one that did was over */
    size_t frames;       /* that it received */
    bool output_is_left; /* server_is_drained() has seen some */
} loop;

_Static_assert(SERVER_POOLS == POOL_CLASSES, "server.h names each");

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

/* The link's upcall for data: most segments end here. */
static bool serve(const struct guard_segment *segment, const struct tcp_hdr *header,
                  const uint8_t *bytes, size_t len)
{
    if (segment->port != server.config.port)
        return false;
    struct server_conn *const conn = conns_find(conns_key(segment->source, segment->source_port));
    return conn != NULL && conn->phase == CONN_OPEN && turn_serve(conn, header, bytes, len);
}

static const struct link_upcalls upcalls = {
    .answer = admission_answer,
    .serve = serve,
    .admit = admission_admit,
    .admitted = admission_done,
};

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
    link_init(config->address, config->netmask, config->gateway, &upcalls);
    handshake_init();
    loop.address = link_address();
    listener_open(config->port);
    (void)link_flush();
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
    if (address == loop.address)
        return;
    if (loop.address != 0)
        conns_each(abandon);
    loop.address = address;
}

static void count_turn(uint64_t ns)
{
    server.counters.busy_ns += ns;
    if (ns > server.counters.longest_turn_ns) {
        server.counters.longest_turn_ns = ns;
        server.counters.longest_turn_frames = loop.frames;
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
    if (loop.worked) {
        count_turn(passed_ns);
        loop.worked_ns = now_ns;
    }
    server.ran_ns += passed_ns < PAUSE_NS ? passed_ns : PAUSE_NS;
    server.batch_ns = now_ns;
    server.answered = false;
    link_reap();
    turns_retry();
    loop.frames = link_receive();
    server.counters.batches += loop.frames > 0;
    if (timers_run())
        turns_expire();
    follow_address();
    turns_release();
    turns_run();
    if (server.stopping)
        conns_each(stop);
    if (server.answered)
        server.config.handlers.on_batch();
    loop.worked = link_flush();
    return loop.worked;
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

uint64_t server_worked_ns(void)
{
    return loop.worked_ns;
}

uint64_t server_due_ns(void)
{
    return turns_are_due() ? server.batch_ns : timers_due_ns();
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
    loop.output_is_left |= conn->pcb->unacked != NULL;
}

bool server_is_drained(void)
{
    if (conns_count(CONN_OPEN) != 0 || conns_count(CONN_HALF_OPEN) != 0 || !link_is_idle())
        return false;
    loop.output_is_left = false;
    conns_each(look_for_output);
    return !loop.output_is_left;
}

/* ---- counters ---- */

void server_get_counters(struct server_counters *counters)
{
    const struct netdev_counters *const device = netdev_get_counters();

    *counters = server.counters;
    counters->connections_open = conns_count(CONN_OPEN);
    counters->retransmissions = mend_retransmissions();
    counters->dropped_frames = link_refused();
    counters->memory_short += pool_refused();
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        counters->pool_blocks_free[class] = pool_level((enum pool_class) class);
    counters->received_frames = device->received_frames;
    counters->received_bytes = device->received_bytes;
    counters->transmitted_frames = device->transmitted_frames;
    counters->transmitted_bytes = device->transmitted_bytes;
    counters->kicks = device->kicks;
}

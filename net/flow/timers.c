/*
 * lwIP walks its list of connections every TCP_SLOW_INTERVAL. Here it walks only those that have
 * something to be timed (unacknowledged or unsent output, out-of-order data, a delayed ACK), and an
 * eighth of them at a time: with 10,000 connections all under way a pass is over 1,250 of them,
 * and no request waits for more. Each is seen once per TCP_SLOW_INTERVAL, as lwIP expects:
 *
 *     tick (31.25 ms)   0  1  2  3  4  5  6  7  0  1 ...      slice = tick mod 8
 *     tcp_ticks         n                       n+1
 *
 * tcp_slowtmr() counts tcp_ticks itself; for slices other than 0 that is taken back before. It
 * marks a PCB it has seen with an 8-bit number of its call: now and then one that was not seen for
 * 256 calls is taken for seen, and is timed one tick later.
 */
#include "net/flow/timers.h"

#include "kernel/netdev.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/server_state.h"
#include "net/link/lease.h"
#include "net/link/link.h"
#include "net/tcp/mend.h"

#define SLICES           8
#define TICK_NS          (TCP_SLOW_INTERVAL * CLOCK_NS_PER_MS / SLICES)

#define TICKS_PER_MS(ms) ((ms)*CLOCK_NS_PER_MS / TICK_NS)

static struct {
    uint64_t due_ns;
    uint64_t tick;
    struct list_node slices[SLICES];
} timers;

void timers_init(void)
{
    timers.due_ns = clock_ns() + TICK_NS;
    timers.tick = 0;
    for (unsigned i = 0; i < SLICES; i++)
        list_init(&timers.slices[i]);
}

static bool is_timed(const struct tcp_pcb *pcb)
{
    return pcb->state != TIME_WAIT &&
           (pcb->unacked != NULL || pcb->unsent != NULL || pcb->ooseq != NULL ||
            (pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND)) != 0);
}

void timers_watch(struct server_conn *conn)
{
    mend_stale_persist(conn->pcb);
    if ((conn->flags & CONN_TIMED) != 0 || !is_timed(conn->pcb))
        return;
    conn->flags |= CONN_TIMED;
    list_append(&timers.slices[conn->slice % SLICES], &conn->timed_node);
}

/* Joins the slice's PCBs into lwIP's list; returns their flags together. */
static tcpflags_t join(struct list_node *slice)
{
    tcpflags_t flags = 0;
    struct list_node *next;
    for (struct list_node *node = slice->next; node != slice; node = next) {
        struct server_conn *const conn = list_entry(node, struct server_conn, timed_node);
        next = node->next;
        if (!is_timed(conn->pcb)) {
            conn->flags &= (uint8_t)~CONN_TIMED;
            list_remove(node);
            continue;
        }
        mend_stale_persist(conn->pcb);
        mend_split_before_fin(conn->pcb);
        flags |= conn->pcb->flags;
        conn->pcb->next = tcp_active_pcbs;
        tcp_active_pcbs = conn->pcb;
    }
    return flags;
}

static void run_tcp(unsigned index)
{
    struct list_node *const slice = &timers.slices[index];
    const tcpflags_t flags = join(slice);

    if ((flags & (TF_ACK_DELAY | TF_CLOSEPEND)) != 0)
        tcp_fasttmr();
    if (index != 0)
        tcp_ticks--;
    tcp_slowtmr();
    conns_hide();

    /* What the full ring did not take. */
    for (struct list_node *node = slice->next; node != slice; node = node->next) {
        struct server_conn *const conn = list_entry(node, struct server_conn, timed_node);
        if ((conn->pcb->flags & TF_NAGLEMEMERR) != 0)
            conns_touch(conn);
    }
}

static void touch_unsent(struct server_conn *conn)
{
    if (conn->pcb->unsent != NULL)
        conns_touch(conn);
}

__attribute__((noinline)) static void run_tick(uint64_t tick)
{
    run_tcp((unsigned)(tick % SLICES));
    if (link_watch())
        conns_each(touch_unsent);
    if (tick % TICKS_PER_MS(DHCP_FINE_TIMER_MSECS) == 0)
        dhcp_fine_tmr();
    lease_run();
    if (tick % TICKS_PER_MS(ARP_TMR_INTERVAL) == 0)
        etharp_tmr();
}

uint64_t timers_due_ns(void)
{
    if (server.batch_ns >= timers.due_ns)
        return timers.due_ns;
    for (unsigned i = 0; i < SLICES; i++) {
        if (!list_is_alone(&timers.slices[i]))
            return timers.due_ns;
    }
    return UINT64_MAX;
}

bool timers_run(void)
{
    if (server.batch_ns < timers.due_ns)
        return false;
    timers.due_ns += TICK_NS;
    /* After a pause time goes on from now. */
    if (server.batch_ns > timers.due_ns + PAUSE_NS)
        timers.due_ns = server.batch_ns + TICK_NS;
    run_tick(++timers.tick);
    return true;
}

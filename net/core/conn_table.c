/*
 * lwIP finds the connection of a segment by walking a list, and moves it to the front: 1.5 to 2 µs
 * at 1,000 connections, more than a request costs, and 20 to 70 µs at 10,000. It removes one from
 * the list by walking it, too. The heads of its lists, tcp_active_pcbs and tcp_tw_pcbs, are public
 * (lwip/priv/tcp_priv.h), so lwIP need not be changed to do better:
 *
 *     This table finds the connection, and lwIP is shown it alone: a list of one.
 *
 * Between segments the lists are empty. That works because of what tcp.c, tcp_in.c and tcp_out.c do
 * with them:
 *
 *     tcp_input            searches both; a list of one is a hit at once, or ends at once
 *     TCP_REG, TCP_RMV     put in front, or walk and take out what they find: taking out of an
 *                          empty list is nothing. So tcp_abort(), tcp_shutdown() and their like may
 *                          be called at any time with the lists empty. TCP_REG's head is forgotten
 *                          by conns_hide(); the record here has the PCB
 *     tcp_slowtmr,         walk the lists: timers.c joins those PCBs that the timers have to do
 *     tcp_fasttmr          with, and only those; TIME-WAIT is timed by deadlines.c
 *     tcp_alloc            when memory is out kills what it finds on the lists: nothing. Limits are
 *                          kept here instead, before lwIP gets the SYN
 *     tcp_netif_ip_addr_   aborts what has the old address: nothing; server.c does so itself
 *       changed
 *     tcp_bind, tcp_listen look for the port in use: before the first connection
 *     tcp_txnow, tcp_new_port, pbuf_free_ooseq, tcp_connect: not used
 *
 * What happens to the PCB meanwhile tells its state (TIME-WAIT) and lwIP's callbacks for its birth
 * and death (listener.c). PCB->next means nothing while the lists are empty.
 *
 * The alternative, many short lists by hash whose heads are swapped in, has lwIP search what was
 * just found, and needs to know of each place that might look into another bucket.
 *
 * The hash: multiply-shift with a random odd factor and a random offset (Dietzfelbinger et al.
 * 1997): two keys chosen without knowing these collide with probability 2/buckets, and a peer
 * chooses its port but never sees the factor. Two buckets a record: one probe, nearly always.
 *
 * Cost: two cache lines of the record, its bucket and the PCB are touched, for any number of
 * connections. Memory: 192 bytes a record and 16 to 32 of buckets, for slots of all kinds.
 */
#include "net/core/conn_table.h"

#include <assert.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/priv/tcp_priv.h"

/* Records that are GONE until the end of the batch: no more than a batch has frames, twice. */
#define GONE_MAX              128

#define HALF_OPEN_LEAST       64
#define HALF_OPEN_MOST        512

#define ALIGN_UP(bytes)       (((bytes) + 63) & ~(size_t)63)
#define ALIGN_STATE_UP(bytes) (((bytes) + 15) & ~(size_t)15)

static struct {
    struct server_conn *records;
    struct server_conn *free; /* linked by hash_next */
    uint32_t records_used;    /* the rest were never taken, and are not set up yet */
    struct server_conn **buckets;
    uint64_t hash_factor, hash_offset;
    unsigned hash_shift;
    uint32_t record_count;
    uint32_t count[CONN_GONE + 1];
    uint8_t *states, *cold_states;
    uint32_t states_max;
    uint32_t states_used;  /* like records_used */
    uint32_t states_freed; /* in free_states: a stack of indexes into `states` */
    uint32_t *free_states;
    size_t state_stride, cold_state_stride, state_bytes;
    struct server_conn *touched_first, *touched_last;
} conns;

/*
 * Enough for a second of clients that come one by one; many at once, like a flood, are answered
 * without a slot (handshake.h). More would cost: each sends its SYN-ACK three times.
 */
uint32_t conns_half_open_max(const struct server_config *config)
{
    const uint32_t part = config->connections_max / 8;
    return part < HALF_OPEN_LEAST ? HALF_OPEN_LEAST : part > HALF_OPEN_MOST ? HALF_OPEN_MOST : part;
}

uint32_t conns_closing_max(const struct server_config *config)
{
    const uint32_t half = config->connections_max / 2;
    return half < 256 ? 256 : half;
}

static uint32_t records_for(const struct server_config *config)
{
    return config->connections_max + conns_half_open_max(config) + conns_closing_max(config) +
           GONE_MAX;
}

/* A power of two, at least twice the records. */
static unsigned bucket_bits(uint32_t records)
{
    unsigned bits = 1;
    while ((1u << bits) < 2 * records)
        bits++;
    return bits;
}

size_t conns_memory_bytes(const struct server_config *config)
{
    const uint32_t records = records_for(config);
    return ALIGN_UP(records * sizeof(struct server_conn)) +
           ALIGN_UP((sizeof(void *) << bucket_bits(records))) +
           ALIGN_UP(config->connections_max * ALIGN_STATE_UP(config->state_bytes)) +
           config->connections_max * ALIGN_UP(config->cold_state_bytes) +
           ALIGN_UP(config->connections_max * sizeof(uint32_t));
}

static void *carve(uint8_t **at, size_t bytes)
{
    void *const memory = *at;
    *at += ALIGN_UP(bytes);
    return memory;
}

/* NULL if all are taken. */
static struct server_conn *take_record(void)
{
    struct server_conn *conn = conns.free;
    if (conn != NULL) {
        conns.free = conn->hash_next;
        return conn;
    }
    if (conns.records_used == conns.record_count)
        return NULL;
    conn = &conns.records[conns.records_used];
    memset(conn, 0, sizeof *conn);
    conn->slice = (uint8_t)conns.records_used++;
    list_init(&conn->deadline_node);
    list_init(&conn->sending_node);
    list_init(&conn->timed_node);
    list_init(&conn->retry_node);
    return conn;
}

void conns_init(const struct server_config *config, void *memory)
{
    uint8_t *at = memory;

    memset(&conns, 0, sizeof conns);
    conns.record_count = records_for(config);
    conns.records = carve(&at, conns.record_count * sizeof(struct server_conn));
    conns.count[CONN_FREE] = conns.record_count;

    conns.state_bytes = config->state_bytes;
    conns.state_stride = ALIGN_STATE_UP(config->state_bytes);
    conns.states = carve(&at, config->connections_max * conns.state_stride);
    conns.cold_state_stride = ALIGN_UP(config->cold_state_bytes);
    conns.cold_states = carve(&at, config->connections_max * conns.cold_state_stride);
    conns.free_states = carve(&at, config->connections_max * sizeof(uint32_t));
    conns.states_max = config->connections_max;

    const unsigned bits = bucket_bits(conns.record_count);
    conns.buckets = carve(&at, sizeof(void *) << bits);
    memset(conns.buckets, 0, sizeof(void *) << bits);
    conns.hash_shift = 64 - bits;
    entropy_fill(&conns.hash_factor, sizeof conns.hash_factor);
    entropy_fill(&conns.hash_offset, sizeof conns.hash_offset);
    conns.hash_factor |= 1;
    conns_hide();
}

uint32_t conns_count(enum conn_phase phase)
{
    return conns.count[phase];
}

/* ---- by key ---- */

static struct server_conn **bucket_of(uint64_t key)
{
    return &conns.buckets[(key + conns.hash_offset) * conns.hash_factor >> conns.hash_shift];
}

struct server_conn *conns_find(uint64_t key)
{
    struct server_conn *conn = *bucket_of(key);
    while (conn != NULL && conn->key != key)
        conn = conn->hash_next;
    return conn;
}

static void unlink_from_bucket(struct server_conn *conn)
{
    struct server_conn **link = bucket_of(conn->key);
    while (*link != conn)
        link = &(*link)->hash_next;
    *link = conn->hash_next;
}

/* ---- the phases ---- */

static void enter(struct server_conn *conn, enum conn_phase phase)
{
    conns.count[conn->phase]--;
    conn->phase = (uint8_t)phase;
    conns.count[phase]++;
}

struct server_conn *conns_add(uint64_t key, struct tcp_pcb *pcb)
{
    struct server_conn *const conn = take_record();
    if (conn == NULL)
        return NULL;
    conn->key = key;
    conn->pcb = pcb;
    conn->flags &= CONN_TOUCHED;
    conn->hold = HOLD_NONE;
    struct server_conn **const bucket = bucket_of(key);
    conn->hash_next = *bucket;
    *bucket = conn;
    enter(conn, CONN_HALF_OPEN);
    return conn;
}

static uint32_t take_state(void)
{
    if (conns.states_freed > 0)
        return conns.free_states[--conns.states_freed];
    assert(conns.states_used < conns.states_max);
    return conns.states_used++;
}

void conns_open(struct server_conn *conn)
{
    assert(conn->phase == CONN_HALF_OPEN);
    conn->state = conns.states + take_state() * conns.state_stride;
    memset(conn->state, 0, conns.state_bytes);
    enter(conn, CONN_OPEN);
}

static size_t state_index(const struct server_conn *conn)
{
    return (size_t)((uint8_t *)conn->state - conns.states) / conns.state_stride;
}

void *conns_cold_state(const struct server_conn *conn)
{
    return conns.cold_states + state_index(conn) * conns.cold_state_stride;
}

static void take_back_state(struct server_conn *conn)
{
    conns.free_states[conns.states_freed++] = (uint32_t)state_index(conn);
    conn->state = NULL;
}

void conns_close(struct server_conn *conn)
{
    assert(conn->phase == CONN_OPEN);
    take_back_state(conn);
    enter(conn, CONN_CLOSING);
}

void conns_drop(struct server_conn *conn)
{
    assert(conn->phase != CONN_FREE && conn->phase != CONN_GONE);
    if (conn->phase == CONN_OPEN)
        take_back_state(conn);
    unlink_from_bucket(conn);
    list_remove(&conn->deadline_node);
    list_remove(&conn->sending_node);
    list_remove(&conn->timed_node);
    list_remove(&conn->retry_node);
    conn->pcb = NULL;
    enter(conn, CONN_GONE);
}

void conns_release(struct server_conn *conn)
{
    assert(conn->phase == CONN_GONE);
    enter(conn, CONN_FREE);
    conn->hash_next = conns.free;
    conns.free = conn;
}

void conns_each(void (*call)(struct server_conn *conn))
{
    for (uint32_t i = 0; i < conns.records_used; i++) {
        const uint8_t phase = conns.records[i].phase;
        if (phase != CONN_FREE && phase != CONN_GONE)
            call(&conns.records[i]);
    }
}

/* ---- the batch ---- */

void conns_touch(struct server_conn *conn)
{
    if ((conn->flags & CONN_TOUCHED) != 0)
        return;
    conn->flags |= CONN_TOUCHED;
    conn->touched_next = NULL;
    if (conns.touched_first == NULL)
        conns.touched_first = conn;
    else
        conns.touched_last->touched_next = conn;
    conns.touched_last = conn;
}

struct server_conn *conns_next_touched(void)
{
    struct server_conn *const conn = conns.touched_first;
    if (conn == NULL)
        return NULL;
    conns.touched_first = conn->touched_next;
    conn->flags &= (uint8_t)~CONN_TOUCHED;
    return conn;
}

/* ---- what lwIP sees ---- */

void conns_show(struct server_conn *conn)
{
    conn->pcb->next = NULL;
    if (conn->pcb->state == TIME_WAIT)
        tcp_tw_pcbs = conn->pcb;
    else
        tcp_active_pcbs = conn->pcb;
}

void conns_hide(void)
{
    tcp_active_pcbs = NULL;
    tcp_tw_pcbs = NULL;
}

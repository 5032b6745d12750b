#include "net/flow/room.h"

#include "net/core/pool.h"
#include "net/core/server_state.h"
#include "net/flow/deadlines.h"
#include "net/flow/unread.h"
#include "net/tcp/mend.h"
#include "net/tcp/segment.h"

/* Blocks that data leaves to ACKs, ARP and frames that must be copied. */
#define RESERVED_FULL 16
#define RESERVED_TINY 64

/* tcp_write() may use a pbuf more than there are segments, and fill up a segment begun before. */
#define SPARE_SEGMENTS 2

/* A reader this slow gives way to an answer: the longest round trip there is on earth. */
#define SLOW_MS     250

#define VICTIMS_MAX 4 /* a turn */

static struct {
    size_t pool_half; /* of the full blocks */
    size_t answer;    /* full blocks that the largest answer takes, to a peer of the smallest MSS */
    size_t reserved;  /* full blocks set aside for what was admitted and has not had its turn */
} room;

void room_init(void)
{
    room.pool_half = pool_level(POOL_FULL) / 2;
    room.answer = server.config.response_bytes_max / MEND_MSS_MIN + 1 + SPARE_SEGMENTS;
    room.reserved = 0;
}

static size_t segment_bytes(const struct tcp_pcb *pcb)
{
    const size_t half_window = pcb->snd_wnd_max / 2;
    return pcb->mss < half_window ? pcb->mss : half_window;
}

static size_t above(size_t level, size_t reserved)
{
    return level > reserved ? level - reserved : 0;
}

/* Full blocks that no turn may have, nor what comes in. */
static size_t full_blocks_reserved(void)
{
    return RESERVED_FULL + room.reserved;
}

/*
 * Segments that the pool has blocks for. To a connection that has output waiting already it shows
 * the half of itself that is above the water: who reads comes before who wants more.
 */
static size_t pool_segments(const struct server_conn *conn)
{
    const size_t half = pcb_has_unacknowledged_data(conn->pcb) ? room.pool_half : 0;
    const size_t full = above(pool_level(POOL_FULL), full_blocks_reserved() + half);
    const size_t tiny = above(pool_level(POOL_TINY), RESERVED_TINY);
    return above(full < tiny ? full : tiny, SPARE_SEGMENTS);
}

size_t room_to_send(const struct server_conn *conn)
{
    const struct tcp_pcb *const pcb = conn->pcb;
    if (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT)
        return 0;
    const size_t queue = above(TCP_SND_QUEUELEN, pcb->snd_queuelen + SPARE_SEGMENTS);
    const size_t pool = pool_segments(conn);
    const size_t bytes = (queue < pool ? queue : pool) * segment_bytes(pcb);
    return bytes < pcb->snd_buf ? bytes : pcb->snd_buf;
}

bool room_evict_slowest(const struct server_conn *conn, uint32_t waited_ms)
{
    struct server_conn *const slowest = deadlines_slowest_reader(waited_ms);
    if (slowest == NULL || slowest == conn)
        return false;
    server.counters.connections_gave_way++;
    server.counters.connections_reset_short++;
    tcp_abort(slowest->pcb);
    return true;
}

void room_reclaim(const struct server_conn *conn)
{
    for (unsigned i = 0; i < VICTIMS_MAX; i++) {
        if (pool_segments(conn) * segment_bytes(conn->pcb) >= server.config.response_bytes_max ||
            !room_evict_slowest(conn, SLOW_MS))
            return;
    }
}

bool room_admits(struct server_conn *conn, size_t len)
{
    const size_t blocks = unread_blocks(len);
    /* Were all of it full of requests, there would be none for an answer: nobody would go on. */
    const bool needs_full = !unread_is_small(len) || pool_level(POOL_LARGE) <= room.reserved;
    const size_t wanted = full_blocks_reserved() + (needs_full ? room.answer : 0) + blocks;
    if (pool_level(POOL_FULL) < wanted &&
        (!room_evict_slowest(conn, SLOW_MS) || pool_level(POOL_FULL) < wanted)) {
        server.counters.memory_short++;
        return false;
    }
    room.reserved += blocks;
    conn->reserved_blocks = (uint16_t)(conn->reserved_blocks + blocks);
    return true;
}

bool room_reserve(size_t blocks)
{
    if (pool_level(POOL_FULL) < full_blocks_reserved() + room.answer + blocks)
        return false;
    room.reserved += blocks;
    return true;
}

void room_release(size_t blocks)
{
    room.reserved -= blocks;
}

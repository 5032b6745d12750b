#include "net/flow/deadlines.h"

#include "kernel/netdev.h"
#include "lwip/priv/tcp_priv.h"
#include "net/core/server_state.h"
#include "net/flow/unread.h"
#include "net/tcp/segment.h"

/* An honest client's handshake takes a round trip; our SYN-ACK goes out three times meanwhile. */
#define HALF_OPEN_MS 8000

/*
 * TIME-WAIT guards against segments of an old connection that arrive late (RFC 9293 section 3.4.2:
 * two maximum segment lifetimes). Two minutes is a guess of 1981; on the networks this serves
 * nothing lives for seconds. A client that comes back sooner is let in by its higher sequence
 * number (admission.c).
 */
#define CLOSING_MS 10000

#define EXAMINE_MS 1000 /* how often a waiting sender is looked at */

/* Slowest readers are sought among so many; enough to find one of a crowd of attackers. */
#define SLOWEST_SEARCH_MAX 256

/* Idle ones whose request has just arrived are passed over; a batch brings no more. */
#define GIVE_WAY_SEARCH_MAX 65

static struct {
    struct list_node waiting[DEADLINE_KINDS];
    uint64_t ns[DEADLINE_KINDS];
    struct list_node sending;
    uint64_t send_ns;
} deadlines;

void deadlines_init(const struct server_config *config)
{
    const uint32_t ms[DEADLINE_KINDS] = {
        [DEADLINE_HALF_OPEN] = HALF_OPEN_MS,   [DEADLINE_IDLE] = config->idle_ms,
        [DEADLINE_HEAD] = config->head_ms,     [DEADLINE_BODY] = config->body_ms,
        [DEADLINE_LINGER] = config->linger_ms, [DEADLINE_CLOSING] = CLOSING_MS,
        [DEADLINE_HELD] = config->hold_ms,     [DEADLINE_RESUMING] = config->hold_ms,
    };
    for (unsigned kind = 0; kind < DEADLINE_KINDS; kind++) {
        list_init(&deadlines.waiting[kind]);
        deadlines.ns[kind] = ms[kind] * CLOCK_NS_PER_MS;
    }
    list_init(&deadlines.sending);
    deadlines.send_ns = config->send_ms * CLOCK_NS_PER_MS;
}

void deadlines_start(struct server_conn *conn, enum conn_deadline kind)
{
    conn->deadline = (uint8_t)kind;
    conn->deadline_since_ns = server.ran_ns;
    list_move_to_end(&deadlines.waiting[kind], &conn->deadline_node);
}

void deadlines_become(struct server_conn *conn, enum conn_deadline kind)
{
    conn->deadline = (uint8_t)kind;
    list_move_to_end(&deadlines.waiting[kind], &conn->deadline_node);
}

struct server_conn *deadlines_oldest(enum conn_deadline kind)
{
    const struct list_node *const head = &deadlines.waiting[kind];
    if (list_is_alone(head))
        return NULL;
    return list_entry(head->next, struct server_conn, deadline_node);
}

struct server_conn *deadlines_evictable(void)
{
    struct server_conn *const lingering = deadlines_oldest(DEADLINE_LINGER);
    if (lingering != NULL && !pcb_has_unacknowledged_data(lingering->pcb))
        return lingering;

    const struct list_node *const idle = &deadlines.waiting[DEADLINE_IDLE];
    unsigned left = GIVE_WAY_SEARCH_MAX;
    for (struct list_node *node = idle->next; node != idle && left > 0; node = node->next, left--) {
        struct server_conn *const conn = list_entry(node, struct server_conn, deadline_node);
        if (unread_is_empty(conn))
            return conn;
    }
    return NULL;
}

void deadlines_sending(struct server_conn *conn)
{
    const struct tcp_pcb *const pcb = conn->pcb;
    const struct tcp_seg *const oldest = pcb->unacked != NULL ? pcb->unacked : pcb->unsent;
    /* A handshake has a deadline of its own; a flood of them would hide those that hold much. */
    if (conn->phase == CONN_HALF_OPEN || oldest == NULL)
        return;
    /*
     * Not the octet that is acknowledged: who takes one at a time gives no memory back. Sent again,
     * a segment has the number that it had.
     */
    const uint32_t number = oldest->tcphdr->seqno;
    if (!list_is_alone(&conn->sending_node)) {
        if (conn->oldest_number == number)
            return;
    } else {
        conn->sending_examined_ns = server.ran_ns;
        list_append(&deadlines.sending, &conn->sending_node);
    }
    conn->oldest_number = number;
    conn->progress_ns = server.ran_ns;
}

static bool are_much(const struct tcp_seg *segment, size_t *bytes)
{
    for (; segment != NULL && *bytes < TCP_MSS; segment = segment->next)
        if (!segment_is_kept(segment))
            *bytes += segment->len;
    return *bytes >= TCP_MSS;
}

/*
 * More than an answer to an event or two: blocks whose return would help. When the link is flooded
 * every reader looks slow, also one that was sent 150 bytes and whose ACK waits in a queue.
 */
static bool holds_much(const struct server_conn *conn)
{
    size_t bytes = 0;
    return !unread_is_empty(conn) || are_much(conn->pcb->unacked, &bytes) ||
           are_much(conn->pcb->unsent, &bytes);
}

struct server_conn *deadlines_slowest_reader(uint32_t waited_ms)
{
    const uint64_t waited_ns = waited_ms * CLOCK_NS_PER_MS;
    const uint64_t latest_ns = server.ran_ns < waited_ns ? 0 : server.ran_ns - waited_ns;
    uint64_t since_ns = latest_ns;
    struct server_conn *slowest = NULL;
    bool much = false; /* some that were seen hold much, slow or not: then they alone count */
    unsigned left = SLOWEST_SEARCH_MAX;

    for (struct list_node *node = deadlines.sending.next; node != &deadlines.sending && left > 0;
         node = node->next, left--) {
        struct server_conn *const conn = list_entry(node, struct server_conn, sending_node);
        if (!pcb_has_output(conn->pcb) || (much && !holds_much(conn)))
            continue;
        if (!much && holds_much(conn)) {
            much = true;
            slowest = NULL;
            since_ns = latest_ns;
        }
        if (conn->progress_ns <= since_ns) {
            slowest = conn;
            since_ns = conn->progress_ns;
        }
    }
    return slowest;
}

/* Not one that began in this batch, however short its kind. */
static bool has_passed(const struct server_conn *conn, uint64_t ns)
{
    const uint64_t waited_ns = server.ran_ns - conn->deadline_since_ns;
    return waited_ns > 0 && waited_ns >= ns;
}

/* It starts anew, at the end, with the time of this batch: so each is handed out once a batch. */
struct server_conn *deadlines_next_expired(void)
{
    for (unsigned kind = 0; kind < DEADLINE_KINDS; kind++) {
        struct server_conn *const conn = deadlines_oldest((enum conn_deadline)kind);
        if (conn != NULL && has_passed(conn, deadlines.ns[kind])) {
            deadlines_start(conn, (enum conn_deadline)kind);
            return conn;
        }
    }
    return NULL;
}

struct server_conn *deadlines_next_stuck(void)
{
    while (!list_is_alone(&deadlines.sending)) {
        struct server_conn *const conn =
            list_entry(deadlines.sending.next, struct server_conn, sending_node);
        if (server.ran_ns - conn->sending_examined_ns < EXAMINE_MS * CLOCK_NS_PER_MS)
            break;
        conn->sending_examined_ns = server.ran_ns;
        list_move_to_end(&deadlines.sending, &conn->sending_node);
        if (!pcb_has_output(conn->pcb))
            list_remove(&conn->sending_node);
        else if (server.ran_ns - conn->progress_ns >= deadlines.send_ns)
            return conn;
    }
    return NULL;
}

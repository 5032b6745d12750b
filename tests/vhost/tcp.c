#include "tests/vhost/tcp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vhost/link.h"
#include "tests/vhost/rings.h"

#define PORT_FIRST     1024u
#define PORTS          65536u
#define WINDOW         65535u /* ours: everything is taken at once */
#define MSS_DEFAULT    536u   /* RFC 9293 3.7.1: where the peer's SYN names none */
#define RTO_SYN_NS     500000000ULL
#define RTO_DATA_NS    1000000000ULL
#define ATTEMPTS_MAX   6
#define PUBLISH_FRAMES 16
#define NO_SLOT        UINT32_MAX       /* of a port that was never used */
#define PAST_SLOT      (UINT32_MAX - 1) /* and of one whose connection is over */

enum state {
    FREE,
    OPENING, /* SYN sent, or about to be */
    OPEN,
    FIN_WAIT, /* closed here; the server has not */
    LAST_ACK, /* closed by the server, then here */
    ENDING,   /* both have closed; the last ACK is due */
};

struct connection {
    uint32_t unacknowledged, next; /* of what is sent: SND.UNA, SND.NXT */
    uint32_t expected;             /* RCV.NXT */
    uint16_t port, mss, window;    /* window: the server's, from `unacknowledged` on */
    uint8_t state, attempts;
    bool touched;
    bool ack_due;
    bool peer_closed;     /* its FIN has come */
    uint64_t progress_ns; /* when something was last acknowledged, or first sent */
};

static struct {
    struct connection *connection;
    uint32_t slots;
    uint16_t server_port;
    const struct tcp_handlers *handlers;
    uint32_t *touched; /* a queue of slots, a ring of slots + 1 */
    uint32_t first, last;
    uint32_t slot_of_port[PORTS];
    uint32_t next_port;
    uint64_t now_ns;
    struct tcp_counters counters;
    char first_bad[200];
    uint8_t resend[TCP_SEND_BYTES_MAX];
} tcp;

_Static_assert(TCP_SEND_BYTES_MAX <= LINK_TRAIN_BYTES_MAX, "one frame holds a train");

const struct tcp_counters *tcp_get_counters(void)
{
    return &tcp.counters;
}

const char *tcp_first_bad(void)
{
    return tcp.first_bad;
}

void tcp_init(uint32_t slots, uint16_t server_port, const struct tcp_handlers *handlers)
{
    tcp.connection = calloc(slots, sizeof(*tcp.connection));
    tcp.touched = calloc(slots + 1, sizeof(*tcp.touched));
    if (tcp.connection == NULL || tcp.touched == NULL) {
        fputs("tally-vhost: no memory for the connections\n", stderr);
        exit(2);
    }
    tcp.slots = slots;
    tcp.server_port = server_port;
    tcp.handlers = handlers;
    tcp.next_port = PORT_FIRST;
    for (uint32_t port = 0; port < PORTS; port++)
        tcp.slot_of_port[port] = NO_SLOT;
}

/* ---- turns ---- */

static uint32_t after(uint32_t position)
{
    return position == tcp.slots ? 0 : position + 1;
}

void tcp_touch(uint32_t slot)
{
    if (tcp.connection[slot].touched)
        return;
    tcp.connection[slot].touched = true;
    tcp.touched[tcp.last] = slot;
    tcp.last = after(tcp.last);
}

/* ---- sending ---- */

static bool send_segment(struct connection *connection, uint8_t flags, uint32_t sequence,
                         const uint8_t *bytes, size_t len)
{
    connection->ack_due = false;
    return link_send(&(struct link_segment){.source = connection->port,
                                            .destination = tcp.server_port,
                                            .sequence = sequence,
                                            .acknowledgement = connection->expected,
                                            .window = WINDOW,
                                            .flags = flags,
                                            .bytes = bytes,
                                            .len = len},
                     connection->mss);
}

/* What is lost for want of buffers is found by the timer, like any other loss. */
static unsigned send_bytes(struct connection *connection, uint32_t sequence, const uint8_t *bytes,
                           size_t len)
{
    const size_t whole = link_segment_bytes_max();
    const size_t most = whole > LINK_MSS ? whole : connection->mss;
    unsigned segments = 0;

    for (size_t sent = 0; sent < len; segments++) {
        const size_t part = len - sent < most ? len - sent : most;
        const uint8_t flags = sent + part == len ? LINK_ACK | LINK_PSH : LINK_ACK;
        (void)send_segment(connection, flags, sequence + (uint32_t)sent, bytes + sent, part);
        sent += part;
    }
    return segments;
}

size_t tcp_send_space(uint32_t slot)
{
    const struct connection *const connection = &tcp.connection[slot];
    const size_t in_flight = connection->next - connection->unacknowledged;
    const size_t window = connection->window > in_flight ? connection->window - in_flight : 0;

    if (connection->state != OPEN)
        return 0;
    return window < TCP_SEND_BYTES_MAX ? window : TCP_SEND_BYTES_MAX;
}

/* Restarts the timer if nothing was in flight (RFC 6298 section 5.1). */
static void expect_acknowledgement(struct connection *connection)
{
    if (connection->next == connection->unacknowledged) {
        connection->progress_ns = tcp.now_ns;
        connection->attempts = 0;
    }
}

void tcp_send(uint32_t slot, const uint8_t *bytes, size_t len)
{
    struct connection *const connection = &tcp.connection[slot];

    expect_acknowledgement(connection);
    (void)send_bytes(connection, connection->next, bytes, len);
    connection->next += (uint32_t)len;
}

void tcp_close(uint32_t slot)
{
    struct connection *const connection = &tcp.connection[slot];

    assert(connection->state == OPEN);
    expect_acknowledgement(connection);
    (void)send_segment(connection, LINK_FIN | LINK_ACK, connection->next, NULL, 0);
    connection->next++;
    connection->state = connection->peer_closed ? LAST_ACK : FIN_WAIT;
}

/* ---- opening, closing ---- */

/*
 * The initial sequence number grows by one each 256 ns, so that a port that is used again begins
 * above what its last connection has sent (RFC 6191), unless it is 18 minutes later.
 */
void tcp_open(uint32_t slot, uint64_t now_ns)
{
    struct connection *const connection = &tcp.connection[slot];
    const uint32_t sequence = (uint32_t)(now_ns >> 8);

    assert(connection->state == FREE);
    while (tcp.slot_of_port[tcp.next_port] < PAST_SLOT) /* there are more ports than slots */
        tcp.next_port = tcp.next_port + 1 < PORTS ? tcp.next_port + 1 : PORT_FIRST;
    *connection = (struct connection){.unacknowledged = sequence,
                                      .next = sequence,
                                      .port = (uint16_t)tcp.next_port,
                                      .mss = MSS_DEFAULT,
                                      .state = OPENING,
                                      .touched = connection->touched,
                                      .progress_ns = now_ns};
    tcp.slot_of_port[tcp.next_port] = slot;
    tcp.next_port = tcp.next_port + 1 < PORTS ? tcp.next_port + 1 : PORT_FIRST;
    tcp_touch(slot);
}

static void release(uint32_t slot, enum tcp_end end)
{
    struct connection *const connection = &tcp.connection[slot];

    tcp.slot_of_port[connection->port] = PAST_SLOT;
    connection->state = FREE;
    connection->ack_due = false;
    tcp.handlers->on_closed(slot, end);
}

/* False: no room; the turn is to be had again. */
static bool take_turn(uint32_t slot)
{
    struct connection *const connection = &tcp.connection[slot];

    if (!link_has_space(0))
        return false;
    if (connection->state == OPENING && connection->next == connection->unacknowledged) {
        (void)send_segment(connection, LINK_SYN, connection->next, NULL, 0);
        connection->next++;
    } else if (connection->state == OPEN && !tcp.handlers->on_turn(slot)) {
        return false;
    }
    if (connection->ack_due)
        (void)send_segment(connection, LINK_ACK, connection->next, NULL, 0);
    if (connection->state == ENDING)
        release(slot, TCP_CLOSED);
    return true;
}

bool tcp_turns(uint64_t now_ns)
{
    uint32_t waiting = (tcp.last + tcp.slots + 1 - tcp.first) % (tcp.slots + 1);
    uint64_t published = link_get_counters()->sent_frames;

    tcp.now_ns = now_ns;
    for (; waiting > 0; waiting--) {
        const uint32_t slot = tcp.touched[tcp.first];
        if (!take_turn(slot))
            return false;
        tcp.first = after(tcp.first);
        tcp.connection[slot].touched = false;
        if (link_get_counters()->sent_frames - published >= PUBLISH_FRAMES) {
            rings_publish();
            published = link_get_counters()->sent_frames;
        }
    }
    return true;
}

/* ---- receiving ---- */

/* In [low, high], modulo 2^32. */
static bool within(uint32_t value, uint32_t low, uint32_t high)
{
    return value - low <= high - low;
}

/* The first one is described, for whoever looks for the reason. */
static void bad(uint32_t slot, const struct link_segment *segment)
{
    const struct connection *const c = slot != NO_SLOT ? &tcp.connection[slot] : NULL;

    if (tcp.counters.bad++ == 0)
        snprintf(tcp.first_bad, sizeof tcp.first_bad,
                 "flags 0x%02x, %zu bytes, sequence %u, acknowledgement %u; expected %u, %u to %u, "
                 "state %d",
                 segment->flags, segment->len, segment->sequence, segment->acknowledgement,
                 c != NULL ? c->expected : 0, c != NULL ? c->unacknowledged : 0,
                 c != NULL ? c->next : 0, c != NULL ? c->state : FREE);
    if (slot != NO_SLOT)
        release(slot, TCP_RESET);
}

static void receive_handshake(uint32_t slot, struct connection *connection,
                              const struct link_segment *segment)
{
    if ((segment->flags & (LINK_SYN | LINK_ACK)) != (LINK_SYN | LINK_ACK) ||
        segment->acknowledgement != connection->next || segment->len != 0) {
        bad(slot, segment);
        return;
    }
    connection->state = OPEN;
    connection->unacknowledged = connection->next;
    connection->expected = segment->sequence + 1;
    connection->window = segment->window;
    if (segment->mss != 0)
        connection->mss = segment->mss < LINK_MSS ? segment->mss : LINK_MSS;
    connection->ack_due = true;
    connection->attempts = 0;
    tcp.handlers->on_open(slot);
    tcp_touch(slot);
}

static bool take_acknowledgement(uint32_t slot, struct connection *connection,
                                 const struct link_segment *segment)
{
    if (!within(segment->acknowledgement, connection->unacknowledged, connection->next))
        return within(segment->acknowledgement, connection->unacknowledged - WINDOW,
                      connection->unacknowledged); /* an old one says nothing */
    if (segment->acknowledgement != connection->unacknowledged) {
        connection->unacknowledged = segment->acknowledgement;
        connection->progress_ns = tcp.now_ns;
        connection->attempts = 0;
    }
    if (segment->window > connection->window)
        tcp_touch(slot); /* it may be what was waited for */
    connection->window = segment->window;
    return true;
}

/* Bytes and FIN in order; what was had already is skipped. */
static void take_bytes(uint32_t slot, struct connection *connection,
                       const struct link_segment *segment)
{
    const size_t all = segment->len + ((segment->flags & LINK_FIN) != 0);
    const size_t known = connection->expected - segment->sequence;

    if (all == 0)
        return;
    connection->ack_due = true;
    tcp_touch(slot);
    if ((int32_t)known < 0) {
        tcp.counters.out_of_order++;
        return;
    }
    if (known >= all) {
        tcp.counters.repeated++;
        return;
    }
    connection->expected = segment->sequence + (uint32_t)all;
    if (segment->len > known)
        tcp.handlers->on_bytes(slot, segment->bytes + known, segment->len - known);
    /* on_bytes may not close: the connection is what it was. */
    if ((segment->flags & LINK_FIN) != 0 && !connection->peer_closed) {
        connection->peer_closed = true;
        if (connection->state == OPEN)
            tcp.handlers->on_end_of_stream(slot);
    }
}

static void receive_segment(const struct link_segment *segment)
{
    const uint32_t slot = tcp.slot_of_port[segment->destination];

    if (segment->source != tcp.server_port || slot == NO_SLOT) {
        bad(NO_SLOT, segment);
        return;
    }
    if (slot == PAST_SLOT) { /* a repetition, or a reset, that was under way when it ended */
        tcp.counters.repeated++;
        return;
    }
    struct connection *const connection = &tcp.connection[slot];
    if ((segment->flags & LINK_RST) != 0) {
        /* A FIN repeated to a server that has forgotten the connection: all was said before it. */
        release(slot, connection->state == LAST_ACK ? TCP_CLOSED : TCP_RESET);
        return;
    }
    if (connection->state == OPENING) {
        receive_handshake(slot, connection, segment);
        return;
    }
    if ((segment->flags & (LINK_SYN | LINK_ACK)) != LINK_ACK) {
        if (segment->flags & LINK_SYN) { /* SYN-ACK again: our ACK of it was lost */
            connection->ack_due = true;
            tcp.counters.repeated++;
            tcp_touch(slot);
            return;
        }
        bad(slot, segment);
        return;
    }
    if (!take_acknowledgement(slot, connection, segment)) {
        bad(slot, segment);
        return;
    }
    take_bytes(slot, connection, segment);
    const bool all_acknowledged = connection->unacknowledged == connection->next;
    if (connection->state == LAST_ACK && all_acknowledged) {
        release(slot, TCP_CLOSED);
    } else if (connection->state == FIN_WAIT && all_acknowledged && connection->peer_closed) {
        connection->state = ENDING;
    }
}

bool tcp_receive(uint64_t now_ns, unsigned frames_max)
{
    struct link_segment segment;

    tcp.now_ns = now_ns;
    for (unsigned i = 0; i < frames_max; i++) {
        const enum link_event event = link_receive(&segment);
        if (event == LINK_NOTHING)
            return i > 0;
        if (event == LINK_SEGMENT)
            receive_segment(&segment);
    }
    return true;
}

/* ---- retransmission ---- */

static void retransmit(uint32_t slot, struct connection *connection)
{
    const bool closed = connection->state == FIN_WAIT || connection->state == LAST_ACK;
    const size_t bytes = connection->next - connection->unacknowledged - closed;

    if (connection->state == OPENING) {
        (void)send_segment(connection, LINK_SYN, connection->unacknowledged, NULL, 0);
        tcp.counters.retransmissions++;
        return;
    }
    if (bytes > 0) {
        const size_t made = tcp.handlers->on_resend(slot, tcp.resend);
        assert(made >= bytes);
        tcp.counters.retransmissions +=
            send_bytes(connection, connection->unacknowledged, tcp.resend + (made - bytes), bytes);
    }
    if (closed) {
        (void)send_segment(connection, LINK_FIN | LINK_ACK, connection->next - 1, NULL, 0);
        tcp.counters.retransmissions++;
    }
}

void tcp_timers(uint64_t now_ns)
{
    tcp.now_ns = now_ns;
    for (uint32_t slot = 0; slot < tcp.slots; slot++) {
        struct connection *const connection = &tcp.connection[slot];
        if (connection->state == FREE ||
            (connection->next == connection->unacknowledged && connection->state != FIN_WAIT))
            continue;
        const uint64_t base = connection->state == OPENING ? RTO_SYN_NS : RTO_DATA_NS;
        if (now_ns - connection->progress_ns < base << connection->attempts ||
            !link_has_space(connection->next - connection->unacknowledged))
            continue;
        if (++connection->attempts > ATTEMPTS_MAX) {
            release(slot, TCP_TIMEOUT);
            continue;
        }
        connection->progress_ns = now_ns;
        if (connection->next != connection->unacknowledged)
            retransmit(slot, connection);
    }
}

#include "tests/sim/peer.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"
#include "tests/sim/wire.h"

#define RTO_MS_MAX   3000
#define TRIES_MAX    12
#define SAME_ACKS    3
#define MSS_MIN      536 /* the appliance does not go below (endpoint.c) */
#define SEGMENTS_MAX 64  /* in one go */
#define WINDOW_STEP  1024

static uint8_t frame[FRAME_BYTES_MAX];

/* a - b, as sequence numbers */
static int32_t distance(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* ---- sending segments ---- */

static uint16_t window_now(struct peer *peer)
{
    const uint32_t edge = peer->irs + 1 + (uint32_t)peer->read + peer->options.window;
    if (distance(edge, peer->right_edge) > 0)
        peer->right_edge = edge;
    const int32_t window = distance(peer->right_edge, peer->expected);
    return (uint16_t)(window < 0 ? 0 : window > 65535 ? 65535 : window);
}

static void send(struct peer *peer, uint8_t flags, uint32_t number, const uint8_t *data, size_t len)
{
    if (peer->vanished)
        return;
    struct segment segment = {
        .address = peer->options.address,
        .port = peer->options.port,
        .server_port = FRAME_SERVER_PORT,
        .number = number,
        .ack = (flags & FLAG_ACK) != 0 ? peer->expected : 0,
        .window = (flags & FLAG_ACK) != 0 ? window_now(peer) : peer->options.window,
        .mss = (flags & FLAG_SYN) != 0 ? peer->options.mss : 0,
        .flags = flags,
        .data = data,
        .len = len,
    };
    if ((flags & FLAG_ACK) != 0)
        peer->ack_due_ns = 0;
    sim_trace("  %u > %#x seq %u ack %u win %u len %zu", segment.port, flags,
              number - peer->options.iss, segment.ack - peer->irs, segment.window, len);
    wire_send(WIRE_TO_SERVER, frame, frame_of_segment(&segment, frame));
}

static void send_ack(struct peer *peer)
{
    send(peer, FLAG_ACK, peer->next, NULL, 0);
}

static void start_timer(struct peer *peer)
{
    if (peer->rto_due_ns == 0)
        peer->rto_due_ns = sim_now() + peer->rto_ms * SIM_MS;
}

/* What of the stream lies at peer->next. */
static size_t left_to_send(const struct peer *peer)
{
    const size_t offset = peer->next - peer->options.iss - 1;
    return offset < peer->out_len ? peer->out_len - offset : 0;
}

static bool fin_is_due(const struct peer *peer)
{
    return peer->fin_queued && peer->next - peer->options.iss - 1 == peer->out_len;
}

static void advance(struct peer *peer, size_t len)
{
    peer->next += (uint32_t)len;
    if (distance(peer->next, peer->max) > 0)
        peer->max = peer->next;
    start_timer(peer);
}

/* One segment of at most `room` octets. */
static void send_segment(struct peer *peer, size_t room)
{
    const size_t offset = peer->next - peer->options.iss - 1;
    const size_t left = left_to_send(peer);
    size_t len = left < room ? left : room;
    if (len > peer->options.segment_max)
        len = peer->options.segment_max;
    const bool fin = peer->fin_queued && len == left && (len < room || len == 0);
    const uint8_t flags =
        (uint8_t)(FLAG_ACK | (fin ? FLAG_FIN : 0) | (len > 0 && len == left ? FLAG_PSH : 0));
    send(peer, flags, peer->next, peer->out + offset, len);
    advance(peer, len + fin);
}

/* Octets that may be under way. */
static uint32_t flight_limit(const struct peer *peer)
{
    if (peer->options.overruns || peer->send_window > peer->options.flight_max)
        return peer->options.flight_max;
    return peer->send_window;
}

static void send_stream(struct peer *peer)
{
    const uint32_t most = flight_limit(peer);
    for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
        const uint32_t flight = peer->next - peer->una;
        if (left_to_send(peer) > 0) {
            if (flight >= most)
                break;
            send_segment(peer, most - flight);
        } else if (fin_is_due(peer)) {
            send_segment(peer, 0);
        } else {
            break;
        }
    }
    /* A window that is closed is probed by the same timer. */
    if (peer->una != peer->next || left_to_send(peer) > 0)
        start_timer(peer);
}

static void end(struct peer *peer, enum peer_end how)
{
    peer->state = PEER_OVER;
    peer->end = how;
    peer->rto_due_ns = 0;
    peer->ack_due_ns = 0;
    sim_trace("  %u is over: %d", peer->options.port, how);
}

static void time_out(struct peer *peer)
{
    if (++peer->tries > TRIES_MAX) {
        end(peer, PEER_GAVE_UP);
        return;
    }
    peer->rto_ms = peer->rto_ms * 2 < RTO_MS_MAX ? peer->rto_ms * 2 : RTO_MS_MAX;
    peer->rto_due_ns = 0;
    if (peer->state == PEER_SYN_SENT) {
        send(peer, FLAG_SYN, peer->options.iss, NULL, 0);
        start_timer(peer);
        return;
    }
    /*
     * All again from the first that is missing, cut as it may be; into a closed window, an octet.
     */
    peer->next = peer->una;
    const uint32_t flight = flight_limit(peer);
    send_segment(peer, flight > 0 ? flight : 1);
}

/* ---- the application's side ---- */

void peer_open(struct peer *peer, const struct peer_options *options)
{
    *peer = (struct peer){.options = *options, .state = PEER_SYN_SENT, .rto_ms = options->rto_ms};
    peer->una = options->iss;
    peer->next = peer->max = options->iss + 1;
    send(peer, FLAG_SYN, options->iss, NULL, 0);
    start_timer(peer);
}

void peer_free(struct peer *peer)
{
    free(peer->out);
    free(peer->in);
    free(peer->present);
    *peer = (struct peer){.state = PEER_IDLE};
}

static void *grow(void *bytes, size_t *room, size_t wanted)
{
    size_t new_room = *room == 0 ? 4096 : *room;
    while (new_room < wanted)
        new_room *= 2;
    uint8_t *const grown = realloc(bytes, new_room);
    SIM_CHECK(grown != NULL, "the simulator is out of memory");
    memset(grown + *room, 0, new_room - *room);
    *room = new_room;
    return grown;
}

void peer_write(struct peer *peer, const void *bytes, size_t len)
{
    if (peer->out_len + len > peer->out_room)
        peer->out = grow(peer->out, &peer->out_room, peer->out_len + len);
    memcpy(peer->out + peer->out_len, bytes, len);
    peer->out_len += len;
}

void peer_write_fin(struct peer *peer)
{
    peer->fin_queued = true;
}

void peer_abort(struct peer *peer)
{
    if (peer->state == PEER_OPEN)
        send(peer, FLAG_RST | FLAG_ACK, peer->next, NULL, 0);
    end(peer, PEER_LEFT);
}

void peer_vanish(struct peer *peer)
{
    peer->vanished = true;
    end(peer, PEER_LEFT);
}

size_t peer_received(const struct peer *peer)
{
    if (peer->in == NULL)
        return 0;
    return peer->expected - peer->irs - 1 - peer->fin_taken;
}

bool peer_fin_is_acknowledged(const struct peer *peer)
{
    return peer->fin_queued && peer->una - peer->options.iss == (uint32_t)peer->out_len + 2;
}

size_t peer_sent(const struct peer *peer)
{
    const size_t sent = peer->max - peer->options.iss - 1;
    return sent < peer->out_len ? sent : peer->out_len;
}

/* RFC 9293 section 3.8.6.2.2: a window opens by a segment or by half of itself, or not at all. */
void peer_read(struct peer *peer, size_t up_to)
{
    peer->read = up_to;
    if (peer->state != PEER_OPEN || peer->fin_taken)
        return;
    if (peer->options.silent_window)
        return;
    const int32_t half = (peer->options.window + 1) / 2;
    const int32_t step = half < WINDOW_STEP ? half : WINDOW_STEP;
    const uint32_t edge = peer->irs + 1 + (uint32_t)peer->read + peer->options.window;
    if (distance(peer->right_edge, peer->expected) < step &&
        distance(edge, peer->right_edge) >= step)
        send_ack(peer);
}

/* ---- receiving ---- */

static void acknowledge(struct peer *peer, bool now)
{
    if (now || peer->options.ack_delay_ms == 0 || peer->ack_due_ns != 0)
        send_ack(peer);
    else
        peer->ack_due_ns = sim_now() + peer->options.ack_delay_ms * SIM_MS;
}

static void take_syn_ack(struct peer *peer, const struct segment *segment)
{
    const bool acceptable =
        (segment->flags & FLAG_ACK) != 0 && segment->ack == peer->options.iss + 1;
    if ((segment->flags & FLAG_ACK) != 0 && !acceptable) {
        peer_refuse_stray(segment);
        return;
    }
    if ((segment->flags & FLAG_RST) != 0) {
        if (acceptable)
            end(peer, PEER_RESET);
        return;
    }
    if ((segment->flags & FLAG_SYN) == 0 || !acceptable)
        return;
    SIM_CHECK(segment->mss != 0 && segment->mss <= 1460, "an MSS of %u", segment->mss);
    SIM_CHECK(segment->len == 0, "a SYN with data");
    peer->state = PEER_OPEN;
    peer->irs = segment->number;
    peer->expected = segment->number + 1;
    peer->right_edge = peer->expected;
    peer->una = segment->ack;
    peer->send_window = segment->window;
    peer->window_number = segment->number;
    peer->window_ack = segment->ack;
    peer->rto_due_ns = 0;
    peer->rto_ms = peer->options.rto_ms;
    peer->tries = 0;
    if (peer->options.segment_max <= 1460 && peer->options.segment_max > segment->mss)
        peer->options.segment_max = segment->mss;
    sim_shared->connections++;
    send_ack(peer);
}

static void take_ack(struct peer *peer, const struct segment *segment)
{
    if (distance(segment->ack, peer->max) > 0) {
        SIM_CHECK(peer->options.number_reused, "port %u: octets acknowledged that were never sent",
                  peer->options.port);
        return;
    }
    if (distance(segment->ack, peer->una) < 0)
        return;
    const uint32_t window_before = peer->send_window;
    if (distance(segment->number, peer->window_number) > 0 ||
        (segment->number == peer->window_number && distance(segment->ack, peer->window_ack) >= 0)) {
        peer->send_window = segment->window;
        peer->window_number = segment->number;
        peer->window_ack = segment->ack;
    }
    if (segment->ack != peer->una) {
        peer->una = segment->ack;
        if (distance(peer->next, peer->una) < 0)
            peer->next = peer->una;
        peer->rto_due_ns = 0;
        peer->rto_ms = peer->options.rto_ms;
        peer->tries = 0;
        peer->same_acks = 0;
    } else if (segment->len == 0 && peer->una != peer->next && segment->window == window_before &&
               ++peer->same_acks == SAME_ACKS) {
        peer->next = peer->una;
        send_segment(peer, peer->send_window > 0 ? peer->send_window : 1);
        peer->next = peer->max;
    }
    /* A peer that answers our probes of its window lives, however long it is closed. */
    if (peer->send_window == 0)
        peer->tries = 0;
}

/* Puts octets in their place; those that were there already must be the same. */
static void store(struct peer *peer, size_t offset, const uint8_t *data, size_t len)
{
    if (offset + len > peer->in_room) {
        size_t room = peer->in_room;
        peer->in = grow(peer->in, &room, offset + len);
        peer->present = grow(peer->present, &peer->in_room, offset + len);
    }
    for (size_t i = 0; i < len; i++) {
        SIM_CHECK(peer->present[offset + i] == 0 || peer->in[offset + i] == data[i],
                  "port %u: octet %zu was sent again as another", peer->options.port, offset + i);
        peer->in[offset + i] = data[i];
        peer->present[offset + i] = 1;
    }
}

static void check_data(const struct peer *peer, const struct segment *segment)
{
    const uint32_t most = peer->options.mss < MSS_MIN ? MSS_MIN : peer->options.mss;
    SIM_CHECK(segment->len <= most, "port %u: %zu octets in a segment, MSS %u", peer->options.port,
              segment->len, peer->options.mss);
    /*
     * A window that comes with data sent again does not count (RFC 9293 section 3.10.7.4: SND.WL1),
     * so the appliance may believe in an old one.
     */
    if (!profile.orderly)
        return;
    /* One octet beyond is a probe of the window. */
    const int32_t beyond = distance(segment->number + (uint32_t)segment->len, peer->right_edge);
    SIM_CHECK(beyond <= 0 || (segment->len == 1 && beyond == 1),
              "port %u: %d octets beyond the window", peer->options.port, beyond);
}

static bool take_data(struct peer *peer, const struct segment *segment)
{
    const int32_t offset = distance(segment->number, peer->irs + 1);
    const uint32_t number = segment->number + (uint32_t)segment->len;
    const uint32_t before = peer->expected;
    if (offset < 0 || distance(segment->number, peer->expected) > 70000)
        return false;
    if (peer->options.silent_window)
        (void)window_now(peer);
    if (!peer->options.number_reused)
        check_data(peer, segment);
    const bool in_order = distance(segment->number, peer->expected) <= 0;
    if (!in_order && !peer->options.keeps_out_of_order)
        return false;
    int32_t room = distance(peer->right_edge, segment->number);
    if (room > 0)
        store(peer, (size_t)offset, segment->data,
              (size_t)room < segment->len ? (size_t)room : segment->len);
    if ((segment->flags & FLAG_FIN) != 0 && room >= (int32_t)segment->len) {
        SIM_CHECK(!peer->fin_known || peer->fin_number == number, "port %u: two ends of the stream",
                  peer->options.port);
        peer->fin_known = true;
        peer->fin_number = number;
    }
    if (peer->fin_taken) {
        SIM_CHECK(distance(number, peer->fin_number) <= 0, "port %u: octets after the end",
                  peer->options.port);
        return false;
    }
    size_t at = peer->expected - peer->irs - 1;
    while (at < peer->in_room && peer->present[at] != 0)
        at++;
    peer->expected = peer->irs + 1 + (uint32_t)at;
    if (peer->fin_known && peer->expected == peer->fin_number) {
        peer->fin_taken = true;
        peer->expected++;
    }
    return in_order && peer->expected != before;
}

static void take_late(struct peer *peer, const struct segment *segment)
{
    if (peer->end == PEER_CLOSED && (segment->flags & FLAG_RST) == 0 &&
        (segment->len > 0 || (segment->flags & (FLAG_FIN | FLAG_SYN)) != 0))
        send(peer, FLAG_ACK, peer->max, NULL, 0);
}

static void take_segment(struct peer *peer, const struct segment *segment)
{
    if ((segment->flags & FLAG_RST) != 0) {
        if (distance(segment->number, peer->expected) >= 0 &&
            distance(segment->number, peer->right_edge) <= 0)
            end(peer, PEER_RESET);
        return;
    }
    if ((segment->flags & FLAG_SYN) != 0) {
        send_ack(peer); /* RFC 5961 section 4.2 */
        return;
    }
    SIM_CHECK((segment->flags & FLAG_ACK) != 0, "port %u: a segment without ACK",
              peer->options.port);
    take_ack(peer, segment);
    if (segment->len > 0 || (segment->flags & FLAG_FIN) != 0) {
        const bool good = take_data(peer, segment);
        acknowledge(peer, !good || peer->fin_taken);
    }
    if (peer->fin_taken && peer_fin_is_acknowledged(peer))
        end(peer, PEER_CLOSED);
}

void peer_input(struct peer *peer, const struct segment *segment)
{
    if (peer->vanished)
        return;
    sim_trace("  %u < %#x seq %u ack %u win %u len %zu", segment->port, segment->flags,
              segment->number - peer->irs, segment->ack - peer->options.iss, segment->window,
              segment->len);
    switch (peer->state) {
    case PEER_SYN_SENT:
        take_syn_ack(peer, segment);
        break;
    case PEER_OPEN:
        take_segment(peer, segment);
        break;
    case PEER_OVER:
        take_late(peer, segment);
        break;
    case PEER_IDLE:
        break;
    }
}

void peer_run(struct peer *peer)
{
    if (peer->state == PEER_OPEN)
        send_stream(peer);
    if (peer->rto_due_ns != 0 && peer->rto_due_ns <= sim_now())
        time_out(peer);
    if (peer->ack_due_ns != 0 && peer->ack_due_ns <= sim_now())
        send_ack(peer);
}

uint64_t peer_next_ns(const struct peer *peer)
{
    uint64_t next_ns = UINT64_MAX;
    if (peer->rto_due_ns != 0)
        next_ns = peer->rto_due_ns;
    if (peer->ack_due_ns != 0 && peer->ack_due_ns < next_ns)
        next_ns = peer->ack_due_ns;
    return next_ns;
}

void peer_refuse_stray(const struct segment *stray)
{
    if (!profile.strays_are_reset || (stray->flags & FLAG_RST) != 0)
        return;
    struct segment reset = {.address = stray->address,
                            .port = stray->port,
                            .server_port = stray->server_port,
                            .flags = FLAG_RST};
    if ((stray->flags & FLAG_ACK) != 0) {
        reset.number = stray->ack;
    } else {
        reset.flags |= FLAG_ACK;
        reset.ack = stray->number + (uint32_t)stray->len +
                    ((stray->flags & (FLAG_SYN | FLAG_FIN)) != 0 ? 1 : 0);
    }
    wire_send(WIRE_TO_SERVER, frame, frame_of_segment(&reset, frame));
}

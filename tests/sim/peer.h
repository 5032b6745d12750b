/*
 * A TCP client, compact but right: RFC 9293 with retransmission (RFC 6298's timer without its
 * measurement, RFC 5681's fast retransmit), reassembly, window probes. What it may do at will
 * (how it cuts segments, how large its window is, when it acknowledges) is in its options.
 *
 * It keeps both streams whole, so it can see whether an octet that the appliance sends again is
 * still the same. It holds the appliance to the rules of TCP; what breaks them is a violation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/frame.h"

enum peer_state { PEER_IDLE, PEER_SYN_SENT, PEER_OPEN, PEER_OVER };

enum peer_end {
    PEER_CLOSED,  /* both sides, in order; still acknowledges what comes late */
    PEER_RESET,   /* by the appliance, or before there was a connection */
    PEER_GAVE_UP, /* sent the same again too often */
    PEER_LEFT,    /* peer_abort() or peer_vanish() */
};

struct peer_options {
    uint32_t address, iss;
    uint16_t port, mss; /* mss 0: no option */
    uint16_t window;
    uint32_t segment_max;
    uint32_t flight_max; /* bytes under way */
    uint32_t rto_ms;
    uint32_t ack_delay_ms; /* 0: at once */
    bool keeps_out_of_order;
    bool overruns;      /* does not mind the appliance's window */
    bool silent_window; /* opens its window without saying so */
    bool number_reused; /* the address and port had a connection before: late segments may come */
};

struct peer {
    struct peer_options options;
    enum peer_state state;
    enum peer_end end;
    bool vanished; /* sends nothing any more */

    /* Sending. `out` is the whole stream, as far as it was written. */
    uint8_t *out;
    size_t out_len, out_room;
    bool fin_queued;
    uint32_t una, next, max; /* sequence numbers: not acknowledged, to be sent, sent at most */
    uint32_t send_window, window_number, window_ack;
    uint64_t rto_due_ns; /* 0: not running */
    uint32_t rto_ms, tries, same_acks;

    /* Receiving. `in` is the whole stream; `present` says which octets there are. */
    uint8_t *in, *present;
    size_t in_room;
    uint32_t irs, expected, right_edge; /* right_edge: the most that was ever announced */
    size_t read;                        /* octets that the application has taken */
    bool fin_known, fin_taken;
    uint32_t fin_number;
    uint64_t ack_due_ns; /* 0: none */
};

/* Everything but peer_input() and peer_run() may be called in any state. */
void peer_open(struct peer *peer, const struct peer_options *options);
void peer_free(struct peer *peer);

void peer_write(struct peer *peer, const void *bytes, size_t len);
void peer_write_fin(struct peer *peer);
void peer_abort(struct peer *peer);  /* sends a RST */
void peer_vanish(struct peer *peer); /* sends nothing */

/* Octets in order that have arrived since the beginning. */
size_t peer_received(const struct peer *peer);

/* Octets of `out` that have been sent at least once. */
size_t peer_sent(const struct peer *peer);

/* The appliance has all of `out`, and the FIN behind it. */
bool peer_fin_is_acknowledged(const struct peer *peer);

/* The application takes octets up to so many in all: the window moves on. */
void peer_read(struct peer *peer, size_t up_to);

void peer_input(struct peer *peer, const struct segment *segment);

/* Sends what may be sent, and does what is due. */
void peer_run(struct peer *peer);

/* UINT64_MAX: nothing will be due without an input. */
uint64_t peer_next_ns(const struct peer *peer);

/* Answers a segment that belongs to no connection (RFC 9293 section 3.10.7.1). */
void peer_refuse_stray(const struct segment *segment);

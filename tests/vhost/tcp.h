/*
 * TCP as a client of one server over a wire of memory (RFC 9293, the part that is needed): active
 * opens, data in order both ways, acknowledgements that ride on the next request, retransmission
 * by a timer, both orders of closing.
 *
 * Sent bytes are not kept. What is unacknowledged can be made again by the owner, who knows which
 * requests are unanswered: on_resend. There is no congestion control, because the only queue on the
 * way is the guest's receive ring, and who sends looks at its space first. What arrives out of
 * order is dropped and counted: nothing but a fault of the guest or a lost frame makes it.
 *
 * A connection is a slot, 0 to slots - 1. Its handlers may call tcp_send() and its like only from
 * on_turn, which each connection touched gets once after a batch of received frames.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tcp_end {
    TCP_CLOSED,  /* both sides have closed, in whatever order */
    TCP_RESET,   /* the server reset it, or broke the protocol */
    TCP_TIMEOUT, /* retransmitted in vain */
};

struct tcp_handlers {
    void (*on_open)(uint32_t slot);
    void (*on_bytes)(uint32_t slot, const uint8_t *bytes, size_t len);
    /* The server will send no more. on_turn follows: tcp_close() if all is said. */
    void (*on_end_of_stream)(uint32_t slot);
    /* Time to send; if nothing is, a due acknowledgement goes out alone. False: try again. */
    bool (*on_turn)(uint32_t slot);
    /* Writes the end of what was sent, from an unanswered request on; returns how much it is. */
    size_t (*on_resend)(uint32_t slot, uint8_t *out);
    /* The slot is free. May open it again. */
    void (*on_closed)(uint32_t slot, enum tcp_end end);
};

struct tcp_counters {
    uint64_t retransmissions; /* segments sent again, SYN and FIN included */
    uint64_t repeated; /* received segments that held nothing new: the guest's retransmissions */
    uint64_t out_of_order; /* received segments that left a gap */
    uint64_t bad;          /* for no connection, or outside of what TCP allows */
};

/* on_resend and tcp_send() use at most this much. */
#define TCP_SEND_BYTES_MAX 65160

void tcp_init(uint32_t slots, uint16_t server_port, const struct tcp_handlers *handlers);

/* Takes up to `frames_max` frames. True if there was any. `now_ns` is the time of this turn. */
bool tcp_receive(uint64_t now_ns, unsigned frames_max);

/* Gives its turn to each connection touched. False: the guest's ring is full, some still wait. */
bool tcp_turns(uint64_t now_ns);

/* Retransmits what is due. Walks all slots: every 50 ms will do. */
void tcp_timers(uint64_t now_ns);

/* Opens a slot that is free, from the next unused port: the SYN leaves with its turn. */
void tcp_open(uint32_t slot, uint64_t now_ns);

/* Bytes that the server's window takes; 0 unless the connection is open. */
size_t tcp_send_space(uint32_t slot);

/* Sends the bytes; len <= tcp_send_space(). Look at link_has_space() first, or they may be lost. */
void tcp_send(uint32_t slot, const uint8_t *bytes, size_t len);

/* Sends FIN. on_closed follows. */
void tcp_close(uint32_t slot);

/* Asks for a turn. */
void tcp_touch(uint32_t slot);

const struct tcp_counters *tcp_get_counters(void);

/* The first of the bad segments, described; "" if there was none. */
const char *tcp_first_bad(void);

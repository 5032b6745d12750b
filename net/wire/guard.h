/*
 * What may come in: every received frame is checked here before lwIP sees it. lwIP 2.2.1 trusts
 * lengths that it should not (ARP frames shorter than ARP, TCP options cut off by the end of the
 * segment, UDP lengths beyond the datagram); with what this lets pass it cannot read past an end.
 *
 * Refused too: what this machine never answers. That is other protocols' and other VLANs' frames,
 * fragments, IP options, packets that claim to come from ourselves or from 127/8, packets for us
 * alone in a frame to all, and segments with flags that contradict each other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum guard_kind {
    GUARD_REFUSED,
    GUARD_TAGGED, /* 802.1Q with VLAN ID 0: a priority and nothing else; see GUARD_TAG_BYTES */
    GUARD_ARP,
    GUARD_IP,      /* for lwIP to judge */
    GUARD_SEGMENT, /* TCP, to our address; `segment` is valid */
};

struct guard_segment {
    uint32_t source; /* network byte order */
    uint32_t number; /* of the segment's first octet; host byte order, like what follows */
    uint32_t ack;
    uint16_t source_port, port, window;
    uint8_t flags; /* TCP_FIN and its like, of lwip/prot/tcp.h */
};

struct guard_frame {
    uint32_t payload_len; /* after the Ethernet header, without padding */
    struct guard_segment segment;
};

/*
 * A tag lies between the addresses and the type. Without it the frame means what it meant, and is
 * to be checked again.
 */
#define GUARD_TAG_BYTES 4

/* Our own addresses, as they are in a header. */
struct guard_self {
    uint8_t mac[6];
    uint32_t address; /* 0 while there is none */
};

/*
 * Looks at a frame of `total_len` bytes, of which the first `len` lie at `bytes`. All headers MUST
 * lie there: a frame that is cut within them is refused.
 */
enum guard_kind guard_check(const struct guard_self *self, const uint8_t *bytes, size_t len,
                            size_t total_len, struct guard_frame *frame);

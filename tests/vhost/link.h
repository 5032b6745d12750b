/*
 * Ethernet, ARP and IPv4 under the client: TCP segments out of and into the guest's frames.
 *
 * Every frame that the guest sends is checked (virtio header, Ethernet, IPv4 header and its
 * checksum, TCP header, TCP's checksum or what stands for it while it is left to the device). One
 * that is not sane is a finding: it is counted, and the first is described.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_FIN 0x01
#define LINK_SYN 0x02
#define LINK_RST 0x04
#define LINK_PSH 0x08
#define LINK_ACK 0x10

#define LINK_MSS 1460 /* an MTU of 1,500 */
/* What one frame carries at most when the guest takes trains (GUEST_TSO4). */
#define LINK_TRAIN_BYTES_MAX 65160

struct link_segment {
    uint16_t source, destination; /* ports; host byte order, like all here */
    uint32_t sequence, acknowledgement;
    uint16_t window;
    uint16_t
        mss; /* received: of a SYN, 0 if there is none. Sent: with LINK_SYN, LINK_MSS goes out */
    uint8_t flags;        /* LINK_… */
    const uint8_t *bytes; /* received: valid until the next link_receive() */
    size_t len;
};

struct link_counters {
    uint64_t received_frames, received_bytes, sent_frames, sent_bytes;
    uint64_t trains;     /* frames sent that were larger than the MSS */
    uint64_t insane;     /* frames of the guest that are malformed */
    uint64_t not_for_us; /* good, but of no use here: broadcasts of other protocols, … */
    uint64_t ring_full;  /* frames that were lost for want of the guest's buffers */
};

/* Addresses in host byte order. `features` are those that the guest has accepted. */
void link_init(uint32_t own_address, uint32_t guest_address);
void link_set_features(uint64_t features);

/* Asks for the guest's Ethernet address. True once it is known. */
bool link_resolve(void);

/*
 * Takes the next frame of the guest, if there is one. A segment for this client fills in
 * *segment; what else came is handled here.
 */
enum link_event { LINK_NOTHING, LINK_SEGMENT, LINK_OTHER };
enum link_event link_receive(struct link_segment *segment);

/* The most that a segment may carry: the MSS, or a train. */
size_t link_segment_bytes_max(void);

/* True if the guest has buffers for a segment of so many bytes. */
bool link_has_space(size_t len);

/* False: the guest has no buffers, and the segment is lost. `mss` is the peer's. */
bool link_send(const struct link_segment *segment, uint16_t mss);

const struct link_counters *link_get_counters(void);

/* What was wrong with the first insane frame; "" if there was none. */
const char *link_insanity(void);

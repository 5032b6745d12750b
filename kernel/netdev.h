/*
 * The face that the machine shows to net/: one polled Ethernet device, time, random bytes, a log.
 *
 *     virtio_net.c   the device below
 *     clock.c        clock_ns(), clock_wall()
 *     entropy.c      entropy_fill(), entropy_u32()
 *     log.c          log_info() and its like
 *
 * net/ includes this header and nothing else of kernel/. Tests, the simulator and the native
 * benchmark put another implementation behind the same names.
 *
 * Nothing happens outside of these calls: the device's interrupts do no more than end a sleep. They
 * MUST NOT be made from more than one core. No call blocks, none allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/plat/entropy.h"
#include "kernel/plat/log.h"
#include "kernel/time/clock.h"

#define ETHERNET_BYTES 14 /* of a frame's header: two addresses and a type */

/* ---- what the device is; constant after netdev_init() but for the link ---- */

struct netdev_info {
    uint8_t mac[6];
    uint16_t mtu_bytes;       /* largest IP packet, without the Ethernet header */
    uint16_t receive_buffers; /* of the ring: who holds them all receives nothing any more */
    bool transmit_checksum;   /* the device fills in TCP and UDP checksums on request (CSUM) */
    bool receive_checksum; /* the device may vouch for checksums of received frames (GUEST_CSUM) */
};

const struct netdev_info *netdev_get_info(void);

/*
 * False while the device says that it has no link (VIRTIO_NET_S_LINK_UP), or does not work; read,
 * not cached. A device that broke its contract is reset here as well as in netdev_receive(), so
 * MUST be asked for its link now and then: who waits for descriptors does not receive. The reading
 * is several VM exits. Once a second is often enough while frames come.
 */
bool netdev_link_is_up(void);

/* ---- receiving ---- */

/*
 * A run of bytes that the device has written, in one piece of memory. A frame is one or more
 * pieces. Ring buffers that lie one after another in memory are given as one piece: a 64 KiB train
 * (GUEST_TSO4 with MRG_RXBUF) is one or two pieces, not sixteen.
 *
 * The bytes are writable by the receiver, and NETDEV_HEADROOM_BYTES before the first piece of a
 * frame are too. They stay valid until netdev_recycle().
 */
struct netdev_piece {
    uint8_t *bytes;
    uint32_t len;
    uint16_t ring_first; /* for netdev_recycle() only */
    uint16_t ring_count; /* of receive_buffers */
    bool more;           /* the next piece goes on with the same frame */
    bool checksum_valid; /* TCP/UDP checksum verified, or known good and not filled in; set on the
                            first piece of a frame, means the whole frame */
};

#define NETDEV_PIECES_MAX 64 /* the most that one frame can have */

/*
 * Takes received frames from the ring: whole frames only, in the order of their arrival. Returns
 * the number of pieces; 0 when nothing has come. pieces_max MUST be at least NETDEV_PIECES_MAX. A
 * frame that is malformed at this level (a length that the device cannot have written, an id it
 * does not own) is dropped and counted, and never reaches the caller.
 */
size_t netdev_receive(struct netdev_piece *pieces, size_t pieces_max);

/* Gives the piece's buffers back to the ring. The device sees them at the next netdev_flush(). */
void netdev_recycle(const struct netdev_piece *piece);

/* ---- before a sleep ---- */

/*
 * From now on the device interrupts when a frame comes, until netdev_disarm(). What came before, it
 * may have said nothing of. So look again before the sleep: netdev_is_quiet(). False, and nothing
 * done: it has no interrupts, or does not work.
 */
__attribute__((warn_unused_result)) bool netdev_arm(void);

/* True if nothing waits to be received. After netdev_arm(). */
bool netdev_is_quiet(void);

void netdev_disarm(void);

/* ---- transmitting ---- */

/* The driver writes its header here, before the first byte of a frame's first buffer. */
#define NETDEV_HEADROOM_BYTES       12

#define NETDEV_TRANSMIT_BUFFERS_MAX 8

struct netdev_buffer {
    const uint8_t *bytes;
    uint32_t len;
};

struct netdev_frame {
    struct netdev_buffer buffers[NETDEV_TRANSMIT_BUFFERS_MAX];
    uint16_t buffer_count; /* 1 to NETDEV_TRANSMIT_BUFFERS_MAX */
    /*
     * With checksum_start not 0 the device sums the frame from that offset to its end and stores
     * the result checksum_offset bytes after it; the field there MUST hold the pseudo-header's sum,
     * not complemented. Only where netdev_info says transmit_checksum.
     */
    uint16_t checksum_start;
    uint16_t checksum_offset;
    void *token; /* comes back from netdev_transmitted(); not NULL */
};

/* Descriptors free: a frame takes one for each of its buffers. Counts what has been reaped only. */
size_t netdev_transmit_space(void);

/*
 * Queues a frame; buffer_count MUST NOT exceed netdev_transmit_space(). The buffers belong to the
 * device until the token comes back. NETDEV_HEADROOM_BYTES before buffers[0].bytes are overwritten.
 * The driver may publish what is queued early (every 16 frames or so); netdev_flush() publishes the
 * rest.
 */
void netdev_transmit(const struct netdev_frame *frame);

/* Reaps frames that the device is done with: writes their tokens, returns how many (<= max). */
size_t netdev_transmitted(void **tokens, size_t max);

/* ---- both ---- */

/* Publishes queued frames and recycled buffers, and kicks the device where it asks for it. */
void netdev_flush(void);

/* What the driver has counted since boot. */
struct netdev_counters {
    uint64_t received_frames, received_bytes;
    uint64_t transmitted_frames, transmitted_bytes;
    uint64_t receive_dropped; /* frames refused at this level */
    uint64_t kicks;
    uint64_t resets; /* times the device broke its contract and was reset */
};

const struct netdev_counters *netdev_get_counters(void);

/*
 * Both split virtqueues of the guest's network device (virtio 1.2, 2.7 and 5.1.6), device's side,
 * polled: the guest is told not to kick, and is interrupted only where it asks for it.
 *
 * Frames are copied out of and into the guest's memory whole, so that what was checked is what is
 * used, and the callers see neither descriptors nor rings. What the guest offers is checked; an
 * impossible descriptor makes a fault, after which nothing moves.
 *
 * vhost_user.c sets them up, in the words of its protocol.
 */
#pragma once

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rings_index {
    RINGS_TO_GUEST = 0,   /* the guest's receiveq1 */
    RINGS_FROM_GUEST = 1, /* its transmitq1 */
    RINGS_COUNT
};

#define RINGS_FRAME_BYTES_MAX 65550 /* 64 KiB - 1 of IP, and Ethernet's header */

/* ---- moving frames ---- */

/* True once both rings are started and enabled, and none is at fault. */
bool rings_are_running(void);

/* What the guest did that it must not; NULL while it has not. */
const char *rings_fault(void);

/*
 * Copies the next frame that the guest has sent to `bytes` (RINGS_FRAME_BYTES_MAX long); returns
 * its length, 0 if there is none. At least an Ethernet header comes, or nothing.
 */
size_t rings_receive(struct virtio_net_hdr_mrg_rxbuf *header, uint8_t *bytes);

/* Buffers that the guest has offered for receiving and that are not used yet. */
uint16_t rings_space(void);

struct rings_piece {
    const void *bytes;
    size_t len;
};

/*
 * Gives the guest a frame, put together of pieces. header->num_buffers is filled in. False: the
 * guest's buffers do not suffice just now, or there is a fault; nothing was given.
 */
__attribute__((warn_unused_result)) bool rings_send(struct virtio_net_hdr_mrg_rxbuf *header,
                                                    const struct rings_piece *pieces, size_t count);

/* Lets the guest see what was received and sent since the last call. */
void rings_publish(void);

/* ---- setting up ---- */

/* The features that the guest has accepted: EVENT_IDX and MRG_RXBUF matter here. */
void rings_set_features(uint64_t features);

__attribute__((warn_unused_result)) bool rings_set_size(uint32_t index, uint32_t size);
/* Addresses of the front end's process. Translated at the start, and again by rings_remap(). */
__attribute__((warn_unused_result)) bool rings_set_addresses(uint32_t index, uint64_t desc,
                                                             uint64_t avail, uint64_t used);
__attribute__((warn_unused_result)) bool rings_set_base(uint32_t index, uint32_t base);
__attribute__((warn_unused_result)) bool rings_set_enabled(uint32_t index, bool enabled);
/* Takes over the descriptor by which the guest is interrupted; -1: none. */
__attribute__((warn_unused_result)) bool rings_set_call(uint32_t index, int file);
__attribute__((warn_unused_result)) bool rings_start(uint32_t index);
/* Stops the ring; returns the index of the next available entry. */
uint16_t rings_stop(uint32_t index);
/* After the memory table has changed. */
__attribute__((warn_unused_result)) bool rings_remap(void);
void rings_stop_all(void);

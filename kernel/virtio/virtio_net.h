/*
 * The Ethernet device behind kernel/netdev.h: virtio-net (virtio 1.2, 5.1), over PCI or MMIO.
 *
 *     virtio_net.c     finding and starting the device, transmitting, recovery
 *     receive_ring.c   receiving
 *
 * One receive queue, one transmit queue, no control queue; interrupts of the receive queue, to end
 * a sleep, if that is possible (kernel/plat/sleep.h) when netdev_init() is called.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernel/netdev.h"

/*
 * Finds the first virtio-net device, negotiates, fills the receive ring. False, with the reason
 * in the log, when there is none that can be used; then nothing else of netdev.h may be called.
 * Called once, after the command line was parsed (it names virtio-mmio devices). Takes about
 * 1.1 MiB by memory_take().
 */
__attribute__((warn_unused_result)) bool netdev_init(void);

/*
 * struct virtio_net_hdr, 5.1.6: before each frame, in both directions. A transmitted one lies in
 * the caller's memory, whatever its alignment and type.
 */
struct __attribute__((packed, may_alias)) virtio_net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
};

_Static_assert(sizeof(struct virtio_net_header) == NETDEV_HEADROOM_BYTES, "virtio 1.2, 5.1.6");

#define VIRTIO_NET_HEADER_NEEDS_CSUM 1 /* VIRTIO_NET_HDR_F_NEEDS_CSUM */
#define VIRTIO_NET_HEADER_DATA_VALID 2 /* VIRTIO_NET_HDR_F_DATA_VALID */

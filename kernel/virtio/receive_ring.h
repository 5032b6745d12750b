/*
 * The receive side of virtio_net.c: a virtqueue over an arena of buffers ("slots"), handed out as
 * the pieces of kernel/netdev.h and kept in an order that makes frames lie in one piece.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/netdev.h"
#include "kernel/virtio/virtqueue.h"

#define RECEIVE_RING_SIZE_MIN   64u  /* a 64 KiB frame fits the half that nobody may hold */
#define RECEIVE_RING_SIZE_MAX   256u /* QEMU's default */
#define RECEIVE_RING_SLOT_BYTES 4032u

struct receive_ring {
    struct virtq q;
    uint8_t *arena;
    uint16_t size;                             /* slots, as many as the queue has entries */
    uint16_t cursor;                           /* the slot to be offered next, if it is idle */
    uint16_t idle_count;                       /* bits set in `idle` */
    bool merges;                               /* MRG_RXBUF: a frame may have several buffers */
    bool checksums;                            /* GUEST_CSUM: the header's flags mean something */
    uint64_t idle[RECEIVE_RING_SIZE_MAX / 64]; /* slots that neither device nor receiver has */
};

/* `arena` is size * RECEIVE_RING_SLOT_BYTES long; `size` a power of two, SIZE_MIN to SIZE_MAX. */
void receive_ring_init(struct receive_ring *ring, uint8_t *arena, uint16_t size);

/* Fills the queue, which was just initialised. What the receiver still holds stays with it. */
void receive_ring_start(struct receive_ring *ring);

/* Takes back what the device had. It MUST have been reset. */
void receive_ring_reclaim(struct receive_ring *ring);

/* As netdev_receive(), from `ready` used entries; counts frames, bytes and drops. */
size_t receive_ring_take(struct receive_ring *ring, uint16_t ready, struct netdev_piece *pieces,
                         size_t pieces_max, struct netdev_counters *counters);

/* As netdev_recycle(). */
void receive_ring_recycle(struct receive_ring *ring, const struct netdev_piece *piece);

/* Offers idle slots, if they are enough to be worth it or the device is short of them. */
void receive_ring_refill(struct receive_ring *ring);

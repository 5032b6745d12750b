/*
 * Slots. The ring's buffers are slots of one arena, slot i at arena + i * SLOT_BYTES, and
 * descriptor i describes slot i for ever: giving a buffer back is one 16-bit store. The device
 * fills buffers in the order in which they were offered, which is that in which they lie. So a
 * frame merged of 17 buffers (MRG_RXBUF; 64 KiB from GUEST_TSO) is one run of bytes,
 *
 *     slot:     0         1        2          3   ...
 *     arena:   [hdr|aaaa][aaaaaaaa][aaaa....][hdr|bb....]
 *                   '---- one piece ----'         '-- the next frame
 *
 * because only the first buffer has a header and all but the last are filled to the end
 * (virtio 1.2, 5.1.6.4.1). Only a frame that goes over from the last slot to the first has two.
 *
 * Keeping that order. Pieces come back in any order, some late. One that comes back only sets bits
 * in `idle`. A refill goes upwards and around from `cursor`, offers what is idle, passes over what
 * the receiver holds, and ends at the first slot that the device still has: so what is offered goes
 * on where it left off, and is ascending. A slot that was passed over waits until the cursor comes
 * round again, rather than cut a frame in two now and, being out of place among the others, at
 * each lap to come; it costs one buffer for a lap. When the device has less than a quarter left, or
 * too little for the largest frame, order gives way: a device that waits for buffers for one frame
 * delivers none of those behind it.
 *
 * SLOT_BYTES. 4,032 is 63 cache lines: 256 slots are under 1 MiB, a 64 KiB frame takes 17 (each
 * costs the host an address translation), and since 63 is odd the headers of successive frames fall
 * into different sets of the first-level cache; at 4,096 all would meet in the same few ways.
 *
 * Cost of a frame of one buffer in a batch of 32, in instructions (callgrind, -O2 without LTO): to
 * receive it 63, to recycle it 31, to offer its slot again 38 with all of the flush.
 */
#include "kernel/virtio/receive_ring.h"

#include <assert.h>
#include <string.h>

#include "kernel/virtio/virtio_net.h"

#define SLOT_BYTES   RECEIVE_RING_SLOT_BYTES
#define HEADER_BYTES ((uint32_t)sizeof(struct virtio_net_header))

/* Idle slots that are worth a refill while the device has plenty. */
#define REFILL_SLOTS 16

_Static_assert(SLOT_BYTES % VIRTQ_CACHE_LINE == 0, "slots begin on a cache line");
/* What the largest frame takes, as virtio 1.2 reckons it (5.1.6.3.1: 65,562 bytes). */
#define FRAME_SLOTS_MAX (65562 / SLOT_BYTES + 1)

_Static_assert(FRAME_SLOTS_MAX <= NETDEV_PIECES_MAX, "the largest frame fits the caller's pieces");
_Static_assert(FRAME_SLOTS_MAX <= RECEIVE_RING_SIZE_MIN / 2, "and what nobody may hold");

static inline uint8_t *slot_bytes(const struct receive_ring *ring, uint16_t slot)
{
    return ring->arena + (size_t)slot * SLOT_BYTES;
}

static inline void make_idle(struct receive_ring *ring, uint16_t first, uint16_t count)
{
    assert(first + count <= ring->size);
    for (uint16_t slot = first; slot < first + count; slot++) {
        const uint64_t word = ring->idle[slot / 64], bit = 1ULL << (slot % 64);
        assert((word & bit) == 0); /* given back twice */
        ring->idle[slot / 64] = word | bit;
    }
    ring->idle_count = (uint16_t)(ring->idle_count + count);
}

void receive_ring_init(struct receive_ring *ring, uint8_t *arena, uint16_t size)
{
    assert(size >= RECEIVE_RING_SIZE_MIN && size <= RECEIVE_RING_SIZE_MAX);
    assert((size & (size - 1)) == 0);
    memset(ring, 0, sizeof(*ring));
    ring->arena = arena;
    ring->size = size;
    make_idle(ring, 0, size);
}

/*
 * Offers idle slots, upwards and around from the cursor: as far as the first that the device
 * still has; with `late` also those beyond it, out of order.
 */
static void offer_idle(struct receive_ring *ring, bool late)
{
    const uint16_t mask = (uint16_t)(ring->size - 1);
    uint16_t slot = ring->cursor;

    for (uint16_t left = ring->size; left > 0 && ring->idle_count > 0; left--) {
        uint64_t *const word = &ring->idle[slot / 64];
        const uint64_t bit = 1ULL << (slot % 64);
        const uint16_t next = (uint16_t)((slot + 1) & mask);
        if ((*word & bit) != 0) {
            *word &= ~bit;
            ring->idle_count--;
            virtq_offer(&ring->q, slot, 1);
            ring->cursor = next;
        } else if (!late && ring->q.chain[slot] != 0) {
            break;
        }
        slot = next;
    }
}

void receive_ring_start(struct receive_ring *ring)
{
    for (uint16_t slot = 0; slot < ring->size; slot++)
        ring->q.desc[slot] = (struct virtq_desc){.address = (uintptr_t)slot_bytes(ring, slot),
                                                 .len = SLOT_BYTES,
                                                 .flags = VIRTQ_DESC_WRITE};
    ring->cursor = 0;
    offer_idle(ring, false);
}

void receive_ring_reclaim(struct receive_ring *ring)
{
    for (uint16_t slot = 0; slot < ring->size; slot++) {
        if (ring->q.chain[slot] == 0)
            continue;
        ring->q.chain[slot] = 0;
        make_idle(ring, slot, 1);
    }
}

void receive_ring_recycle(struct receive_ring *ring, const struct netdev_piece *piece)
{
    make_idle(ring, piece->ring_first, piece->ring_count);
}

void receive_ring_refill(struct receive_ring *ring)
{
    const uint16_t left = virtq_in_flight(&ring->q);

    if (ring->idle_count >= REFILL_SLOTS || left < ring->size / 2)
        offer_idle(ring, left < ring->size / 4 || left < FRAME_SLOTS_MAX);
}

/* The buffer at the front of the used ring; VIRTQ_NONE if it cannot be: the queue is broken. */
static inline uint16_t peek_buffer(struct receive_ring *ring, uint32_t *len)
{
    const uint16_t slot = virtq_peek(&ring->q, len);

    if (__builtin_expect(slot != VIRTQ_NONE && *len > SLOT_BYTES, 0)) {
        virtq_break(&ring->q, "it wrote more than a buffer holds");
        return VIRTQ_NONE;
    }
    return slot;
}

/*
 * Takes the `rest` further buffers of a merged frame, of whose first, `full` or not, *pieces was
 * made. Returns how many pieces the frame has; buffers that follow one another in memory are
 * one. A frame with a hole, or one that broke the queue, goes back to the ring: 0.
 */
static size_t merge_frame(struct receive_ring *ring, struct netdev_piece *pieces, uint16_t rest,
                          bool full, uint64_t *frame_bytes)
{
    struct netdev_piece *last = pieces;
    bool good = true;

    for (; rest > 0; rest--) {
        uint32_t len;
        const uint16_t slot = peek_buffer(ring, &len);
        if (slot == VIRTQ_NONE) {
            good = false;
            break;
        }
        virtq_take(&ring->q, slot);
        good = good && full && len > 0;
        full = len == SLOT_BYTES;
        *frame_bytes += len;
        if (slot == last->ring_first + last->ring_count) {
            last->len += len;
            last->ring_count++;
            continue;
        }
        last->more = true;
        *++last = (struct netdev_piece){
            .bytes = slot_bytes(ring, slot), .len = len, .ring_first = slot, .ring_count = 1};
    }
    const size_t count = (size_t)(last - pieces) + 1;
    for (size_t i = 0; !good && i < count; i++)
        receive_ring_recycle(ring, &pieces[i]);
    return good ? count : 0;
}

/* 5.1.6.4.2: verified; or known good and not filled in, which the receiver need not care about. */
static inline bool is_checksum_valid(const struct receive_ring *ring, uint8_t flags)
{
    return ring->checksums &&
           (flags & (VIRTIO_NET_HEADER_NEEDS_CSUM | VIRTIO_NET_HEADER_DATA_VALID)) != 0;
}

static inline struct netdev_piece first_piece(const struct receive_ring *ring, uint16_t slot,
                                              uint32_t len)
{
    uint8_t *const bytes = slot_bytes(ring, slot);

    return (struct netdev_piece){.bytes = bytes + HEADER_BYTES,
                                 .len = len - HEADER_BYTES,
                                 .ring_first = slot,
                                 .ring_count = 1,
                                 .checksum_valid = is_checksum_valid(
                                     ring, ((const struct virtio_net_header *)bytes)->flags)};
}

/*
 * Takes a frame that is not plainly one buffer: the front one, `slot` with `len` bytes, says that
 * there are `buffers`. Adds its pieces, if it is not dropped, at *end and moves that on. Returns
 * how many buffers it had; 0: the queue is broken, or there may be more pieces than `room`.
 */
static __attribute__((noinline)) uint16_t take_merged(struct receive_ring *ring, uint16_t slot,
                                                      uint32_t len, uint16_t buffers,
                                                      uint16_t ready, struct netdev_piece **end,
                                                      size_t room, struct netdev_counters *counters)
{
    struct netdev_piece *const first = *end;

    if (len < HEADER_BYTES) {
        virtq_break(&ring->q, "it wrote less than a header");
        return 0;
    }
    /* 5.1.6.4.1: the device returns all buffers of a frame together, so none is still to come. */
    if (buffers == 0 || buffers > ready || buffers > NETDEV_PIECES_MAX) {
        virtq_break(&ring->q, "it announced a frame of impossibly many buffers");
        return 0;
    }
    if (buffers > room)
        return 0;
    virtq_take(&ring->q, slot);
    *first = first_piece(ring, slot, len);
    uint64_t frame_bytes = first->len;
    size_t pieces = 0;
    if (buffers > 1)
        pieces = merge_frame(ring, first, (uint16_t)(buffers - 1), len == SLOT_BYTES, &frame_bytes);
    else /* a runt */
        receive_ring_recycle(ring, first);
    if (pieces == 0) {
        counters->receive_dropped++;
        return buffers;
    }
    *end = first + pieces;
    counters->received_frames++;
    counters->received_bytes += frame_bytes;
    return buffers;
}

size_t receive_ring_take(struct receive_ring *ring, uint16_t ready, struct netdev_piece *pieces,
                         size_t pieces_max, struct netdev_counters *counters)
{
    struct netdev_piece *end = pieces;
    uint64_t frames = 0, bytes = 0; /* of one buffer each */

    while (ready > 0 && end < pieces + pieces_max) {
        uint32_t len;
        const uint16_t slot = peek_buffer(ring, &len);
        if (slot == VIRTQ_NONE)
            break;
        /* Loaded once, so that what was checked is what is used. */
        const volatile struct virtio_net_header *const header =
            (const struct virtio_net_header *)slot_bytes(ring, slot);
        const uint16_t buffers = ring->merges ? header->num_buffers : 1;
        if (buffers == 1 && len >= HEADER_BYTES + ETHERNET_BYTES) {
            virtq_take(&ring->q, slot);
            *end++ = first_piece(ring, slot, len);
            bytes += len - HEADER_BYTES;
            frames++;
            ready--;
            continue;
        }
        const size_t room = pieces_max - (size_t)(end - pieces);
        const uint16_t taken = take_merged(ring, slot, len, buffers, ready, &end, room, counters);
        if (taken == 0)
            break;
        ready = (uint16_t)(ready - taken);
    }
    counters->received_frames += frames;
    counters->received_bytes += bytes;
    return (size_t)(end - pieces);
}

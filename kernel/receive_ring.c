/*
 * Slots. The ring's buffers are slots of one arena, slot i at arena + i * SLOT_BYTES, and
 * descriptor i describes slot i for ever: giving a buffer back is one 16-bit store. The device
 * fills buffers in the order in which they were offered, and they are offered in the order in which they
 * lie. So a frame merged of 17 buffers (MRG_RXBUF; 64 KiB from GUEST_TSO) is one run of bytes,
 *
 *     slot:     0         1        2          3   ...
 *     arena:   [hdr|aaaa][aaaaaaaa][aaaa....][hdr|bb....]
 *                   '---- one piece ----'         '-- the next frame
 *
 * because only the first buffer has a header and all but the last are filled to the end
 * (virtio 1.2, 5.1.6.4.1). Only where a frame goes over from the last slot to the first are there two.
 *
 * Keeping that order. Pieces come back in any order, some late. One that comes back only sets bits
 * in `idle`; a refill goes through them from `cursor`, upwards and around, so what it offers is
 * always ascending. A slot that missed its turn (it lies behind the cursor) waits until the cursor comes
 * round, rather than break a run now and, being out of order among its like, at each lap again. It
 * costs one buffer for a lap. When the device has less than a quarter left, order gives way.
 *
 * SLOT_BYTES. 4,032 is 63 cache lines: 256 slots are under 1 MiB, a 64 KiB frame takes 17 (each costs
 * the host an address translation), and since 63 is odd the headers of successive frames fall into different
 * sets of the first-level cache; multiples of 4,096 would all meet in the same eight ways.
 *
 * Cost, in instructions of -O2: a frame of one buffer 45, to recycle it 12, to offer it again 20.
 */
#include "kernel/receive_ring.h"

#include <assert.h>
#include <string.h>

#include "kernel/virtio_net.h"

#define SLOT_BYTES     RECEIVE_RING_SLOT_BYTES
#define ETHERNET_BYTES 14u

/* Idle slots that are worth a refill while the device has plenty. */
#define REFILL_SLOTS 16

_Static_assert(SLOT_BYTES % VIRTQ_CACHE_LINE == 0, "slots begin on a cache line");
_Static_assert((65535 + sizeof(struct virtio_net_header)) / SLOT_BYTES + 1 <= NETDEV_PIECES_MAX,
               "the largest frame fits the caller's pieces");
_Static_assert(RECEIVE_RING_SIZE_MIN % 64 == 0, "`idle` is walked by whole words");

static inline uint8_t *slot_bytes(const struct receive_ring *ring, uint16_t slot)
{
    return ring->arena + (size_t)slot * SLOT_BYTES;
}

static inline void make_idle(struct receive_ring *ring, uint16_t slot)
{
    assert(slot < ring->size && (ring->idle[slot / 64] >> (slot % 64) & 1) == 0);
    ring->idle[slot / 64] |= 1ULL << (slot % 64);
    ring->idle_count++;
}

void receive_ring_init(struct receive_ring *ring, uint8_t *arena, uint16_t size)
{
    assert(size >= RECEIVE_RING_SIZE_MIN && size <= RECEIVE_RING_SIZE_MAX);
    assert((size & (size - 1)) == 0);
    memset(ring, 0, sizeof(*ring));
    ring->arena = arena;
    ring->size = size;
    for (uint16_t slot = 0; slot < size; slot++)
        make_idle(ring, slot);
}

/* Offers idle slots in ascending order from the cursor on, as far as `window` slots ahead. */
static void offer_idle(struct receive_ring *ring, int window)
{
    const uint16_t mask = (uint16_t)(ring->size - 1);
    uint16_t slot = ring->cursor;

    for (int distance = 0; distance < window && ring->idle_count > 0;) {
        uint64_t *const word = &ring->idle[slot / 64];
        const uint64_t rest = *word >> (slot % 64);
        const int skip = rest != 0 ? __builtin_ctzll(rest) : 64 - slot % 64;
        distance += skip;
        slot = (uint16_t)((slot + skip) & mask);
        if (rest == 0 || distance >= window)
            continue;
        *word &= ~(1ULL << (slot % 64));
        ring->idle_count--;
        virtq_offer(&ring->q, slot, 1);
        slot = (uint16_t)((slot + 1) & mask);
        ring->cursor = slot;
        distance++;
    }
}

void receive_ring_start(struct receive_ring *ring)
{
    for (uint16_t slot = 0; slot < ring->size; slot++)
        ring->q.desc[slot] = (struct virtq_desc){.address = (uintptr_t)slot_bytes(ring, slot),
                                                 .len = SLOT_BYTES,
                                                 .flags = VIRTQ_DESC_WRITE};
    ring->cursor = 0;
    offer_idle(ring, ring->size);
}

void receive_ring_reclaim(struct receive_ring *ring)
{
    for (uint16_t slot = 0; slot < ring->size; slot++) {
        if (ring->q.chain[slot] == 0)
            continue;
        ring->q.chain[slot] = 0;
        make_idle(ring, slot);
    }
}

void receive_ring_recycle(struct receive_ring *ring, const struct netdev_piece *piece)
{
    for (uint16_t i = 0; i < piece->ring_count; i++)
        make_idle(ring, (uint16_t)(piece->ring_first + i));
}

void receive_ring_refill(struct receive_ring *ring)
{
    const uint16_t left = virtq_in_flight(&ring->q);

    if (ring->idle_count >= REFILL_SLOTS || left < ring->size / 2)
        offer_idle(ring, left < ring->size / 4 ? ring->size : ring->size / 2);
}

/* The buffer at the front of the used ring; VIRTQ_NONE, and the queue is broken, if it cannot be. */
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
static __attribute__((noinline)) size_t merge_frame(struct receive_ring *ring,
                                                    struct netdev_piece *pieces, uint16_t rest,
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

/*
 * Takes the frame at the front, of `ready` used buffers. Adds its pieces, if it is not dropped, at
 * *end and moves that on. Returns how many buffers it had; 0: the queue is broken, or the frame
 * may have more pieces than there is `room` for.
 */
static inline uint16_t take_frame(struct receive_ring *ring, uint16_t ready,
                                  struct netdev_piece **end, size_t room,
                                  struct netdev_counters *counters)
{
    struct netdev_piece *const first = *end;
    uint32_t len;
    const uint16_t slot = peek_buffer(ring, &len);

    if (__builtin_expect(slot == VIRTQ_NONE, 0))
        return 0;
    uint8_t *const bytes = slot_bytes(ring, slot);
    const struct virtio_net_header *const header = (const struct virtio_net_header *)bytes;
    /* Loaded once, so that what was checked is what is used. */
    const uint16_t buffers =
        ring->merges ? __atomic_load_n(&header->num_buffers, __ATOMIC_RELAXED) : 1;
    if (__builtin_expect(len < sizeof(*header), 0)) {
        virtq_break(&ring->q, "it wrote less than a header");
        return 0;
    }
    /* 5.1.6.4.1: the device returns all buffers of a frame together, so none is still to come. */
    if (__builtin_expect(buffers == 0 || buffers > ready || buffers > NETDEV_PIECES_MAX, 0)) {
        virtq_break(&ring->q, "it announced a frame of impossibly many buffers");
        return 0;
    }
    if (buffers > room)
        return 0;
    virtq_take(&ring->q, slot);
    *first = (struct netdev_piece){.bytes = bytes + sizeof(*header),
                                   .len = len - (uint32_t)sizeof(*header),
                                   .ring_first = slot,
                                   .ring_count = 1,
                                   .checksum_valid = is_checksum_valid(ring, header->flags)};
    uint64_t frame_bytes = first->len;
    size_t pieces = 1;
    if (buffers > 1) {
        pieces = merge_frame(ring, first, (uint16_t)(buffers - 1), len == SLOT_BYTES, &frame_bytes);
    } else if (__builtin_expect(frame_bytes < ETHERNET_BYTES, 0)) {
        receive_ring_recycle(ring, first);
        pieces = 0;
    }
    if (__builtin_expect(pieces == 0, 0)) {
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

    while (ready > 0) {
        const size_t room = pieces_max - (size_t)(end - pieces);
        const uint16_t buffers = take_frame(ring, ready, &end, room, counters);
        if (buffers == 0 || ring->q.fault != NULL)
            break;
        ready = (uint16_t)(ready - buffers);
    }
    return (size_t)(end - pieces);
}

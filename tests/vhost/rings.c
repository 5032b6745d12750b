#include "tests/vhost/rings.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <net/ethernet.h>
#include <string.h>
#include <unistd.h>

#include "tests/vhost/guest_memory.h"

#define SIZE_MAX_ENTRIES 8192u /* QEMU offers 1,024 */

/*
 * With EVENT_IDX the guest kicks when its index passes avail_event. That is kept between a quarter
 * and half of the index space ahead of what was taken: further than a ring is long, so it is never
 * passed.
 */
#define EVENT_AHEAD     0x8000
#define EVENT_AHEAD_MIN 0x4000

struct ring {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint64_t desc_user, avail_user, used_user; /* as the front end names them */
    uint32_t size;                             /* 0: not set */
    bool started, enabled;
    int call_file;
    uint16_t taken;      /* available entries taken */
    uint16_t seen;       /* the guest's available index, as last looked at */
    uint16_t used_index; /* entries used; `published` of them are to be seen */
    uint16_t published;
    uint16_t avail_event;
};

static struct {
    struct ring ring[RINGS_COUNT];
    const char *fault;
    bool running;
    bool event_idx, merges;
} rings = {.ring = {{.call_file = -1}, {.call_file = -1}}};

/* ---- setting up ---- */

static void *fault(const char *why)
{
    if (rings.fault == NULL)
        rings.fault = why;
    rings.running = false;
    return NULL;
}

static uint16_t *avail_event_of(const struct ring *ring)
{
    return (uint16_t *)&ring->used->ring[ring->size];
}

static uint16_t *used_event_of(const struct ring *ring)
{
    return &ring->avail->ring[ring->size];
}

/* Never passed: see EVENT_AHEAD. Without EVENT_IDX the flag says the same. */
static void hush_kicks(struct ring *ring)
{
    ring->avail_event = (uint16_t)(ring->taken + EVENT_AHEAD);
    __atomic_store_n(avail_event_of(ring), ring->avail_event, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

static void update_running(void)
{
    rings.running = rings.fault == NULL;
    for (uint32_t i = 0; i < RINGS_COUNT; i++)
        rings.running = rings.running && rings.ring[i].started && rings.ring[i].enabled;
}

bool rings_are_running(void)
{
    return rings.running;
}

const char *rings_fault(void)
{
    return rings.fault;
}

void rings_set_features(uint64_t features)
{
    rings.event_idx = (features >> VIRTIO_RING_F_EVENT_IDX & 1) != 0;
    rings.merges = (features >> VIRTIO_NET_F_MRG_RXBUF & 1) != 0;
}

bool rings_set_size(uint32_t index, uint32_t size)
{
    if (index >= RINGS_COUNT || size == 0 || size > SIZE_MAX_ENTRIES || (size & (size - 1)) != 0)
        return false;
    rings.ring[index].size = size;
    return true;
}

static bool map_ring(struct ring *ring)
{
    const uint64_t size = ring->size;

    if (size == 0 || ring->desc_user % 16 != 0 || ring->avail_user % 2 != 0 ||
        ring->used_user % 4 != 0)
        return false;
    ring->desc = guest_memory_at_user(ring->desc_user, 16 * size);
    ring->avail = guest_memory_at_user(ring->avail_user, 6 + 2 * size);
    ring->used = guest_memory_at_user(ring->used_user, 6 + 8 * size);
    return ring->desc != NULL && ring->avail != NULL && ring->used != NULL;
}

bool rings_set_addresses(uint32_t index, uint64_t desc, uint64_t avail, uint64_t used)
{
    if (index >= RINGS_COUNT)
        return false;
    struct ring *const ring = &rings.ring[index];
    ring->desc_user = desc;
    ring->avail_user = avail;
    ring->used_user = used;
    return !ring->started || map_ring(ring);
}

bool rings_set_base(uint32_t index, uint32_t base)
{
    if (index >= RINGS_COUNT || base > UINT16_MAX || rings.ring[index].started)
        return false;
    rings.ring[index].taken = (uint16_t)base;
    return true;
}

bool rings_set_enabled(uint32_t index, bool enabled)
{
    if (index >= RINGS_COUNT)
        return false;
    rings.ring[index].enabled = enabled;
    update_running();
    return true;
}

static void replace_call(struct ring *ring, int file)
{
    if (ring->call_file >= 0)
        close(ring->call_file);
    ring->call_file = file;
}

bool rings_set_call(uint32_t index, int file)
{
    if (index >= RINGS_COUNT) {
        if (file >= 0)
            close(file);
        return false;
    }
    replace_call(&rings.ring[index], file);
    return true;
}

bool rings_start(uint32_t index)
{
    if (index >= RINGS_COUNT)
        return false;
    struct ring *const ring = &rings.ring[index];
    if (ring->started)
        return true;
    if (!map_ring(ring))
        return false;
    ring->seen = ring->taken;
    ring->used_index = __atomic_load_n(&ring->used->idx, __ATOMIC_RELAXED);
    ring->published = ring->used_index;
    ring->started = true;
    hush_kicks(ring);
    update_running();
    return true;
}

uint16_t rings_stop(uint32_t index)
{
    rings.ring[index].started = false;
    update_running();
    return rings.ring[index].taken;
}

bool rings_remap(void)
{
    for (uint32_t i = 0; i < RINGS_COUNT; i++) {
        if (rings.ring[i].started && !map_ring(&rings.ring[i]))
            return false;
    }
    return true;
}

void rings_stop_all(void)
{
    for (uint32_t i = 0; i < RINGS_COUNT; i++) {
        (void)rings_stop(i);
        rings.ring[i].enabled = false;
        replace_call(&rings.ring[i], -1);
    }
}

/* ---- what the guest offers ---- */

/* Entries that wait; looks at the guest's index only when those seen before are used up. */
static inline uint16_t waiting(struct ring *ring)
{
    if (ring->taken == ring->seen) {
        const uint16_t idx = __atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE);
        if ((uint16_t)(idx - ring->taken) > ring->size) {
            fault("its available index is further ahead than its ring is long");
            return 0;
        }
        ring->seen = idx;
    }
    return (uint16_t)(ring->seen - ring->taken);
}

/* One descriptor of a chain, copied so that the guest cannot change it between two looks. */
static struct vring_desc *read_desc(const struct ring *ring, uint32_t at, struct vring_desc *copy)
{
    if (at >= ring->size)
        return fault("a descriptor's number is larger than its ring");
    memcpy(copy, &ring->desc[at], sizeof(*copy));
    if (copy->flags & VRING_DESC_F_INDIRECT)
        return fault("an indirect descriptor, which was not offered");
    return copy;
}

static inline uint32_t head_at(const struct ring *ring, uint16_t index)
{
    return __atomic_load_n(&ring->avail->ring[index & (ring->size - 1)], __ATOMIC_RELAXED);
}

static inline void put_used(struct ring *ring, uint16_t index, uint32_t head, uint32_t len)
{
    struct vring_used_elem *const elem = &ring->used->ring[index & (ring->size - 1)];

    elem->id = head;
    elem->len = len;
}

/* ---- from the guest ---- */

/* Copies a chain's bytes out: first the header, then the frame. Returns the frame's length. */
static size_t read_chain(const struct ring *ring, uint32_t head,
                         struct virtio_net_hdr_mrg_rxbuf *header, uint8_t *bytes)
{
    struct vring_desc desc;
    size_t total = 0;
    uint32_t at = head;

    for (uint32_t i = 0; i < ring->size; i++) { /* a longer chain is a loop */
        if (read_desc(ring, at, &desc) == NULL)
            return 0;
        if (desc.flags & VRING_DESC_F_WRITE) {
            fault("a writable descriptor among those it sends");
            return 0;
        }
        const uint8_t *from = guest_memory_at(desc.addr, desc.len);
        size_t len = desc.len;
        if (from == NULL || len > sizeof(*header) + RINGS_FRAME_BYTES_MAX - total) {
            fault(from == NULL ? "it sends what is not its memory" : "it sends too long a frame");
            return 0;
        }
        if (total < sizeof(*header)) {
            const size_t part = len < sizeof(*header) - total ? len : sizeof(*header) - total;
            memcpy((uint8_t *)header + total, from, part);
            total += part;
            from += part;
            len -= part;
        }
        if (len > 0) {
            memcpy(bytes + (total - sizeof(*header)), from, len);
            total += len;
        }
        if ((desc.flags & VRING_DESC_F_NEXT) == 0)
            return total > sizeof(*header) ? total - sizeof(*header) : 0;
        at = desc.next;
    }
    fault("a chain of descriptors that does not end");
    return 0;
}

size_t rings_receive(struct virtio_net_hdr_mrg_rxbuf *header, uint8_t *bytes)
{
    struct ring *const ring = &rings.ring[RINGS_FROM_GUEST];

    if (!rings.running || waiting(ring) == 0)
        return 0;
    const uint32_t head = head_at(ring, ring->taken);
    const size_t len = read_chain(ring, head, header, bytes);
    if (rings.fault != NULL)
        return 0;
    if (len < sizeof(struct ether_header)) {
        fault("it sends a frame without an Ethernet header");
        return 0;
    }
    put_used(ring, ring->used_index++, head, 0);
    ring->taken++;
    return len;
}

/* ---- to the guest ---- */

/* Where a frame's bytes come from, as far as they are not written yet. */
struct source {
    const struct rings_piece *piece;
    size_t offset; /* in *piece */
    size_t left;   /* of all pieces */
};

static void copy_out(struct source *source, uint8_t *to, size_t len)
{
    source->left -= len;
    while (len > 0) {
        const size_t rest = source->piece->len - source->offset;
        const size_t part = len < rest ? len : rest;
        memcpy(to, (const uint8_t *)source->piece->bytes + source->offset, part);
        to += part;
        len -= part;
        source->offset += part;
        if (source->offset == source->piece->len) {
            source->piece++;
            source->offset = 0;
        }
    }
}

/* Fills one chain. Returns how much was written; its first byte's place in *start. 0: a fault. */
static uint32_t fill_chain(const struct ring *ring, uint32_t head, struct source *source,
                           uint8_t **start)
{
    struct vring_desc desc;
    uint32_t written = 0;
    uint32_t at = head;

    for (uint32_t i = 0; i < ring->size; i++) {
        if (read_desc(ring, at, &desc) == NULL)
            return 0;
        uint8_t *const to = guest_memory_at(desc.addr, desc.len);
        if (to == NULL || (desc.flags & VRING_DESC_F_WRITE) == 0) {
            fault("a receive buffer that cannot be written");
            return 0;
        }
        const size_t part = desc.len < source->left ? desc.len : source->left;
        if (i == 0) {
            *start = to;
            if (part < sizeof(struct virtio_net_hdr_mrg_rxbuf) && source->left > part) {
                fault("a receive buffer too small for a header");
                return 0;
            }
        }
        copy_out(source, to, part);
        written += (uint32_t)part;
        if (source->left == 0 || (desc.flags & VRING_DESC_F_NEXT) == 0)
            return written;
        at = desc.next;
    }
    fault("a chain of descriptors that does not end");
    return 0;
}

uint16_t rings_space(void)
{
    struct ring *const ring = &rings.ring[RINGS_TO_GUEST];

    if (!rings.running)
        return 0;
    const uint16_t idx = __atomic_load_n(&ring->avail->idx, __ATOMIC_ACQUIRE);
    const uint16_t space = (uint16_t)(idx - ring->taken);
    return space <= ring->size ? space : 0; /* waiting() makes the fault of it */
}

#define PIECES_MAX 3

bool rings_send(struct virtio_net_hdr_mrg_rxbuf *header, const struct rings_piece *pieces,
                size_t count)
{
    struct ring *const ring = &rings.ring[RINGS_TO_GUEST];
    struct rings_piece all[PIECES_MAX + 1] = {{header, sizeof(*header)}};
    struct source source = {.piece = all, .left = sizeof(*header)};
    const uint16_t taken = ring->taken;
    uint8_t *first = NULL;
    uint16_t buffers = 0;

    if (!rings.running || count > PIECES_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        all[i + 1] = pieces[i];
        source.left += pieces[i].len;
    }
    while (source.left > 0) {
        uint8_t *start = NULL;
        if (waiting(ring) == 0 || (buffers > 0 && !rings.merges)) {
            if (buffers > 0 && !rings.merges)
                fault("a receive buffer too small for a frame, without MRG_RXBUF");
            ring->taken = taken; /* the guest has seen nothing of it */
            return false;
        }
        const uint32_t head = head_at(ring, ring->taken);
        const uint32_t written = fill_chain(ring, head, &source, &start);
        if (rings.fault != NULL)
            return false;
        if (buffers == 0)
            first = start;
        put_used(ring, (uint16_t)(ring->used_index + buffers), head, written);
        buffers++;
        ring->taken++;
    }
    header->num_buffers = buffers;
    memcpy(first + offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers), &buffers,
           sizeof(buffers));
    ring->used_index = (uint16_t)(ring->used_index + buffers);
    return true;
}

/* ---- both ---- */

/* True if the guest asks to be told of used entries that were published just now (2.7.7). */
static bool wants_interrupt(const struct ring *ring, uint16_t before)
{
    if (!rings.event_idx)
        return (__atomic_load_n(&ring->avail->flags, __ATOMIC_RELAXED) &
                VRING_AVAIL_F_NO_INTERRUPT) == 0;
    const uint16_t event = __atomic_load_n(used_event_of(ring), __ATOMIC_RELAXED);
    return vring_need_event(event, ring->used_index, before) != 0;
}

static void publish(struct ring *ring)
{
    const uint16_t before = ring->published;
    const uint64_t one = 1;

    __atomic_store_n(&ring->used->idx, ring->used_index, __ATOMIC_RELEASE);
    ring->published = ring->used_index;
    if ((uint16_t)(ring->avail_event - ring->taken) < EVENT_AHEAD_MIN)
        hush_kicks(ring);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the store above, before the guest's wish is read */
    if (ring->call_file >= 0 && wants_interrupt(ring, before) &&
        write(ring->call_file, &one, sizeof(one)) != sizeof(one))
        fault("its interrupt cannot be raised"); /* an eventfd blocks only at 2^64 - 1 */
}

void rings_publish(void)
{
    if (!rings.running)
        return;
    for (uint32_t i = 0; i < RINGS_COUNT; i++) {
        if (rings.ring[i].published != rings.ring[i].used_index)
            publish(&rings.ring[i]);
    }
}

/*
 * The split virtqueue of virtio 1.x (section 2.7), driver's side, polled. virtqueue.c opens with
 * how it works; what is called per packet stands here, to be compiled into its callers.
 *
 * A queue is either of two kinds, as its owner likes:
 *
 *     fixed   the descriptors were written once; virtq_offer() gives one to the device (receive)
 *     chains  virtq_chain_begin/_link/_end build a chain of free descriptors (transmit)
 *
 * What the device returns is not believed: an impossible answer sets `fault`, a sentence, and the
 * queue then returns nothing more until virtq_init(). Its owner resets the device.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTQ_SIZE_MAX    1024 /* a power of two; virtio's own limit is 32,768 */
#define VIRTQ_NONE        0xffff

#define VIRTQ_DESC_NEXT   1 /* VIRTQ_DESC_F_NEXT: `next` holds the chain's next descriptor */
#define VIRTQ_DESC_WRITE  2 /* VIRTQ_DESC_F_WRITE: the device writes the buffer */

#define VIRTQ_CACHE_LINE  64
#define VIRTQ_ALIGN_BYTES VIRTQ_CACHE_LINE

struct virtq_desc { /* 2.7.5 */
    uint64_t address;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

struct virtq_avail { /* 2.7.6; after the ring: used_event */
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
};

struct virtq_used_elem {
    uint32_t id;
    uint32_t len;
};

struct virtq_used { /* 2.7.8; after the ring: avail_event */
    uint16_t flags;
    uint16_t idx;
    struct virtq_used_elem ring[];
};

_Static_assert(sizeof(struct virtq_desc) == 16, "virtio 1.2, 2.7.5");
_Static_assert(sizeof(struct virtq_used_elem) == 8, "virtio 1.2, 2.7.8");

/* Bytes of memory that the device shares, for a queue of `size`: desc | avail | gap | used. */
#define VIRTQ_AVAIL_OFFSET(size) (16u * (size))
#define VIRTQ_USED_OFFSET(size)                                                                    \
    ((VIRTQ_AVAIL_OFFSET(size) + 6u + 2u * (size) + VIRTQ_CACHE_LINE - 1) &                        \
     ~(VIRTQ_CACHE_LINE - 1u))
#define VIRTQ_BYTES(size) (VIRTQ_USED_OFFSET(size) + 6u + 8u * (size))

struct virtq {
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    const char *fault; /* how the device broke its contract; NULL while it has not */
    uint16_t size, mask;
    bool event_idx;     /* VIRTIO_F_EVENT_IDX was negotiated */
    uint16_t offered;   /* index of the next entry of the available ring */
    uint16_t published; /* what avail->idx holds: `offered` as of the last virtq_publish() */
    uint16_t kicked;    /* `published` as of the last kick, or a little later */
    uint16_t used_next; /* index of the next used entry to look at */
    uint16_t used_event;
    uint16_t free_head, free_count;
    /* Private, so that the device cannot change them: */
    uint16_t chain[VIRTQ_SIZE_MAX]; /* by head: descriptors the device has; 0: not a head it has */
    uint16_t next[VIRTQ_SIZE_MAX];  /* links of the chains and of the list of free descriptors */
};

/*
 * (Re)starts a queue of `size` (a power of two, at most VIRTQ_SIZE_MAX) in `memory`, which is
 * VIRTQ_BYTES(size) long and aligned to VIRTQ_ALIGN_BYTES. Every descriptor is free. The device
 * MUST NOT be using the memory.
 */
void virtq_init(struct virtq *q, void *memory, uint16_t size, bool event_idx);

/* Marks the queue broken; the first reason stays. */
void virtq_break(struct virtq *q, const char *why);

/* Moves used_event out of the device's reach; see virtq_used_count(). */
void virtq_postpone_interrupts(struct virtq *q);

/*
 * The device is to interrupt when it uses the next entry, until virtq_hush(). What it has used
 * before, it may not tell of any more: look again (virtq_is_quiet()).
 */
void virtq_arm(struct virtq *q);

/* No interrupts any more. */
void virtq_hush(struct virtq *q);

/* True if there is no used entry, and no fault. Other than virtq_used_count() it may be called
   while the queue is armed. */
static inline bool virtq_is_quiet(const struct virtq *q)
{
    return __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) == q->used_next && q->fault == NULL;
}

/*
 * Shows the device what was offered since the last call. The full fence stands between this
 * store and the loads of virtq_kick_due().
 */
static inline void virtq_publish(struct virtq *q)
{
    __atomic_store_n(&q->avail->idx, q->offered, __ATOMIC_RELEASE); /* 2.7.13.3 */
    q->published = q->offered;
    /* Only the last `size` entries can be unseen: so the distance to `kicked` never wraps. */
    if ((uint16_t)(q->published - q->kicked) > q->size)
        q->kicked = (uint16_t)(q->published - q->size);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* 2.7.13.4.1 */
}

/* True if the device sleeps and asks to be woken for what was published; then kick it, now. */
static inline bool virtq_kick_due(struct virtq *q)
{
    if (q->kicked == q->published)
        return false;
    if (q->event_idx) { /* 2.7.10: avail_event within [kicked, published) */
        const uint16_t *avail_event = (const uint16_t *)&q->used->ring[q->size];
        const uint16_t event = __atomic_load_n(avail_event, __ATOMIC_RELAXED);
        if ((uint16_t)(q->published - event - 1) >= (uint16_t)(q->published - q->kicked))
            return false;
    } else if (__atomic_load_n(&q->used->flags, __ATOMIC_RELAXED) & 1) { /* NO_NOTIFY */
        return false;
    }
    q->kicked = q->published;
    return true;
}

/* How many used entries wait to be taken. */
static inline uint16_t virtq_used_count(struct virtq *q)
{
    const uint16_t idx = __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE);
    const uint16_t count = (uint16_t)(idx - q->used_next);

    if (__builtin_expect(count > (uint16_t)(q->published - q->used_next), 0)) {
        virtq_break(q, "its used index is ahead of what it was given");
        return 0;
    }
    /* used_event is half the index space ahead; seldom, before it is reached, it moves on. */
    if (__builtin_expect((uint16_t)(q->used_event - q->used_next) < 0x2000, 0))
        virtq_postpone_interrupts(q);
    return count;
}

/*
 * The entry at the front, without taking it: the head of its chain, and how many bytes the device
 * claims to have written. VIRTQ_NONE: broken. There MUST be one (virtq_used_count()).
 */
static inline uint16_t virtq_peek(struct virtq *q, uint32_t *len)
{
    /* Each field is loaded once: the device may change it between two looks. */
    const struct virtq_used_elem *elem = &q->used->ring[q->used_next & q->mask];
    const uint32_t id = __atomic_load_n(&elem->id, __ATOMIC_RELAXED);

    *len = __atomic_load_n(&elem->len, __ATOMIC_RELAXED);
    if (__builtin_expect(id >= q->size || q->chain[id] == 0, 0)) {
        virtq_break(q, "it returned a buffer that it does not have");
        return VIRTQ_NONE;
    }
    return (uint16_t)id;
}

/* Takes the entry at the front, whose head virtq_peek() has told. */
static inline void virtq_take(struct virtq *q, uint16_t head)
{
    q->chain[head] = 0;
    q->used_next++;
}

/* How many entries the device has, those that it has used but were not taken included. */
static inline uint16_t virtq_in_flight(const struct virtq *q)
{
    return (uint16_t)(q->offered - q->used_next);
}

/* Puts a chain of `count` descriptors into the available ring; visible at virtq_publish(). */
static inline void virtq_offer(struct virtq *q, uint16_t head, uint16_t count)
{
    q->chain[head] = count;
    q->avail->ring[q->offered & q->mask] = head;
    q->offered++;
}

/*
 * Chains: write descriptors with virtq_link(), the first at virtq_chain_begin(), each next where
 * the last call said; then virtq_chain_end() with the place after the last. There MUST be as many
 * free as the chain takes.
 */
static inline uint16_t virtq_chain_begin(const struct virtq *q)
{
    return q->free_head;
}

static inline uint16_t virtq_link(struct virtq *q, uint16_t at, uint64_t address, uint32_t len,
                                  uint16_t flags)
{
    const uint16_t next = q->next[at];

    q->desc[at] = (struct virtq_desc){.address = address, .len = len, .flags = flags, .next = next};
    return next;
}

static inline void virtq_chain_end(struct virtq *q, uint16_t after, uint16_t count)
{
    const uint16_t head = q->free_head;

    q->free_head = after;
    q->free_count = (uint16_t)(q->free_count - count);
    virtq_offer(q, head, count);
}

/* Takes the entry at the front, as virtq_take(), and frees its chain's descriptors. */
static inline void virtq_take_chain(struct virtq *q, uint16_t head)
{
    const uint16_t count = q->chain[head];
    uint16_t last = head;

    for (uint16_t i = 1; i < count; i++)
        last = q->next[last];
    q->next[last] = q->free_head;
    q->free_head = head;
    q->free_count = (uint16_t)(q->free_count + count);
    virtq_take(q, head);
}

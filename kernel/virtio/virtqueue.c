/*
 * A split virtqueue (virtio 1.2, 2.7) is three arrays in memory that driver and device share:
 *
 *     desc[size]          a buffer each: address, length, flags, next      driver writes
 *     avail: idx, ring[]  heads of chains given to the device, in order    driver writes
 *     used:  idx, ring[]  (head, bytes written) of chains given back       device writes
 *
 * idx counts entries for ever, modulo 65,536; entry i stands at ring[i mod size]. Here:
 *
 *                 used_next           used->idx         published       offered
 *                     |  returned, not   |   with the       |  not yet     |
 *     ----------------|----- taken ------|---- device ------|--- shown ----|------> idx
 *
 * so offered - used_next chains are out, and an honest used->idx lies in [used_next, published].
 *
 * Batches. virtq_offer() writes an entry, virtq_publish() shows all of them with one store and
 * one fence, virtq_kick_due() decides whether the device must be woken: a write to a device
 * register costs as much as some thousand instructions, so it is done only when the device
 * asks: with EVENT_IDX it writes the index that it wants to hear of behind the used ring
 * (2.7.10), without it sets a flag while it is awake (2.7.7).
 *
 * Kicks are never lost. By the book one compares avail_event with the entries published by this
 * very batch, and relies on the fence between storing avail->idx and loading avail_event. That
 * fence does not always exist: QEMU before 8.1 drops memory barriers of a guest with one processor
 * under TCG, although its I/O threads run beside it (tcg_gen_mb), and then store and load may
 * swap: driver and device each take the other to be awake. Therefore the comparison is made with
 * all that was published since the last kick, not since the last batch, and may be made again at
 * any time, which virtio_net.c does when it has nothing to do. An asleep device's avail_event
 * lies in that range exactly when it has not seen everything. The price is a kick too many
 * now and then, when a device went to sleep and woke by itself.
 *
 * Interrupts are wanted only before a sleep (virtq_arm()). Without EVENT_IDX avail->flags says so.
 * With it the flag must be 0 and the device interrupts when used->idx passes used_event (2.7.7.1):
 * so used_event is kept 0x2000 to 0x8000 entries ahead, more than any ring can advance between two
 * looks; and before a sleep it is the next entry.
 *
 * Barriers on x86: stores stay in order and loads stay in order, so release and acquire cost
 * nothing but keep the compiler in order; only the store-load pair above needs an instruction.
 *
 * Trust. desc and avail are never read back; chain lengths, links and indices live in struct virtq,
 * where the device cannot write. A head is accepted once for each time it was offered; the
 * length is its owner's to check, who knows the buffers (for a transmit queue it means nothing,
 * 2.7.8.2). Alternatives not taken: indirect descriptors save ring entries for long chains, ours
 * are one or two long and an indirection is one more table to fetch; packed rings are not
 * everywhere (Firecracker has none).
 */
#include "kernel/virtio/virtqueue.h"

#include <assert.h>
#include <string.h>

enum {
    AVAIL_NO_INTERRUPT = 1, /* VIRTQ_AVAIL_F_NO_INTERRUPT */
    USED_EVENT_AHEAD = 0x8000,
};

_Static_assert(offsetof(struct virtq_avail, ring) == 4, "virtio 1.2, 2.7.6");
_Static_assert(offsetof(struct virtq_used, ring) == 4, "virtio 1.2, 2.7.8");
_Static_assert((VIRTQ_SIZE_MAX & (VIRTQ_SIZE_MAX - 1)) == 0, "indices are masked");

void virtq_init(struct virtq *q, void *memory, uint16_t size, bool event_idx)
{
    uint8_t *const base = memory;

    assert(size > 0 && size <= VIRTQ_SIZE_MAX && (size & (size - 1)) == 0);
    assert((uintptr_t)memory % VIRTQ_ALIGN_BYTES == 0);
    memset(base, 0, VIRTQ_BYTES(size));
    memset(q, 0, sizeof(*q));
    q->desc = (struct virtq_desc *)base;
    q->avail = (struct virtq_avail *)(base + VIRTQ_AVAIL_OFFSET(size));
    q->used = (struct virtq_used *)(base + VIRTQ_USED_OFFSET(size));
    q->size = size;
    q->mask = (uint16_t)(size - 1);
    q->event_idx = event_idx;
    q->free_count = size;
    for (uint16_t i = 0; i < size; i++)
        q->next[i] = (uint16_t)((i + 1) & q->mask);
    virtq_hush(q);
}

__attribute__((noinline)) void virtq_break(struct virtq *q, const char *why)
{
    if (q->fault == NULL)
        q->fault = why;
}

void virtq_postpone_interrupts(struct virtq *q)
{
    q->used_event = (uint16_t)(q->used_next + USED_EVENT_AHEAD);
    /* Without EVENT_IDX nobody reads it. */
    __atomic_store_n(&q->avail->ring[q->size], q->used_event, __ATOMIC_RELAXED);
}

void virtq_arm(struct virtq *q)
{
    if (q->event_idx)
        __atomic_store_n(&q->avail->ring[q->size], q->used_next, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&q->avail->flags, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* 2.7.7.1: before used->idx is looked at again */
}

void virtq_hush(struct virtq *q)
{
    if (!q->event_idx)
        __atomic_store_n(&q->avail->flags, AVAIL_NO_INTERRUPT, __ATOMIC_RELAXED);
    virtq_postpone_interrupts(q);
}

/* The split virtqueue against a device made of the other half of its memory. */
#include <stdlib.h>

#include "kernel/virtio/virtqueue.h"
#include "tests/test.h"
#include "tests/unit/random.h"

#define SIZE 64

static _Alignas(VIRTQ_ALIGN_BYTES) uint8_t memory[VIRTQ_BYTES(SIZE)];
static struct virtq q;

/* The device's side. */
static struct {
    uint16_t seen; /* entries of the available ring that it has looked at */
    uint16_t held[SIZE];
    uint16_t held_count;
} device;

static void reset(bool event_idx)
{
    virtq_init(&q, memory, SIZE, event_idx);
    memset(&device, 0, sizeof(device));
}

static void device_look(void)
{
    while (device.seen != q.avail->idx)
        device.held[device.held_count++] = q.avail->ring[device.seen++ % SIZE];
}

static void device_write_used(uint32_t id, uint32_t len)
{
    q.used->ring[q.used->idx % SIZE] = (struct virtq_used_elem){id, len};
    q.used->idx++;
}

/* Returns the chain it has held for the n-th longest time. */
static uint16_t device_return(uint16_t n)
{
    const uint16_t head = device.held[n];

    for (uint16_t i = n; i + 1 < device.held_count; i++)
        device.held[i] = device.held[i + 1];
    device.held_count--;
    device_write_used(head, 0);
    return head;
}

static uint16_t *avail_event(void)
{
    return (uint16_t *)&q.used->ring[SIZE];
}

/* vring_need_event() as virtio 1.2, 2.7.10.1 has it. */
static bool need_event(uint16_t event, uint16_t new_index, uint16_t old_index)
{
    return (uint16_t)(new_index - event - 1) < (uint16_t)(new_index - old_index);
}

static uint16_t add_chain(uint8_t count)
{
    const uint16_t head = virtq_chain_begin(&q);
    uint16_t at = head;

    for (uint8_t i = 0; i < count; i++)
        at = virtq_link(&q, at, 0x1000u + i, 100u + i, i + 1 < count ? VIRTQ_DESC_NEXT : 0);
    virtq_chain_end(&q, at, count);
    return head;
}

TEST(virtqueue_chain_is_linked_and_ends)
{
    reset(true);
    const uint16_t head = add_chain(3);
    CHECK_EQ(q.free_count, SIZE - 3);
    CHECK_EQ(q.avail->idx, 0);
    virtq_publish(&q);
    CHECK_EQ(q.avail->idx, 1);
    CHECK_EQ(q.avail->ring[0], head);
    uint16_t at = head;
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(q.desc[at].address, 0x1000 + i);
        CHECK_EQ(q.desc[at].len, 100 + i);
        CHECK_EQ(q.desc[at].flags, i < 2 ? VIRTQ_DESC_NEXT : 0);
        at = q.desc[at].next;
    }
}

TEST(virtqueue_goes_round_past_65536_in_any_order)
{
    uint8_t lengths[SIZE] = {0};
    unsigned returned = 0;

    reset(true);
    random_state = 1;
    for (unsigned added = 0; added < 200000;) {
        const uint8_t count = (uint8_t)(1 + random_below(4));
        if (q.free_count >= count) {
            const uint16_t head = add_chain(count);
            CHECK_EQ(lengths[head], 0);
            lengths[head] = count;
            added++;
            if (random_below(3) == 0)
                virtq_publish(&q);
        } else {
            virtq_publish(&q);
        }
        device_look();
        while (device.held_count > 0 && random_below(4) != 0)
            device_return((uint16_t)random_below(device.held_count));
        for (uint16_t ready = virtq_used_count(&q); ready > 0; ready--) {
            uint32_t len;
            const uint16_t head = virtq_peek(&q, &len);
            CHECK(head < SIZE && lengths[head] > 0);
            const uint16_t free_before = q.free_count;
            virtq_take_chain(&q, head);
            CHECK_EQ(q.free_count, free_before + lengths[head]);
            lengths[head] = 0;
            returned++;
        }
    }
    CHECK(q.fault == NULL);
    CHECK(returned > 199000);
    CHECK_EQ(virtq_in_flight(&q), 200000 - returned);
}

TEST(virtqueue_free_list_survives_every_order_of_return)
{
    bool seen[SIZE] = {false};
    uint32_t len;

    reset(true);
    for (unsigned i = 0; i < SIZE / 4; i++)
        add_chain(4);
    CHECK_EQ(q.free_count, 0);
    virtq_publish(&q);
    device_look();
    random_state = 2;
    while (device.held_count > 0)
        device_return((uint16_t)random_below(device.held_count));
    while (virtq_used_count(&q) > 0)
        virtq_take_chain(&q, virtq_peek(&q, &len));
    CHECK_EQ(q.free_count, SIZE);
    uint16_t at = virtq_chain_begin(&q);
    for (unsigned i = 0; i < SIZE; i++) {
        CHECK(at < SIZE && !seen[at]);
        seen[at] = true;
        at = q.next[at];
    }
}

TEST(virtqueue_never_asks_for_an_interrupt_with_event_idx)
{
    uint32_t len;

    reset(true);
    CHECK_EQ(q.avail->flags, 0);          /* 2.7.7.1 */
    for (unsigned i = 0; i < 5000; i++) { /* the index goes round twice */
        const uint16_t old = q.used->idx;
        for (unsigned n = 0; n < 1 + i % SIZE; n++)
            add_chain(1);
        virtq_publish(&q);
        device_look();
        while (device.held_count > 0)
            device_return(0);
        CHECK(!need_event(q.avail->ring[SIZE], q.used->idx, old));
        while (virtq_used_count(&q) > 0)
            virtq_take_chain(&q, virtq_peek(&q, &len));
    }
}

TEST(virtqueue_never_asks_for_an_interrupt_without_event_idx)
{
    reset(false);
    CHECK_EQ(q.avail->flags, 1);
}

/* By the device's rules: whether it interrupts for what it has used since `old`. */
static bool interrupts(bool event_idx, uint16_t old)
{
    return event_idx ? need_event(q.avail->ring[SIZE], q.used->idx, old) : q.avail->flags == 0;
}

TEST(virtqueue_asks_for_an_interrupt_by_the_next_entry_while_armed)
{
    uint32_t len;

    for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
        reset(event_idx != 0);
        for (unsigned i = 0; i < 70000; i++) { /* the index goes round */
            const uint16_t old = q.used->idx;
            add_chain(1);
            virtq_publish(&q);
            virtq_arm(&q);
            CHECK(virtq_is_quiet(&q));
            device_look();
            (void)device_return(0);
            CHECK(interrupts(event_idx != 0, old));
            CHECK(!virtq_is_quiet(&q));
            virtq_hush(&q);
            CHECK(!interrupts(event_idx != 0, old));
            CHECK_EQ(virtq_used_count(&q), 1);
            virtq_take_chain(&q, virtq_peek(&q, &len));
        }
    }
}

TEST(virtqueue_with_a_fault_is_not_quiet)
{
    reset(true);
    CHECK(virtq_is_quiet(&q));
    virtq_break(&q, "a reason");
    CHECK(!virtq_is_quiet(&q));
}

TEST(virtqueue_kicks_exactly_when_the_event_is_among_the_unkicked)
{
    reset(true);
    for (uint32_t base = 0; base < 0x10000; base += 1021) {
        for (uint16_t batch = 1; batch <= SIZE; batch++) {
            for (int event = -3; event < SIZE + 3; event++) {
                q.kicked = (uint16_t)base;
                q.published = (uint16_t)(base + batch);
                *avail_event() = (uint16_t)((int)base + event);
                CHECK_EQ(virtq_kick_due(&q), event >= 0 && event < batch);
                CHECK_EQ(q.kicked, event >= 0 && event < batch ? q.published : (uint16_t)base);
            }
        }
    }
}

TEST(virtqueue_kicks_unless_told_not_to_without_event_idx)
{
    reset(false);
    CHECK(!virtq_kick_due(&q)); /* nothing was published */
    add_chain(1);
    CHECK(!virtq_kick_due(&q));
    virtq_publish(&q);
    CHECK(virtq_kick_due(&q));
    CHECK(!virtq_kick_due(&q));
    q.used->flags = 1; /* VIRTQ_USED_F_NO_NOTIFY */
    add_chain(1);
    virtq_publish(&q);
    CHECK(!virtq_kick_due(&q));
    q.used->flags = 0;
    CHECK(virtq_kick_due(&q));
}

TEST(virtqueue_finds_a_lost_kick_when_it_looks_again)
{
    reset(true);
    add_chain(1);
    virtq_publish(&q);
    CHECK(virtq_kick_due(&q)); /* asleep at 0, woken */
    add_chain(1);
    virtq_publish(&q);
    CHECK(!virtq_kick_due(&q)); /* it seems to be awake: avail_event is still 0... */
    *avail_event() = 1;         /* ...but it goes to sleep without having seen the second */
    add_chain(1);
    virtq_publish(&q);
    CHECK(virtq_kick_due(&q)); /* by the book, [2, 3) alone would be looked at */
    CHECK(!virtq_kick_due(&q));
}

TEST(virtqueue_kick_window_does_not_wrap_without_kicks)
{
    uint32_t len;

    reset(true);
    for (unsigned i = 0; i < 65530; i++) {
        *avail_event() = (uint16_t)(i - 2 * SIZE); /* awake all the time */
        add_chain(1);
        virtq_publish(&q);
        CHECK(!virtq_kick_due(&q));
        device_look();
        device_return(0);
        CHECK_EQ(virtq_used_count(&q), 1);
        virtq_take_chain(&q, virtq_peek(&q, &len));
    }
    *avail_event() =
        65530; /* asleep; what follows takes the index past 65,536 since the last kick */
    for (unsigned i = 0; i < 20; i++)
        add_chain(1);
    virtq_publish(&q);
    CHECK(virtq_kick_due(&q));
}

static void give_three(void)
{
    reset(true);
    for (unsigned i = 0; i < 3; i++)
        add_chain(2);
    virtq_publish(&q);
    device_look();
}

TEST(virtqueue_refuses_a_used_index_that_jumps)
{
    for (uint32_t jump = 4; jump < 0x10000; jump += 61) {
        give_three();
        q.used->idx = (uint16_t)jump;
        CHECK_EQ(virtq_used_count(&q), 0);
        CHECK(q.fault != NULL);
    }
    give_three();
    q.used->idx = 3;
    CHECK_EQ(virtq_used_count(&q), 3);
    CHECK(q.fault == NULL);
}

TEST(virtqueue_refuses_a_used_index_that_goes_back)
{
    uint32_t len;

    give_three();
    device_return(0);
    virtq_take_chain(&q, virtq_peek(&q, &len));
    q.used->idx = 0;
    CHECK_EQ(virtq_used_count(&q), 0);
    CHECK(q.fault != NULL);
}

TEST(virtqueue_refuses_ids_that_were_not_given)
{
    uint32_t len;

    /* Heads are 0, 2 and 4: in the midst of a chain, free, out of range. */
    const uint32_t bad[] = {1, 3, 6, SIZE - 1, SIZE, 0x10000, 0x80000000u, 0xffffffffu};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        give_three();
        device_write_used(bad[i], 0);
        CHECK_EQ(virtq_used_count(&q), 1);
        CHECK_EQ(virtq_peek(&q, &len), VIRTQ_NONE);
        CHECK(q.fault != NULL);
    }
}

TEST(virtqueue_refuses_an_id_twice)
{
    uint32_t len;

    give_three();
    const uint16_t head = device_return(1);
    device_write_used(head, 0);
    CHECK_EQ(virtq_used_count(&q), 2);
    CHECK_EQ(virtq_peek(&q, &len), head);
    virtq_take_chain(&q, head);
    CHECK_EQ(virtq_peek(&q, &len), VIRTQ_NONE);
    CHECK(q.fault != NULL);
    CHECK_EQ(q.free_count, SIZE - 4);
}

TEST(virtqueue_starts_afresh_after_a_fault)
{
    uint32_t len;

    give_three();
    virtq_break(&q, "first");
    virtq_break(&q, "second");
    CHECK(strcmp(q.fault, "first") == 0);
    give_three();
    CHECK(q.fault == NULL);
    CHECK_EQ(q.free_count, SIZE - 6);
    device_return(0);
    CHECK_EQ(virtq_used_count(&q), 1);
    CHECK_EQ(virtq_peek(&q, &len), 0);
}

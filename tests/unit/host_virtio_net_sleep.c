/* The virtio-net driver before a sleep: whose interrupts are asked for, and what is looked at. */
#define VNET(name) vnet_sleep_##name

#include "tests/unit/fake_virtio_net.h"

static struct netdev_piece pieces[PIECES];

/* By the device's rules: whether it interrupts for the next entry of the queue that it uses. */
static bool interrupts_next(unsigned index)
{
    const struct fake_queue *const queue = &fake.queues[index];

    if ((fake.offered & VIRTIO_F_EVENT_IDX) != 0)
        return queue->avail->ring[queue->size] == queue->used->idx;
    return queue->avail->flags == 0;
}

static bool starts(void)
{
    fake.sleep_is_possible = fake.routes = true;
    return netdev_init();
}

VNET_TEST(asks_for_interrupts_of_the_receive_queue_while_it_is_armed)
{
    for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
        set_up();
        if (event_idx == 0)
            fake.offered &= ~VIRTIO_F_EVENT_IDX;
        CHECK(starts());
        CHECK(fake.routed[0] == 1 && fake.routed[1] == 0);
        for (unsigned i = 0; i < 3; i++) {
            CHECK(!interrupts_next(0) && !interrupts_next(1));
            CHECK(netdev_arm());
            CHECK(interrupts_next(0) && !interrupts_next(1));
            CHECK_EQ(fake.acknowledged, i + 1);
            CHECK(netdev_is_quiet());
            CHECK(device_deliver(i, 100, 0));
            CHECK(!netdev_is_quiet());
            netdev_disarm();
            CHECK(!interrupts_next(0));
            CHECK_EQ(netdev_receive(pieces, PIECES), 1);
            recycle(pieces, 1);
        }
        tear_down();
    }
}

VNET_TEST(is_not_quiet_when_a_frame_came_before_it_was_armed)
{
    CHECK(starts());
    CHECK(device_deliver(1, 100, 0));
    CHECK(netdev_arm());
    CHECK(!netdev_is_quiet());
}

VNET_TEST(makes_up_for_a_lost_kick_before_a_sleep)
{
    CHECK(starts());
    send((void *)1, 60);
    netdev_flush();
    send((void *)2, 60);
    netdev_flush();
    *(uint16_t *)&fake.queues[1].used->ring[256] = 1; /* it sleeps, not having seen the second */
    CHECK_EQ(fake.queues[1].notified, 1);
    CHECK(netdev_arm());
    CHECK(netdev_is_quiet());
    CHECK_EQ(fake.queues[1].notified, 2);
}

VNET_TEST(has_no_interrupts_where_nobody_sleeps)
{
    fake.routes = true;
    CHECK(netdev_init());
    CHECK_EQ(fake.routed[0], 0);
    CHECK_EQ(fake.log_lines, 1);
    CHECK(!netdev_arm());
    CHECK_EQ(fake.acknowledged, 0);
}

VNET_TEST(says_that_it_is_polled_when_it_has_no_interrupts)
{
    fake.sleep_is_possible = true;
    CHECK(netdev_init());
    CHECK(strstr(fake.said, "idle=poll") != NULL);
    CHECK(!netdev_arm());
}

VNET_TEST(is_not_armed_while_it_does_not_work_and_has_its_interrupts_after_a_reset)
{
    CHECK(starts());
    device_use(0, 1u << 20, 100);
    CHECK(netdev_arm());
    CHECK(!netdev_is_quiet());
    CHECK_EQ(netdev_receive(pieces, PIECES), 0); /* it finds out */
    CHECK(!netdev_arm());
    CHECK_EQ(netdev_receive(pieces, PIECES), 0); /* it is reset */
    CHECK_EQ(net.counters.resets, 1);
    CHECK_EQ(fake.routed[0], 2);
    CHECK(netdev_arm());
    CHECK(netdev_is_quiet());
}

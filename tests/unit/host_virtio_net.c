/* virtio-net with a device that keeps the contract: starting, receiving, transmitting. */
#define VNET(name) vnet_##name

#include "tests/unit/fake_virtio_net.h"

static struct netdev_piece pieces[PIECES];

/* ---- starting ---- */

/* By their numbers (virtio 1.2, 5.1.3 and 6). */
VNET_TEST(accepts_only_what_it_serves)
{
    const uint64_t csums = 1ULL << 0 | 1ULL << 1, mtu = 1ULL << 3, mac = 1ULL << 5;
    const uint64_t tso4 = 1ULL << 7, mrg_rxbuf = 1ULL << 15, status = 1ULL << 16;
    const uint64_t event_idx = 1ULL << 29, version_1 = 1ULL << 32;
    const uint64_t access_platform = 1ULL << 33, order_platform = 1ULL << 36;

    fake.offered = ~0ULL;
    CHECK(netdev_init());
    CHECK_EQ(fake.accepted, csums | mtu | mac | tso4 | mrg_rxbuf | status | event_idx | version_1 |
                                access_platform | order_platform);
    CHECK_EQ(netdev_get_info()->mtu_bytes, 1500);
    CHECK(netdev_get_info()->transmit_checksum && netdev_get_info()->receive_checksum);
    CHECK(memcmp(netdev_get_info()->mac, fake.config.mac, 6) == 0);
}

VNET_TEST(starts_a_device_that_insists_on_the_platforms_addresses_and_order)
{
    fake.offered = ~0ULL;
    fake.insists = 1ULL << 33 | 1ULL << 36;
    CHECK(netdev_init());
    tear_down();
    set_up();
    fake.offered &= ~(1ULL << 33 | 1ULL << 36);
    CHECK(netdev_init());
    CHECK_EQ(fake.accepted & ~fake.offered, 0);
}

VNET_TEST(goes_through_the_status_in_order)
{
    CHECK(netdev_init());
    const uint8_t expected[] = {0, 1, 3, 11, 15};
    CHECK_EQ(fake.status_count, 5);
    CHECK(memcmp(fake.statuses, expected, 5) == 0);
}

VNET_TEST(leaves_out_tso_without_what_it_needs)
{
    fake.offered = ~F_MRG_RXBUF;
    CHECK(netdev_init());
    CHECK_EQ(fake.accepted & F_GUEST_TSO4, 0);
    tear_down();
    set_up();
    fake.offered = ~F_GUEST_CSUM;
    CHECK(netdev_init());
    CHECK_EQ(fake.accepted & F_GUEST_TSO4, 0);
    CHECK(!netdev_get_info()->receive_checksum);
}

VNET_TEST(says_no_without_a_device)
{
    fake.present = false;
    CHECK(!netdev_init());
    CHECK_EQ(fake.log_lines, 1);
}

VNET_TEST(says_no_to_a_device_that_does_not_fit)
{
    fake.offered &= ~VIRTIO_F_VERSION_1;
    CHECK(!netdev_init());
    CHECK_EQ(fake.status, STATUS_FAILED);
    set_up();
    fake.accepts = false;
    CHECK(!netdev_init());
    set_up();
    fake.queues[1].size_max = 0;
    CHECK(!netdev_init());
    set_up();
    fake.queues[0].size_max = 32;
    CHECK(!netdev_init());
    for (unsigned i = 0; i < 2; i++) {
        set_up();
        fake.enables[i] = false;
        CHECK(!netdev_init());
        CHECK_EQ(fake.status, STATUS_FAILED);
        tear_down();
    }
    set_up();
    fake.resets = false;
    fake.status = 1;
    CHECK(!netdev_init());
    CHECK(fake.now_ns < CLOCK_NS_PER_S); /* it did not wait for ever */
}

VNET_TEST(takes_a_power_of_two_of_what_the_device_has)
{
    fake.queues[0].size_max = 1000;
    fake.queues[1].size_max = 1000;
    CHECK(netdev_init());
    CHECK_EQ(receive.size, 256);
    CHECK_EQ(transmit.size, 512);
    CHECK_EQ(device_waiting(0), 256);
}

VNET_TEST(takes_the_mtu_within_bounds)
{
    const struct {
        uint16_t device, expected;
        bool merges, accepted;
    } cases[] = {{1500, 1500, true, true},  {576, 576, true, true},   {575, 1500, true, false},
                 {0, 1500, true, false},    {9000, 9000, true, true}, {65535, 9000, true, true},
                 {9000, 4002, false, true}, {1400, 1400, false, true}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tear_down();
        set_up();
        fake.offered |= F_MTU;
        if (!cases[i].merges)
            fake.offered &= ~F_MRG_RXBUF;
        fake.config.mtu = cases[i].device;
        CHECK(netdev_init());
        CHECK_EQ(netdev_get_info()->mtu_bytes, cases[i].expected);
        CHECK_EQ((fake.accepted & F_MTU) != 0, cases[i].accepted);
    }
}

VNET_TEST(makes_a_local_address_when_the_device_has_none)
{
    fake.offered &= ~F_MAC;
    CHECK(netdev_init());
    CHECK_EQ(netdev_get_info()->mac[0], 0xfe);
}

VNET_TEST(leaves_checksums_to_us_when_the_device_makes_none)
{
    fake.offered &= ~F_CSUM;
    CHECK(netdev_init());
    CHECK_EQ(fake.accepted & F_CSUM, 0);
    CHECK(!netdev_get_info()->transmit_checksum && netdev_get_info()->receive_checksum);
    CHECK(strstr(fake.said, "MTU 1500, guest-csum, mrg-rxbuf, guest-tso, event-idx") != NULL);
}

VNET_TEST(reads_the_link)
{
    fake.offered |= F_STATUS;
    CHECK(netdev_init());
    CHECK(netdev_link_is_up());
    fake.config.status = 0;
    CHECK(!netdev_link_is_up());
    tear_down();
    set_up();
    fake.config.status = 0;
    CHECK(netdev_init());
    CHECK(netdev_link_is_up()); /* without the feature there is always one */
}

/* ---- receiving ---- */

VNET_TEST(receives_a_frame)
{
    CHECK(netdev_init());
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK(device_deliver(1, 60, 0) && device_deliver(2, 1514, 0));
    CHECK_EQ(netdev_receive(pieces, PIECES), 2);
    CHECK(is_frame(&pieces[0], 1, 1, 60) && is_frame(&pieces[1], 1, 2, 1514));
    memset(pieces[0].bytes - NETDEV_HEADROOM_BYTES, 0, NETDEV_HEADROOM_BYTES);
    recycle(pieces, 2);
    CHECK_EQ(netdev_get_counters()->received_frames, 2);
    CHECK_EQ(netdev_get_counters()->received_bytes, 1574);
}

VNET_TEST(believes_the_checksum_only_where_it_was_agreed)
{
    const uint8_t flags[] = {0, VIRTIO_NET_HEADER_NEEDS_CSUM, VIRTIO_NET_HEADER_DATA_VALID, 4};
    const bool valid[] = {false, true, true, false};

    CHECK(netdev_init());
    for (unsigned i = 0; i < 4; i++)
        CHECK(device_deliver(i, 100, flags[i]));
    CHECK_EQ(netdev_receive(pieces, PIECES), 4);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(pieces[i].checksum_valid, valid[i]);
    tear_down();
    set_up();
    fake.offered &= ~F_GUEST_CSUM;
    CHECK(netdev_init());
    CHECK(device_deliver(1, 100, 3));
    CHECK_EQ(netdev_receive(pieces, PIECES), 1);
    CHECK(!pieces[0].checksum_valid);
}

VNET_TEST(gives_a_merged_frame_as_one_piece_and_two_at_the_wrap)
{
    CHECK(netdev_init());
    unsigned split = 0;
    for (uint32_t i = 0; i < 20000; i++) { /* 340,000 buffers: the indices wrap */
        CHECK(device_deliver(i, 65500, VIRTIO_NET_HEADER_NEEDS_CSUM));
        const size_t count = netdev_receive(pieces, PIECES);
        CHECK(count == 1 || count == 2);
        split += count == 2;
        if (count == 2)
            CHECK_EQ(pieces[1].ring_first, 0);
        if (i % 100 == 0)
            CHECK(is_frame(pieces, count, i, 65500));
        CHECK(pieces[0].checksum_valid);
        recycle(pieces, count);
        netdev_flush();
    }
    CHECK(split > 20000 * 17 / 256 - 100 && split < 20000 * 17 / 256 + 100);
    CHECK_EQ(netdev_get_counters()->resets, 0);
}

VNET_TEST(takes_frames_of_exactly_full_buffers)
{
    CHECK(netdev_init());
    const uint32_t lens[] = {SLOT - HEADER, SLOT - HEADER + 1, 2 * SLOT - HEADER, 65562};
    for (unsigned i = 0; i < 4; i++) {
        CHECK(device_deliver(i, lens[i], 0));
        CHECK_EQ(netdev_receive(pieces, PIECES), 1);
        CHECK(is_frame(pieces, 1, i, lens[i]));
    }
}

VNET_TEST(works_without_mergeable_buffers)
{
    fake.offered &= ~F_MRG_RXBUF;
    CHECK(netdev_init());
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(device_deliver(i, 14 + i, 0));
        /* num_buffers means nothing then: 5.1.6.4 */
        const uint16_t id = (uint16_t)((i) % 256);
        ((struct virtio_net_header *)(uintptr_t)fake.queues[0].desc[id].address)->num_buffers =
            (uint16_t)i;
        CHECK_EQ(netdev_receive(pieces, PIECES), 1);
        CHECK(is_frame(pieces, 1, i, 14 + i));
        recycle(pieces, 1);
        netdev_flush();
    }
}

VNET_TEST(returns_whole_frames_only_when_room_is_short)
{
    CHECK(netdev_init());
    for (uint32_t i = 0; i < 70; i++)
        CHECK(device_deliver(i, 100, 0));
    CHECK(device_deliver(70, 60000, 0));
    CHECK_EQ(netdev_receive(pieces, 64), 64);
    CHECK_EQ(netdev_receive(pieces + 64, 64), 7);
    CHECK(is_frame(&pieces[70], 1, 70, 60000));
    for (uint32_t i = 0; i < 60; i++)
        CHECK(device_deliver(i, 100, 0));
    CHECK(device_deliver(60, 60000, 0)); /* could be as many pieces as it has buffers, 15 */
    CHECK_EQ(netdev_receive(pieces, 64), 60);
    CHECK_EQ(netdev_receive(pieces, 64), 1);
}

VNET_TEST(ring_may_run_dry_and_comes_back)
{
    CHECK(netdev_init());
    for (int round = 0; round < 3; round++) {
        uint32_t sent = 0;
        while (device_deliver(sent, 100, 0))
            sent++;
        CHECK_EQ(sent, 256);
        static struct netdev_piece held[256];
        size_t count = 0;
        while (count < 256) {
            const size_t got = netdev_receive(pieces, PIECES);
            CHECK(got > 0);
            memcpy(&held[count], pieces, got * sizeof(pieces[0]));
            count += got;
            netdev_flush();
        }
        CHECK_EQ(netdev_receive(pieces, PIECES), 0);
        CHECK(!device_deliver(1, 100, 0));
        for (uint32_t i = 0; i < 256; i++)
            CHECK(is_frame(&held[i], 1, i, 100));
        recycle(held, 256);
        netdev_flush();
        netdev_flush();
        CHECK_EQ(device_waiting(0), 256);
    }
}

VNET_TEST(order_heals_after_a_piece_was_held)
{
    CHECK(netdev_init());
    CHECK(device_deliver(0, 100, 0));
    CHECK_EQ(netdev_receive(pieces, PIECES), 1);
    const struct netdev_piece held = pieces[0];
    random_state = 6;
    for (uint32_t i = 1; i < 3000; i++) {
        if (i == 200) /* some laps later, in the midst of one */
            netdev_recycle(&held);
        CHECK(device_deliver(i, 14 + random_below(65000), 0));
        const size_t count = netdev_receive(pieces, PIECES);
        CHECK(count >= 1 && count <= 3);
        if (i > 300) /* cut by nothing but the end of the arena */
            CHECK(count == 1 || (count == 2 && pieces[1].ring_first == 0));
        recycle(pieces, count);
        netdev_flush();
    }
    CHECK(receive.idle_count < 20);
}

VNET_TEST(order_gives_way_when_the_device_is_short_of_buffers)
{
    static struct netdev_piece held[200];
    size_t count = 0;

    CHECK(netdev_init());
    for (uint32_t i = 0; i < 200; i++)
        CHECK(device_deliver(i, 100, 0));
    for (size_t got; (got = netdev_receive(pieces, PIECES)) > 0; count += got)
        memcpy(&held[count], pieces, got * sizeof(pieces[0]));
    CHECK_EQ(count, 200);
    CHECK_EQ(device_waiting(0), 56);
    recycle(&held[150], 50); /* more than half the ring ahead of the first that is held */
    netdev_flush();
    CHECK_EQ(device_waiting(0), 106);
    recycle(held, 150); /* now it is not: they wait for their turn */
    netdev_flush();
    CHECK_EQ(device_waiting(0), 106);
    for (uint32_t i = 0; i < 50; i++)
        CHECK(device_deliver(i, 100, 0));
    CHECK_EQ(netdev_receive(pieces, PIECES), 50);
    recycle(pieces, 50);
    netdev_flush();
    CHECK_EQ(device_waiting(0), 256);
}

static void receive_small_frames(size_t count)
{
    for (uint32_t i = 0; i < count; i++)
        CHECK(device_deliver(i, 100, 0));
    CHECK_EQ(netdev_receive(pieces, PIECES), count);
}

/*
 * Half of it is held while the cursor passes over, and given back; then a quarter is held. The
 * device has the last quarter: what else is idle lies behind that, out of order.
 */
VNET_TEST(half_of_the_smallest_ring_is_enough_for_the_largest_frame)
{
    enum { SIZE = RECEIVE_RING_SIZE_MIN };
    static struct netdev_piece held[SIZE / 2];

    fake.queues[0].size_max = SIZE;
    CHECK(netdev_init());
    CHECK_EQ(netdev_get_info()->receive_buffers, SIZE);
    receive_small_frames(SIZE / 2);
    memcpy(held, pieces, sizeof(held));
    receive_small_frames(1);
    recycle(pieces, 1);
    netdev_flush();
    recycle(held, SIZE / 2);
    netdev_flush();
    receive_small_frames(SIZE / 4);
    netdev_flush();
    memcpy(held, pieces, sizeof(held) / 2);
    CHECK(device_deliver(7, 65562 - HEADER, 0));
    const size_t count = netdev_receive(pieces, PIECES);
    CHECK(is_frame(pieces, count, 7, 65562 - HEADER));
    recycle(pieces, count);
    recycle(held, SIZE / 4);
}

/* A receiver that holds frames for as long as it likes and gives them back in any order. */
VNET_TEST(receiver_may_hold_and_return_in_any_order)
{
    enum { HELD = 100 };
    static struct {
        struct netdev_piece pieces[NETDEV_PIECES_MAX];
        size_t count;
        uint32_t seed, bytes;
    } held[HELD];
    uint32_t sent = 0, got = 0;
    static uint32_t bytes_of[4096];

    CHECK(netdev_init());
    memset(held, 0, sizeof(held));
    random_state = 3;
    while (got < 60000) {
        for (uint32_t n = random_below(12); n > 0; n--) {
            const uint32_t bytes =
                random_below(8) == 0 ? 14 + random_below(65000) : 14 + random_below(1500);
            if (!device_deliver(sent, bytes, 0))
                break;
            bytes_of[sent++ % 4096] = bytes;
        }
        const size_t count = netdev_receive(pieces, NETDEV_PIECES_MAX + random_below(64));
        for (size_t i = 0; i < count;) {
            size_t n = 1;
            while (pieces[i + n - 1].more)
                n++;
            const size_t at = random_below(HELD);
            if (held[at].count > 0) { /* still as it was? */
                CHECK(is_frame(held[at].pieces, held[at].count, held[at].seed, held[at].bytes));
                recycle(held[at].pieces, held[at].count);
            }
            memcpy(held[at].pieces, &pieces[i], n * sizeof(pieces[0]));
            held[at].count = n;
            held[at].seed = got;
            held[at].bytes = bytes_of[got++ % 4096];
            i += n;
        }
        for (uint32_t n = random_below(40); n > 0; n--) {
            const size_t at = random_below(HELD);
            if (held[at].count > 0)
                recycle(held[at].pieces, held[at].count);
            held[at].count = 0;
        }
        netdev_flush();
    }
    CHECK_EQ(netdev_get_counters()->resets, 0);
    CHECK_EQ(netdev_get_counters()->receive_dropped, 0);
    for (size_t at = 0; at < HELD; at++)
        recycle(held[at].pieces, held[at].count);
    while (netdev_receive(pieces, PIECES) > 0)
        continue;
}

VNET_TEST(drops_a_runt_and_counts_it)
{
    CHECK(netdev_init());
    CHECK(device_deliver(1, 13, 0) && device_deliver(2, 14, 0) && device_deliver(3, 0, 0));
    CHECK_EQ(netdev_receive(pieces, PIECES), 1);
    CHECK(is_frame(pieces, 1, 2, 14));
    CHECK_EQ(netdev_get_counters()->receive_dropped, 2);
    CHECK_EQ(netdev_get_counters()->resets, 0);
    CHECK_EQ(receive.idle_count, 2);
}

/* ---- transmitting ---- */

VNET_TEST(frame_is_a_chain_with_a_header)
{
    static uint8_t head[NETDEV_HEADROOM_BYTES + 54];
    const struct netdev_frame frame = {
        .buffers = {{head + NETDEV_HEADROOM_BYTES, 54}, {sent_bytes, 1000}, {sent_bytes + 5, 7}},
        .buffer_count = 3,
        .checksum_start = 34,
        .checksum_offset = 16,
        .token = head};

    CHECK(netdev_init());
    memset(head, 0xaa, sizeof(head));
    netdev_transmit(&frame);
    CHECK_EQ(netdev_transmit_space(), 253);
    CHECK_EQ(device_waiting(1), 0);
    netdev_flush();
    CHECK_EQ(device_waiting(1), 1);
    const struct virtq_desc *desc = &fake.queues[1].desc[device_take(1)];
    const struct virtio_net_header expected = {
        .flags = VIRTIO_NET_HEADER_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    CHECK(memcmp((void *)(uintptr_t)desc->address, &expected, HEADER) == 0);
    CHECK_EQ(desc->address, (uintptr_t)head);
    CHECK_EQ(desc->len, HEADER + 54);
    CHECK_EQ(desc->flags, VIRTQ_DESC_NEXT);
    desc = &fake.queues[1].desc[desc->next];
    CHECK(desc->address == (uintptr_t)sent_bytes && desc->len == 1000);
    CHECK_EQ(desc->flags, VIRTQ_DESC_NEXT);
    desc = &fake.queues[1].desc[desc->next];
    CHECK(desc->address == (uintptr_t)sent_bytes + 5 && desc->len == 7);
    CHECK_EQ(desc->flags, 0);
    CHECK_EQ(netdev_get_counters()->transmitted_bytes, 1061);
}

VNET_TEST(frames_are_published_by_sixteen_and_at_the_flush)
{
    CHECK(netdev_init());
    for (unsigned i = 0; i < 20; i++) {
        send((void *)1, 60);
        CHECK_EQ(fake.queues[1].avail->idx, i < 15 ? 0 : 16);
    }
    CHECK_EQ(fake.queues[1].notified, 1); /* avail_event is 0: it slept, and was woken once */
    netdev_flush();
    CHECK_EQ(fake.queues[1].avail->idx, 20);
    CHECK_EQ(fake.queues[1].notified, 1);
}

VNET_TEST(a_lost_kick_is_made_up_for_when_idle)
{
    CHECK(netdev_init());
    send((void *)1, 60);
    netdev_flush();
    send((void *)2, 60);
    netdev_flush();
    CHECK_EQ(fake.queues[1].notified, 1);
    *(uint16_t *)&fake.queues[1].used->ring[256] = 1; /* it sleeps, not having seen the second */
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK_EQ(fake.queues[1].notified, 2);
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK_EQ(fake.queues[1].notified, 2);
}

VNET_TEST(kicks_whenever_the_device_asks_where_there_are_no_event_indices)
{
    fake.offered &= ~VIRTIO_F_EVENT_IDX;
    CHECK(netdev_init());
    CHECK(strstr(fake.said, "guest-tso") != NULL && strstr(fake.said, "event-idx") == NULL);
    for (unsigned i = 1; i <= 3; i++) {
        send((void *)1, 60);
        netdev_flush();
        CHECK_EQ(fake.queues[1].notified, i);
    }
    fake.queues[1].used->flags = 1; /* VIRTQ_USED_F_NO_NOTIFY */
    send((void *)1, 60);
    netdev_flush();
    CHECK_EQ(device_waiting(1), 4);
    CHECK_EQ(fake.queues[1].notified, 3);
}

VNET_TEST(tokens_come_back_once_and_space_with_them)
{
    static bool out[256 + 1];
    static uint16_t at_device[256];
    size_t at_device_count = 0;
    unsigned total = 0;

    CHECK(netdev_init());
    memset(out, 0, sizeof(out));
    random_state = 4;
    while (total < 150000) {
        void *tokens[7];
        for (uint32_t n = random_below(30); n > 0 && netdev_transmit_space() >= 3; n--) {
            uintptr_t token = 1;
            while (out[token])
                token++;
            out[token] = true;
            struct netdev_frame frame = {.buffer_count = (uint16_t)(1 + random_below(3)),
                                         .token = (void *)token};
            for (unsigned i = 0; i < frame.buffer_count; i++)
                frame.buffers[i] = (struct netdev_buffer){sent_bytes + NETDEV_HEADROOM_BYTES, 60};
            netdev_transmit(&frame);
        }
        netdev_flush();
        while (device_waiting(1) > 0)
            at_device[at_device_count++] = device_take(1);
        while (at_device_count > 0 && random_below(20) != 0) { /* in any order */
            const uint32_t at = random_below((uint32_t)at_device_count);
            device_use(1, at_device[at], random_below(2) * 1000); /* len means nothing here */
            at_device[at] = at_device[--at_device_count];
        }
        for (size_t n; (n = netdev_transmitted(tokens, 7)) > 0;)
            for (size_t i = 0; i < n; i++, total++) {
                CHECK(out[(uintptr_t)tokens[i]]);
                out[(uintptr_t)tokens[i]] = false;
            }
    }
    CHECK_EQ(netdev_get_counters()->resets, 0);
}

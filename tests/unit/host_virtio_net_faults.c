/* virtio-net with a device that breaks the contract in every way there is. */
#define VNET(name) vnet_faults_##name

#include "tests/unit/fake_virtio_lies.h"

static struct netdev_piece pieces[PIECES];

VNET_TEST(every_lie_is_caught_and_the_device_reset)
{
    for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        void *tokens[8];
        tear_down();
        set_up();
        CHECK(netdev_init());
        CHECK(device_deliver(1, 500, 0)); /* slot 0, which the receiver then holds */
        CHECK_EQ(netdev_receive(pieces, PIECES), 1);
        const struct netdev_piece held = pieces[0];
        for (uintptr_t token = 1; token <= 5; token++)
            send((void *)token, 60);
        netdev_flush();
        for (unsigned n = 0; n < 2; n++)
            device_use(1, device_take(1), 0);
        CHECK_EQ(netdev_transmitted(tokens, 8), 2);
        for (unsigned n = 0; n < 2; n++)
            device_take(1);
        lies[i]();
        for (unsigned turn = 0; turn < 2; turn++) { /* seen in one turn, reset in the next */
            const size_t got = netdev_receive(pieces, PIECES);
            CHECK(got <= 1);
            recycle(pieces, got);
            if (netdev_get_counters()->resets == 0)
                CHECK_EQ(netdev_transmitted(tokens, 8), 0);
        }
        CHECK_EQ(netdev_get_counters()->resets, 1);
        CHECK_EQ(fake.status, 15);
        CHECK(is_frame(&held, 1, 1, 500));
        CHECK_EQ(device_waiting(0), 255 - receive.idle_count);
        CHECK_EQ(netdev_transmit_space(), 256 - 3); /* the tokens to be fetched */
        uintptr_t sum = 0;
        CHECK_EQ(netdev_transmitted(tokens, 8), 3);
        for (unsigned n = 0; n < 3; n++)
            sum += (uintptr_t)tokens[n];
        CHECK_EQ(sum, 3 + 4 + 5);
        CHECK_EQ(netdev_transmitted(tokens, 8), 0);
        CHECK_EQ(netdev_transmit_space(), 256);
        netdev_recycle(&held);
        CHECK(device_deliver(9, 30000, 0)); /* and all is well again */
        const size_t count = netdev_receive(pieces, PIECES);
        CHECK(count > 0 && is_frame(pieces, count, 9, 30000));
        recycle(pieces, count);
        netdev_flush();
        CHECK_EQ(virtq_in_flight(&receive.q) + receive.idle_count, 256);
    }
}

VNET_TEST(a_merged_frame_with_a_hole_is_dropped_whole)
{
    CHECK(netdev_init());
    const uint32_t lens[3][3] = {{SLOT - 1, SLOT, 100}, {SLOT, SLOT - 1, 100}, {SLOT, SLOT, 0}};
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 3; k++) {
            const uint16_t id = device_take(0);
            write_header(id, 3);
            device_use(0, id, lens[i][k]);
        }
        CHECK(device_deliver(i, 100, 0));
        CHECK_EQ(netdev_receive(pieces, PIECES), 1);
        CHECK(is_frame(pieces, 1, i, 100));
    }
    CHECK_EQ(netdev_get_counters()->receive_dropped, 3);
    CHECK_EQ(netdev_get_counters()->resets, 0);
    CHECK_EQ(receive.idle_count, 9);
}

VNET_TEST(what_the_device_has_not_shown_is_not_taken)
{
    CHECK(netdev_init());
    lie_never_completes();
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK_EQ(receive.q.used_next, 0);
}

VNET_TEST(frames_before_a_lie_still_arrive)
{
    CHECK(netdev_init());
    CHECK(device_deliver(1, 100, 0) && device_deliver(2, 60000, 0));
    lie_id_huge();
    CHECK_EQ(netdev_receive(pieces, PIECES), 2);
    CHECK_EQ(netdev_receive(&pieces[2], PIECES - 2), 0);
    CHECK_EQ(netdev_get_counters()->resets, 1);
    CHECK(is_frame(&pieces[0], 1, 1, 100) && is_frame(&pieces[1], 1, 2, 60000));
    CHECK_EQ(device_waiting(0), 256 - 1 - 15); /* what the receiver holds is not offered */
    recycle(pieces, 2);
}

VNET_TEST(complains_once_a_second_at_most)
{
    CHECK(netdev_init());
    fake.log_lines = 0;
    for (unsigned i = 0; i < 1000; i++) {
        lie_id_huge();
        netdev_receive(pieces, PIECES);
        netdev_receive(pieces, PIECES);
    }
    CHECK_EQ(netdev_get_counters()->resets, 1000);
    CHECK_EQ(fake.log_lines, 1);
    fake.now_ns += CLOCK_NS_PER_S;
    lie_id_huge();
    netdev_receive(pieces, PIECES);
    netdev_receive(pieces, PIECES);
    CHECK_EQ(fake.log_lines, 2);
    fake.resets = false; /* and that it is dead, after a second of it */
    lie_id_huge();
    fake.log_lines = 0;
    netdev_receive(pieces, PIECES);
    netdev_receive(pieces, PIECES);
    CHECK(!netdev_link_is_up());
    CHECK_EQ(fake.log_lines, 1); /* virtio_begin()'s own */
    fake.now_ns += CLOCK_NS_PER_S;
    netdev_receive(pieces, PIECES);
    CHECK_EQ(fake.log_lines, 3);
    CHECK(strcmp(fake.said, "fake does not start again; next attempt in a second") == 0);
}

VNET_TEST(a_device_that_asks_for_a_reset_gets_one)
{
    CHECK(netdev_init());
    fake.status |= STATUS_NEEDS_RESET;
    netdev_link_is_up();
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK_EQ(netdev_get_counters()->resets, 1);
    CHECK_EQ(fake.status, 15);
    CHECK(netdev_link_is_up());
}

VNET_TEST(a_device_that_stays_dead_is_tried_each_second)
{
    void *tokens[300];

    CHECK(netdev_init());
    send((void *)1, 60);
    lie_id_huge();
    fake.resets = false;
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK(!netdev_link_is_up());
    CHECK_EQ(netdev_transmitted(tokens, 300), 0); /* it may still be reading the frame */
    while (netdev_transmit_space() > 0)
        send((void *)2, 60);
    netdev_flush();
    fake.resets = true;
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK(!netdev_link_is_up());
    fake.now_ns += CLOCK_NS_PER_S;
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK(netdev_link_is_up());
    CHECK_EQ(netdev_transmitted(tokens, 300), 256);
    CHECK(device_deliver(1, 100, 0));
    CHECK_EQ(netdev_receive(pieces, PIECES), 1);
    CHECK_EQ(netdev_get_counters()->resets, 1);
}

VNET_TEST(a_device_that_lost_its_features_is_tried_again)
{
    CHECK(netdev_init());
    const uint64_t accepted = fake.accepted;
    fake.offered &= ~F_MRG_RXBUF;
    lie_id_huge();
    netdev_receive(pieces, PIECES);
    netdev_receive(pieces, PIECES);
    CHECK(!netdev_link_is_up());
    fake.offered = ALL_OFFERED;
    fake.now_ns += CLOCK_NS_PER_S;
    netdev_receive(pieces, PIECES);
    CHECK(netdev_link_is_up());
    CHECK_EQ(fake.accepted, accepted);
}

VNET_TEST(a_device_that_starts_half_is_tried_again)
{
    bool *const what[] = {&fake.accepts, &fake.enables[0], &fake.enables[1]};

    for (unsigned i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
        tear_down();
        set_up();
        CHECK(netdev_init());
        const uint64_t accepted = fake.accepted;
        *what[i] = false;
        lie_id_huge();
        CHECK_EQ(netdev_receive(pieces, PIECES), 0);
        CHECK_EQ(netdev_receive(pieces, PIECES), 0);
        CHECK(!netdev_link_is_up());
        CHECK_EQ(fake.status & STATUS_DRIVER_OK, 0);
        *what[i] = true;
        fake.now_ns += CLOCK_NS_PER_S;
        CHECK_EQ(netdev_receive(pieces, PIECES), 0);
        CHECK(netdev_link_is_up());
        CHECK_EQ(fake.accepted, accepted);
        CHECK(device_deliver(1, 100, 0));
        CHECK_EQ(netdev_receive(pieces, PIECES), 1);
    }
}

VNET_TEST(tokens_of_a_reset_come_back_in_as_many_calls_as_it_takes)
{
    void *tokens[2];
    unsigned seen = 0;

    CHECK(netdev_init());
    for (uintptr_t token = 0; token < 5; token++)
        send((void *)token, 60);
    netdev_flush();
    lie_id_huge();
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK_EQ(netdev_receive(pieces, PIECES), 0);
    CHECK_EQ(netdev_get_counters()->resets, 1);
    for (size_t left = 5, count; left > 0; left -= count) {
        count = netdev_transmitted(tokens, 2);
        CHECK_EQ(count, left < 2 ? left : 2);
        for (size_t i = 0; i < count; i++)
            seen |= 1u << (uintptr_t)tokens[i];
    }
    CHECK_EQ(seen, 0x1f);
    CHECK_EQ(netdev_transmitted(tokens, 2), 0);
}

/* ---- everything at once ---- */

/* A lie, or any used entry, or a used index out of the air, or a scribble over shared memory. */
static void misbehave(void)
{
    switch (random_below(6)) {
    case 0:
        lies[random_below(sizeof(lies) / sizeof(lies[0]))]();
        break;
    case 1:
        device_use(random_below(2), random_below(300), random_below(2 * SLOT));
        break;
    case 2:
        fake.queues[random_below(2)].used->idx = (uint16_t)random_below(0x10000);
        break;
    case 3:
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 0; k < 256; k++)
                fake.queues[i].desc[k] = (struct virtq_desc){random_below(1u << 31), ~0u, 3, 999};
        break;
    case 4:
        for (unsigned i = 0; i < 256; i++)
            fake.queues[0].avail->ring[i] = (uint16_t)random_below(256);
        break;
    default:
        for (size_t i = 0; i < (size_t)receive.size * SLOT; i += 1 + random_below(999))
            receive.arena[i] = (uint8_t)random_below(4);
        break;
    }
}

static bool device_is_usable(void)
{
    for (unsigned i = 0; i < 256; i++)
        if (fake.queues[0].avail->ring[i] >= 256 || fake.queues[0].desc[i].len != SLOT)
            return false;
    return device_waiting(0) >= 70 && device_waiting(0) <= 256;
}

VNET_TEST(no_misbehaviour_leads_out_of_bounds)
{
    static unsigned out[257];
    static struct netdev_piece held[64];
    size_t held_count = 0;

    CHECK(netdev_init());
    memset(out, 0, sizeof(out));
    random_state = 5;
    for (unsigned round = 0; round < 40000; round++) {
        void *tokens[300];
        if (device_is_usable()) {
            device_deliver(round, 14 + random_below(9000), 0);
            if (random_below(4) == 0)
                misbehave();
        } else {
            lie_id_huge();
        }
        const size_t count = netdev_receive(pieces, PIECES);
        CHECK(count <= PIECES);
        for (size_t i = 0; i < count; i++) {
            const uint8_t *const end = receive.arena + (size_t)receive.size * SLOT;
            CHECK(pieces[i].bytes >= receive.arena && pieces[i].len > 0);
            CHECK(pieces[i].bytes < end && pieces[i].len <= (size_t)(end - pieces[i].bytes));
            if (held_count < 64 && random_below(3) == 0)
                held[held_count++] = pieces[i];
            else
                netdev_recycle(&pieces[i]);
        }
        while (held_count > 0 && random_below(4) != 0)
            netdev_recycle(&held[--held_count]);
        for (uintptr_t token = 1; token < 257 && netdev_transmit_space() > 0; token += 5)
            if (out[token] == 0) {
                out[token] = 1;
                send((void *)token, 60);
            }
        if (device_waiting(1) > 0 && device_waiting(1) <= 256 && random_below(2) == 0)
            device_use(1, device_take(1), 0);
        const size_t done = netdev_transmitted(tokens, 300);
        for (size_t i = 0; i < done; i++) {
            CHECK_EQ(out[(uintptr_t)tokens[i]], 1);
            out[(uintptr_t)tokens[i]] = 0;
        }
        netdev_flush();
    }
    CHECK(netdev_get_counters()->resets > 1000);
    CHECK(netdev_get_counters()->received_frames > 10000);
}

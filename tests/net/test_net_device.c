/*
 * The server over the real driver, over a device in memory that breaks its contract: what the tests
 * of the driver alone hold (tests/unit/host_virtio_net_faults.c) must hold for its caller, too.
 */
#define VNET(name) vnet_server_##name

#include "tests/net/rig.h"
#include "tests/unit/fake_virtio_lies.h"

/* ---- net/ calls the driver instead of tests/fake_netdev.c, once a test has started it ---- */

static bool is_driven;

#define DRIVEN(type, name, real, wrap, parameters, arguments)                                      \
    type real parameters;                                                                          \
    type wrap parameters;                                                                          \
    type wrap parameters                                                                           \
    {                                                                                              \
        return is_driven ? name arguments : real arguments;                                        \
    }

DRIVEN(const struct netdev_info *, netdev_get_info, __real_netdev_get_info, __wrap_netdev_get_info,
       (void), ())
DRIVEN(const struct netdev_counters *, netdev_get_counters, __real_netdev_get_counters,
       __wrap_netdev_get_counters, (void), ())
DRIVEN(bool, netdev_link_is_up, __real_netdev_link_is_up, __wrap_netdev_link_is_up, (void), ())
DRIVEN(size_t, netdev_receive, __real_netdev_receive, __wrap_netdev_receive,
       (struct netdev_piece * to, size_t max), (to, max))
DRIVEN(void, netdev_recycle, __real_netdev_recycle, __wrap_netdev_recycle,
       (const struct netdev_piece *piece), (piece))
DRIVEN(size_t, netdev_transmit_space, __real_netdev_transmit_space, __wrap_netdev_transmit_space,
       (void), ())
DRIVEN(void, netdev_transmit, __real_netdev_transmit, __wrap_netdev_transmit,
       (const struct netdev_frame *frame), (frame))
DRIVEN(size_t, netdev_transmitted, __real_netdev_transmitted, __wrap_netdev_transmitted,
       (void **tokens, size_t max), (tokens, max))
DRIVEN(void, netdev_flush, __real_netdev_flush, __wrap_netdev_flush, (void), ())

/* Each is answered with one frame. */
static void ask_by_arp(unsigned requests)
{
    static const uint8_t request[42] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,  0, 0, 0, 1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
        1,    2,    0,    0,    0,    0,    1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2};

    while (requests-- > 0) {
        const uint16_t id = device_take(0);
        uint8_t *const to = (uint8_t *)(uintptr_t)fake.queues[0].desc[id].address;
        *(struct virtio_net_header *)to = (struct virtio_net_header){.num_buffers = 1};
        memcpy(to + HEADER, request, sizeof request);
        device_use(0, id, HEADER + sizeof request);
    }
}

/* One buffer of the receive ring stays out: the test itself holds it. */
static void start_server(void)
{
    const struct server_config config = rig_config(16);
    struct netdev_piece held[NETDEV_PIECES_MAX];

    set_up();
    memcpy(fake.config.mac, fake_netdev_default.mac, sizeof fake.config.mac);
    EXPECT(netdev_init());
    ask_by_arp(1);
    EXPECT_EQ(netdev_receive(held, NETDEV_PIECES_MAX), 1);
    is_driven = true;
    rig_start(&config, &fake_netdev_default);
    while (device_waiting(1) > 0) /* what it says of itself at the start */
        device_use(1, device_take(1), 0);
    rig_poll();
    EXPECT_EQ(netdev_transmit_space(), 256);
}

/* The device is given this many frames, and keeps them. */
static void have_frames_out(unsigned frames)
{
    for (unsigned left = frames; left > 0;) {
        const unsigned now = left < 32 ? left : 32;
        ask_by_arp(now);
        rig_poll();
        left -= now;
    }
    EXPECT_EQ(netdev_transmit_space(), 256 - frames);
}

static void let_pass_ms(unsigned ms)
{
    fake.now_ns += ms * CLOCK_NS_PER_MS;
    rig_wait_ms(ms);
}

/* It was reset, somebody was told, and what comes is answered. */
static void expect_recovered(void)
{
    let_pass_ms(100);
    EXPECT_EQ(netdev_get_counters()->resets, 1);
    EXPECT(fake.log_lines > 0);
    const uint16_t sent = device_waiting(1); /* since */
    EXPECT_EQ(netdev_transmit_space() + sent, 256);
    ask_by_arp(5);
    rig_poll();
    EXPECT_EQ(device_waiting(1), sent + 5);
    EXPECT(server_is_reachable());
}

/*
 * With 160 frames out there are just the descriptors without which nothing is received. The answers
 * to what comes before the lie, in the same batch, take some of them.
 */
static void (*lie)(void);

static void be_lied_to(void)
{
    start_server();
    have_frames_out(160);
    fake.log_lines = 0;
    ask_by_arp(40);
    lie();
    expect_recovered();
}

TEST(a_device_that_lies_is_reset_also_while_descriptors_are_too_few_to_receive)
{
    for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        lie = lies[i];
        CHECK_EQ(rig_run(be_lied_to), 0);
    }
}

static void be_lied_to_when_deaf(void)
{
    start_server();
    have_frames_out(160);
    ask_by_arp(40);
    rig_poll();
    EXPECT_EQ(netdev_transmit_space(), 256 - 200);
    fake.log_lines = 0;
    lie();
    expect_recovered();
}

static void ask_for_a_reset(void)
{
    fake.status |= STATUS_NEEDS_RESET;
}

/* What it says of frames to be received nobody looks at then, until it gives descriptors back. */
TEST(a_device_that_lies_about_what_it_was_sent_is_reset_while_nothing_is_received)
{
    void (*const told[])(void) = {lie_about_a_transmit_id, lie_about_the_transmit_index,
                                  ask_for_a_reset};

    for (unsigned i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        lie = told[i];
        CHECK_EQ(rig_run(be_lied_to_when_deaf), 0);
    }
}

/* The link is asked for once a second then, and it is there that the device is heard. */
NET_TEST(a_device_that_asks_for_a_reset_gets_one_in_about_a_second_though_frames_come)
{
    start_server();
    ask_for_a_reset();
    unsigned ms = 0;
    for (; netdev_get_counters()->resets == 0 && ms < 10000; ms += 10) {
        ask_by_arp(1);
        let_pass_ms(10);
        while (device_waiting(1) > 0)
            device_use(1, device_take(1), 0);
    }
    EXPECT(ms <= 1050);
    expect_recovered();
}

/* It resets, but then does not accept its features, or a queue: half of it is started anew. */
static void start_half_at_first(bool *what)
{
    start_server();
    have_frames_out(160);
    ask_by_arp(40);
    rig_poll();
    *what = false;
    ask_for_a_reset();
    let_pass_ms(500);
    EXPECT(!server_is_reachable());
    *what = true;
    let_pass_ms(1000);
    fake.log_lines = 1;
    expect_recovered();
}

NET_TEST(a_device_that_does_not_accept_at_first_is_tried_again_while_nothing_is_received)
{
    start_half_at_first(&fake.accepts);
}

NET_TEST(a_device_that_enables_half_at_first_is_tried_again_while_nothing_is_received)
{
    start_half_at_first(&fake.enables[1]);
}

NET_TEST(a_device_that_does_not_reset_at_first_is_tried_again_while_nothing_is_received)
{
    start_half_at_first(&fake.resets);
}

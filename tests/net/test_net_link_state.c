/* Whether there is a link: what follows from it, and how often the device is asked. */
#include "tests/net/rig.h"

static struct peer peer;

NET_TEST(a_link_that_goes_down_and_up_loses_no_connection)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    EXPECT(server_is_reachable());
    fake_netdev_set_link(false);
    rig_wait_ms(100);
    EXPECT(!server_is_reachable());
    rig_wait_ms(5000);
    fake_netdev_set_link(true);
    rig_wait_ms(100);
    EXPECT(server_is_reachable());
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

NET_TEST(a_link_may_come_up_in_the_batch_in_which_a_connection_is_reset)
{
    rig_start_default(16);
    for (uint16_t port = 5000; port < 5002; port++) { /* and another is long gone */
        peer_send_reset(&peer);
        peer_init(&peer, port);
        peer_connect(&peer);
    }
    fake_netdev_set_link(false);
    rig_wait_ms(100);
    fake_netdev_set_link(true);
    peer_send_reset(&peer);
    fake_clock_advance_ms(32);
    (void)server_poll();
    EXPECT(server_is_reachable());
    EXPECT_EQ(rig_app.closed, 2);
}

/* Lets time pass in which a frame comes every 10 ms. Returns how often the link was read. */
static unsigned looks_while_frames_come(unsigned ms)
{
    const unsigned before = fake_netdev_link_looks();
    for (unsigned passed = 0; passed < ms; passed += 10) {
        rig_introduce_peer();
        fake_clock_advance_ms(10);
        (void)server_poll();
        rig_discard();
    }
    return fake_netdev_link_looks() - before;
}

/* That is, at the first tick of 31 ms after a second. */
NET_TEST(a_link_is_read_once_a_second_while_frames_come)
{
    rig_start_default(16);
    const unsigned looks = looks_while_frames_come(20000);
    EXPECT(looks == 19 || looks == 20);
}

NET_TEST(a_link_over_which_nothing_comes_is_read_some_thirty_times_a_second)
{
    rig_start_default(16);
    (void)looks_while_frames_come(5000);
    const unsigned before = fake_netdev_link_looks();
    rig_wait_ms(1000);
    EXPECT(fake_netdev_link_looks() - before >= 31);
}

/* As after a sleep: three ticks, one after the other. */
NET_TEST(a_link_is_read_once_for_all_ticks_that_are_made_up_for)
{
    rig_start_default(16);
    rig_wait_ms(1000);
    const unsigned before = fake_netdev_link_looks();
    fake_clock_advance_ms(100);
    for (unsigned i = 0; i < 10; i++)
        (void)server_poll();
    EXPECT_EQ(fake_netdev_link_looks() - before, 1);
}

/* The device says that there is no link, and receives. Returns how long the server went by that. */
static unsigned ms_until_link_is(bool up)
{
    unsigned ms = 0;
    for (; server_is_reachable() != up && ms < 10000; ms += 10) {
        fake_netdev_set_link(true);
        rig_introduce_peer();
        fake_netdev_set_link(up);
        fake_clock_advance_ms(10);
        (void)server_poll();
        rig_discard();
    }
    return ms;
}

NET_TEST(a_link_that_is_down_though_frames_come_is_seen_within_about_a_second_and_up_at_once)
{
    rig_start_default(16);
    (void)looks_while_frames_come(5000);
    EXPECT(ms_until_link_is(false) <= 1050);
    EXPECT(ms_until_link_is(true) <= 50);
}

/* What the server says of when it has something to do next, to whom may sleep until then. */
#include "net/core/server_state.h"
#include "tests/net/rig.h"

static struct peer peer, many[8];
static struct rig_segment segment;

#define TICK_MS 32 /* a little more than one of the timers' */

static void start(void)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rig_wait_ms(1000);
}

NET_TEST(nothing_is_due_with_an_idle_connection)
{
    start();
    EXPECT(server_due_ns() == UINT64_MAX);
}

NET_TEST(ticks_that_are_late_are_due_until_they_are_made_up_for)
{
    start();
    fake_clock_advance_ms(100);
    unsigned turns = 1;
    for (; server_poll(), server_due_ns() <= server_batch_ns(); turns++)
        EXPECT(turns < 4);
    EXPECT_EQ(turns, 3);
    EXPECT(server_due_ns() == UINT64_MAX);
}

NET_TEST(a_tick_is_due_while_an_answer_is_not_acknowledged)
{
    start();
    peer_send(&peer, "e\n");
    rig_poll();
    const uint64_t due_ns = server_due_ns();
    EXPECT(due_ns > server_batch_ns() && due_ns <= server_batch_ns() + TICK_MS * CLOCK_NS_PER_MS);
    EXPECT(peer_next(&peer, &segment)); /* and who sleeps until then each time sends it again */
    for (unsigned i = 0; i < 100 && rig_counters().retransmissions == 0; i++) {
        fake_clock_advance_ns(server_due_ns() - server_batch_ns());
        (void)server_poll();
    }
    EXPECT_EQ(rig_counters().retransmissions, 1);
    peer_expect(&peer, "ok\n");
    rig_wait_ms(1000);
    EXPECT(server_due_ns() == UINT64_MAX);
}

NET_TEST(a_turn_is_due_at_once_while_something_is_to_be_tried_again)
{
    rig_start_with_transmit_ring(8);
    peers_connect(many, 8, 6000);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    fake_netdev_stall(true);
    for (unsigned i = 0; i < 8; i++)
        peer_send(&many[i], "e\n");
    peer_send_fin(&peer);
    rig_poll();
    EXPECT(server_due_ns() <= server_batch_ns()); /* our FIN has found no descriptor */
    fake_netdev_stall(false);
    peer_take(&peer);
    EXPECT(peer.fin);
    for (unsigned i = 0; i < 8; i++)
        peer_take(&many[i]);
    rig_wait_ms(1000);
    EXPECT(server_due_ns() == UINT64_MAX);
}

NET_TEST(work_is_over_when_the_turn_after_it_begins)
{
    start();
    const uint64_t before_ns = server_worked_ns();
    fake_clock_advance_ms(5);
    EXPECT(!server_poll());
    EXPECT_EQ(server_worked_ns(), before_ns);
    peer_send(&peer, "e\n");
    EXPECT(server_poll());
    EXPECT_EQ(server_worked_ns(), before_ns);
    fake_clock_advance_ns(70);
    EXPECT(!server_poll());
    EXPECT_EQ(server_worked_ns(), server_batch_ns());
    const uint64_t after_ns = server_worked_ns();
    fake_clock_advance_ns(70);
    EXPECT(!server_poll());
    EXPECT_EQ(server_worked_ns(), after_ns);
}

/* Answers that the application holds back, and releases. */
#include "tests/net/rig.h"

static struct peer peer;

static void connect_and_send(const char *text)
{
    peer_init(&peer, 40000);
    peer_connect(&peer);
    peer_send(&peer, text);
    rig_poll();
}

static void release(uint32_t ticket)
{
    server_release(ticket);
    rig_poll();
}

NET_TEST(a_held_answer_leaves_when_its_ticket_is_released)
{
    rig_start_default(16);
    connect_and_send("h\n");
    peer_expect(&peer, "");
    release(rig_ticket - 1);
    peer_expect(&peer, "");
    release(rig_ticket);
    peer_expect(&peer, "held ");
    EXPECT_EQ(rig_app.resumed, 1);
}

NET_TEST(the_application_is_told_how_long_the_answer_was_held)
{
    rig_start_default(16);
    connect_and_send("h\n");
    rig_wait_ms(1000);
    release(rig_ticket);
    peer_expect(&peer, "held ");
    EXPECT(rig_app.held_ns >= 990 * (uint64_t)1000000 &&
           rig_app.held_ns < 1100 * (uint64_t)1000000);
}

NET_TEST(a_later_ticket_stays_held_when_an_earlier_one_is_released)
{
    static struct peer later;
    rig_start_default(16);
    connect_and_send("h\n");
    rig_ticket++;
    peer_init(&later, 40001);
    peer_connect(&later);
    peer_send(&later, "h\n");
    release(rig_ticket - 1);
    peer_expect(&peer, "held ");
    peer_expect(&later, "");
    release(rig_ticket);
    peer_expect(&later, "held ");
}

NET_TEST(tickets_may_wrap_around)
{
    rig_start_default(16);
    rig_ticket = 0xffffffffu;
    server_release(rig_ticket - 1);
    connect_and_send("h\n");
    rig_ticket++; /* 0 */
    peer_expect(&peer, "");
    release(rig_ticket);
    peer_expect(&peer, "held ");
}

NET_TEST(what_is_held_together_leaves_in_one_segment)
{
    rig_start_default(16);
    connect_and_send("h\n");
    peer_send(&peer, "h\nh\n");
    release(rig_ticket);
    peer.segments = 0;
    peer_expect(&peer, "held held held ");
    EXPECT_EQ(peer.segments, 1);
}

NET_TEST(what_is_held_is_acknowledged_within_half_a_second)
{
    rig_start_default(16);
    connect_and_send("h\n");
    rig_wait_ms(500);
    struct rig_segment segment;
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.ack, peer.next);
    EXPECT_EQ(segment.len, 0);
    /* And is not sent again: nothing was sent. */
    rig_wait_ms(5000);
    EXPECT_EQ(rig_counters().retransmissions, 0);
}

NET_TEST(what_the_application_leaves_while_held_is_offered_after_it)
{
    rig_start_default(16);
    connect_and_send("h\ne\nh\n");
    peer_send(&peer, "e\n");
    peer_expect(&peer, "");
    EXPECT_EQ(rig_app.requests, 1);
    rig_ticket++;
    release(rig_ticket - 1);
    peer_expect(&peer, "held ok\n");
    EXPECT_EQ(rig_app.requests, 3);
    release(rig_ticket);
    peer_expect(&peer, "held ok\n");
}

NET_TEST(what_comes_for_another_ticket_waits)
{
    rig_start_default(16);
    connect_and_send("h\n");
    rig_ticket++;
    peer_send(&peer, "h\n");
    rig_poll();
    EXPECT_EQ(rig_app.requests, 1);
    release(rig_ticket - 1);
    peer_expect(&peer, "held ");
    EXPECT_EQ(rig_app.requests, 2);
    release(rig_ticket);
    peer_expect(&peer, "held ");
}

NET_TEST(a_held_connection_is_not_idle)
{
    static struct peer others[16];
    rig_start_default(16);
    connect_and_send("h\n");
    peers_connect(others, 16, 41000);
    rig_wait_ms(20000);
    release(rig_ticket);
    peer_expect(&peer, "held ");
    EXPECT(!peer.reset && !peer.fin);
    /* One of the others gave way to the last. */
    EXPECT_EQ(rig_counters().connections_gave_way, 1);
}

NET_TEST(after_the_release_it_is_idle_again)
{
    rig_start_default(16);
    connect_and_send("h\n");
    release(rig_ticket);
    peer_expect(&peer, "held ");
    rig_wait_ms(59000);
    peer_take(&peer);
    EXPECT(!peer.fin);
    rig_wait_ms(2000);
    peer_take(&peer);
    EXPECT(peer.fin);
}

NET_TEST(a_peer_that_closes_its_side_is_answered_all_the_same)
{
    rig_start_default(16);
    connect_and_send("h\n");
    peer_send_fin(&peer);
    rig_wait_ms(3000);
    peer_take(&peer);
    EXPECT(!peer.fin && peer.received == 0);
    release(rig_ticket);
    peer_expect(&peer, "held ");
    EXPECT(peer.fin);
}

NET_TEST(a_peer_that_goes_is_not_resumed)
{
    rig_start_default(16);
    connect_and_send("h\n");
    peer_send_reset(&peer);
    rig_poll();
    EXPECT_EQ(rig_app.closed, 1);
    release(rig_ticket);
    EXPECT_EQ(rig_app.resumed, 0);
}

/* Records are used again, the last first. */
NET_TEST(a_connection_in_the_place_of_one_that_was_held_is_held_anew)
{
    static struct peer later;
    for (unsigned released = 0; released < 2; released++) {
        if (released == 0)
            rig_start_default(16);
        connect_and_send("h\n");
        if (released != 0)
            server_release(rig_ticket);
        peer_send_reset(&peer);
        rig_poll();
        rig_ticket++;
        peer_init(&later, (uint16_t)(40010 + released));
        peer_connect(&later);
        peer_send(&later, "h\n");
        peer_expect(&later, "");
        release(rig_ticket);
        peer_expect(&later, "held ");
        peer_send_fin(&later);
        rig_poll();
        peer_take(&later);
        EXPECT(later.fin);
        rig_ticket++;
        rig_wait_ms(20000);
    }
}

NET_TEST(what_is_never_released_is_reset_after_hold_ms)
{
    rig_start_default(16);
    connect_and_send("h\n");
    rig_wait_ms(29000);
    peer_take(&peer);
    EXPECT(!peer.reset);
    rig_wait_ms(2000);
    peer_take(&peer);
    EXPECT(peer.reset);
    EXPECT_EQ(rig_counters().timeouts, 1);
}

/* More than a window in flight: the rest follows as the peer reads. */
NET_TEST(what_has_no_room_when_it_is_released_follows)
{
    rig_start_default(16);
    rig_held_bytes = 20000;
    connect_and_send("h\nh\nh\nh\n");
    peer_send(&peer, "e\n");
    release(rig_ticket);
    size_t received = 0;
    for (unsigned i = 0; i < 50; i++) {
        peer.received = 0;
        peer_take(&peer);
        received += peer.received;
        rig_poll();
    }
    EXPECT_EQ(received, 4 * 20000 + 3);
    EXPECT(rig_app.resumed > 1);
    EXPECT_EQ(rig_app.requests, 5);
}

NET_TEST(what_has_no_room_when_it_is_released_is_reset_if_the_peer_reads_nothing)
{
    rig_start_default(16);
    rig_held_bytes = 20000;
    connect_and_send("h\nh\nh\nh\n");
    peer.holds_acks = true;
    release(rig_ticket);
    rig_wait_ms(14000);
    EXPECT_EQ(rig_app.closed, 0);
    rig_wait_ms(17000);
    EXPECT_EQ(rig_app.closed, 1);
}

/* Nothing is under way whose acknowledgement would bring the connection back. */
NET_TEST(what_has_no_memory_when_it_is_released_is_tried_again)
{
    rig_start_default(16);
    connect_and_send("h\n");
    void **const blocks = rig_take_memory();
    release(rig_ticket);
    peer_expect(&peer, "");
    EXPECT(rig_app.resumed > 0);
    rig_give_back(blocks);
    rig_poll();
    peer_expect(&peer, "held ");
}

NET_TEST(no_more_is_resumed_at_once_than_there_are_descriptors)
{
    static struct peer peers[48];
    rig_start_with_transmit_ring(16);
    peers_connect(peers, 48, 42000);
    for (unsigned i = 0; i < 48; i++)
        peer_send(&peers[i], "h\n");
    server_release(rig_ticket);
    (void)server_poll();
    EXPECT(rig_app.resumed > 0 && rig_app.resumed <= 16);
    EXPECT_EQ(server_due_ns(), server_batch_ns()); /* the machine must not sleep now */
    for (unsigned i = 0; i < 48; i++)
        peer_expect(&peers[i], "held ");
    EXPECT_EQ(rig_app.resumed, 48);
}

NET_TEST(an_orderly_stop_waits_for_what_is_held)
{
    rig_start_default(16);
    connect_and_send("h\n");
    server_stop();
    rig_wait_ms(1000);
    peer_take(&peer);
    EXPECT(!peer.fin && !peer.reset && !server_is_drained());
    release(rig_ticket);
    peer_expect(&peer, "held ");
    EXPECT(peer.fin);
}

NET_TEST(a_second_hold_before_the_release_changes_nothing)
{
    static struct peer later;
    rig_start_default(16);
    connect_and_send("h\n");
    peer_init(&later, 40001);
    peer_connect(&later);
    peer_send(&later, "h\n");
    peer_send(&peer, "h\n");
    release(rig_ticket);
    peer_expect(&peer, "held held ");
    peer_expect(&later, "held ");
}

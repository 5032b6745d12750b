/* Who may be connected, and for how long. */
#include "net/core/conn_table.h"
#include "tests/net/rig.h"

static struct peer peer, other, third;
static struct rig_segment segment;

/* ---- slots ---- */

NET_TEST(ten_thousand_connections_are_served)
{
    enum { COUNT = 10000 };
    static struct {
        uint32_t next, expected;
    } kept[COUNT];
    rig_start_default(COUNT);
    const struct rig_levels before = rig_levels();
    for (unsigned i = 0; i < COUNT; i++) {
        peer_init(&peer, (uint16_t)(2000 + i));
        peer_connect(&peer);
        kept[i].next = peer.next;
        kept[i].expected = peer.expected;
    }
    EXPECT_EQ(rig_counters().connections_open, COUNT);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned j = 0; j < COUNT; j++) {
            const unsigned i = j * 7919 % COUNT;
            peer_init(&peer, (uint16_t)(2000 + i));
            peer.next = kept[i].next;
            peer.expected = kept[i].expected;
            peer_send(&peer, "e\n");
            peer_expect(&peer, "ok\n");
            kept[i].next = peer.next;
            kept[i].expected = peer.expected;
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        peer_init(&peer, (uint16_t)(2000 + i));
        peer.next = kept[i].next;
        peer_send_reset(&peer);
        rig_poll();
    }
    EXPECT_EQ(rig_counters().connections_open, 0);
    EXPECT_EQ(rig_counters().retransmissions, 0);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(clients_that_connect_all_at_once_are_all_served)
{
    static struct peer many[1000];
    rig_start_default(1000);
    for (unsigned i = 0; i < 1000; i++) {
        peer_init(&many[i], (uint16_t)(2000 + i));
        peer_send_syn(&many[i]);
        if (i % 50 == 49)
            (void)server_poll();
    }
    for (unsigned i = 0; i < 1000; i++)
        EXPECT(peer_take_syn_ack(&many[i]));
    for (unsigned i = 0; i < 1000; i++) {
        peer_send(&many[i], "e\n");
        peer_expect(&many[i], "ok\n");
    }
    EXPECT_EQ(rig_counters().connections_open, 1000);
    EXPECT_EQ(rig_counters().connections_refused, 0);
}

NET_TEST(the_oldest_idle_connection_gives_way)
{
    rig_start_default(2);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_init(&third, 5002);
    peer_connect(&peer);
    fake_clock_advance_ms(10);
    peer_connect(&other);
    fake_clock_advance_ms(10);
    /* The first to come is not the one that has been idle for longest. */
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    peer_connect(&third);
    EXPECT_EQ(rig_app.opened, 3);
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(rig_counters().connections_gave_way, 1);
    peer_take(&other);
    EXPECT(other.fin);
    peer_send(&third, "e\n");
    peer_expect(&third, "ok\n");
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

NET_TEST(with_none_idle_a_syn_is_dropped_not_reset)
{
    rig_start_default(2);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_init(&third, 5002);
    peer_connect(&peer);
    peer_connect(&other);
    peer_send(&peer, "b");
    peer_send(&other, "b");
    rig_poll();
    peer_send_syn(&third);
    EXPECT(!peer_next(&third, &segment));
    EXPECT_EQ(rig_counters().connections_refused, 1);
    /* Later there is room again. */
    peer_send(&peer, "1\n");
    rig_poll();
    peer_connect(&third);
    EXPECT_EQ(rig_app.opened, 3);
}

NET_TEST(a_handshake_that_ends_when_all_slots_are_busy_waits)
{
    rig_start_default(1);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_connect(&peer);
    peer_send_syn(&other);
    EXPECT(peer_take_syn_ack(&other));
    peer_send(&peer, "b");
    rig_poll();
    peer_send_ack(&other);
    peer_send(&other, "e\n");
    EXPECT(!peer_next(&other, &segment));
    EXPECT_EQ(rig_app.opened, 1);
    peer_send(&peer, "1\n");
    peer_take(&peer);
    /* The client sends its request again, and is served. */
    other.next -= 2;
    peer_send(&other, "e\n");
    peer_expect(&other, "ok\n");
}

NET_TEST(a_request_just_arrived_does_not_give_way)
{
    rig_start_default(1);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_connect(&peer);
    peer_send_syn(&other);
    EXPECT(peer_take_syn_ack(&other));
    /* One batch: the idle connection's request, and the ACK that wants its slot. */
    peer_send(&peer, "e\n");
    peer_send_ack(&other);
    peer_expect(&peer, "ok\n");
    EXPECT_EQ(rig_app.requests, 1);
}

NET_TEST(one_that_lingers_gives_way_before_the_idle)
{
    rig_start_default(2);
    const struct rig_levels before = rig_levels();
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_init(&third, 5002);
    peer_connect(&peer);
    peer_connect(&other);
    peer_send(&other, "c\n");
    peer_expect(&other, "bye\n");
    peer_send_syn(&third);
    EXPECT(peer_take_syn_ack(&third));
    /* Also with something to throw away that came in the same batch. */
    peer_send(&other, "e\n");
    peer_send_ack(&third);
    rig_poll();
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
    /* Nobody is there for what else it says. */
    peer_send(&other, "e\n");
    peer_take(&other);
    EXPECT(other.reset);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    peer_send(&third, "e\n");
    peer_expect(&third, "ok\n");
    peer_send_reset(&peer);
    peer_send_reset(&third);
    rig_wait_ms(11000);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(one_that_lingers_with_its_answer_unacknowledged_does_not_give_way)
{
    rig_start_default(1);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_connect(&peer);
    peer_send(&peer, "c\n");
    EXPECT(peer_next(&peer, &segment)); /* and is lost */
    EXPECT_EQ(segment.len, 4);
    peer_send_syn(&other);
    EXPECT(!peer_next(&other, &segment));
    EXPECT_EQ(rig_counters().connections_refused, 1);
    rig_wait_ms(1300);
    peer_expect(&peer, "bye\n");
    EXPECT(peer.fin && !peer.reset);
    peer_connect(&other);
    EXPECT_EQ(rig_counters().connections_gave_way, 1);
    EXPECT_EQ(rig_counters().connections_reset_short, 0);
}

/* The peer's window is closed: nothing was sent yet. */
NET_TEST(one_that_lingers_with_its_answer_unsent_is_waited_for)
{
    rig_start_default(1);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer.window = 0;
    peer_connect(&peer);
    peer_send(&peer, "c\n");
    rig_wait_ms(2500); /* linger_ms is 2 s */
    rig_discard();
    peer_send_syn(&other);
    EXPECT(!peer_next(&other, &segment));
    peer.window = 1000;
    peer_send_ack(&peer);
    for (unsigned i = 0; i < 20 && !peer.fin; i++) {
        peer_take(&peer);
        rig_wait_ms(200);
    }
    EXPECT_EQ(peer.received, 4);
    EXPECT(peer.fin && !peer.reset);
}

NET_TEST(a_flood_of_syns_does_not_keep_an_honest_client_out)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    uint32_t forged = 1;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 100; i++) {
            rig_arrive_forged_syn(forged++);
        }
        peer_init(&peer, (uint16_t)(5000 + round));
        peer_connect(&peer);
        peer_send(&peer, "e\n");
        peer_expect(&peer, "ok\n");
        peer_send_fin(&peer);
        peer_take(&peer);
        while (rig_other(segment.data) > 0)
            continue;
    }
    EXPECT_EQ(rig_app.requests, 200);
    rig_wait_ms(20000);
    while (rig_other(segment.data) > 0)
        continue;
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(connect_and_say_nothing_gives_way_to_honest_clients)
{
    rig_start_default(16);
    for (unsigned i = 0; i < 200; i++) {
        peer_init(&other, (uint16_t)(6000 + i));
        peer_connect(&other);
    }
    EXPECT_EQ(rig_counters().connections_open, 16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

/* ---- deadlines ---- */

NET_TEST(an_idle_connection_is_closed_after_idle_ms)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rig_wait_ms(30000);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    rig_wait_ms(59900);
    EXPECT_EQ(rig_app.closed, 0);
    rig_wait_ms(200);
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(rig_app.timed_out, 0);
    EXPECT_EQ(rig_counters().timeouts, 1);
    peer_take(&peer);
    EXPECT(peer.fin && !peer.reset);
}

/* Whether it is served at once, or lwIP judges it and it waits for the end of the batch. */
NET_TEST(a_request_that_comes_when_its_connection_has_been_idle_too_long_is_answered)
{
    rig_start_default(16);
    for (unsigned i = 0; i < 2; i++) {
        rig_vouches = i == 0;
        peer_init(&peer, (uint16_t)(5000 + i));
        peer_connect(&peer);
        rig_poll();
        for (unsigned second = 0; second < 59; second++)
            rig_wait_ms(1000);
        fake_clock_advance_ms(1500);
        peer_send(&peer, "e\n");
        (void)server_poll();
        EXPECT_EQ(rig_app.requests, i + 1);
        peer_expect(&peer, "ok\n");
        EXPECT(!peer.fin && !peer.reset);
    }
}

/* lwIP resets at once whom it believes to have bytes unread. */
NET_TEST(an_idle_connection_that_does_not_outlive_being_closed_is_over)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    conns_find(conns_key(__builtin_bswap32(peer.address), peer.port))->pcb->rcv_wnd--;
    rig_wait_ms(60100);
    EXPECT_EQ(rig_app.closed, 1);
    peer_take(&peer);
    EXPECT(peer.reset);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(an_unfinished_head_times_out_and_is_answered)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b");
    /* More bytes do not prolong it: that would be a slowloris' way. */
    rig_wait_ms(5000);
    peer_send(&peer, "1");
    rig_wait_ms(4900);
    EXPECT_EQ(rig_app.timed_out, 0);
    rig_wait_ms(200);
    EXPECT_EQ(rig_app.timed_out, 1);
    peer_expect(&peer, "late\n");
    EXPECT(peer.fin);
}

NET_TEST(an_unfinished_body_times_out)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "w\n");
    rig_wait_ms(9900);
    EXPECT_EQ(rig_app.timed_out, 0);
    rig_wait_ms(200);
    EXPECT_EQ(rig_app.timed_out, 1);
}

NET_TEST(a_reader_that_never_reads_is_reset_after_send_ms)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b24576\n");
    rig_wait_ms(14000);
    EXPECT_EQ(rig_app.closed, 0);
    rig_wait_ms(2200);
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(rig_counters().timeouts, 1);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

/* Nor does it keep one that began later and never reads from being looked at. */
NET_TEST(a_slow_reader_that_reads_on_is_not_reset)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_init(&other, 5001);
    other.window = 0;
    peer_connect(&other);
    peer.window = 2000;
    peer_send(&peer, "b24576\nb24576\n");
    rig_poll();
    peer_send(&other, "b24576\n");
    for (int i = 0; i < 40; i++) {
        rig_wait_ms(1000);
        peer_take(&peer);
        EXPECT_EQ(rig_app.closed, i < 14 ? 0 : i > 16 ? 1 : rig_app.closed);
    }
    EXPECT_EQ(peer.received, 2 * 24576);
    EXPECT(!peer.reset);
}

NET_TEST(a_half_open_connection_is_forgotten)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    rig_wait_ms(8100);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
    /* Not before. */
    peer_init(&other, 5001);
    peer_send_syn(&other);
    EXPECT(peer_take_syn_ack(&other));
    rig_wait_ms(7900);
    rig_discard();
    peer_send(&other, "e\n");
    peer_expect(&other, "ok\n");
}

NET_TEST(the_clock_may_jump)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    fake_clock_advance_ms(50000);
    rig_poll();
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    /* Past 2^32 ms. */
    fake_clock_advance_ms(0x100000000u);
    rig_poll();
    rig_wait_ms(200);
    EXPECT_EQ(rig_app.closed, 0);
    peer_init(&other, 5001);
    peer_connect(&other);
    peer_send(&other, "e\n");
    EXPECT(peer_next(&other, &segment));
    rig_wait_ms(1300);
    EXPECT(peer_next(&other, &segment));
    EXPECT_EQ(segment.len, 3);
    rig_wait_ms(60000);
    EXPECT_EQ(rig_app.closed, 2);
}

/* The rest of each request came while the host had stopped the machine; a batch takes 64. */
NET_TEST(a_pause_of_the_machine_counts_against_no_request)
{
    enum { PEERS = 200 };
    static struct peer many[PEERS];
    rig_start_default(PEERS);
    for (unsigned i = 0; i < PEERS; i++) {
        peer_init(&many[i], (uint16_t)(5000 + i));
        peer_connect(&many[i]);
        peer_send(&many[i], i % 2 == 0 ? "b" : "w\nb"); /* head_ms; body_ms */
        rig_poll();
    }
    rig_wait_ms(5000);
    fake_clock_advance_ms(11000);
    for (unsigned i = 0; i < PEERS; i++)
        peer_send(&many[i], "1\n");
    rig_poll();
    EXPECT_EQ(rig_app.timed_out, 0);
    for (unsigned i = 0; i < PEERS; i++) {
        many[i].received = 0;
        peer_take(&many[i]);
        EXPECT_EQ(many[i].received, 1);
    }
    /* Nor does it begin the time anew. */
    peer_send(&many[0], "b");
    rig_wait_ms(5000);
    fake_clock_advance_ms(11000);
    rig_wait_ms(3900);
    EXPECT_EQ(rig_app.timed_out, 0);
    rig_wait_ms(200);
    EXPECT_EQ(rig_app.timed_out, 1);
}

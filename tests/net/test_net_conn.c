/* Connections that behave: opening, requests, closing. */
#include "net/core/pool.h"
#include "tests/net/rig.h"

static struct peer peer, other;
static struct rig_segment segment;

NET_TEST(handshake_announces_our_mss_and_window)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, SYN | ACK);
    EXPECT_EQ(segment.mss, 1460);
    EXPECT_EQ(segment.window, 22 * 1460);
    EXPECT_EQ(rig_app.opened, 0);
    peer.next++;
    peer.expected = segment.number + 1;
    peer_send_ack(&peer);
    rig_poll();
    EXPECT_EQ(rig_app.opened, 1);
    EXPECT_EQ(rig_counters().connections_open, 1);
    EXPECT(!peer_next(&peer, &segment));
}

NET_TEST(request_is_answered_in_one_segment_that_acknowledges_it)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 3);
    EXPECT(memcmp(segment.data, "ok\n", 3) == 0);
    EXPECT_EQ(segment.flags, PSH | ACK);
    EXPECT_EQ(segment.ack, peer.next);
    EXPECT(segment.window > 20 * 1460);
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(rig_app.batches, 1);
}

NET_TEST(requests_pipelined_in_a_segment_are_answered_in_one)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\ne\ne\ne\ne\ne\ne\ne\ne\ne\ne\ne\ne\ne\ne\ne\n");
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 48);
    EXPECT_EQ(segment.ack, peer.next);
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(rig_app.requests, 16);
    EXPECT_EQ(rig_app.batches, 1);
}

/* lwIP judges them: the device does not vouch for their sums. */
NET_TEST(requests_that_had_to_wait_are_answered_together)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rig_vouches = false;
    for (int i = 0; i < 16; i++)
        peer_send(&peer, "e\n");
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 48);
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(rig_app.batches, 1);
}

/* Each at once, the last of them with the whole of the request, and that all in one batch. */
NET_TEST(a_request_in_many_segments_is_acknowledged_by_its_answer)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (const char *octet = "b0000000005\n"; *octet != '\0'; octet++)
        peer_send_bytes(&peer, octet, 1);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 5);
    EXPECT_EQ(segment.ack, peer.next);
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(rig_app.batches, 1);
}

NET_TEST(a_train_of_64_kib_in_pieces_is_taken_whole)
{
    static char train[32000];
    rig_start_default(16);
    for (unsigned i = 0; i < sizeof train; i += 2)
        memcpy(train + i, "w\n", 2);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send_bytes(&peer, train, sizeof train);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 16000);
    fake_netdev_scatter(3);
    peer_send_bytes(&peer, train, sizeof train);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 32000);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
    peer_take(&peer);
    EXPECT(peer.empty_segments <= 4);
}

NET_TEST(a_request_cut_into_single_bytes_is_answered)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b");
    peer_take(&peer);
    peer_send(&peer, "5");
    peer_take(&peer);
    peer_send(&peer, "\n");
    peer_take(&peer);
    EXPECT_EQ(peer.received, 5);
}

NET_TEST(a_large_answer_arrives_whole)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b24576\nb24576\n");
    for (int i = 0; i < 100; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 49152);
    for (size_t i = 0; i < peer.received; i++)
        EXPECT_EQ(peer.bytes[i], (uint8_t)(i % 24576));
}

NET_TEST(a_delayed_ack_is_sent_within_a_quarter_second)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b");
    rig_poll();
    EXPECT(!peer_next(&peer, &segment));
    rig_wait_ms(260);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 0);
    EXPECT_EQ(segment.ack, peer.next);
}

NET_TEST(a_second_segment_without_answer_is_acknowledged_at_once)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b");
    peer_send(&peer, "1");
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 0);
    EXPECT_EQ(segment.ack, peer.next);
    EXPECT(!peer_next(&peer, &segment));
}

NET_TEST(a_peer_that_shuts_down_its_side_still_gets_its_answer)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_segment(&peer, FIN | PSH | ACK, peer.next, peer.expected, "e\nb100\n", 7);
    peer.next += 8;
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 103);
    EXPECT_EQ(segment.flags, FIN | PSH | ACK);
    EXPECT_EQ(segment.ack, peer.next);
    EXPECT_EQ(rig_app.closed, 0);
    peer.expected += 104;
    peer_send_ack(&peer);
    rig_poll();
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(rig_counters().connections_open, 0);
    peer_send_ack(&peer);
    EXPECT(peer_next(&peer, &segment));
    EXPECT((segment.flags & RST) != 0);
}

NET_TEST(a_fin_on_an_idle_connection_frees_its_slot_at_once)
{
    rig_start_default(1);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send_fin(&peer);
    rig_poll();
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(rig_counters().connections_open, 0);
    peer_init(&other, 5001);
    peer_connect(&other);
    EXPECT_EQ(rig_app.opened, 2);
}

NET_TEST(a_close_lingers_until_the_peer_closes)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "c\ne\n");
    peer_expect(&peer, "bye\n");
    EXPECT(peer.fin);
    EXPECT_EQ(rig_app.requests, 1);
    /* What still comes is read and thrown away, and not reset. */
    peer_send(&peer, "e\n");
    peer_expect(&peer, "");
    EXPECT(!peer.reset);
    EXPECT_EQ(rig_app.closed, 0);
    peer_send_fin(&peer);
    peer_take(&peer);
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(rig_app.requests, 1);
    EXPECT(!peer.reset);
}

NET_TEST(a_close_without_a_word_is_a_fin)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "q\nignored\n");
    peer_take(&peer);
    EXPECT(peer.fin && peer.received == 0);
    EXPECT_EQ(rig_app.requests, 1);
}

NET_TEST(a_close_ends_after_linger_ms)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "c\n");
    peer_expect(&peer, "bye\n");
    rig_wait_ms(1900);
    EXPECT_EQ(rig_app.closed, 0);
    rig_wait_ms(200);
    EXPECT_EQ(rig_app.closed, 1);
    peer_take(&peer);
    EXPECT(peer.reset);
}

/* The wire brings so many requests, and the turn that answers them takes so long. */
static void take_a_turn(unsigned requests, uint64_t ms)
{
    for (unsigned i = 0; i < requests; i++)
        peer_send(&peer, "e\n");
    EXPECT_EQ(server_poll(), requests > 0);
    fake_clock_advance_ms(ms);
}

NET_TEST(the_longest_turn_that_did_work_is_kept_with_its_frames)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    const uint64_t busy_ns = rig_counters().busy_ns;
    take_a_turn(2, 3);
    take_a_turn(5, 2);
    take_a_turn(0, 40);
    (void)server_poll();
    EXPECT_EQ(rig_counters().longest_turn_ns, 3000000);
    EXPECT_EQ(rig_counters().longest_turn_frames, 2);
    EXPECT_EQ(rig_counters().busy_ns - busy_ns, 5000000);
}

NET_TEST(a_reset_ends_a_connection_at_any_point)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    static const char *const requests[] = {"", "b", "e\n", "b24576\n", "c\n", "w\n", "e\nb"};
    uint16_t port = 5000;

    for (unsigned i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        for (int in_one_batch = 0; in_one_batch < 2; in_one_batch++) {
            peer_init(&peer, port++);
            peer_connect(&peer);
            if (requests[i][0] != '\0')
                peer_send(&peer, requests[i]);
            if (!in_one_batch)
                rig_poll();
            peer_send_reset(&peer);
            rig_poll();
            EXPECT_EQ(rig_counters().connections_open, 0);
        }
    }
    /* In the handshake, too. */
    peer_init(&peer, port);
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    peer_send_reset(&peer);
    rig_poll();
    EXPECT_EQ(rig_app.opened, rig_app.closed);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(all_memory_is_back_when_the_clients_are_gone)
{
    rig_start_default(64);
    const struct rig_levels before = rig_levels();
    for (uint16_t round = 0; round < 500; round++) {
        peer_init(&peer, (uint16_t)(5000 + round));
        peer_connect(&peer);
        peer_send(&peer, "e\nb3000\n");
        peer_take(&peer);
        peer_take(&peer);
        if (round % 3 == 0)
            peer_send(&peer, "c\n");
        peer_take(&peer);
        peer_send_fin(&peer);
        peer_take(&peer);
        peer_take(&peer);
    }
    EXPECT_EQ(rig_app.opened, 500);
    EXPECT_EQ(rig_app.closed, 500);
    rig_wait_ms(11000);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
    EXPECT_EQ(rig_counters().memory_short, 0);
}

NET_TEST(the_counters_tell_what_the_device_and_the_pools_say)
{
    rig_start_default(16);
    const struct server_counters before = rig_counters();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    const struct server_counters after = rig_counters();
    /* SYN, ACK, request, ACK; SYN-ACK and answer, which carries the request's ACK. */
    EXPECT_EQ(after.received_frames - before.received_frames, 4);
    EXPECT_EQ(after.received_bytes - before.received_bytes, 58 + 54 + 56 + 54);
    EXPECT_EQ(after.transmitted_frames - before.transmitted_frames, 2);
    EXPECT_EQ(after.transmitted_bytes - before.transmitted_bytes, 58 + 57);
    EXPECT(after.kicks > before.kicks);
    EXPECT_EQ(after.batches - before.batches, 4);
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        EXPECT_EQ(after.pool_blocks_free[class], pool_level(class));
    void **const blocks = rig_take_memory();
    EXPECT_EQ(rig_counters().memory_short, after.memory_short + 1);
    rig_give_back(blocks);
}

NET_TEST(stopping_closes_the_idle_and_lets_the_others_finish)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_connect(&peer);
    peer_connect(&other);
    peer_send(&other, "b1");
    rig_poll();
    server_stop();
    rig_poll();
    EXPECT(!server_is_drained());
    EXPECT_EQ(rig_app.closed, 1);
    peer_take(&peer);
    EXPECT(peer.fin);
    peer_send(&other, "\n");
    peer_take(&other);
    EXPECT_EQ(other.received, 1);
    EXPECT(other.fin);
    peer_send_fin(&other);
    rig_poll();
    EXPECT(server_is_drained());
    static struct peer late;
    peer_init(&late, 5002);
    peer_send_syn(&late);
    EXPECT(!peer_take_syn_ack(&late));
}

NET_TEST(the_server_is_drained_when_all_have_acknowledged_that_it_ends)
{
    enum { PEERS = 24 };
    static struct peer peers[PEERS];
    rig_start_with_transmit_ring(8);
    for (unsigned i = 0; i < PEERS; i++) {
        peer_init(&peers[i], (uint16_t)(5000 + i));
        peer_connect(&peers[i]);
        peers[i].holds_acks = true;
    }
    rig_discard();
    server_stop(); /* there is no room for so many FINs at once, but in the batches that follow */
    for (unsigned i = 0; i < PEERS; i++) {
        EXPECT(!server_is_drained());
        peer_take(&peers[i]);
        EXPECT(peers[i].fin);
        peer_send_ack(&peers[i]);
    }
    EXPECT(!server_is_drained()); /* the last one's has not been looked at */
    rig_poll();
    EXPECT(server_is_drained());
}

NET_TEST(the_server_is_not_drained_before_the_device_has_taken_all)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    server_stop();
    peer_take(&peer);
    EXPECT(peer.fin);
    fake_netdev_stall(true);
    peer_send_fin(&peer); /* our ACK of it is all that is left */
    rig_poll();
    EXPECT(!server_is_drained());
    fake_netdev_stall(false);
    EXPECT(server_is_drained());
}

NET_TEST(the_server_is_not_drained_while_there_is_no_descriptor_for_the_last_fin)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    rig_start_with_transmit_ring(8);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rig_discard();
    fake_netdev_stall(true);
    for (unsigned i = 0; i < 8; i++)
        rig_introduce_peer();
    rig_poll();
    EXPECT_EQ(fake_netdev_transmit_held(), 8);
    server_stop();
    fake_netdev_stall(false);
    for (unsigned i = 0; i < 8; i++)
        EXPECT(fake_netdev_take(frame) > 0);
    EXPECT(!server_is_drained());
    peer_take(&peer);
    EXPECT(peer.fin);
    EXPECT(server_is_drained());
}

NET_TEST(a_handshake_is_something_to_wait_for_until_the_server_stops)
{
    rig_start_default(16);
    EXPECT(server_is_drained());
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    EXPECT(!server_is_drained());
    server_stop();
    EXPECT(server_is_drained());
}

NET_TEST(stopping_forgets_handshakes)
{
    static struct peer third;
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_init(&other, 5001);
    peer_init(&third, 5002);
    peer_connect(&peer);
    peer_send(&peer, "b1");
    peer_send_syn(&other);
    EXPECT(peer_take_syn_ack(&other));
    peer_connect(&third);
    peer_be_closed(&third); /* and TIME-WAIT is nobody's to wait for */
    server_stop();
    rig_poll();
    EXPECT_EQ(rig_app.closed, 1);
    peer_send_ack(&other);
    peer_take(&other);
    EXPECT(other.reset);
    EXPECT_EQ(rig_app.opened, 2);
    EXPECT(!server_is_drained());
    peer_send(&peer, "1\n");
    peer_take(&peer);
    EXPECT(peer.fin);
    peer_send_fin(&peer);
    rig_poll();
    EXPECT(server_is_drained());
}

NET_TEST(a_request_without_end_is_timed_out_while_stopping_too)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "w");
    rig_poll();
    server_stop();
    peer_send(&peer, "\n");
    rig_poll();
    EXPECT(!server_is_drained());
    rig_wait_ms(11000);
    peer_expect(&peer, "late\n");
    EXPECT(peer.fin);
}

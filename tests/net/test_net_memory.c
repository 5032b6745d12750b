/* Memory and descriptors: who waits when they are short, and who gives way. */
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/flow/unread.h"
#include "tests/net/rig.h"

static struct peer peer;

/* ---- memory ---- */

NET_TEST(requests_beyond_the_send_buffer_wait_and_are_not_lost)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer.holds_acks = true;
    peer_send(&peer, "b24576\nb24576\n");
    rig_poll();
    for (int i = 0; i < 40; i++)
        peer_send(&peer, "e\n");
    rig_poll();
    EXPECT_EQ(rig_app.requests, 2);
    /* What waits to be read does not wait in the ring. */
    EXPECT_EQ(fake_netdev_receive_free(), 256);
    peer.holds_acks = false;
    for (int i = 0; i < 100; i++) {
        peer_send_ack(&peer);
        peer_take(&peer);
    }
    EXPECT_EQ(rig_app.requests, 42);
    EXPECT_EQ(peer.received, 49152 + 120);
    EXPECT(memcmp(peer.bytes + 49152, "ok\nok\n", 6) == 0);
    peer_send_reset(&peer);
    rig_poll();
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

/* An answer for one segment does not make the turn forget what waits behind its request. */
NET_TEST(what_waits_behind_a_short_answer_does_not_wait_in_the_ring)
{
    rig_start_default(64);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (unsigned i = 0; i < 40; i++) { /* the congestion window opens */
        peer_send(&peer, i % 4 == 0 ? "b24576\n" : "w\n");
        peer_take(&peer);
        peer.received = 0;
    }
    peer.holds_acks = true;
    peer_send(&peer, "b24576\nb488\n"); /* after these the send buffer has room for one more */
    peer_take(&peer);
    EXPECT_EQ(peer.received, 24576 + 488);
    const unsigned before = rig_app.requests;
    rig_vouches = false;
    peer_segment(&peer, ACK, peer.next, peer.expected - (24576 + 488), "e\ne\n", 4);
    peer.next += 4;
    peer_take(&peer);
    EXPECT_EQ(rig_app.requests, before + 1);
    EXPECT_EQ(peer.received, 24576 + 488 + 3);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
    peer_send_ack(&peer);
    peer_take(&peer);
    EXPECT_EQ(rig_app.requests, before + 2);
    EXPECT_EQ(peer.received, 24576 + 488 + 6);
}

NET_TEST(readers_that_never_read_do_not_keep_others_from_their_answers)
{
    rig_start_default(200);
    const struct rig_levels before = rig_levels();
    static struct peer greedy[150];
    for (unsigned i = 0; i < 150; i++) {
        peer_init(&greedy[i], (uint16_t)(6000 + i));
        peer_connect(&greedy[i]);
        for (int n = 0; n < 4; n++)
            peer_send(&greedy[i], "b24576\n");
        rig_poll();
        for (int n = 0; n < 20; n++)
            peer_send(&greedy[i], "e\ne\ne\ne\n");
        rig_poll();
    }
    /* The pool is used up; whoever has not read for a quarter of a second gives way. */
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (unsigned i = 0; i < 20; i++) {
        peer_send(&peer, i % 2 == 0 ? "b24576\n" : "e\n");
        const size_t wanted = i % 2 == 0 ? 24576 : 3;
        for (int n = 0; n < 1000 && peer.received < wanted; n++) {
            rig_wait_ms(5);
            peer_take(&peer);
        }
        EXPECT_EQ(peer.received, wanted);
        peer.received = 0;
    }
    EXPECT(rig_counters().connections_gave_way > 0);
    EXPECT_EQ(rig_counters().connections_reset_short, rig_counters().connections_gave_way);
    for (unsigned i = 0; i < 150; i++) {
        peer_send_reset(&greedy[i]);
        rig_poll();
    }
    peer_send_reset(&peer);
    rig_wait_ms(30000);
    EXPECT_EQ(rig_app.opened, rig_app.closed);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(who_holds_little_does_not_give_way_to_readers_that_have_just_begun)
{
    static struct peer greedy[12];
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer.holds_acks = true;
    peers_connect(greedy, 12, 6000);
    peer_send(&peer, "e\n");
    rig_poll();
    rig_wait_ms(300); /* its host is busy */
    for (unsigned i = 0; i < 12; i++) {
        peer_send(&greedy[i], "b24576\n");
        rig_poll();
    }
    EXPECT(rig_app.requests < 13); /* there was not memory for all */
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    peer_expect(&peer, "ok\n");
    EXPECT(!peer.reset);
}

NET_TEST(half_open_connections_do_not_hide_readers_that_never_read)
{
    rig_start_default(4000);             /* so that so many can be half-open */
    for (unsigned i = 0; i < 450; i++) { /* more than are looked at in search of a slow reader */
        struct peer syn;
        peer_init(&syn, (uint16_t)(10000 + i));
        peer_send_syn(&syn);
        rig_poll();
    }
    rig_discard();
    static struct peer greedy[300];
    for (unsigned i = 0; i < 300; i++) {
        peer_init(&greedy[i], (uint16_t)(6000 + i));
        peer_connect(&greedy[i]);
        for (int n = 0; n < 4; n++)
            peer_send(&greedy[i], "b24576\n");
        rig_poll();
    }
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (int n = 0; n < 1000 && peer.received < 24576; n++) {
        if (n == 0)
            peer_send(&peer, "b24576\n");
        rig_wait_ms(5);
        peer_take(&peer);
    }
    EXPECT_EQ(peer.received, 24576);
    EXPECT(rig_counters().connections_gave_way > 0);
    EXPECT_EQ(conns_count(CONN_HALF_OPEN), 450); /* none of these gave way */
}

NET_TEST(data_out_of_order_is_kept_however_much_has_come_before)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rig_vouches = false; /* so that lwIP gets it */
    for (unsigned i = 0; i < 300; i++) {
        peer_send(&peer, "e\n");
        peer_expect(&peer, "ok\n");
    }
    peer.next += 2;
    peer_send(&peer, "e\n");
    rig_poll();
    rig_discard();
    peer.next -= 4;
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\nok\n");
}

/* Pieces of many buffers, as a device that merges segments gives them. */
NET_TEST(large_pieces_out_of_order_do_not_empty_the_ring)
{
    static struct peer senders[30];
    static char piece[16000];
    rig_start_default(64);
    for (unsigned i = 0; i < 30; i++) {
        peer_init(&senders[i], (uint16_t)(6000 + i));
        peer_connect(&senders[i]);
    }
    for (unsigned i = 0; i < 30; i++) {
        peer_segment(&senders[i], ACK, senders[i].next + 2, senders[i].expected, piece,
                     sizeof piece);
        rig_poll();
    }
    EXPECT(fake_netdev_receive_free() >= 100);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

/*
 * Two connections with segments that came too early, when the pool has blocks for those of one: it
 * is too late to drop what TCP acknowledges once the gaps are filled.
 */
#define EARLY_SEGMENTS 16

static struct peer early[2], readers[7];

static void connect_early_and_readers(void)
{
    rig_start_default(14);
    for (unsigned i = 0; i < 2; i++) {
        peer_init(&early[i], (uint16_t)(5000 + i));
        peer_connect(&early[i]);
        early[i].holds_acks = true;
    }
    for (unsigned i = 0; i < 7; i++) {
        peer_init(&readers[i], (uint16_t)(6000 + i));
        peer_connect(&readers[i]);
        readers[i].holds_acks = true;
    }
}

/* An answer each of 17 blocks, which is not acknowledged. */
static void fill_pool(struct peer *peers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        peer_send(&peers[i], "b24576\n");
        rig_poll();
        fake_clock_advance_ms(5);
    }
}

static void send_early(void)
{
    static char bytes[1460];
    for (size_t at = 0; at < sizeof bytes; at += 2)
        memcpy(bytes + at, "w\n", 2);
    for (unsigned i = 0; i < 2; i++) {
        for (uint32_t n = 0; n < EARLY_SEGMENTS; n++)
            peer_segment(&early[i], ACK, early[i].next + 2 + n * (uint32_t)sizeof bytes,
                         early[i].expected, bytes, sizeof bytes);
        rig_poll();
    }
}

static void fill_gaps(void)
{
    for (unsigned i = 0; i < 2; i++)
        peer_segment(&early[i], ACK, early[i].next, early[i].expected, "w\n", 2);
    rig_poll();
}

/* Takes what was sent to them; returns how many were reset. */
static unsigned count_resets(struct peer *peers, unsigned count)
{
    unsigned resets = 0;
    for (unsigned i = 0; i < count; i++) {
        peers[i].holds_acks = false;
        for (unsigned round = 0; round < 40; round++)
            peer_take(&peers[i]);
        resets += peers[i].reset;
    }
    return resets;
}

NET_TEST(the_slowest_reader_gives_way_to_what_was_acknowledged)
{
    connect_early_and_readers();
    send_early();
    fill_pool(readers, 7);
    fill_gaps();
    EXPECT_EQ(rig_app.requests, 7);
    EXPECT_EQ(count_resets(readers, 7), 1);
    EXPECT(readers[0].reset);
    EXPECT_EQ(count_resets(early, 2), 0);
    EXPECT_EQ(rig_app.requests, 7 + 2 * (1 + EARLY_SEGMENTS * 730));
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

NET_TEST(the_slowest_reader_is_reset_when_it_has_no_block_for_what_was_acknowledged)
{
    connect_early_and_readers();
    fill_pool(&early[1], 1);
    fill_pool(&early[0], 1);
    send_early();
    fill_pool(readers, 5);
    fill_gaps();
    EXPECT_EQ(rig_app.requests, 7);
    EXPECT_EQ(count_resets(readers, 7), 0);
    EXPECT_EQ(count_resets(early, 2), 1);
    EXPECT(early[1].reset);
    EXPECT_EQ(rig_app.requests, 7 + 1 + EARLY_SEGMENTS * 730);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

/* ---- descriptors ---- */

NET_TEST(nothing_is_received_while_the_transmit_ring_is_full)
{
    rig_start_default(500);
    static struct peer many[300];
    peers_connect(many, 300, 6000);
    fake_netdev_stall(true);
    unsigned sent = 0;
    while (sent < 300 && fake_netdev_receive_free() > 0) {
        peer_send(&many[sent], "e\n");
        sent++;
        (void)server_poll();
    }
    EXPECT(rig_app.requests < sent);
    EXPECT(fake_netdev_transmit_held() <= 256);
    fake_netdev_stall(false);
    rig_poll();
    EXPECT_EQ(rig_app.requests, sent);
    for (unsigned i = 0; i < sent; i++)
        peer_expect(&many[i], "ok\n");
    /* All went out at once when it could: nothing had to be sent again. */
    EXPECT_EQ(rig_counters().retransmissions, 0);
}

NET_TEST(answers_that_found_no_descriptor_go_out_with_the_next_batch)
{
    static struct peer many[32];
    rig_start_with_transmit_ring(8);
    peers_connect(many, 32, 6000);
    for (unsigned i = 0; i < 32; i++)
        peer_send(&many[i], "e\n");
    (void)server_poll();
    EXPECT_EQ(rig_app.requests, 32);
    for (unsigned i = 0; i < 32; i++)
        peer_expect(&many[i], "ok\n");
    EXPECT_EQ(rig_counters().retransmissions, 0);
}

NET_TEST(a_retransmission_that_found_no_descriptor_goes_out_when_there_is_one)
{
    static struct peer many[16];
    rig_start_with_transmit_ring(8);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (unsigned i = 0; i < 16; i++) {
        peer_init(&many[i], (uint16_t)(6000 + i));
        peer_connect(&many[i]);
    }
    peer_send(&peer, "e\n");
    rig_poll();
    rig_discard(); /* its answer is lost */
    fake_netdev_stall(true);
    for (unsigned i = 0; i < 16; i++)
        peer_send(&many[i], "e\n");
    rig_poll();
    EXPECT_EQ(fake_netdev_transmit_held(), 8);
    rig_wait_ms(1400); /* it is due, and finds the ring full */
    rig_discard();
    fake_netdev_stall(false);
    peer_expect(&peer, "ok\n");
    for (unsigned i = 0; i < 16; i++)
        peer_take(&many[i]);
}

NET_TEST(large_answers_to_many_lose_nothing_in_a_small_ring)
{
    static struct peer many[32];
    rig_start_with_transmit_ring(32);
    peers_connect(many, 32, 6000);
    for (unsigned i = 0; i < 32; i++)
        peer_send(&many[i], "b20000\n");
    for (unsigned round = 0; round < 40; round++)
        for (unsigned i = 0; i < 32; i++)
            peer_take(&many[i]);
    for (unsigned i = 0; i < 32; i++)
        EXPECT_EQ(many[i].received, 20000);
    EXPECT_EQ(rig_counters().retransmissions, 0);
}

/* Each asks for more than the pool can hold for all; who is not acknowledged sends again. */
NET_TEST(trains_that_the_pool_cannot_answer_at_once_are_answered_and_nobody_is_reset)
{
    enum { PEERS = 300, ANSWER = 2800 };
    static struct peer trains[PEERS];
    static char train[1300] = "b1400\nb1400\n";
    for (size_t at = strlen(train); at < sizeof train; at++)
        train[at] = at % 2 == 0 ? 'w' : '\n';
    rig_start_default(PEERS);
    const struct rig_levels before = rig_levels();
    for (unsigned i = 0; i < PEERS; i++) {
        peer_init(&trains[i], (uint16_t)(6000 + i));
        peer_connect(&trains[i]);
        trains[i].holds_acks = true;
    }
    for (unsigned i = 0; i < PEERS; i++) {
        peer_send_bytes(&trains[i], train, sizeof train);
        if (i % 32 == 0)
            rig_poll();
    }
    EXPECT(rig_counters().memory_short > 0);
    for (unsigned round = 0; round < 50; round++) {
        rig_wait_ms(40);
        for (unsigned i = 0; i < PEERS; i++) {
            trains[i].holds_acks = false;
            peer_take(&trains[i]);
            if (trains[i].received == 0)
                peer_segment(&trains[i], PSH | ACK, trains[i].next - (uint32_t)sizeof train,
                             trains[i].expected, train, sizeof train);
        }
    }
    for (unsigned i = 0; i < PEERS; i++) {
        EXPECT(!trains[i].reset);
        EXPECT_EQ(trains[i].received, ANSWER);
        peer_send_reset(&trains[i]);
        rig_poll();
    }
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    rig_wait_ms(1000);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

/* ---- what is served at once ---- */

/* Its FIN had no memory: TCP has not closed yet, but the application has. */
NET_TEST(what_comes_after_a_close_that_had_no_memory_is_discarded)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e");
    rig_poll();
    void **const blocks = rig_take_memory();
    rig_wait_ms(10100);
    EXPECT_EQ(rig_app.timed_out, 1);
    rig_give_back(blocks);
    peer_send(&peer, "\ne\n");
    rig_poll();
    EXPECT_EQ(rig_app.requests, 0);
}

/*
 * The least memory that a segment is served with: a reserve of 16 full blocks, the largest answer's
 * 48, and those for its bytes, should they have to wait. Most of these have to.
 */
NET_TEST(bytes_that_are_not_taken_are_kept_beside_answers_that_fit_and_the_reserve)
{
    static char text[30000] = "b9000\nb24576\n";
    memset(text + strlen(text), 'x', sizeof text - strlen(text));
    rig_start_default(64);
    peer_init(&peer, 5000);
    peer.mss = 536;
    peer_connect(&peer);
    while (pool_level(POOL_FULL) > 16 + 48 + unread_blocks(sizeof text))
        EXPECT(pool_alloc(POOL_FULL_BYTES) != NULL);
    peer_send_bytes(&peer, text, sizeof text);
    rig_poll();
    EXPECT_EQ(rig_counters().segments_predicted, 1);
    EXPECT_EQ(rig_app.requests, 1);
    EXPECT_EQ(rig_app.closed, 0);
    EXPECT(pool_level(POOL_FULL) >= 16);
}

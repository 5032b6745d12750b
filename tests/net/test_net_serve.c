/* What is served at once, and what waits for lwIP and the end of the batch all the same. */
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/flow/unread.h"
#include "tests/net/rig.h"

static struct peer peer, waiting, many[64];
static struct rig_segment segment;

static void leave_full(uint32_t blocks)
{
    while (pool_level(POOL_FULL) > blocks)
        EXPECT(pool_alloc(POOL_FULL_BYTES) != NULL);
}

NET_TEST(nothing_is_served_after_a_close_in_on_open)
{
    rig_start_default(16);
    rig_closes_at_once = true;
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    peer_send_ack(&peer);
    peer_send(&peer, "e\n");
    peer_take(&peer);
    EXPECT_EQ(rig_app.requests, 0);
    EXPECT(peer.fin);
}

/* Nor is memory held for it, nor the window closed, whoever judges it. */
NET_TEST(what_follows_a_close_in_its_segment_is_thrown_away)
{
    rig_start_default(16);
    for (uint16_t i = 0; i < 2; i++) {
        rig_vouches = i == 0;
        peer_init(&peer, (uint16_t)(5000 + i));
        peer_connect(&peer);
        peer.holds_acks = true;
        peer_send(&peer, "c\ne\ne\n");
        peer_take(&peer);
        EXPECT(peer.fin);
        const struct server_conn *const conn =
            conns_find(conns_key(__builtin_bswap32(peer.address), peer.port));
        EXPECT(unread_is_empty(conn));
        EXPECT_EQ(conn->pcb->rcv_wnd, TCP_WND);
    }
    EXPECT_EQ(rig_app.requests, 2);
}

/* Who has output waiting is shown half of the memory; the rest of it is less than an answer. */
NET_TEST(a_request_is_not_offered_where_its_answer_would_not_fit)
{
    rig_start_default(64);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    leave_full(16 + 48 + 4);
    peer.holds_acks = true;
    peer_send(&peer, "e\n");
    rig_poll();
    peer_send(&peer, "e\n");
    rig_poll();
    EXPECT_EQ(rig_counters().segments_predicted, 2);
    EXPECT_EQ(rig_app.requests, 1);
    peer.holds_acks = false;
    peer_take(&peer);
    peer_take(&peer);
    EXPECT_EQ(peer.received, 6);
}

NET_TEST(what_goes_to_another_port_is_not_served)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_compose(&peer, "e\n", &segment);
    segment.server_port = RIG_PORT + 1;
    EXPECT(rig_arrive(&segment));
    rig_poll();
    EXPECT_EQ(rig_app.requests, 0);
}

/* 16 full blocks in reserve, 48 for the largest answer, one for the bytes. */
NET_TEST(a_segment_waits_when_its_bytes_would_take_the_last_blocks)
{
    rig_start_default(64);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    leave_full(16 + 48 + 1);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    EXPECT_EQ(rig_counters().segments_predicted, 1);
    leave_full(16 + 48);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    EXPECT_EQ(rig_counters().segments_predicted, 1);
}

NET_TEST(a_segment_waits_when_others_wait_that_may_need_the_last_blocks)
{
    rig_start_default(64);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_init(&waiting, 6000);
    peer_connect(&waiting);
    leave_full(16 + 48 + 1);
    rig_vouches = false;
    peer_send(&waiting, "e\n");
    rig_vouches = true;
    peer_send(&peer, "e\n");
    rig_poll();
    EXPECT_EQ(rig_counters().segments_predicted, 0);
    EXPECT_EQ(rig_app.requests, 2);
}

static void ask_each(unsigned requests)
{
    for (unsigned i = 0; i < 64; i++) {
        many[i].holds_acks = true;
        for (unsigned n = 0; n < requests; n++)
            peer_send(&many[i], "e\n");
        if (i % 4 == 3)
            rig_poll();
    }
}

/* Blocks for an answer to each would be taken from others, and slow readers reset for them. */
NET_TEST(to_many_segments_that_come_before_an_acknowledgement_few_answers_are_sent)
{
    rig_start_default(64);
    peers_connect(many, 64, 6000);
    ask_each(16);
    EXPECT_EQ(rig_app.requests, 64 * 16);
    EXPECT_EQ(rig_counters().segments_predicted, 64 * 4);
    EXPECT(pool_level(POOL_TINY) >= 512);
    rig_wait_ms(280);
    ask_each(1);
    EXPECT_EQ(rig_app.requests, 64 * 17);
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
}

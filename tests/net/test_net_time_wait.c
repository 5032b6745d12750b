/* TIME-WAIT: how long it lasts, and who may come in its place. */
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "tests/net/rig.h"

static struct peer peer;
static struct rig_segment segment;

static void start(void)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
}

/* From now on: CLOSING_MS of net/flow/deadlines.c. */
static void expect_ten_seconds(void)
{
    rig_wait_ms(9000);
    EXPECT_EQ(conns_count(CONN_CLOSING), 1);
    rig_wait_ms(1100);
    EXPECT_EQ(conns_count(CONN_CLOSING), 0);
}

NET_TEST(time_wait_answers_a_repeated_fin)
{
    start();
    peer_be_closed(&peer);
    EXPECT_EQ(rig_app.closed, 1);
    peer.next--;
    peer_send_fin(&peer);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(segment.ack, peer.next);
    /* And begins anew. */
    rig_wait_ms(9000);
    peer.next--;
    peer_send_fin(&peer);
    expect_ten_seconds();
}

/* Not from when the application was done with it. */
NET_TEST(time_wait_begins_with_the_peers_fin)
{
    start();
    rig_wait_ms(60100);
    EXPECT_EQ(rig_app.closed, 1);
    peer_take(&peer);
    EXPECT(peer.fin);
    rig_wait_ms(9000);
    peer_send_fin(&peer);
    expect_ten_seconds();
}

NET_TEST(a_new_syn_reopens_a_connection_in_time_wait)
{
    start();
    peer_be_closed(&peer);
    const uint32_t used = peer.expected;
    peer.next += 5;
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    EXPECT((int32_t)(peer.expected - used) > 0);
    EXPECT_EQ(conns_count(CONN_CLOSING), 0);
    peer_send_ack(&peer);
    peer_send(&peer, "e\n");
    peer.fin = false;
    peer_expect(&peer, "ok\n");
    EXPECT_EQ(rig_app.opened, 2);
}

NET_TEST(an_old_syn_does_not_reopen_a_connection_in_time_wait)
{
    start();
    peer_be_closed(&peer);
    peer_segment(&peer, SYN, peer.next - 100, 0, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(rig_app.opened, 1);
}

/* A peer whose new number is lower resets what challenges it (RFC 9293 section 3.10.7.3). */
NET_TEST(a_reset_that_answers_the_challenge_ends_time_wait)
{
    start();
    peer_be_closed(&peer);
    struct peer again = peer;
    again.next -= 100000;
    peer_send_syn(&again);
    EXPECT(peer_next(&again, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(segment.ack, peer.next);
    peer_segment(&again, RST, segment.ack, 0, NULL, 0);
    EXPECT(!peer_next(&again, &segment));
    EXPECT_EQ(conns_count(CONN_CLOSING), 0);
    EXPECT_EQ(rig_app.closed, 1);
    rig_wait_ms(1000);
    peer_send_syn(&again);
    EXPECT(peer_take_syn_ack(&again));
    peer_send_ack(&again);
    peer_send(&again, "e\n");
    again.fin = false;
    peer_expect(&again, "ok\n");
}

/* A reset that is not just in place; one that lies in the window is challenged (RFC 5961). */
NET_TEST(a_blind_reset_does_not_end_time_wait)
{
    static const struct {
        uint32_t ahead;
        bool challenged;
    } table[] = {{1, true},    {500, true},    {TCP_WND - 1, true}, {TCP_WND, false},
                 {-1u, false}, {-500u, false}, {1u << 31, false}};
    start();
    peer_be_closed(&peer);
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        peer_segment(&peer, RST, peer.next + table[i].ahead, 0, NULL, 0);
        EXPECT_EQ(peer_next(&peer, &segment), table[i].challenged);
        if (table[i].challenged) {
            EXPECT_EQ(segment.flags, ACK);
            EXPECT_EQ(segment.ack, peer.next);
        }
        EXPECT_EQ(conns_count(CONN_CLOSING), 1);
    }
    peer.next--;
    peer_send_fin(&peer);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(segment.ack, peer.next);
}

/* Its checksum is verified before it is obeyed. */
NET_TEST(a_damaged_reset_does_not_end_time_wait)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    start();
    peer_be_closed(&peer);
    peer_compose(&peer, "", &segment);
    segment.flags = RST;
    const size_t len = rig_frame(&segment, frame);
    frame[50] ^= 1;
    EXPECT(fake_netdev_arrive(frame, len, false));
    rig_poll();
    EXPECT_EQ(conns_count(CONN_CLOSING), 1);
    frame[50] ^= 1;
    EXPECT(fake_netdev_arrive(frame, len, false));
    rig_poll();
    EXPECT_EQ(conns_count(CONN_CLOSING), 0);
}

NET_TEST(time_wait_is_over_after_ten_seconds)
{
    start();
    const struct rig_levels with_connection = rig_levels();
    peer_be_closed(&peer);
    rig_wait_ms(9000);
    peer_send_ack(&peer);
    EXPECT(!peer_next(&peer, &segment));
    rig_wait_ms(1100);
    peer_send_ack(&peer);
    EXPECT(peer_next(&peer, &segment));
    EXPECT((segment.flags & RST) != 0);
    (void)with_connection;
}

NET_TEST(time_wait_does_not_limit_churn)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    for (unsigned round = 0; round < 20000; round++) {
        peer_init(&peer, (uint16_t)(1024 + round % 60000));
        peer.next += round * 7919;
        peer_connect(&peer);
        peer_be_closed(&peer);
        EXPECT_EQ(rig_app.closed, round + 1);
    }
    EXPECT_EQ(rig_counters().connections_accepted, 20000);
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    rig_wait_ms(10100);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

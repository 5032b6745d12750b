/* What a review found: each was open once, and a peer could have used it. */
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "tests/net/rig.h"

static struct peer peer, other;
static struct rig_segment segment;

/* ---- windows ---- */

/* lwIP's timer asserts that a persist timer has something to send. */
NET_TEST(a_window_probe_acknowledged_in_the_batch_of_a_tick_halts_nothing)
{
    rig_start_default(16);
    for (unsigned round = 0; round < 64; round++) {
        peer_init(&peer, (uint16_t)(4000 + round));
        peer.window = 0;
        peer_connect(&peer);
        peer_send(&peer, "b1\n");
        bool probed = false;
        for (unsigned i = 0; i < 4000 && !probed; i++) {
            rig_wait_ms(5);
            while (peer_next(&peer, &segment)) {
                probed = probed || segment.len == 1;
                peer.expected = segment.number + (uint32_t)segment.len;
            }
        }
        EXPECT(probed);
        rig_wait_ms(round * 31);
        fake_clock_advance_ms(32);
        peer_send(&peer, "e");
        server_poll();
        peer_send_reset(&peer);
        rig_poll();
        rig_discard();
    }
}

NET_TEST(a_peer_that_has_shut_down_its_side_has_send_ms_too)
{
    rig_start_default(4);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "b2000\n");
    peer_send_fin(&peer);
    rig_poll();
    /* Lost, and so is all for 12 s; send_ms is 15. */
    rig_wait_ms(12000);
    rig_discard();
    EXPECT_EQ(rig_counters().connections_open, 1);
    rig_wait_ms(5000);
    do {
        EXPECT(peer_next(&peer, &segment));
    } while ((segment.flags & RST) == 0);
}

NET_TEST(an_old_segment_does_not_open_a_closed_window)
{
    rig_start_default(16);
    peer_init(&peer, 4000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    peer.window = 0;
    peer_send(&peer, "b100\n");
    rig_poll();
    rig_discard();
    peer.window = 5000;
    peer_segment(&peer, ACK, peer.next - 50, peer.expected, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.len, 0);
    EXPECT(!peer_next(&peer, &segment));
}

/* ---- who gives way ---- */

NET_TEST(an_ack_with_a_guessed_number_makes_nobody_give_way)
{
    static struct peer peers[5];
    rig_start_default(4);
    peers_connect(peers, 4, 5000);
    peer_init(&peers[4], 6000);
    peer_send_syn(&peers[4]);
    EXPECT(peer_take_syn_ack(&peers[4]));
    peers[4].expected ^= 0x40000000; /* a forger never saw it */
    peer_send_ack(&peers[4]);
    rig_poll();
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    EXPECT_EQ(rig_counters().connections_open, 4);
    peers[4].expected ^= 0x40000000;
    rig_discard();
    peer_send_ack(&peers[4]);
    peer_send(&peers[4], "e\n");
    peer_expect(&peers[4], "ok\n");
    EXPECT_EQ(rig_counters().connections_gave_way, 1);
}

NET_TEST(a_request_that_came_in_the_batch_of_its_deadline_is_answered)
{
    rig_start_default(16);
    peer_init(&peer, 4000);
    peer_connect(&peer);
    rig_wait_ms(59900); /* idle_ms is 60 s */
    fake_clock_advance_ms(200);
    peer_send(&peer, "e\n");
    server_poll();
    peer_expect(&peer, "ok\n");
}

NET_TEST(stopping_tells_idle_peers)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    rig_start_default(16);
    peer_init(&peer, 4000);
    peer_connect(&peer);
    rig_discard();
    server_stop();
    EXPECT(fake_netdev_take(frame) > 0);
}

/* ---- forged packets ---- */

/* A SYN with a wrong checksum for one's own TIME-WAIT must not choose another's number. */
NET_TEST(the_sequence_number_of_another_is_not_given_away)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    rig_start_default(16);
    for (unsigned round = 0; round < 64; round++) {
        peer_init(&peer, (uint16_t)(4000 + round));
        peer_connect(&peer);
        peer_be_closed(&peer);
        const uint32_t used = peer.expected;
        segment = (struct rig_segment){.address = peer.address,
                                       .port = peer.port,
                                       .server_port = RIG_PORT,
                                       .number = peer.next + 1000,
                                       .flags = SYN,
                                       .window = 1000};
        const size_t len = rig_frame(&segment, frame);
        frame[50] ^= 1; /* of the TCP checksum */
        EXPECT(fake_netdev_arrive(frame, len, false));
        rig_poll();
        peer_init(&other, (uint16_t)(14000 + round)); /* stands for a forged address */
        peer_send_syn(&other);
        EXPECT(peer_next(&other, &segment));
        EXPECT(segment.number - used > 100000);
        rig_discard();
    }
}

/* Nor must one that was sound, and found no slot. */
NET_TEST(a_connection_that_could_not_be_reopened_chooses_nobodys_number)
{
    static struct peer busy;
    rig_start_default(1);
    for (unsigned round = 0; round < 32; round++) {
        peer_init(&peer, (uint16_t)(4000 + round));
        peer_connect(&peer);
        peer_be_closed(&peer);
        const uint32_t used = peer.expected;
        peer_init(&busy, (uint16_t)(5000 + round));
        peer_connect(&busy);
        peer_send(&busy, "b");
        rig_discard();
        peer.next += 1000;
        peer_send_syn(&peer);
        EXPECT(!peer_next(&peer, &segment));
        peer_send(&busy, "1\n");
        rig_poll();
        peer_init(&other, (uint16_t)(14000 + round));
        peer_send_syn(&other);
        EXPECT(peer_next(&other, &segment));
        EXPECT(segment.number - used > 100000);
        rig_discard();
    }
}

/* A flood of SYNs makes them no handshake. */
NET_TEST(what_is_no_syn_to_the_port_is_answered_as_ever_in_a_flood)
{
    static const struct {
        uint16_t port;
        uint8_t flags;
        bool is_reset;
    } table[] = {{RIG_PORT + 1, SYN, true}, {RIG_PORT, SYN | ACK, true}, {RIG_PORT, RST, false}};
    rig_start_default(16);
    for (uint32_t forged = 0; forged < 200; forged++) { /* half-open slots are taken */
        rig_arrive_forged_syn(forged);
        rig_poll();
    }
    rig_discard();
    const uint64_t sent = rig_counters().syn_cookies_sent;
    for (uint16_t i = 0; i < 3; i++) {
        const struct rig_segment stray = {.address = RIG_PEER_ADDRESS,
                                          .port = (uint16_t)(5000 + i),
                                          .server_port = table[i].port,
                                          .flags = table[i].flags};
        EXPECT(rig_arrive(&stray));
        EXPECT_EQ(rig_next(stray.address, stray.port, &segment), table[i].is_reset);
        EXPECT(!table[i].is_reset || (segment.flags & RST) != 0);
    }
    EXPECT_EQ(rig_counters().syn_cookies_sent, sent);
}

static void expect_an_answer_of_2000(void)
{
    size_t received = 0;
    rig_discard();
    peer_send(&peer, "b2000\n");
    while (peer_next(&peer, &segment))
        received += segment.len;
    EXPECT_EQ(received, 2000);
}

/*
 * What waits for the ARP reply of an address that nobody has must not wait in everybody's memory.
 */
NET_TEST(syns_from_addresses_that_nobody_has_leave_memory_for_others)
{
    rig_start_default(64);
    peer_init(&peer, 4000);
    peer_connect(&peer);
    for (unsigned port = 0; port < 128; port++) {
        for (unsigned host = 0; host < 31; host++) {
            const struct rig_segment syn = {.address = 0x0a000100u + host,
                                            .port = (uint16_t)(1000 + port),
                                            .server_port = RIG_PORT,
                                            .number = 1,
                                            .flags = SYN,
                                            .window = 1000};
            EXPECT(rig_arrive(&syn));
            rig_poll();
        }
    }
    expect_an_answer_of_2000();
}

NET_TEST(pings_from_addresses_that_nobody_has_leave_memory_for_others)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    rig_start_default(64);
    peer_init(&peer, 4000);
    peer_connect(&peer);
    for (unsigned count = 0; count < 128; count++) {
        for (unsigned host = 0; host < 31; host++) {
            const size_t len = rig_ping(0x0a000100u + host, 1392, frame);
            EXPECT(fake_netdev_arrive(frame, len, false));
            rig_poll();
        }
    }
    expect_an_answer_of_2000();
}

/* ARP's table has 32 entries, and anybody on the link can fill it. */
NET_TEST(a_connection_outlives_a_flood_of_arp)
{
    rig_start_default(64);
    peer_init(&peer, 4000);
    peer_connect(&peer);
    for (uint8_t host = 10; host < 250; host++) {
        rig_introduce((const uint8_t[]){2, 0, 0, 0, 1, host}, 0x0a000000u + host);
        rig_poll();
        rig_discard();
    }
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    /* Nor need a new client be known. */
    peer_init(&other, 4001);
    peer_connect(&other);
    peer_send(&other, "e\n");
    peer_expect(&other, "ok\n");
}

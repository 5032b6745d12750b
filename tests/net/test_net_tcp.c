/* TCP's rules, and the flaws of lwIP 2.2.1 that are closed from outside. */
#include <stdio.h>

#include "lwip/ip_addr.h"
#include "net/lwip_hooks.h"
#include "tests/net/rig.h"

static struct peer peer, other;
static struct rig_segment segment;

static void start(void)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
}

/* ---- loss and windows ---- */

NET_TEST(a_lost_answer_is_sent_again_after_about_a_second)
{
    start();
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    rig_wait_ms(1000); /* nothing is to be timed, and then something again */
    peer_send(&peer, "e\n");
    EXPECT(peer_next(&peer, &segment));
    rig_wait_ms(950);
    EXPECT(!peer_next(&peer, &segment));
    rig_wait_ms(350);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.number, peer.expected);
    EXPECT_EQ(segment.len, 3);
    EXPECT_EQ(rig_counters().retransmissions, 1);
    /* The next comes after twice the time. */
    rig_wait_ms(1900);
    EXPECT(!peer_next(&peer, &segment));
    rig_wait_ms(1000);
    EXPECT(peer_next(&peer, &segment));
    peer.expected += 3;
    peer_send_ack(&peer);
    rig_wait_ms(5000);
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(rig_counters().retransmissions, 2);
}

NET_TEST(a_lost_syn_ack_is_sent_again_after_about_a_second)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(peer_next(&peer, &segment));
    rig_wait_ms(1300);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, SYN | ACK);
    EXPECT(!peer_next(&peer, &segment));
}

NET_TEST(three_duplicate_acks_bring_the_lost_segment_at_once)
{
    start();
    peer_send(&peer, "b4000\n");
    EXPECT(peer_next(&peer, &segment));
    const uint32_t lost = segment.number;
    while (peer_next(&peer, &segment))
        continue;
    for (int i = 0; i < 3; i++)
        peer_segment(&peer, ACK, peer.next, lost, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.number, lost);
}

NET_TEST(a_closed_window_is_probed_and_opening_it_goes_on)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer.window = 0;
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    EXPECT(!peer_next(&peer, &segment) || segment.len == 0);
    unsigned probes = 0;
    rig_wait_ms(5000);
    while (peer_next(&peer, &segment)) {
        EXPECT(segment.len <= 1);
        probes += segment.len == 1;
    }
    EXPECT(probes >= 2);
    peer.window = 1000;
    peer_send_ack(&peer);
    peer_expect(&peer, "ok\n");
    /* Neither a probe nor what comes after it is a retransmission. */
    EXPECT_EQ(rig_counters().retransmissions, 0);
    peer_send(&peer, "e\n");
    EXPECT(peer_next(&peer, &segment));
    rig_wait_ms(1300);
    EXPECT_EQ(rig_counters().retransmissions, 1);
}

/* The handshake's last ACK, and then a request with the same numbers, tell a window. */
static void expect_no_more_than_window(bool vouched)
{
    rig_vouches = vouched;
    peer_init(&peer, vouched ? 5001 : 5000);
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    peer.window = 64000;
    peer_send_ack(&peer);
    rig_poll();
    peer.window = 500;
    peer.holds_acks = true;
    peer_send(&peer, "b4000\n");
    for (unsigned i = 0; i < 40 && peer.received == 0; i++) {
        rig_wait_ms(100);
        peer_take(&peer);
    }
    EXPECT_EQ(peer.received, 500);
    peer.window = 60000;
    peer.holds_acks = false;
    peer_send_ack(&peer);
    for (unsigned i = 0; i < 40; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 4000);
}

/* RFC 9293 section 3.10.7.4: SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK. By lwIP, and predicted. */
NET_TEST(a_window_that_shrinks_without_news_is_not_exceeded)
{
    rig_start_default(16);
    expect_no_more_than_window(false);
    EXPECT_EQ(rig_counters().segments_predicted, 0);
    expect_no_more_than_window(true);
    EXPECT_EQ(rig_counters().segments_predicted, 1);
}

NET_TEST(a_segment_of_many_small_answers_is_sent)
{
    start();
    peer.holds_acks = true;
    peer_send(&peer, "b20000\n");
    rig_poll();
    /* Each in a batch of its own, behind what the congestion window holds back. */
    for (int i = 0; i < 20; i++) {
        peer_send(&peer, "e\n");
        rig_poll();
    }
    peer.holds_acks = false;
    for (int i = 0; i < 50; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 20060);
    EXPECT(memcmp(peer.bytes + 20000, "ok\nok\nok\n", 9) == 0);
}

NET_TEST(segments_out_of_order_are_put_in_order)
{
    start();
    const uint32_t first = peer.next;
    peer_segment(&peer, ACK, first + 2, peer.expected, "0", 1);
    peer_segment(&peer, ACK, first + 4, peer.expected, "\ne\n", 3);
    peer_segment(&peer, ACK, first + 3, peer.expected, "0", 1);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 0);
    peer_segment(&peer, ACK, first, peer.expected, "b1", 2);
    peer.next = first + 7;
    rig_poll();
    EXPECT_EQ(rig_app.requests, 2);
    peer_take(&peer);
    EXPECT_EQ(peer.received, 103);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

NET_TEST(repeated_and_overlapping_segments_are_taken_once)
{
    start();
    const uint32_t first = peer.next;
    peer_segment(&peer, ACK, first, peer.expected, "e\n", 2);
    peer_segment(&peer, ACK, first, peer.expected, "e\n", 2);
    peer_segment(&peer, ACK, first, peer.expected, "e\ne\n", 4);
    peer_segment(&peer, ACK, first + 3, peer.expected, "\ne\n", 3);
    peer.next = first + 6;
    peer_expect(&peer, "ok\nok\nok\n");
    EXPECT_EQ(rig_app.requests, 3);
}

/* ---- what lwIP would do wrong ---- */

NET_TEST(data_with_an_ack_of_what_was_never_sent_is_refused)
{
    start();
    peer_segment(&peer, PSH | ACK, peer.next, peer.expected + 1, "e\n", 2);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(segment.ack, peer.next);
    /* Nor one of what is far behind. */
    peer_segment(&peer, PSH | ACK, peer.next, peer.expected - 70000, "e\n", 2);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 0);
    /* Nor data without any. */
    peer_segment(&peer, PSH | SYN, peer.next, peer.expected, "e\n", 2);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 0);
    EXPECT_EQ(rig_counters().connections_open, 1);
    peer_send(&peer, "e\n");
    rig_poll();
    EXPECT_EQ(rig_app.requests, 1);
}

NET_TEST(a_blind_reset_or_syn_in_the_window_is_challenged)
{
    start();
    peer_segment(&peer, RST, peer.next + 10, 0, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    peer_segment(&peer, SYN, peer.next + 10, 0, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(rig_counters().connections_open, 1);
    EXPECT_EQ(rig_app.closed, 0);
}

NET_TEST(a_tiny_mss_does_not_starve_the_answer)
{
    rig_start_default(16);
    for (uint16_t mss = 1; mss < 200; mss = (uint16_t)(mss * 4)) {
        peer_init(&peer, (uint16_t)(5000 + mss));
        peer.mss = mss;
        peer_send_syn(&peer);
        EXPECT(peer_next(&peer, &segment));
        peer_connect(&peer); /* a SYN that comes again has an MSS again */
        peer_send(&peer, "b24576\n");
        for (int i = 0; i < 100; i++)
            peer_take(&peer);
        EXPECT_EQ(peer.received, 24576);
        EXPECT(peer.segments < 100);
    }
}

NET_TEST(segments_fit_the_mtu_of_the_device)
{
    struct fake_netdev_config device = fake_netdev_default;
    const struct server_config config = rig_config(16);
    device.mtu_bytes = 700;
    rig_start(&config, &device);
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.mss, 660);
    /* Also when the SYN comes again: lwIP would believe its MSS. */
    peer_send_syn(&peer);
    EXPECT(peer_take_syn_ack(&peer));
    peer_send_ack(&peer);
    peer_send(&peer, "b24576\n");
    for (int i = 0; i < 100; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 24576);
    EXPECT_EQ(peer.segments - peer.empty_segments, (24576 + 659) / 660);
}

NET_TEST(an_mss_in_a_later_segment_changes_nothing)
{
    start();
    peer.holds_acks = true;
    peer_send(&peer, "b20000\n");
    rig_poll();
    peer_compose(&peer, "b9\n", &segment);
    segment.options_len = 4;
    memcpy(segment.options, (const uint8_t[]){2, 4, 0, 1}, 4);
    EXPECT(rig_arrive(&segment));
    peer.next += 3;
    peer.holds_acks = false;
    for (int i = 0; i < 100; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 20009);
}

NET_TEST(a_small_window_does_not_shrink_segments_for_ever)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer.window = 2;
    peer_connect(&peer);
    peer_send(&peer, "b20000\n");
    rig_poll();
    peer.window = 65535;
    peer_send_ack(&peer);
    for (int i = 0; i < 100; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 20000);
    EXPECT(peer.segments < 60);
}

/* lwIP's timer asserts about a persist timer that this leaves running. */
NET_TEST(a_window_probe_that_was_all_there_was_halts_nothing)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer.window = 0;
    peer_connect(&peer);
    peer_send(&peer, "b1\n");
    rig_wait_ms(1500);
    while (peer_next(&peer, &segment) && segment.len == 0)
        continue;
    EXPECT_EQ(segment.len, 1);
    peer.expected++;
    peer_send_ack(&peer);
    /* A delayed ACK has the timer look at the connection. */
    peer_send(&peer, "b");
    rig_wait_ms(3000);
    peer.window = 1000;
    peer_send(&peer, "3\n");
    peer_take(&peer);
    EXPECT_EQ(peer.received, 3);
}

/* lwIP asserts that what was kept out of order fits the window when the gap closes. */
/* RFC 5681 section 4.2; these lwIP judges, one batch each. */
NET_TEST(every_second_segment_is_acknowledged_at_once)
{
    start();
    rig_vouches = false;
    for (unsigned i = 0; i < 10; i++) {
        peer_send(&peer, "w\n");
        EXPECT_EQ(peer_next(&peer, &segment), i % 2 == 1);
        EXPECT(i % 2 == 0 || segment.ack == peer.next);
    }
    EXPECT_EQ(rig_counters().retransmissions, 0);
}

NET_TEST(segments_ahead_of_and_beyond_the_window_halt_nothing)
{
    static char lines[22 * 1460];
    start();
    memset(lines, 'e', sizeof lines);
    for (size_t i = 1; i < sizeof lines; i += 2)
        lines[i] = '\n';
    /* All in one batch, and lwIP's, so that the window does not open: fill it but for 100 bytes. */
    rig_vouches = false;
    const uint32_t first = peer.next;
    const uint32_t filled = sizeof lines - 100;
    peer_segment(&peer, ACK, first, peer.expected, lines, filled);
    peer_segment(&peer, ACK, first + filled + 10, peer.expected, lines, 1000);
    peer_segment(&peer, ACK, first + filled, peer.expected, lines, 10);
    rig_poll();
    /* And a FIN that is covered by a segment that ends where the window does. */
    peer_init(&other, 5001);
    peer_connect(&other);
    const uint32_t start_of_other = other.next;
    peer_segment(&other, FIN | ACK, start_of_other + 100, other.expected, lines, 10);
    peer_segment(&other, ACK, start_of_other, other.expected, lines, 22 * 1460);
    rig_poll();
    /* The same with nothing but a FIN. */
    peer_init(&other, 5002);
    peer_connect(&other);
    peer_segment(&other, FIN | ACK, other.next + 100, other.expected, NULL, 0);
    peer_segment(&other, ACK, other.next, other.expected, lines, 22 * 1460);
    rig_poll();
    EXPECT(rig_app.requests > 10000);
}

NET_TEST(a_fin_ahead_of_its_turn_counts_when_it_comes_again_in_order)
{
    for (unsigned len = 0; len <= 2; len += 2) {
        if (len == 0)
            rig_start_default(16);
        peer_init(&peer, (uint16_t)(5000 + len));
        peer_connect(&peer);
        const struct rig_levels before = rig_levels();
        peer_segment(&peer, FIN | ACK, peer.next + 2, peer.expected, "e\n", len);
        EXPECT(peer_next(&peer, &segment));
        EXPECT_EQ(segment.ack, peer.next);
        /* Data is kept, without the FIN; nothing is kept of a FIN alone. */
        const struct rig_levels after = rig_levels();
        EXPECT_EQ(memcmp(&before, &after, sizeof before) == 0, len == 0);
        peer_send(&peer, "e\n");
        peer.next += len;
        peer_expect(&peer, len == 0 ? "ok\n" : "ok\nok\n");
        EXPECT(!peer.fin);
        EXPECT_EQ(rig_counters().connections_open, 1);
        peer_send_fin(&peer);
        peer_take(&peer);
        EXPECT(peer.fin);
        EXPECT_EQ(rig_counters().connections_open, 0);
    }
}

NET_TEST(sequence_numbers_cannot_be_told_from_one_another)
{
    uint32_t numbers[64];
    rig_start_default(256);
    for (uint16_t i = 0; i < 64; i++) {
        peer_init(&peer, (uint16_t)(5000 + i));
        peer_send_syn(&peer);
        EXPECT(peer_next(&peer, &segment));
        numbers[i] = segment.number;
    }
    /* Differences of neighbours are spread over the space, and none comes twice. */
    unsigned high = 0;
    for (unsigned i = 1; i < 64; i++) {
        high += (numbers[i] - numbers[i - 1]) >> 31;
        for (unsigned j = 1; j < i; j++)
            EXPECT(numbers[i] - numbers[i - 1] != numbers[j] - numbers[j - 1]);
    }
    EXPECT(high > 10 && high < 53);
}

/* RFC 6528 section 3: all four of them are in the hash, and no other connection has its number. */
NET_TEST(a_sequence_number_is_of_both_addresses_and_ports)
{
    start();
    ip_addr_t local = {1}, remote = {2};
    u16_t local_port = 3, remote_port = 4;
    const u32_t number = isn_of_connection(&local, local_port, &remote, remote_port);
    EXPECT_EQ(isn_of_connection(&local, local_port, &remote, remote_port), number);
    local.addr = 5;
    EXPECT(isn_of_connection(&local, local_port, &remote, remote_port) != number);
    local.addr = 1;
    remote.addr = 5;
    EXPECT(isn_of_connection(&local, local_port, &remote, remote_port) != number);
    remote.addr = 2;
    local_port = 5;
    EXPECT(isn_of_connection(&local, local_port, &remote, remote_port) != number);
    local_port = 3;
    remote_port = 5;
    EXPECT(isn_of_connection(&local, local_port, &remote, remote_port) != number);
}

NET_TEST(the_same_connection_gets_growing_numbers)
{
    rig_start_default(256);
    uint32_t last = 0;
    for (int i = 0; i < 10; i++) {
        peer_init(&peer, 5000);
        peer_send_syn(&peer);
        EXPECT(peer_next(&peer, &segment));
        EXPECT(i == 0 || (int32_t)(segment.number - last) > 0);
        EXPECT(i == 0 || segment.number - last < 10000);
        last = segment.number;
        peer.next++;
        peer_send_reset(&peer);
        fake_clock_advance_ms(10);
        rig_poll();
    }
}

/* The identification of the next answer of `bytes`; `dont_fragment` as its header has it. */
static uint16_t next_identification(unsigned bytes, bool *dont_fragment)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    char line[16];
    snprintf(line, sizeof line, "b%u\n", bytes);
    peer_send(&peer, line);
    rig_poll();
    EXPECT_EQ(fake_netdev_take(frame), 54 + bytes);
    peer.expected += bytes;
    *dont_fragment = (frame[20] & 0x40) != 0;
    return (uint16_t)(frame[18] << 8 | frame[19]);
}

/* RFC 6864 section 4: a packet that may be fragmented needs one, and nobody shall guess it. */
NET_TEST(identifications_of_packets_are_not_a_counter)
{
    start();
    unsigned ascending = 0;
    uint16_t last = 0;
    bool dont_fragment;
    for (int i = 0; i < 40; i++) {
        const uint16_t id = next_identification(600, &dont_fragment);
        EXPECT(!dont_fragment);
        ascending += (uint16_t)(id - last) < 1000;
        last = id;
    }
    EXPECT(ascending < 10);
}

NET_TEST(packets_too_small_to_be_fragmented_say_so_and_need_no_identification)
{
    bool dont_fragment;
    start();
    EXPECT_EQ(next_identification(3, &dont_fragment), 0);
    EXPECT(dont_fragment);
    EXPECT_EQ(next_identification(576 - 40, &dont_fragment), 0);
    EXPECT(dont_fragment);
    (void)next_identification(577 - 40, &dont_fragment);
    EXPECT(!dont_fragment);
}

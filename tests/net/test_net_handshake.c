/* Handshakes of which nothing is kept. */
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "tests/net/rig.h"

#define HALF_OPEN_MAX 64 /* of so few connections */
#define FLOOD         200

static struct peer peer, other;
static struct rig_segment segment;
static uint32_t forged;

static void flood(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        rig_arrive_forged_syn(forged++);
        rig_poll();
    }
    rig_discard();
}

/* All half-open slots are taken from then on. */
static void start_flooded(void)
{
    rig_start_default(16);
    flood(FLOOD);
    EXPECT_EQ(conns_count(CONN_HALF_OPEN), HALF_OPEN_MAX);
}

static void begin(struct peer *client, uint16_t port)
{
    peer_init(client, port);
    peer_send_syn(client);
    EXPECT(peer_take_syn_ack(client));
}

static void expect_served(struct peer *client)
{
    peer_send(client, "e\n");
    peer_expect(client, "ok\n");
    EXPECT(!client->reset);
}

static void expect_reset_and_nothing_open(struct peer *client)
{
    EXPECT(peer_next(client, &segment));
    EXPECT_EQ(segment.flags & RST, RST);
    EXPECT_EQ(rig_counters().connections_open, 0);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 0);
}

static const struct server_conn *conn_of(const struct peer *client)
{
    return conns_find(conns_key(__builtin_bswap32(client->address), client->port));
}

NET_TEST(a_flood_leaves_nothing_behind_and_honest_clients_come_in_by_a_cookie)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    for (unsigned round = 0; round < 20; round++) {
        flood(FLOOD);
        EXPECT(conns_count(CONN_HALF_OPEN) <= HALF_OPEN_MAX);
        begin(&peer, (uint16_t)(5000 + round));
        EXPECT(conn_of(&peer) == NULL);
        peer_send_ack(&peer);
        rig_poll();
        EXPECT(conn_of(&peer) != NULL && conn_of(&peer)->phase == CONN_OPEN);
        expect_served(&peer);
        peer_send_fin(&peer);
        peer_take(&peer);
    }
    EXPECT_EQ(rig_app.requests, 20);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 20);
    EXPECT_EQ(rig_counters().syn_cookies_sent, 20 * FLOOD - HALF_OPEN_MAX + 20);
    EXPECT_EQ(rig_counters().connections_refused, 0);
    rig_wait_ms(20000);
    rig_discard();
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

/* Whatever the device can do, and whatever the peer asked for. */
static void expect_same_answers(bool offload)
{
    static struct rig_segment with_slot, by_cookie;
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    const struct server_config config = rig_config(16);
    struct fake_netdev_config device = fake_netdev_default;
    device.transmit_checksum = offload;
    device.mtu_bytes = offload ? 1500 : 1400;
    rig_vouches = false;
    rig_start(&config, &device);
    begin(&peer, 5000);
    EXPECT(conn_of(&peer) != NULL);
    peer_send_reset(&peer);
    peer_init(&other, 5001);
    peer_send_syn(&other);
    EXPECT(peer_next(&other, &with_slot));
    flood(FLOOD);
    peer_init(&other, 5002);
    peer_send_syn(&other);
    EXPECT(peer_next(&other, &by_cookie));
    EXPECT_EQ(rig_counters().syn_cookies_sent, FLOOD - HALF_OPEN_MAX + 2);
    EXPECT_EQ(by_cookie.ack, 1000 * 5002 + 1);
    EXPECT(by_cookie.number != with_slot.number);
    by_cookie.number = with_slot.number;
    by_cookie.ack = with_slot.ack;
    by_cookie.port = with_slot.port;
    EXPECT(memcmp(&by_cookie, &with_slot, sizeof with_slot) == 0);
    /* It went to where the SYN came from: nobody was asked for an address. */
    EXPECT_EQ(rig_other(frame), 0);
    /* And what follows a cookie is summed by whom it was before. */
    begin(&peer, 5003);
    const uint32_t cookie = peer.expected - 1;
    expect_served(&peer);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 1);
    /* Whose number is nobody else's. */
    rig_wait_ms(8100);
    begin(&other, 5004);
    EXPECT(conn_of(&other) != NULL);
    EXPECT(other.expected - 1 != cookie);
}

NET_TEST(the_answer_is_the_same_with_a_slot_and_without)
{
    expect_same_answers(true);
}

NET_TEST(the_answer_is_the_same_where_the_device_sums_nothing)
{
    expect_same_answers(false);
}

NET_TEST(the_peers_mss_is_respected)
{
    static const struct {
        uint16_t told, sent;
    } table[] = {{0, 536}, {100, 536}, {536, 536}, {1350, 1300}, {1452, 1440}, {1460, 1460}};
    start_flooded();
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        peer_init(&peer, (uint16_t)(5000 + i));
        peer.mss = table[i].told;
        peer_send_syn(&peer);
        EXPECT(peer_take_syn_ack(&peer));
        peer_send(&peer, "b4000\n");
        EXPECT(peer_next(&peer, &segment));
        EXPECT_EQ(segment.len, table[i].sent);
        peer_send_reset(&peer);
        rig_poll();
        rig_discard();
    }
}

/* As systems send it: window scaling, SACK and timestamps in front of it, or padding. */
NET_TEST(the_peers_mss_is_found_behind_other_options)
{
    static const struct {
        uint8_t options[24];
        uint16_t mss;
    } table[] = {
        {{3, 3, 7, 1, 4, 2, 8, 10, 0, 0, 0, 2, 4, 1, 0, 0, 1, 1, 2, 4, 5, 20}, 1300},
        {{2, 3, 5, 1, 2, 4, 5, 20}, 1300}, /* nor is one of another length believed */
        {{1, 1, 0, 0, 2, 4, 5, 20}, 536},  /* what follows the end is none */
    };
    start_flooded();
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        peer_init(&peer, (uint16_t)(5000 + i));
        struct rig_segment syn = {
            .address = peer.address,
            .port = peer.port,
            .server_port = RIG_PORT,
            .number = peer.next,
            .window = 60000,
            .flags = SYN,
            .options_len = sizeof table[i].options,
        };
        memcpy(syn.options, table[i].options, sizeof table[i].options);
        EXPECT(rig_arrive(&syn));
        EXPECT(peer_take_syn_ack(&peer));
        peer_send(&peer, "b4000\n");
        EXPECT(peer_next(&peer, &segment));
        EXPECT_EQ(segment.len, table[i].mss);
        rig_discard();
    }
}

NET_TEST(a_request_may_come_with_the_ack_or_in_its_place)
{
    start_flooded();
    begin(&peer, 5000);
    expect_served(&peer); /* the ACK was lost */
    expect_served(&peer);
    begin(&other, 5001);
    peer_segment(&other, FIN | PSH | ACK, other.next, other.expected, "e\n", 2);
    other.next += 3;
    peer_expect(&other, "ok\n");
    EXPECT(other.fin && !other.reset);
    EXPECT_EQ(rig_app.requests, 3);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 2);
}

NET_TEST(what_was_lost_of_a_cookies_connection_is_sent_again_in_time)
{
    start_flooded();
    rig_wait_ms(500); /* lwIP's clock moves */
    rig_discard();
    begin(&peer, 5000);
    peer_send(&peer, "e\n");
    EXPECT(peer_next(&peer, &segment) && segment.len == 3);
    EXPECT_EQ(conn_of(&peer)->pcb->rto, LWIP_TCP_RTO_TIME / TCP_SLOW_INTERVAL); /* not measured */
    rig_wait_ms(900);
    EXPECT(!peer_next(&peer, &segment));
    rig_wait_ms(400);
    EXPECT(peer_next(&peer, &segment) && segment.len == 3);
    EXPECT_EQ(conn_of(&peer)->pcb->nrtx, 1);
}

NET_TEST(a_forged_cookie_opens_nothing)
{
    start_flooded();
    begin(&peer, 5000);
    for (unsigned bit = 0; bit < 32; bit++) {
        peer_segment(&peer, ACK, peer.next, ((peer.expected - 1) ^ 1u << bit) + 1, "e\n", 2);
        expect_reset_and_nothing_open(&peer);
    }
    peer_segment(&peer, ACK, peer.next + 1, peer.expected, "e\n", 2);
    expect_reset_and_nothing_open(&peer);
    peer_init(&other, 5001);
    peer_segment(&other, ACK, peer.next, peer.expected, "e\n", 2);
    expect_reset_and_nothing_open(&other);
    peer_segment(&peer, SYN | ACK, peer.next, peer.expected, NULL, 0);
    expect_reset_and_nothing_open(&peer);
    peer_segment(&peer, RST | ACK, peer.next, peer.expected, NULL, 0);
    EXPECT(!peer_next(&peer, &segment));
    expect_served(&peer);
}

NET_TEST(an_old_cookie_opens_nothing)
{
    start_flooded();
    begin(&peer, 5000);
    begin(&other, 5001);
    rig_wait_ms(7900);
    rig_discard();
    expect_served(&other);
    peer_send_reset(&other);
    rig_wait_ms(8200);
    rig_discard();
    peer_send(&peer, "e\n");
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags & RST, RST);
    EXPECT_EQ(rig_counters().connections_open, 0);
}

NET_TEST(a_cookies_first_segment_that_comes_late_is_not_counted_again)
{
    start_flooded();
    begin(&peer, 5000);
    const uint32_t number = peer.next;
    const uint32_t ack = peer.expected;
    expect_served(&peer);
    peer_send_reset(&peer);
    rig_poll();
    EXPECT_EQ(rig_counters().connections_open, 0);
    peer_segment(&peer, PSH | ACK, number, ack, "e\n", 2);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags & RST, RST);
    EXPECT_EQ(rig_app.requests, 1);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 1);
}

NET_TEST(damage_does_not_use_a_cookie_up)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    start_flooded();
    rig_vouches = false;
    begin(&peer, 5000);
    const struct rig_segment damaged = {
        .address = peer.address,
        .port = peer.port,
        .server_port = RIG_PORT,
        .number = peer.next,
        .ack = peer.expected,
        .window = 1000,
        .flags = ACK,
        .len = 2,
        .data = "e\n",
    };
    const size_t len = rig_frame(&damaged, frame);
    frame[len - 2] ^= 1;
    EXPECT(fake_netdev_arrive(frame, len, false));
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(conns_count(CONN_HALF_OPEN), HALF_OPEN_MAX);
    EXPECT_EQ(rig_counters().connections_open, 0);
    expect_served(&peer);
}

NET_TEST(a_damaged_syn_is_not_answered)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    static struct rig_segment syn = {
        .address = RIG_PEER_ADDRESS, .port = 5000, .server_port = RIG_PORT, .flags = SYN};
    start_flooded();
    for (size_t data_len = 0; data_len < 8; data_len++) {
        syn.len = data_len;
        memset(syn.data, 0x99, data_len);
        const size_t len = rig_frame(&syn, frame);
        frame[len - 1] ^= 0x40;
        EXPECT(fake_netdev_arrive(frame, len, false));
        EXPECT(!rig_next(syn.address, syn.port, &segment));
        frame[len - 1] ^= 0x40;
        EXPECT(fake_netdev_arrive(frame, len, false));
        EXPECT(rig_next(syn.address, syn.port, &segment));
        EXPECT_EQ(segment.ack, 1); /* of the SYN, not of the data */
    }
}

/* Its sum would have to be made over all of them; an honest SYN has no kilobytes. */
NET_TEST(a_syn_in_several_pieces_is_answered_only_if_the_device_vouches_for_it)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    static struct rig_segment syn = {
        .address = RIG_PEER_ADDRESS, .port = 5000, .server_port = RIG_PORT, .flags = SYN};
    start_flooded();
    fake_netdev_scatter(1);
    /* Also one whose first piece alone would sum up. */
    syn.len = 2048 - 54;
    const size_t len = rig_frame(&syn, frame) + 1000;
    put16(frame + 16, (uint16_t)(len - 14));
    put16(frame + 24, 0);
    put16(frame + 24, checksum16(frame + 14, 20, 0));
    EXPECT(fake_netdev_arrive(frame, len, false));
    EXPECT(!rig_next(syn.address, syn.port, &segment));
    EXPECT(fake_netdev_arrive(frame, len, true));
    EXPECT(rig_next(syn.address, syn.port, &segment));
}

NET_TEST(nobody_answers_a_syn_from_everybody)
{
    static const uint32_t sources[] = {0, 0xffffffff, 0xe0000001, 0x0a00ffff};
    start_flooded();
    const uint64_t before = rig_counters().syn_cookies_sent;
    for (unsigned i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const struct rig_segment syn = {
            .address = sources[i], .port = 5000, .server_port = RIG_PORT, .flags = SYN};
        EXPECT(rig_arrive(&syn));
        EXPECT(!rig_next(sources[i], 5000, &segment));
    }
    EXPECT_EQ(rig_counters().syn_cookies_sent, before);
}

NET_TEST(a_syn_of_a_known_peer_is_lwips_to_answer)
{
    rig_start_default(16);
    begin(&peer, 5000);
    peer_send_ack(&peer);
    begin(&other, 5001);
    flood(FLOOD);
    const uint64_t before = rig_counters().syn_cookies_sent;
    /* Connected: a challenge (RFC 5961 section 4.2). */
    peer_segment(&peer, SYN, peer.next + 1000, 0, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(segment.number, peer.expected);
    expect_served(&peer);
    /* Half open: the same number again. */
    peer_segment(&other, SYN, other.next - 1, 0, NULL, 0);
    EXPECT(peer_next(&other, &segment));
    EXPECT_EQ(segment.flags, SYN | ACK);
    EXPECT_EQ(segment.number + 1, other.expected);
    expect_served(&other);
    EXPECT_EQ(rig_counters().syn_cookies_sent, before);
}

/* The SYN came again when there was a slot; the client had the first answer. */
NET_TEST(the_first_of_two_answers_is_as_good_as_the_second)
{
    start_flooded();
    begin(&peer, 5000);
    rig_wait_ms(8100); /* the flood's slots are free */
    rig_discard();
    peer_segment(&peer, SYN, peer.next - 1, 0, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT(segment.number + 1 != peer.expected);
    EXPECT_EQ(conn_of(&peer)->phase, CONN_HALF_OPEN);
    expect_served(&peer);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 1);
    EXPECT_EQ(conns_count(CONN_HALF_OPEN), 0);
}

NET_TEST(a_cookie_waits_for_a_slot_like_any_other)
{
    rig_start_default(1);
    flood(FLOOD);
    begin(&peer, 5000);
    begin(&other, 5001);
    peer_send(&peer, "b");
    rig_poll();
    peer_send(&other, "e\n");
    EXPECT(!peer_next(&other, &segment));
    EXPECT_EQ(rig_counters().connections_refused, 1);
    EXPECT_EQ(conns_count(CONN_HALF_OPEN), HALF_OPEN_MAX);
    peer_send(&peer, "1\n");
    peer_take(&peer);
    other.next -= 2;
    expect_served(&other);
    EXPECT_EQ(rig_counters().connections_gave_way, 1);
}

NET_TEST(after_server_stop_no_cookie_is_given_or_taken)
{
    start_flooded();
    begin(&peer, 5000);
    begin(&other, 5001);
    expect_served(&other);
    peer_send(&other, "b"); /* is waited for */
    rig_poll();
    server_stop();
    peer_send(&peer, "e\n");
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags & RST, RST);
    const uint64_t before = rig_counters().syn_cookies_sent;
    flood(FLOOD);
    EXPECT_EQ(rig_counters().syn_cookies_sent, before);
    EXPECT_EQ(rig_counters().syn_cookies_accepted, 1);
}

/* Until it takes no more; nobody takes what it has sent. */
static void flood_a_stalled_device(void)
{
    fake_netdev_stall(true);
    for (unsigned i = 0; i < 1000 && fake_netdev_receive_free() > 0; i++) {
        rig_arrive_forged_syn(forged++);
        rig_poll();
    }
}

static void expect_descriptors_left(unsigned ring, unsigned left)
{
    const struct server_config config = rig_config(16);
    struct fake_netdev_config device = fake_netdev_default;
    device.transmit_ring = ring;
    rig_start(&config, &device);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    flood(FLOOD);
    const uint64_t answered = rig_counters().syn_cookies_sent;
    flood_a_stalled_device();
    EXPECT_EQ(rig_counters().syn_cookies_sent - answered, ring - left);
    EXPECT_EQ(fake_netdev_transmit_held(), ring - left);
    expect_served(&peer);
    fake_netdev_stall(false);
    flood(1);
    EXPECT_EQ(rig_counters().syn_cookies_sent - answered, ring - left + 1);
}

NET_TEST(a_flood_leaves_descriptors_to_those_who_are_connected)
{
    expect_descriptors_left(256, 96);
}

NET_TEST(a_flood_leaves_descriptors_of_a_small_ring_too)
{
    expect_descriptors_left(64, 32);
}

static bool is_done_meanwhile;

bool __real_link_transmit(struct pbuf *token, const void *frame, size_t len);
bool __wrap_link_transmit(struct pbuf *token, const void *frame, size_t len);

bool __wrap_link_transmit(struct pbuf *token, const void *frame, size_t len)
{
    if (is_done_meanwhile)
        fake_netdev_stall(false);
    return __real_link_transmit(token, frame, len);
}

/* To send one answer others are reaped, which are free then: so are they all. */
NET_TEST(answers_that_the_device_is_done_with_while_one_is_sent_are_used_again)
{
    enum { ANSWERS = 256 - 96, OTHERS = 10 };
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    start_flooded();
    for (unsigned round = 0; round < 3; round++) {
        fake_netdev_stall(true);
        for (unsigned i = 0; i < OTHERS; i++)
            EXPECT(fake_netdev_arrive(frame, rig_ping(RIG_PEER_ADDRESS, 100, frame), false));
        flood(ANSWERS - OTHERS);
        EXPECT_EQ(fake_netdev_transmit_held(), ANSWERS);
        is_done_meanwhile = true;
        flood(1);
        is_done_meanwhile = false;
        const uint64_t answered = rig_counters().syn_cookies_sent;
        flood_a_stalled_device();
        EXPECT_EQ(rig_counters().syn_cookies_sent - answered, ANSWERS);
        fake_netdev_stall(false);
        rig_discard();
    }
}

/* RFC 9293 section 3.6.1. A cookie's number could be anything. */
NET_TEST(a_connection_reopened_in_a_flood_begins_above_the_old_one)
{
    rig_start_default(16);
    for (unsigned round = 0; round < 20; round++) {
        peer_init(&peer, (uint16_t)(5000 + round));
        peer_connect(&peer);
        peer_be_closed(&peer);
        flood(70);
        rig_discard();
        const uint32_t used = peer.expected;
        peer.next += 1000;
        peer_send_syn(&peer);
        EXPECT(peer_next(&peer, &segment));
        EXPECT_EQ(segment.flags, SYN | ACK);
        EXPECT((int32_t)(segment.number - used) > 0);
        rig_wait_ms(9000);
    }
}

/* Below TCP: ARP, ICMP, checksums, frames that are refused. */
#include "tests/net/rig.h"

static struct peer peer;
static struct rig_segment segment;
static uint8_t frame[FAKE_FRAME_BYTES_MAX];

static const uint8_t arp_request[42] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,  0, 0, 0, 1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
    1,    2,    0,    0,    0,    0,    1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2};

NET_TEST(arp_requests_are_answered)
{
    rig_start_default(16);
    EXPECT(fake_netdev_arrive(arp_request, sizeof arp_request, false));
    EXPECT_EQ(rig_other(frame), 42);
    EXPECT_EQ(frame[21], 2);
    EXPECT(memcmp(frame + 22, fake_netdev_default.mac, 6) == 0);
    EXPECT(memcmp(frame + 28, "\x0a\x00\x00\x02", 4) == 0);
}

NET_TEST(a_gratuitous_arp_announces_the_address)
{
    const struct server_config config = rig_config(16);
    static uint8_t memory[8 << 20] __attribute__((aligned(4096)));
    EXPECT(server_memory_bytes(&config) <= sizeof memory);
    fake_netdev_reset(&fake_netdev_default);
    server_init(&config, memory);
    EXPECT_EQ(fake_netdev_take(frame), 42);
    EXPECT_EQ(frame[13], 6);
    EXPECT(memcmp(frame + 28, "\x0a\x00\x00\x02", 4) == 0);
    EXPECT(memcmp(frame + 38, "\x0a\x00\x00\x02", 4) == 0);
    /* Nor is anybody asked for another. */
    EXPECT_EQ(fake_netdev_take(frame), 0);
}

/* A burst from a host that ARP does not know, nor needs to. */
NET_TEST(answers_go_to_where_the_segments_came_from)
{
    rig_start_default(64);
    struct rig_segment syn = {
        .address = RIG_PEER_ADDRESS + 7,
        .server_port = RIG_PORT,
        .window = 1000,
        .flags = SYN,
    };
    for (uint16_t i = 0; i < 64; i++) {
        syn.port = (uint16_t)(4000 + i);
        EXPECT(rig_arrive(&syn));
    }
    EXPECT_EQ(rig_other(frame), 0);
    peer_init(&peer, 4000);
    peer.address = syn.address;
    for (uint16_t i = 0; i < 64; i++) {
        peer.port = (uint16_t)(4000 + i);
        EXPECT(peer_next(&peer, &segment));
        EXPECT_EQ(segment.flags, SYN | ACK);
    }
}

/* The reset of a segment that belongs to no connection. */
NET_TEST(what_belongs_to_no_connection_waits_for_arp)
{
    rig_start_default(64);
    const struct rig_segment stray = {
        .address = RIG_PEER_ADDRESS + 7,
        .port = 4000,
        .server_port = RIG_PORT + 1,
        .window = 1000,
        .flags = SYN,
    };
    EXPECT(rig_arrive(&stray));
    EXPECT_EQ(rig_other(frame), 42);
    EXPECT(memcmp(frame + 38, "\x0a\x00\x00\x08", 4) == 0);
    memcpy(frame, arp_request, 42);
    memcpy(frame, fake_netdev_default.mac, 6);
    frame[21] = 2;
    frame[31] = 8;
    EXPECT(fake_netdev_arrive(frame, 42, false));
    EXPECT(rig_next(stray.address, stray.port, &segment));
    EXPECT_EQ(segment.flags, RST | ACK);
}

NET_TEST(an_address_that_nobody_has_is_asked_for_again_and_given_up)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    EXPECT(fake_netdev_arrive(frame, rig_ping(RIG_PEER_ADDRESS + 7, 100, frame), false));
    EXPECT_EQ(rig_other(frame), 42);
    rig_wait_ms(1100);
    EXPECT_EQ(rig_other(frame), 42);
    rig_wait_ms(10000);
    rig_discard();
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(pings_are_answered)
{
    static uint8_t request[FAKE_FRAME_BYTES_MAX];
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    for (size_t len = 0; len <= 1472; len += 368) {
        const size_t total = rig_ping(RIG_PEER_ADDRESS, len, request);
        EXPECT(fake_netdev_arrive(request, total, false));
        EXPECT_EQ(rig_other(frame), total);
        EXPECT_EQ(frame[34], 0);
        EXPECT(memcmp(frame + 38, request + 38, total - 38) == 0);
        EXPECT_EQ(sum16(frame + 34, total - 34, 0), 0xffff);
        EXPECT_EQ(sum16(frame + 14, 20, 0), 0xffff);
    }
    rig_poll();
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

/* ---- checksums ---- */

static void arrive_damaged(uint8_t flags, bool vouched_for)
{
    peer_compose(&peer, "e\n", &segment);
    segment.flags |= flags;
    const size_t len = rig_frame(&segment, frame);
    frame[50] ^= 0xff; /* the checksum itself */
    EXPECT(fake_netdev_arrive(frame, len, vouched_for));
    rig_poll();
}

NET_TEST(a_checksum_that_the_device_vouches_for_is_not_looked_at)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    arrive_damaged(0, true);
    EXPECT_EQ(rig_app.requests, 1);
    /* Nor by lwIP, which judges this one. */
    peer.next += 2;
    arrive_damaged(FIN, true);
    EXPECT_EQ(rig_app.requests, 2);
}

NET_TEST(a_checksum_that_nobody_vouches_for_is_verified)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    arrive_damaged(0, false);
    EXPECT_EQ(rig_app.requests, 0);
    /* After a vouched one, too. */
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    arrive_damaged(0, false);
    EXPECT_EQ(rig_app.requests, 1);
}

NET_TEST(a_device_without_checksums_is_served_in_software)
{
    struct fake_netdev_config device = fake_netdev_default;
    const struct server_config config = rig_config(16);
    device.transmit_checksum = false;
    device.receive_checksum = false;
    rig_start(&config, &device);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\nb20000\nb1\n");
    for (int i = 0; i < 50; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 20004);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    arrive_damaged(0, true);
    EXPECT_EQ(rig_app.requests, 4);
    peer_send(&peer, "c\n");
    peer_take(&peer);
    EXPECT(peer.fin);
}

/* ---- frames that are refused ---- */

static void arrive_cut(size_t len)
{
    /* Memory of exactly that length: reading past its end is found. */
    uint8_t *const cut = __builtin_malloc(len == 0 ? 1 : len);
    memcpy(cut, frame, len);
    EXPECT(fake_netdev_arrive(cut, len, true));
    __builtin_free(cut);
    rig_poll();
}

NET_TEST(frames_cut_anywhere_are_refused_and_counted)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_compose(&peer, "e\n", &segment);
    segment.options_len = 12;
    memcpy(segment.options, (const uint8_t[12]){1, 1, 8, 10}, 12);
    const size_t len = rig_frame(&segment, frame);
    for (size_t cut = 1; cut < len; cut++) {
        const uint64_t before = rig_counters().dropped_frames;
        arrive_cut(cut);
        EXPECT_EQ(rig_counters().dropped_frames, before + 1);
    }
    EXPECT_EQ(rig_app.requests, 0);
    arrive_cut(len);
    EXPECT_EQ(rig_app.requests, 1);
    memcpy(frame, arp_request, 42);
    for (size_t cut = 1; cut < 42; cut++) {
        const uint64_t before = rig_counters().dropped_frames;
        arrive_cut(cut);
        EXPECT_EQ(rig_counters().dropped_frames, before + 1);
    }
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

NET_TEST(padding_is_not_data)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_compose(&peer, "e\n", &segment);
    const size_t len = rig_frame(&segment, frame);
    memset(frame + len, 'x', 10);
    EXPECT(fake_netdev_arrive(frame, len + 10, true));
    peer.next += 2;
    peer_expect(&peer, "ok\n");
}

NET_TEST(packets_from_ourselves_are_refused)
{
    rig_start_default(16);
    struct rig_segment s = {
        .address = RIG_SERVER_ADDRESS,
        .port = RIG_PORT,
        .server_port = RIG_PORT,
        .window = 1000,
        .flags = SYN,
    };
    EXPECT(rig_arrive(&s));
    s.address = 0x7f000001;
    EXPECT(rig_arrive(&s));
    EXPECT_EQ(rig_other(frame), 0);
    EXPECT_EQ(rig_counters().dropped_frames, 2);
}

NET_TEST(a_closed_port_is_answered_with_a_reset)
{
    rig_start_default(16);
    struct rig_segment s = {
        .address = RIG_PEER_ADDRESS,
        .port = 7000,
        .server_port = 9,
        .number = 77,
        .window = 1000,
        .flags = SYN,
    };
    EXPECT(rig_arrive(&s));
    peer_init(&peer, 7000);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, RST | ACK);
    EXPECT_EQ(segment.ack, 78);
}

/* ---- frames that are sent to all ---- */

static void arrive_at_all(size_t len)
{
    memset(frame, 0xff, 6);
    EXPECT(fake_netdev_arrive(frame, len, true));
    rig_poll();
}

/* To a port that nobody has; no checksum. */
static size_t write_datagram(uint32_t destination)
{
    const size_t len = rig_ping(RIG_PEER_ADDRESS, 0, frame);
    frame[23] = 17;
    put32(frame + 30, destination);
    put16(frame + 34, 4000);
    put16(frame + 36, 9);
    put16(frame + 38, 8);
    put16(frame + 40, 0);
    put16(frame + 24, 0);
    put16(frame + 24, checksum16(frame + 14, 20, 0));
    return len;
}

/* RFC 1122 section 3.3.6: or each machine on the link would answer. */
NET_TEST(what_is_for_us_alone_is_not_answered_if_it_was_sent_to_all)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_compose(&peer, "e\n", &segment);
    arrive_at_all(rig_frame(&segment, frame));
    segment.flags = SYN;
    segment.port = 5001;
    segment.len = 0;
    arrive_at_all(rig_frame(&segment, frame));
    segment.server_port = 9;
    arrive_at_all(rig_frame(&segment, frame));
    arrive_at_all(rig_ping(RIG_PEER_ADDRESS, 100, frame));
    arrive_at_all(write_datagram(RIG_SERVER_ADDRESS));
    EXPECT_EQ(rig_counters().dropped_frames, 5);
    arrive_at_all(write_datagram(0xffffffff));
    EXPECT_EQ(rig_counters().dropped_frames, 5);
    EXPECT_EQ(fake_netdev_take(frame), 0);
    EXPECT_EQ(rig_app.requests, 0);
    EXPECT(fake_netdev_arrive(frame, write_datagram(RIG_SERVER_ADDRESS), true));
    EXPECT_EQ(rig_other(frame), 14 + 20 + 8 + 28); /* ICMP: nobody is there */
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

/* ---- tags ---- */

static size_t put_tag(size_t len, uint16_t tag)
{
    memmove(frame + 16, frame + 12, len - 12);
    put16(frame + 12, 0x8100);
    put16(frame + 14, tag);
    return len + 4;
}

static void arrive_tagged(const char *text, uint8_t flags, uint16_t tag)
{
    peer_compose(&peer, text, &segment);
    segment.flags = flags;
    EXPECT(fake_netdev_arrive(frame, put_tag(rig_frame(&segment, frame), tag), rig_vouches));
}

/* IEEE 802.1Q: VLAN ID 0 is none. */
NET_TEST(a_frame_with_a_priority_tag_is_as_good_as_one_without)
{
    static char lines[2201];
    rig_start_default(16);
    memcpy(frame, arp_request, 42);
    EXPECT(fake_netdev_arrive(frame, put_tag(42, 0), false));
    EXPECT_EQ(rig_other(frame), 42);
    EXPECT(memcmp(frame + 12, "\x08\x06\0\1\x08\0\6\4\0\2", 10) == 0);
    EXPECT(fake_netdev_arrive(frame, put_tag(rig_ping(RIG_PEER_ADDRESS, 10, frame), 0), false));
    EXPECT_EQ(rig_other(frame), 52);
    peer_init(&peer, 5000);
    arrive_tagged("", SYN, 0xe000);
    EXPECT(peer_take_syn_ack(&peer));
    arrive_tagged("", ACK, 0);
    for (unsigned vouched = 0; vouched < 2; vouched++) {
        rig_vouches = vouched != 0;
        arrive_tagged("e\n", PSH | ACK, 0x3000);
        peer.next += 2;
        peer_expect(&peer, "ok\n");
    }
    EXPECT_EQ(rig_counters().segments_predicted, 1);
    /* In several pieces, and out of order. */
    for (unsigned i = 0; i < sizeof lines - 1; i += 2)
        memcpy(lines + i, "e\n", 2);
    fake_netdev_scatter(1);
    peer.next += 2;
    arrive_tagged(lines, PSH | ACK, 0);
    rig_poll();
    peer.next -= 2;
    arrive_tagged("e\n", PSH | ACK, 0);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 2 + 1 + 1100);
    EXPECT_EQ(rig_counters().dropped_frames, 0);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

NET_TEST(a_tagged_packet_longer_than_its_frame_is_refused)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_compose(&peer, "e\n", &segment);
    for (uint32_t more = 0; more < 5; more++) {
        const size_t len = rig_frame(&segment, frame);
        put16(frame + 16, get16(frame + 16) + 4 - more);
        put16(frame + 24, 0);
        put16(frame + 24, checksum16(frame + 14, 20, 0));
        EXPECT(fake_netdev_arrive(frame, put_tag(len, 0), true));
        rig_poll();
        EXPECT_EQ(rig_app.requests, more == 4);
    }
    EXPECT_EQ(rig_counters().dropped_frames, 4);
}

NET_TEST(another_vlans_frames_are_refused_and_counted)
{
    static const uint16_t tags[] = {1, 2, 100, 0xfff, 0xe001};
    rig_start_default(16);
    peer_init(&peer, 5000);
    for (unsigned i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        arrive_tagged("", SYN, tags[i]);
        memcpy(frame, arp_request, 42);
        EXPECT(fake_netdev_arrive(frame, put_tag(42, tags[i]), false));
        EXPECT_EQ(rig_other(frame), 0);
        EXPECT(!peer_next(&peer, &segment));
        EXPECT_EQ(rig_counters().dropped_frames, 2 * (i + 1));
    }
    /* Nor is there more than one tag. */
    arrive_tagged("", SYN, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT(fake_netdev_arrive(frame, put_tag(put_tag(rig_frame(&segment, frame), 0), 0), true));
    rig_poll();
    EXPECT_EQ(rig_counters().dropped_frames, 11);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

/* Every frame of a conversation with every bit of its headers turned, and random ones. */
NET_TEST(damaged_frames_do_no_harm)
{
    rig_start_default(64);
    uint32_t random = 1;
    for (unsigned round = 0; round < 60; round++) {
        /* No two of these ports differ in one bit only. */
        peer_init(&peer, (uint16_t)(5000 + 3 * round));
        peer_connect(&peer);
        struct rig_segment s = {
            .address = peer.address,
            .port = peer.port,
            .server_port = RIG_PORT,
            .number = peer.next,
            .ack = peer.expected,
            .window = peer.window,
            .flags = PSH | ACK,
            .options_len = 8,
            .options = {2, 4, 5, 0xb4, 1, 3, 3, 7},
            .len = 2,
        };
        memcpy(s.data, "e\n", 2);
        if (round % 3 == 0)
            s.flags = SYN;
        for (unsigned bit = 0; bit < 62 * 8; bit++) {
            const size_t len = rig_frame(&s, frame);
            frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
            /* Half of them with an IP header that sums up. */
            if (bit % 2 == 0) {
                frame[24] = frame[25] = 0;
                const uint16_t sum = checksum16(frame + 14, 20, 0);
                frame[24] = (uint8_t)(sum >> 8);
                frame[25] = (uint8_t)sum;
            }
            random = random * 1664525 + 1013904223;
            EXPECT(fake_netdev_arrive(frame, len, (random >> 16) % 2 == 0));
            if ((random >> 20) % 4 == 0)
                rig_poll();
        }
        rig_wait_ms(50);
        rig_discard();
    }
    peer_init(&peer, 60000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    /* What was kept out of order is given up in time. */
    rig_wait_ms(30000);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

/* ---- what an Ethernet frame has besides its packet ---- */

NET_TEST(what_follows_a_packet_is_no_data_however_the_frame_lies_in_the_ring)
{
    static char lines[2201];
    rig_start_default(16);
    fake_netdev_scatter(1);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (unsigned i = 0; i < sizeof lines - 1; i += 2)
        memcpy(lines + i, "e\n", 2);
    peer_compose(&peer, lines, &segment);
    const size_t len = rig_frame(&segment, frame);
    memcpy(frame + len, "e\ne\ne\ne\ne\n", 10);
    EXPECT(fake_netdev_arrive(frame, len + 10, true));
    rig_poll();
    EXPECT_EQ(rig_app.requests, 1100);
}

/* Sends `text`, or only an acknowledgement, from another station; returns where the answer goes. */
static const uint8_t *answer_to_twin(const char *text, const uint8_t twin[6])
{
    peer_compose(&peer, text, &segment);
    const size_t len = rig_frame(&segment, frame);
    memcpy(frame + 6, twin, 6);
    EXPECT(fake_netdev_arrive(frame, len, rig_vouches));
    for (unsigned i = 0; i < 5; i++)
        (void)server_poll();
    EXPECT(fake_netdev_take(frame) > 54);
    return frame;
}

/* As when another router takes over (RFC 9568). */
NET_TEST(answers_follow_a_peer_whose_segments_come_from_another_station)
{
    static const uint8_t twins[3][6] = {
        {2, 0, 0, 0, 0, 8}, {2, 0, 0, 0, 0, 9}, {2, 0, 0, 0, 0, 10}};
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    EXPECT(memcmp(answer_to_twin("e\n", twins[0]), twins[0], 6) == 0);
    peer.next += 2;
    peer.expected += 3;
    rig_vouches = false; /* so that lwIP judges */
    EXPECT(memcmp(answer_to_twin("e\n", twins[1]), twins[1], 6) == 0);
    peer.next += 2;
    /* Who only acknowledges, and asked before for more than may be under way at once. */
    peer.expected += 3;
    peer_send(&peer, "b24576\n");
    rig_poll();
    rig_discard();
    peer.expected += 1460;
    EXPECT(memcmp(answer_to_twin("", twins[2]), twins[2], 6) == 0);
}

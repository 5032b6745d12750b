/* The link below lwIP: what the full transmit ring leaves waiting, and what a frame is made of. */
#include "lwip/netif.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "net/core/pool.h"
#include "net/link/link.h"
#include "tests/net/rig.h"

static struct peer peer, many[32];
static struct rig_segment received;

/* ---- the ring is full ---- */

/* One answer each fills the ring; then our own FIN finds no descriptor. */
NET_TEST(a_connection_of_which_only_our_fin_is_left_is_over_for_the_application)
{
    rig_start_with_transmit_ring(8);
    peers_connect(many, 8, 6000);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    fake_netdev_stall(true);
    for (unsigned i = 0; i < 8; i++)
        peer_send(&many[i], "e\n");
    peer_send_fin(&peer);
    rig_poll();
    EXPECT_EQ(fake_netdev_transmit_held(), 8);
    EXPECT_EQ(rig_app.closed, 1);
    fake_netdev_stall(false);
    peer_take(&peer);
    EXPECT(peer.fin && !peer.reset);
}

/* The ninth is not sent, and there are descriptors again. */
static void have_a_syn_ack_wait(void)
{
    rig_start_with_transmit_ring(8);
    fake_netdev_stall(true);
    for (unsigned i = 0; i < 9; i++) {
        peer_init(&many[i], (uint16_t)(6000 + i));
        peer_send_syn(&many[i]);
    }
    rig_poll();
    EXPECT_EQ(fake_netdev_transmit_held(), 8);
    fake_netdev_stall(false);
    for (unsigned i = 0; i < 8; i++)
        EXPECT(peer_take_syn_ack(&many[i]));
}

/* It may be for somebody there is no route to: not to be tried every batch. */
NET_TEST(a_syn_ack_that_found_no_descriptor_waits_for_the_timer)
{
    have_a_syn_ack_wait();
    EXPECT(!peer_take_syn_ack(&many[8]));
    rig_wait_ms(260);
    EXPECT(peer_take_syn_ack(&many[8]));
}

/*
 * In the third tick of a timer that comes to this connection in the eighth. In the first the SYNs
 * just received stand for the link.
 */
NET_TEST(what_waits_to_be_sent_is_sent_when_the_link_comes_up)
{
    have_a_syn_ack_wait();
    fake_netdev_set_link(false);
    for (unsigned tick = 0; tick < 2; tick++) {
        fake_clock_advance_ms(32);
        EXPECT(!peer_take_syn_ack(&many[8]));
    }
    EXPECT(!server_is_reachable());
    fake_netdev_set_link(true);
    fake_clock_advance_ms(32);
    EXPECT(peer_take_syn_ack(&many[8]));
}

/* ---- pieces that were received ---- */

/* What is done with segments that come, besides giving them to the server, or instead. */
static enum { NOTHING, REFER, HOLD } manner;
static struct pbuf *held[256];
static unsigned held_count;

enum link_verdict __real_admission_admit(const struct guard_segment *segment, struct pbuf *p,
                                         bool sound);
enum link_verdict __wrap_admission_admit(const struct guard_segment *segment, struct pbuf *p,
                                         bool sound);

enum link_verdict __wrap_admission_admit(const struct guard_segment *segment, struct pbuf *p,
                                         bool sound)
{
    if (manner != NOTHING) {
        EXPECT(held_count < 256);
        struct pbuf *const kept = manner == REFER ? p->next : p; /* its data, or all of it */
        held[held_count++] = kept;
        pbuf_ref(kept);
    }
    if (manner == HOLD)
        return LINK_DROP;
    return __real_admission_admit(segment, p, sound);
}

NET_TEST(a_piece_that_others_refer_to_outlives_being_read)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rig_vouches = false; /* not served where it lies */
    manner = REFER;
    peer_send(&peer, "e\n");
    rig_poll();
    manner = NOTHING;
    EXPECT_EQ(rig_app.requests, 1);
    EXPECT_EQ(held_count, 1);
    EXPECT_EQ(held[0]->ref, 1);
    EXPECT(memcmp(held[0]->payload, "e\n", 2) == 0);
    EXPECT_EQ(fake_netdev_receive_free(), 255);
    pbuf_free(held[0]);
    rig_poll();
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

NET_TEST(pieces_that_follow_one_another_are_freed_together)
{
    static char bytes[5000];
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    fake_netdev_scatter(1);
    rig_vouches = false;
    manner = HOLD;
    peer_send_bytes(&peer, bytes, sizeof bytes);
    rig_poll();
    manner = NOTHING;
    EXPECT_EQ(held_count, 1);
    EXPECT_EQ(fake_netdev_receive_free(), 253);
    pbuf_free(held[0]);
    rig_poll();
    EXPECT_EQ(fake_netdev_receive_free(), 256);
}

/*
 * As many octets, each in a segment of its own and with one missing before it, as the ring has
 * buffers; and again, when some were dropped.
 */
static void hold_what_can_be_held(unsigned ring)
{
    const unsigned peers = ring / 8;
    const struct server_config config = rig_config(64);
    struct fake_netdev_config device = fake_netdev_default;
    device.receive_ring = ring;
    rig_start(&config, &device);
    peers_connect(many, peers, 6000);
    for (uint32_t round = 0; round < 4; round++) {
        for (unsigned sent = 0; fake_netdev_receive_free() > 0; sent++) {
            struct peer *const sender = &many[sent % peers];
            peer_segment(sender, ACK, sender->next + 1 + 2 * (sent / peers), sender->expected, "e",
                         1);
        }
        rig_poll();
        EXPECT(fake_netdev_receive_free() >= ring / 2);
        EXPECT(fake_netdev_receive_free() < ring);
    }
    peer_init(&peer, 5000);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

NET_TEST(half_of_the_ring_is_not_held_by_what_lies_out_of_order)
{
    hold_what_can_be_held(256);
}

NET_TEST(half_of_the_smallest_ring_is_not_held_by_what_lies_out_of_order)
{
    hold_what_can_be_held(64);
}

/* There is a record for each, and for the most that one frame can have. */
NET_TEST(nothing_is_received_for_which_there_might_not_be_a_record)
{
    const struct server_config config = rig_config(16);
    struct fake_netdev_config device = fake_netdev_default;
    device.receive_ring = 512;
    rig_start(&config, &device);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    const uint32_t first = peer.next;
    rig_vouches = false;
    manner = HOLD;
    for (unsigned i = 0; i < 400; i++)
        peer_send(&peer, "e\n");
    for (unsigned i = 0; i < 10; i++)
        (void)server_poll();
    EXPECT(held_count > 256 - 64);
    manner = NOTHING;
    while (held_count > 0)
        pbuf_free(held[--held_count]);
    peer_segment(&peer, RST, first, 0, NULL, 0);
    peer_init(&peer, 5001);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    EXPECT_EQ(fake_netdev_receive_free(), 512);
}

/* ---- frames ---- */

/* A segment of ten answers is ten pbufs, more than a frame may have buffers. */
NET_TEST(a_frame_that_must_be_copied_waits_until_there_is_memory)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer.window = 0;
    peer_connect(&peer);
    for (unsigned i = 0; i < 10; i++) {
        peer_send(&peer, "e\n");
        rig_poll();
    }
    rig_discard();
    void **const blocks = rig_take_memory();
    peer.window = 1000;
    peer_send_ack(&peer);
    EXPECT(!peer_next(&peer, &received));
    rig_give_back(blocks);
    EXPECT(peer_next(&peer, &received));
    EXPECT_EQ(received.len, 30);
    EXPECT_EQ(received.number, peer.expected);
    EXPECT_EQ(rig_counters().retransmissions, 0);
}

NET_TEST(an_empty_pbuf_takes_no_descriptor)
{
    rig_start_default(16);
    struct pbuf *const p = pbuf_alloc(PBUF_LINK, 60, PBUF_RAM);
    struct pbuf *const empty = pbuf_alloc(PBUF_RAW, 0, PBUF_RAM);
    EXPECT(p != NULL && empty != NULL);
    memset(p->payload, 0xff, p->len);
    pbuf_cat(p, empty);
    EXPECT_EQ(link_netif()->linkoutput(link_netif(), p), ERR_OK);
    EXPECT_EQ(fake_netdev_transmit_held(), 1);
    pbuf_free(p);
    (void)link_flush();
    EXPECT_EQ(rig_other(received.data), 60);
}

/* From lwIP to a peer that is connected, but without PBUF_LINK's bytes in front. */
NET_TEST(a_packet_without_room_for_the_frames_header_is_refused)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    rig_discard();
    struct pbuf *const p = pbuf_alloc(PBUF_RAW, IP_HLEN + TCP_HLEN, PBUF_RAM);
    EXPECT(p != NULL);
    struct ip_hdr *const ip = p->payload;
    struct tcp_hdr *const tcp = (struct tcp_hdr *)(void *)(ip + 1);
    memset(ip, 0, p->len);
    ip->_proto = IP_PROTO_TCP;
    ip->dest.addr = lwip_htonl(peer.address);
    tcp->src = PP_HTONS(RIG_PORT);
    tcp->dest = lwip_htons(peer.port);
    const ip4_addr_t next_hop = {ip->dest.addr};
    EXPECT_EQ(link_netif()->output(link_netif(), p, &next_hop), ERR_BUF);
    EXPECT(!link_flush());
    pbuf_free(p);
}

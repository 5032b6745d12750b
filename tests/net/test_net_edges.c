/* What an ordinary exchange seldom comes to. */
#include "kernel/time/clock.h"
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/link/link.h"
#include "net/lwip_hooks.h"
#include "net/tcp/reply.h"
#include "tests/net/rig.h"

static struct peer peer, other, readers[60];
static struct rig_segment segment;

static void start(void)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer_connect(&peer);
}

static void begin(struct peer *client, uint16_t port)
{
    peer_init(client, port);
    peer_send_syn(client);
    EXPECT(peer_take_syn_ack(client));
}

static struct tcp_pcb *pcb_of(const struct peer *client)
{
    return conns_find(conns_key(__builtin_bswap32(client->address), client->port))->pcb;
}

/* ---- beginnings and ends ---- */

NET_TEST(a_connection_reset_before_its_turn_is_never_opened)
{
    rig_start_default(16);
    const struct rig_levels before = rig_levels();
    begin(&peer, 5000);
    peer_send_ack(&peer);
    peer_send_reset(&peer);
    rig_poll();
    EXPECT_EQ(rig_counters().connections_accepted, 1);
    EXPECT_EQ(rig_app.opened, 0);
    EXPECT_EQ(rig_app.closed, 0);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

NET_TEST(a_connection_that_gives_way_before_its_turn_is_never_opened)
{
    rig_start_default(1);
    begin(&peer, 5000);
    begin(&other, 5001);
    peer_send_ack(&peer);
    peer_send_ack(&other);
    rig_poll();
    EXPECT_EQ(rig_counters().connections_gave_way, 1);
    EXPECT_EQ(rig_app.opened, 1);
    EXPECT_EQ(rig_app.closed, 0);
    peer_take(&peer);
    EXPECT(peer.fin);
    peer_send(&other, "e\n");
    peer_expect(&other, "ok\n");
}

NET_TEST(a_peer_may_close_after_it_was_closed_for_being_idle)
{
    start();
    peer_send_fin(&peer);
    peer_take(&peer);
    const struct rig_levels before = rig_levels();
    peer_init(&peer, 5001);
    peer_connect(&peer);
    rig_wait_ms(60100);
    EXPECT_EQ(rig_app.closed, 2);
    peer_take(&peer);
    EXPECT(peer.fin);
    peer_send_fin(&peer);
    EXPECT(peer_next(&peer, &segment));
    EXPECT_EQ(segment.flags, ACK);
    EXPECT_EQ(segment.ack, peer.next);
    rig_wait_ms(10100);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

/* The requests wait for send space, which comes with acknowledgements. */
NET_TEST(requests_before_a_fin_are_all_answered_before_ours)
{
    start();
    peer.holds_acks = true;
    peer_send(&peer, "b24576\nb24576\ne\n");
    peer_send_fin(&peer);
    rig_poll();
    EXPECT_EQ(rig_app.requests, 2);
    EXPECT_EQ(rig_app.closed, 0);
    peer.holds_acks = false;
    for (unsigned i = 0; i < 40; i++)
        peer_take(&peer);
    EXPECT_EQ(peer.received, 2 * 24576 + 3);
    EXPECT(peer.fin && !peer.reset);
    EXPECT_EQ(rig_app.closed, 1);
}

/* A SYN for a connection in TIME-WAIT, so long after it closed; how far above is its number? */
static uint32_t reopen_after_ms(uint16_t port, uint64_t ms)
{
    peer_init(&peer, port);
    peer_connect(&peer);
    peer_be_closed(&peer);
    rig_wait_ms(ms);
    const uint32_t used = peer.expected;
    peer.next += 5;
    peer_send_syn(&peer);
    EXPECT(peer_next(&peer, &segment));
    return segment.number - used;
}

/* RFC 6528's number is one, once its clock has ticked often enough: every 4 us. */
NET_TEST(a_connection_reopened_later_has_the_number_it_would_have_had)
{
    rig_start_default(16);
    const uint32_t at_once = reopen_after_ms(5000, 0);
    const uint32_t later = reopen_after_ms(5001, 5000);
    EXPECT(at_once > 0 && at_once < 100000);
    EXPECT(later > 1000000 && later < 1500000);
}

NET_TEST(a_batch_is_dated_with_the_time_when_it_began)
{
    start();
    fake_clock_advance_ms(7);
    const uint64_t began = clock_ns();
    (void)server_poll();
    fake_clock_advance_ms(7);
    EXPECT_EQ(server_batch_ns(), began);
}

/* ---- numbers ---- */

NET_TEST(the_last_of_a_handshake_with_another_number_makes_nobody_give_way)
{
    rig_start_default(1);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    begin(&other, 5001);
    peer_segment(&other, ACK, other.next + 1, other.expected, NULL, 0);
    rig_poll();
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

/*
 * RFC 9293 section 3.10.7.4: "If the RCV.WND is zero, [...] special allowance should be made to
 * accept valid ACKs". This one follows a byte that probed the window, and was lost.
 */
NET_TEST(an_acknowledgement_beyond_a_closed_window_counts)
{
    static char lines[22 * 1460];
    start();
    for (size_t at = 0; at < sizeof lines; at += 2)
        memcpy(lines + at, "w\n", 2);
    peer_send(&peer, "b24576\nb1000\n");
    rig_discard();
    peer_send_bytes(&peer, lines, sizeof lines);
    rig_discard();
    EXPECT_EQ(pcb_of(&peer)->rcv_wnd, 0);
    peer_segment(&peer, ACK, peer.next + 1, peer.expected + 1460, NULL, 0);
    EXPECT(peer_next(&peer, &segment));
    EXPECT(segment.len > 0);
    EXPECT_EQ(pcb_of(&peer)->lastack, peer.expected + 1460);
}

/* Who repeats an old one may be anybody who once saw it. */
NET_TEST(a_segment_with_old_or_other_numbers_does_not_say_where_its_peer_is)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    start();
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    peer_compose(&peer, "e\n", &segment);
    segment.ack -= 3;
    const size_t len = rig_frame(&segment, frame);
    frame[11] ^= 0xff; /* another station's address */
    EXPECT(fake_netdev_arrive(frame, len, true));
    peer.next += 2;
    peer_expect(&peer, "ok\n"); /* which looks where it is sent to */
    /* Nor one that is not what was expected next. */
    peer.next += 2;
    peer_compose(&peer, "e\n", &segment);
    (void)rig_frame(&segment, frame);
    frame[11] ^= 0xff;
    EXPECT(fake_netdev_arrive(frame, len, true));
    peer.next -= 2;
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\nok\n");
}

NET_TEST(what_lies_out_of_order_is_given_up_in_time)
{
    start();
    peer_segment(&peer, ACK, peer.next + 2, peer.expected, "e\n", 2);
    rig_poll();
    EXPECT_EQ(fake_netdev_receive_free(), 255);
    rig_wait_ms(20000);
    EXPECT_EQ(fake_netdev_receive_free(), 256);
    EXPECT_EQ(rig_counters().connections_open, 1);
}

NET_TEST(an_answer_larger_than_a_window_that_stays_small_arrives_in_pieces)
{
    rig_start_default(16);
    peer_init(&peer, 5000);
    peer.window = 20;
    peer_connect(&peer);
    peer_send(&peer, "b50\n");
    for (unsigned i = 0; i < 4000 && peer.received < 50; i++) {
        rig_wait_ms(5);
        peer_take(&peer);
    }
    EXPECT_EQ(peer.received, 50);
    EXPECT_EQ(peer.segments - peer.empty_segments, 3);
}

/* ---- memory ---- */

/* Takes blocks of so many bytes until no more than `left` of their class are free. */
static void take_blocks(enum pool_class class, size_t bytes, uint32_t left)
{
    while (pool_level(class) > left) {
        pool_expect_pcb(class == POOL_PCB);
        EXPECT(pool_alloc(bytes) != NULL);
    }
}

NET_TEST(a_syn_for_which_there_is_no_pcb_is_dropped_and_served_when_it_comes_again)
{
    rig_start_default(16);
    take_blocks(POOL_PCB, LWIP_MEM_ALIGN_SIZE(sizeof(struct tcp_pcb)), 0);
    void **const blocks = rig_take_memory();
    peer_init(&peer, 5000);
    peer_send_syn(&peer);
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(conns_count(CONN_HALF_OPEN), 0);
    rig_give_back(blocks);
    peer_connect(&peer);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
}

/* Bytes that must wait take a large block, or a full one: then an answer must fit beside it. */
NET_TEST(a_small_segment_is_let_in_only_if_an_answer_would_still_fit)
{
    start();
    take_blocks(POOL_FULL, POOL_FULL_BYTES, 60);
    peer_send(&peer, "e\n");
    peer_expect(&peer, "ok\n");
    take_blocks(POOL_LARGE, POOL_LARGE_BYTES, 0);
    peer_send(&peer, "e\n");
    EXPECT(!peer_next(&peer, &segment));
    EXPECT_EQ(rig_counters().memory_short, 1);
    EXPECT_EQ(rig_app.requests, 1);
}

/* Who has output waiting is shown the upper half of the memory only; they hold what is in it. */
NET_TEST(no_more_than_four_give_way_to_a_turn)
{
    rig_start_default(64);
    peers_connect(readers, 60, 6000);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (unsigned i = 0; i < 60; i++) {
        peer_send(&readers[i], "b4300\n");
        rig_poll();
    }
    rig_wait_ms(300);
    peer_send(&peer, "e\n");
    rig_poll();
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    peer_send(&peer, "e\n");
    rig_poll();
    EXPECT_EQ(rig_counters().connections_gave_way, 4);
    EXPECT_EQ(rig_app.requests, 61);
    peer_expect(&peer, "ok\n");
    peer_expect(&peer, "ok\n");
}

/* That its own answer waits as well says nothing: the others have only just begun to read. */
NET_TEST(who_holds_little_does_not_give_way_to_readers_that_began_before_it)
{
    rig_start_default(16);
    peers_connect(readers, 8, 6000);
    peer_init(&peer, 5000);
    peer_connect(&peer);
    for (unsigned i = 0; i < 7; i++) {
        if (i == 6)
            peer_send(&peer, "e\n");
        peer_send(&readers[i], "b24576\n");
        rig_poll();
    }
    rig_wait_ms(300);
    const uint32_t full = pool_level(POOL_FULL);
    for (unsigned i = 0; i < 7; i++) { /* they read a segment */
        readers[i].expected += 1460;
        peer_send_ack(&readers[i]);
        readers[i].expected -= 1460;
        rig_poll();
    }
    take_blocks(POOL_FULL, POOL_FULL_BYTES, full); /* as others would */
    peer_send(&readers[7], "b24576\n");
    rig_poll();
    EXPECT_EQ(rig_app.requests, 8); /* there was not memory for all */
    EXPECT_EQ(rig_counters().connections_gave_way, 0);
    peer_expect(&peer, "ok\n");
}

/* The bytes are the application's: nothing would be won. */
NET_TEST(who_holds_only_what_is_kept_does_not_give_way)
{
    rig_start_default(16);
    peers_connect(readers, 8, 6000);
    for (unsigned i = 0; i < 3; i++) {
        peer_send(&readers[0], "k1200\n");
        rig_poll();
    }
    EXPECT_EQ(rig_kept.uses, 3);
    rig_wait_ms(10); /* the slowest, if that were all */
    for (unsigned i = 1; i < 7; i++) {
        peer_send(&readers[i], "b24576\n");
        rig_poll();
    }
    rig_wait_ms(300);
    take_blocks(POOL_FULL, POOL_FULL_BYTES, 10);
    peer_send(&readers[7], "b24576\n");
    rig_poll();
    EXPECT(rig_counters().connections_gave_way > 0);
    peer_take(&readers[0]);
    EXPECT(!readers[0].reset);
    EXPECT_EQ(readers[0].received, 3600);
}

/* It gives no memory back, however often it acknowledges. */
NET_TEST(who_acknowledges_an_octet_at_a_time_is_reset_after_send_ms)
{
    start();
    peer_send(&peer, "b20000\n");
    rig_poll();
    const uint32_t begin = peer.expected;
    unsigned seconds = 0;
    while (!peer.reset && seconds < 30) {
        seconds++;
        rig_wait_ms(1000);
        while (peer_next(&peer, &segment))
            peer.reset |= (segment.flags & RST) != 0;
        peer_segment(&peer, ACK, peer.next, begin + seconds, NULL, 0);
        rig_poll();
    }
    EXPECT(peer.reset);
    EXPECT(seconds >= 15 && seconds <= 17);
}

/* guard.c has dropped it; what it has let pass the device can still change. */
NET_TEST(a_segment_that_has_lost_its_ack_is_dropped)
{
    start();
    struct tcp_pcb *const pcb = pcb_of(&peer);
    struct pbuf empty = {.next = NULL};
    struct tcp_hdr header = {
        ._hdrlen_rsvd_flags = PP_HTONS(0x5000), .seqno = pcb->rcv_nxt, .ackno = pcb->snd_nxt};
    EXPECT_EQ(mend_segment(pcb, &header, 0, &empty), ERR_VAL);
    header._hdrlen_rsvd_flags = PP_HTONS(0x5000 | ACK);
    EXPECT_EQ(mend_segment(pcb, &header, 0, &empty), ERR_OK);
}

/* ---- predict.c and reply.c leave these to lwIP ---- */

NET_TEST(no_segment_is_predicted_while_a_loss_is_being_mended)
{
    start();
    peer_send(&peer, "e\n");
    rig_wait_ms(1300);
    rig_discard();
    EXPECT_EQ(rig_counters().retransmissions, 1);
    const uint64_t before = rig_counters().segments_predicted;
    EXPECT((pcb_of(&peer)->flags & TF_RTO) != 0);
    peer_send(&peer, "w\n");
    rig_poll();
    EXPECT_EQ(rig_app.requests, 2);
    EXPECT_EQ(rig_counters().segments_predicted, before);
}

/* Bytes that our callback has once refused: lwIP offers them again before what follows. */
NET_TEST(what_was_refused_is_taken_before_a_segment_is_predicted)
{
    start();
    struct tcp_pcb *const pcb = pcb_of(&peer);
    struct pbuf *const refused = pbuf_alloc(PBUF_RAW, 2, PBUF_RAM);
    EXPECT(refused != NULL);
    memcpy(refused->payload, "b1", 2);
    pcb->refused_data = refused;
    pcb->rcv_nxt += 2;
    pcb->rcv_wnd = (tcpwnd_size_t)(pcb->rcv_wnd - 2);
    peer.next += 2;
    peer_send(&peer, "7\n");
    peer_take(&peer);
    EXPECT_EQ(peer.received, 17);
    EXPECT_EQ(rig_counters().segments_predicted, 0);
}

static bool freed;

static void note_freed(struct pbuf *p)
{
    (void)p;
    freed = true;
}

NET_TEST(an_acknowledged_segment_is_freed_by_whom_it_is_of)
{
    static struct pbuf_custom custom = {.custom_free_function = note_freed};
    start();
    const struct rig_levels before = rig_levels();
    peer_send(&peer, "e\n");
    rig_discard();
    (void)server_poll(); /* the device is done with it */
    struct tcp_seg *const sent = pcb_of(&peer)->unacked;
    EXPECT(sent != NULL && sent->p->ref == 1);
    pbuf_free(sent->p);
    sent->p = pbuf_alloced_custom(PBUF_RAW, 3, PBUF_RAM, &custom, NULL, 3);
    EXPECT(!freed);
    const uint64_t before_it = rig_counters().segments_predicted;
    peer.expected += 3;
    peer_send(&peer, "w\n");
    rig_poll();
    EXPECT_EQ(rig_counters().segments_predicted, before_it + 1);
    EXPECT(freed);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&before, &after, sizeof before) == 0);
}

static bool reply(struct tcp_pcb *pcb)
{
    return reply_send(pcb->callback_arg, (const uint8_t *)"ok\n", 3, NULL, 0);
}

NET_TEST(an_answer_that_lwip_would_not_send_at_once_is_not_predicted)
{
    start();
    struct tcp_pcb *const pcb = pcb_of(&peer);
    const struct tcp_pcb plain = *pcb;
    pcb->state = CLOSE_WAIT;
    EXPECT(!reply(pcb));
    *pcb = plain;
    pcb->snd_buf = 2;
    EXPECT(!reply(pcb));
    *pcb = plain;
    pcb->snd_queuelen = TCP_SND_QUEUELEN;
    EXPECT(!reply(pcb));
    *pcb = plain;
    tcp_set_flags(pcb, TF_INFR);
    EXPECT(!reply(pcb));
    *pcb = plain;
    pcb->persist_backoff = 1;
    EXPECT(!reply(pcb));
    *pcb = plain;
    EXPECT(reply(pcb));
    EXPECT(link_flush());
    peer_expect(&peer, "ok\n");
}

/* It takes two blocks; a larger one will do. */
NET_TEST(an_answer_is_not_predicted_while_there_is_no_memory_for_it)
{
    static const uint8_t long_answer[600];
    static struct server_kept kept;
    start();
    struct tcp_pcb *const pcb = pcb_of(&peer);
    void **const blocks = rig_take_memory();
    void **const rest = *blocks;
    EXPECT(!reply(pcb));
    pool_free(blocks);
    EXPECT(!reply(pcb));
    EXPECT_EQ(pool_level(POOL_FULL), 1);
    /* Nor one that need not be copied: that takes two as well. */
    EXPECT(!reply_send(pcb->callback_arg, long_answer, sizeof long_answer, &kept, 0));
    EXPECT_EQ(kept.uses, 0);
    EXPECT_EQ(pool_level(POOL_FULL), 1);
    rig_give_back(rest);
    EXPECT(reply(pcb));
    EXPECT(link_flush());
    peer_expect(&peer, "ok\n");
}

/*
 * Header prediction does what lwIP does, in both directions: two connections get the same segments
 * and send the same answers. Those of the one are predicted; those of the other lwIP judges, for
 * the device does not vouch for their checksums, and makes, for reply_send() is not asked. After
 * each step their PCBs are the same.
 */
#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/tcp/reply.h"
#include "tests/net/rig.h"
#include "tests/octets.h"

static struct peer predicted, judged, others[8];

static void start_predicted(void)
{
    rig_start_default(16);
    peer_init(&predicted, 5000);
    peer_connect(&predicted);
}

static struct server_conn *conn_of(const struct peer *peer)
{
    return conns_find(conns_key(__builtin_bswap32(peer->address), peer->port));
}

static unsigned replies; /* that reply_send() has sent */

bool __real_reply_send(struct server_conn *conn, const uint8_t *bytes, size_t len,
                       struct server_kept *kept, size_t taken);
bool __wrap_reply_send(struct server_conn *conn, const uint8_t *bytes, size_t len,
                       struct server_kept *kept, size_t taken);

bool __wrap_reply_send(struct server_conn *conn, const uint8_t *bytes, size_t len,
                       struct server_kept *kept, size_t taken)
{
    if (conn == conn_of(&judged) || !__real_reply_send(conn, bytes, len, kept, taken))
        return false;
    replies++;
    return true;
}

/* As if every segment were one pbuf: an answer that is kept has its headers in another. */
static uint32_t segments_queued(const struct tcp_pcb *pcb)
{
    uint32_t queued = pcb->snd_queuelen;
    for (const struct tcp_seg *segment = pcb->unacked; segment != NULL; segment = segment->next)
        queued -= segment->p->next != NULL;
    return queued;
}

/* What a PCB holds, with sequence numbers made comparable. */
static void describe(const struct peer *peer, uint32_t fields[28])
{
    const struct server_conn *const conn = conn_of(peer);
    const struct tcp_pcb *const pcb = conn->pcb;
    const uint32_t values[28] = {
        pcb->flags,
        pcb->cwnd,
        pcb->ssthresh,
        pcb->bytes_acked,
        pcb->snd_wnd,
        pcb->snd_wnd_max,
        pcb->snd_buf,
        segments_queued(pcb),
        pcb->rcv_wnd,
        pcb->rcv_ann_wnd,
        pcb->rcv_ann_right_edge - pcb->rcv_nxt,
        pcb->rcv_nxt - peer->next,
        pcb->snd_nxt - pcb->lastack,
        pcb->snd_wl1 - peer->next,
        pcb->snd_wl2 - pcb->lastack,
        (uint32_t)pcb->rtime,
        (uint32_t)pcb->rto,
        (uint32_t)pcb->sa,
        (uint32_t)pcb->sv,
        pcb->nrtx,
        pcb->dupacks,
        pcb->rttest,
        pcb->tmr,
        pcb->polltmr,
        pcb->unacked != NULL,
        pcb->unsent != NULL,
        pcb->persist_backoff,
        conn->flags,
    };
    memcpy(fields, values, sizeof values);
}

static void send_both(const char *text)
{
    rig_vouches = true;
    peer_send(&predicted, text);
    rig_vouches = false;
    peer_send(&judged, text);
}

static void take_both(void)
{
    rig_vouches = true;
    peer_take(&predicted);
    rig_vouches = false;
    peer_take(&judged);
}

static void acknowledge_both(void)
{
    peer_send_ack(&predicted);
    peer_send_ack(&judged);
    rig_poll();
}

/* Until all is taken and acknowledged. */
static void settle_both(void)
{
    predicted.holds_acks = judged.holds_acks = false;
    predicted.window = judged.window = 60000;
    acknowledge_both();
    for (unsigned i = 0; i < 20; i++)
        take_both();
}

static void compare(unsigned step)
{
    uint32_t left[28], right[28];
    describe(&predicted, left);
    describe(&judged, right);
    for (unsigned i = 0; i < 28; i++) {
        if (left[i] != right[i])
            test_print("step %u, field %u: %u and %u\n", step, i, left[i], right[i]);
        EXPECT_EQ(left[i], right[i]);
    }
}

static uint32_t random_state;

static uint32_t below(uint32_t limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 16) % limit;
}

static void run_exchange(uint32_t seed)
{
    static const char *const texts[] = {"e\n",      "e\ne\ne\n", "b1\n",    "b160\n",
                                        "b1400\n",  "e\n",       "b3000\n", "b12000\n",
                                        "b2\nb3\n", "k600\n",    "k1460\n"};
    random_state = seed;
    rig_introduce_peer(); /* or it would be forgotten after a while */
    for (unsigned step = 0; step < 400; step++) {
        const uint16_t window = (uint16_t)(below(8) == 0 ? 3000 + below(60000) : 60000);
        predicted.window = judged.window = window;
        predicted.holds_acks = judged.holds_acks = below(3) != 0;
        predicted.received = judged.received = 0;
        send_both(texts[below(11)]);
        rig_poll();
        compare(step);
        if (below(4) == 0)
            send_both(texts[below(6)]);
        rig_poll();
        compare(step);
        /* A round trip that takes its time, and an acknowledgement that says nothing new. */
        if (below(8) == 0) {
            settle_both();
            send_both("e\n");
            rig_poll();
            rig_wait_ms(200);
            acknowledge_both();
            compare(step);
        }
        if (below(5) != 0)
            take_both();
        compare(step);
        /* Data that is not answered yet, and acknowledges what was. */
        if (below(4) == 0) {
            send_both("b");
            rig_poll();
            compare(step);
            send_both("7\n");
            rig_poll();
        }
        if (below(6) == 0) {
            settle_both();
            rig_wait_ms(1000);
            compare(step);
        }
    }
}

NET_TEST(a_predicted_segment_leaves_the_connection_as_lwip_would)
{
    rig_start_default(64);
    /* lwIP's timers come to connections in eight slices: these two are to be in the same. */
    for (uint16_t i = 0; i <= 8; i++) {
        struct peer *const peer = i == 0 ? &predicted : i == 8 ? &judged : &others[i];
        peer_init(peer, (uint16_t)(5000 + i));
        peer->window = 2000; /* which grows */
        peer_connect(peer);
    }
    for (uint32_t seed = 1; seed <= 20; seed++)
        run_exchange(seed);
    /* Half of all segments could be predicted, and not all of these were in order. */
    EXPECT(rig_counters().segments_predicted > 20 * 200);
    EXPECT(replies > 20 * 100);
}

/* The frame of the next segment to `peer`, with its numbers made comparable; returns its length. */
static size_t take_frame(struct peer *peer, uint8_t frame[FAKE_FRAME_BYTES_MAX])
{
    const size_t len = fake_netdev_take(frame);
    struct ip_hdr *const ip = (struct ip_hdr *)(void *)(frame + 14);
    struct tcp_hdr *const tcp = (struct tcp_hdr *)(void *)(ip + 1);

    EXPECT(len > 54 && tcp->dest == __builtin_bswap16(peer->port));
    EXPECT_EQ(sum16(frame + 14, 20, 0), 0xffff);
    EXPECT_EQ(__builtin_bswap32(tcp->seqno), peer->expected);
    EXPECT_EQ(__builtin_bswap32(tcp->ackno), peer->next);
    ip->_chksum = ip->_id = 0;
    tcp->dest = tcp->chksum = 0;
    tcp->seqno = tcp->ackno = 0;
    return len;
}

NET_TEST(a_predicted_answer_is_the_frame_that_lwip_would_have_sent)
{
    static uint8_t left[FAKE_FRAME_BYTES_MAX], right[FAKE_FRAME_BYTES_MAX];
    static const char *const texts[] = {"e\n",    "b1\n",    "b15\n",   "b16\n",
                                        "b17\n",  "b536\n",  "b1460\n", "k511\n",
                                        "k512\n", "k1460\n", "b1460\n"};
    start_predicted();
    peer_init(&judged, 5001);
    peer_connect(&judged);
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        peer_send(&predicted, texts[i]);
        peer_send(&judged, texts[i]);
        rig_poll();
        const size_t len = take_frame(&predicted, left);
        EXPECT_EQ(take_frame(&judged, right), len);
        EXPECT(memcmp(left, right, len) == 0);
        EXPECT_EQ(replies, i + 1);
        /* From 512 bytes on what is kept is not copied. */
        EXPECT_EQ(rig_kept.uses, texts[i][0] == 'k' && len >= 54 + 512);
        predicted.expected += (uint32_t)(len - 54);
        judged.expected += (uint32_t)(len - 54);
        acknowledge_both();
        EXPECT_EQ(rig_kept.uses, 0);
    }
}

static void lose(const char *text, unsigned uses)
{
    static uint8_t first[FAKE_FRAME_BYTES_MAX], again[FAKE_FRAME_BYTES_MAX];
    start_predicted();
    const struct rig_levels levels = rig_levels();
    peer_send(&predicted, text);
    rig_poll();
    EXPECT_EQ(replies, 1);
    const size_t len = take_frame(&predicted, first);
    rig_wait_ms(1500);
    EXPECT_EQ(take_frame(&predicted, again), len);
    EXPECT(memcmp(first, again, len) == 0);
    EXPECT_EQ(rig_counters().retransmissions, 1);
    EXPECT_EQ(rig_kept.uses, uses);
    predicted.expected += 600;
    peer_send_ack(&predicted);
    rig_poll();
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&levels, &after, sizeof levels) == 0);
    EXPECT_EQ(rig_kept.uses, 0);
}

NET_TEST(a_predicted_answer_that_is_lost_comes_again)
{
    lose("b600\n", 0);
}

NET_TEST(a_kept_answer_that_is_lost_comes_again)
{
    lose("k600\n", 1);
}

NET_TEST(a_kept_answer_is_in_use_until_the_device_is_done_with_it)
{
    rig_start_default(16);
    peer_init(&predicted, 5000);
    const struct rig_levels levels = rig_levels();
    peer_connect(&predicted);
    fake_netdev_stall(true);
    peer_send(&predicted, "k600\n");
    rig_poll();
    rig_discard();
    EXPECT_EQ(rig_kept.uses, 1);
    peer_send_reset(&predicted);
    rig_poll();
    EXPECT_EQ(rig_app.closed, 1);
    EXPECT_EQ(rig_kept.uses, 1);
    fake_netdev_stall(false);
    rig_poll();
    EXPECT_EQ(rig_kept.uses, 0);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&levels, &after, sizeof levels) == 0);
}

NET_TEST(an_answer_acknowledged_before_the_device_is_done_with_it_is_freed_after_that)
{
    start_predicted();
    const struct rig_levels levels = rig_levels();
    fake_netdev_stall(true);
    peer_send(&predicted, "b600\n");
    rig_discard();
    predicted.expected += 600;
    peer_send(&predicted, "w\n");
    (void)server_poll();
    EXPECT_EQ(rig_counters().segments_predicted, 2);
    EXPECT(memcmp(levels.blocks, rig_levels().blocks, sizeof levels.blocks) != 0);
    fake_netdev_stall(false);
    rig_poll();
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&levels, &after, sizeof levels) == 0);
}

/* lwIP sends it again in pieces that fit the window, which has become too small for it. */
NET_TEST(a_kept_answer_is_cut_where_the_window_ends)
{
    start_predicted();
    const struct rig_levels levels = rig_levels();
    peer_send(&predicted, "k1400\n");
    rig_poll();
    EXPECT_EQ(rig_kept.uses, 1);
    rig_discard(); /* it is lost */
    predicted.window = 500;
    peer_send(&predicted, "b300\n");
    for (unsigned i = 0; i < 40; i++) {
        rig_wait_ms(500);
        peer_take(&predicted);
    }
    EXPECT_EQ(predicted.received, 1700);
    for (unsigned i = 0; i < 1700; i++)
        EXPECT_EQ(predicted.bytes[i], (uint8_t)(i < 1400 ? i : i - 1400));
    EXPECT_EQ(rig_kept.uses, 0);
    const struct rig_levels after = rig_levels();
    EXPECT(memcmp(&levels, &after, sizeof levels) == 0);
}

/* Each of the batch shall find a descriptor. */
NET_TEST(a_kept_answer_is_copied_when_descriptors_are_few)
{
    struct fake_netdev_config device = fake_netdev_default;
    const struct server_config config = rig_config(16);
    device.transmit_ring = 64;
    rig_start(&config, &device);
    peer_init(&predicted, 5000);
    peer_connect(&predicted);
    fake_netdev_stall(true);
    peer_send(&predicted, "k600\n");
    rig_poll();
    EXPECT_EQ(rig_kept.uses, 1);
    peer_take(&predicted);
    rig_poll();
    peer_send(&predicted, "k600\n");
    rig_poll();
    EXPECT_EQ(rig_kept.uses, 1); /* the first: the device still has it */
    EXPECT_EQ(replies, 2);
}

/* Two pieces in one turn are one answer, and copied. */
NET_TEST(a_kept_answer_with_another_is_copied)
{
    start_predicted();
    peer_send(&predicted, "k600\nk600\n");
    rig_poll();
    EXPECT_EQ(replies, 1);
    EXPECT_EQ(rig_kept.uses, 0);
    peer_take(&predicted);
    EXPECT_EQ(predicted.received, 1200);
    for (unsigned i = 0; i < 1200; i++)
        EXPECT_EQ(predicted.bytes[i], (uint8_t)(i % 600));
}

/* Each of these is lwIP's: what waits, a window or a segment too small, a full ring, an end. */
NET_TEST(what_is_not_just_one_segment_is_not_a_predicted_answer)
{
    start_predicted();
    peer_send(&predicted, "b1461\n");
    peer_take(&predicted);
    predicted.window = 100;
    peer_send(&predicted, "b101\n");
    peer_take(&predicted);
    predicted.window = 60000;
    peer_send(&predicted, "b\n");
    peer_take(&predicted);
    const unsigned before = replies;
    peer_segment(&predicted, FIN | ACK, predicted.next, predicted.expected, "e\n", 2);
    predicted.next += 3;
    peer_take(&predicted);
    EXPECT_EQ(replies, before);
    EXPECT(predicted.fin);
}

NET_TEST(what_is_not_just_data_in_order_is_not_predicted)
{
    start_predicted();
    const uint64_t before = rig_counters().segments_predicted;
    /* A pure ACK, an ACK of what was never sent, old data, data ahead, a FIN. */
    peer_send_ack(&predicted);
    peer_segment(&predicted, ACK, predicted.next, predicted.expected + 100, "e\n", 2);
    peer_segment(&predicted, ACK, predicted.next - 2, predicted.expected, "e\n", 2);
    peer_segment(&predicted, ACK, predicted.next + 2, predicted.expected, "e\n", 2);
    rig_poll();
    /* While something lies out of order, nothing is. */
    peer_send(&predicted, "e\n");
    predicted.next += 2;
    rig_poll();
    peer_segment(&predicted, FIN | ACK, predicted.next, predicted.expected, "e\n", 2);
    rig_poll();
    EXPECT_EQ(rig_counters().segments_predicted, before);
    EXPECT_EQ(rig_app.requests, 3);
}

NET_TEST(what_follows_a_fin_in_its_batch_is_not_predicted)
{
    start_predicted();
    peer_segment(&predicted, FIN | ACK, predicted.next, predicted.expected, NULL, 0);
    peer_segment(&predicted, ACK, predicted.next + 1, predicted.expected, "e\n", 2);
    rig_poll();
    EXPECT_EQ(rig_counters().segments_predicted, 0);
    EXPECT_EQ(rig_app.requests, 0);
}

/* ---- what is left of a window ---- */

static void start_both(void)
{
    rig_start_default(256);
    peer_init(&predicted, 5000);
    peer_init(&judged, 5008); /* of the same slice */
    peer_connect(&predicted);
    for (uint16_t i = 1; i < 8; i++) {
        peer_init(&others[i], (uint16_t)(5000 + i));
        peer_connect(&others[i]);
    }
    peer_connect(&judged);
}

static const char *lines(size_t len)
{
    static char text[40000];
    for (size_t at = 0; at < len; at += 2)
        memcpy(text + at, "w\n", 2);
    text[len] = '\0';
    return text;
}

NET_TEST(a_segment_longer_than_the_window_is_not_predicted_and_cut)
{
    start_both();
    const uint64_t before = rig_counters().segments_predicted;
    send_both(lines(TCP_WND + 1));
    rig_poll();
    EXPECT_EQ(rig_app.requests, TCP_WND / 2 * 2);
    predicted.next--;
    judged.next--;
    compare(0);
    EXPECT_EQ(rig_counters().segments_predicted, before);
}

/*
 * A window that has opened by less than a segment is not announced (RFC 9293 section 3.8.6.2.2).
 * Who sends into it all the same is not refused.
 */
NET_TEST(a_segment_beyond_the_window_announced_but_not_the_window_is_taken)
{
    start_both();
    send_both("w\n");
    rig_poll();
    EXPECT_EQ(conn_of(&judged)->pcb->rcv_wnd, TCP_WND);
    EXPECT_EQ(conn_of(&judged)->pcb->rcv_ann_wnd, TCP_WND - 2);
    const uint64_t before = rig_counters().segments_predicted;
    send_both(lines(TCP_WND));
    rig_poll();
    EXPECT_EQ(rig_counters().segments_predicted, before + 1);
    EXPECT_EQ(rig_app.requests, 2 + TCP_WND / 2 * 2);
    compare(0);
}

/* A PCB may hold this, whether or not a peer can bring it about. */
NET_TEST(an_acknowledgement_has_no_more_effect_than_with_lwip)
{
    start_both();
    /* The congestion window is as wide as it can be told. */
    for (unsigned slow_start = 0; slow_start < 2; slow_start++) {
        send_both("e\n");
        rig_poll();
        predicted.holds_acks = judged.holds_acks = true;
        take_both();
        conn_of(&predicted)->pcb->cwnd = conn_of(&judged)->pcb->cwnd = 0xfffe;
        conn_of(&predicted)->pcb->ssthresh = conn_of(&judged)->pcb->ssthresh =
            slow_start ? 0xffff : 0x1000;
        conn_of(&predicted)->pcb->bytes_acked = conn_of(&judged)->pcb->bytes_acked = 0xfffe;
        send_both("e\n");
        rig_poll();
        compare(slow_start);
        EXPECT_EQ(conn_of(&judged)->pcb->cwnd, 0xffff);
        settle_both();
    }
    /* What is timed has not been sent. */
    send_both("e\n");
    predicted.holds_acks = judged.holds_acks = true;
    take_both();
    rig_wait_ms(500);
    conn_of(&predicted)->pcb->rttest = conn_of(&judged)->pcb->rttest = tcp_ticks;
    conn_of(&predicted)->pcb->rtseq = conn_of(&predicted)->pcb->snd_nxt;
    conn_of(&judged)->pcb->rtseq = conn_of(&judged)->pcb->snd_nxt;
    send_both("w\n");
    rig_poll();
    compare(2);
    EXPECT(conn_of(&judged)->pcb->rttest != 0);
}

/* A segment to each with the window, and numbers so far from the next ones; then they are equal. */
static void send_window(uint32_t ahead, uint32_t acknowledges, uint16_t window, const char *text)
{
    predicted.window = judged.window = window;
    for (unsigned i = 0; i < 2; i++) {
        struct peer *const to = i == 0 ? &predicted : &judged;
        rig_vouches = i == 0;
        peer_segment(to, ACK, to->next + ahead, to->expected + acknowledges, text, strlen(text));
        to->next += (uint32_t)strlen(text);
        to->expected += acknowledges;
    }
    rig_poll();
    compare(window);
}

static void expect_window(uint16_t window)
{
    EXPECT_EQ(conn_of(&judged)->pcb->snd_wnd, window);
}

/* RFC 9293 section 3.10.7.4. */
NET_TEST(a_window_counts_if_its_segment_is_not_older_than_the_last_that_told_one)
{
    start_both();
    send_window(0, 0, 60000, "w\n"); /* smaller, with the numbers of the handshake's ACK */
    expect_window(60000);
    send_window(0, 0, 50000, "w\n");
    expect_window(50000);
    send_window(0, 0, 40000, "");
    expect_window(40000);
    send_window(0, 0, 30000, "");
    expect_window(30000);
    send_window(0, 0, 20000, "w\n");
    expect_window(20000);
    send_window(0, 0, 45000, "w\n");
    expect_window(45000);
    send_window(0, 0, 45000, "e\n");
    send_window(0, 0, 45000, "");
    send_window(0, 3, 30000, "w\n");
    expect_window(30000);
    send_window(10, 0, 20000, "");
    expect_window(20000);
    /* Older in the stream: neither a smaller nor a larger one. */
    send_window(0, 0, 10000, "w\n");
    expect_window(20000);
    send_window(0, 0, 50000, "w\n");
    expect_window(20000);
    send_window(0, 0, 10000, "e\n");
    send_window(0, 3, 30000, "w\n");
    expect_window(20000);
    send_window(10, 0, 40000, "");
    expect_window(40000);
    /* Who acknowledges less than before. */
    send_window(11, (uint32_t)-3, 50000, "");
    expect_window(40000);
    EXPECT(rig_counters().segments_predicted >= 8);
}

/* It is cut off first: what is left of the segment is what was expected. */
NET_TEST(a_window_counts_if_only_the_segments_beginning_is_older)
{
    start_both();
    send_window(0, 0, 60000, "w\n");
    send_window(0, 0, 50000, "");
    expect_window(50000);
    predicted.next -= 2;
    judged.next -= 2;
    send_window(0, 0, 40000, "w\nw\n");
    expect_window(40000);
    EXPECT_EQ(rig_app.requests, 4);
    send_window(10, 0, 30000, "");
    predicted.next -= 2;
    judged.next -= 2;
    send_window(0, 0, 60000, "w\nw\n");
    expect_window(30000);
    EXPECT_EQ(rig_app.requests, 6);
}

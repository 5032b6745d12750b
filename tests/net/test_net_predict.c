/*
 * Header prediction does what lwIP does: two connections get the same segments, one with
 * checksums that the device vouches for (they are predicted), the other without (lwIP judges), and
 * after each step their PCBs are the same.
 */
#include "lwip/priv/tcp_priv.h"
#include "net/conn_table.h"
#include "tests/net/rig.h"

static struct peer predicted, judged, others[8];

static struct server_conn *conn_of(const struct peer *peer)
{
    return conns_find(conns_key(__builtin_bswap32(peer->address), peer->port));
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
        pcb->snd_queuelen,
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
    static const char *const texts[] = {"e\n", "e\ne\ne\n", "b1\n",     "b160\n",  "b1400\n",
                                        "e\n", "b3000\n",   "b12000\n", "b2\nb3\n"};
    random_state = seed;
    rig_introduce_peer(); /* or it would be forgotten after a while */
    for (unsigned step = 0; step < 400; step++) {
        const uint16_t window = (uint16_t)(below(8) == 0 ? 3000 + below(60000) : 60000);
        predicted.window = judged.window = window;
        predicted.holds_acks = judged.holds_acks = below(3) != 0;
        predicted.received = judged.received = 0;
        send_both(texts[below(9)]);
        if (below(4) == 0)
            send_both(texts[below(6)]);
        rig_poll();
        compare(step);
        /* A round trip that takes its time, and an acknowledgement that says nothing new. */
        if (below(8) == 0) {
            settle_both();
            send_both("e\n");
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
        peer_connect(peer);
    }
    for (uint32_t seed = 1; seed <= 20; seed++)
        run_exchange(seed);
    /* Half of all segments could be predicted, and not all of these were in order. */
    EXPECT(rig_counters().segments_predicted > 20 * 200);
}

NET_TEST(what_is_not_just_data_in_order_is_not_predicted)
{
    rig_start_default(16);
    peer_init(&predicted, 5000);
    peer_connect(&predicted);
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

/*
 * What lwIP's way costs, from ip4_input() to the callback: some 520 instructions, most of them for
 * cases that a segment in order cannot be. This way: about 110.
 *
 * It is a second place that knows how a PCB is kept, and so it must stay narrow and be held equal
 * to the first: tests/net sends the same segments both ways and compares every field. It takes a
 * segment only when
 *
 *     - the connection is ESTABLISHED, nothing lies out of order, no loss is being mended;
 *     - it has no options, and no flags but ACK and PSH;
 *     - its first octet is the next expected, and its last lies in the window;
 *     - it acknowledges nothing new, or everything sent (and nothing waits to be sent).
 *
 * Whatever else comes (pure ACKs, windows that close, FIN, retransmissions) is for lwIP.
 */
#include "net/tcp/predict.h"

#include "lwip/priv/tcp_priv.h"
#include "net/tcp/segment.h"

/* Header of five words, ACK; PSH may be there; the reserved bits are not looked at. */
#define HEADER_MASK     PP_HTONS(0xf000 | (TCP_FLAGS & ~TCP_PSH))
#define HEADER_EXPECTED PP_HTONS(0x5000 | TCP_ACK)

/* The states of loss recovery, and of a receiver that has closed. */
#define FLAGS_EXCEPTIONAL (TF_INFR | TF_RTO | TF_RXCLOSED)

/* RFC 5681 section 3.1, with byte counting by RFC 3465. */
static void open_congestion_window(struct tcp_pcb *pcb, tcpwnd_size_t acked)
{
    if (pcb->cwnd < pcb->ssthresh) {
        const tcpwnd_size_t most = (tcpwnd_size_t)(2 * pcb->mss);
        TCP_WND_INC(pcb->cwnd, (acked < most ? acked : most));
        return;
    }
    TCP_WND_INC(pcb->bytes_acked, acked);
    if (pcb->bytes_acked >= pcb->cwnd) {
        pcb->bytes_acked = (tcpwnd_size_t)(pcb->bytes_acked - pcb->cwnd);
        TCP_WND_INC(pcb->cwnd, pcb->mss);
    }
}

/* Jacobson 1988, appendix A: `sa` is the mean by 8, `sv` its deviation by 4. */
static void measure_round_trip(struct tcp_pcb *pcb)
{
    s16_t error = (s16_t)((s16_t)(tcp_ticks - pcb->rttest) - (pcb->sa >> 3));
    pcb->sa = (s16_t)(pcb->sa + error);
    if (error < 0)
        error = (s16_t)-error;
    pcb->sv = (s16_t)(pcb->sv + error - (pcb->sv >> 2));
    pcb->rttest = 0;
}

/* Everything that was sent has arrived. */
static void acknowledge_all(struct tcp_pcb *pcb)
{
    const tcpwnd_size_t acked = (tcpwnd_size_t)(pcb->snd_nxt - pcb->lastack);

    pcb->nrtx = 0;
    pcb->dupacks = 0;
    pcb->lastack = pcb->snd_nxt;
    open_congestion_window(pcb, acked);
    while (pcb->unacked != NULL) {
        struct tcp_seg *const segment = pcb->unacked;
        pcb->unacked = segment->next;
        pcb->snd_queuelen = (u16_t)(pcb->snd_queuelen - pbuf_clen(segment->p));
        pcb->snd_buf = (tcpwnd_size_t)(pcb->snd_buf + segment->len);
        segment_free(segment);
    }
    pcb->rtime = -1;
    pcb->polltmr = 0;
    if (pcb->rttest != 0 && TCP_SEQ_LT(pcb->rtseq, pcb->lastack))
        measure_round_trip(pcb);
    pcb->rto = (s16_t)((pcb->sa >> 3) + pcb->sv);
}

/*
 * RFC 9293 section 3.10.7.4: unless the segment is older than the last that told a window. (WL2
 * need not be asked: what is predicted acknowledges no less than was acknowledged before.)
 */
static void update_send_window(struct tcp_pcb *pcb, u32_t number, u32_t ack, tcpwnd_size_t window)
{
    if (TCP_SEQ_LT(number, pcb->snd_wl1))
        return;
    pcb->snd_wnd = window;
    if (pcb->snd_wnd_max < window)
        pcb->snd_wnd_max = window;
    pcb->snd_wl1 = number;
    pcb->snd_wl2 = ack;
}

static void take_data(struct server_conn *conn, u16_t len)
{
    struct tcp_pcb *const pcb = conn->pcb;

    pcb->rcv_nxt += len;
    pcb->rcv_wnd = (tcpwnd_size_t)(pcb->rcv_wnd - len);
    /* tcp_update_rcv_ann_wnd(): the announced window's edge stays where it is, if it can. */
    if (len <= pcb->rcv_ann_wnd)
        pcb->rcv_ann_wnd = (tcpwnd_size_t)(pcb->rcv_ann_wnd - len);
    else
        (void)tcp_update_rcv_ann_wnd(pcb);
    /* An ACK for every second segment (RFC 5681 section 4.2), at the latest after the batch. */
    if ((pcb->flags & TF_ACK_DELAY) != 0)
        conn->flags |= CONN_ACK_DUE;
    tcp_set_flags(pcb, TF_ACK_DELAY);
}

bool predict_segment(struct server_conn *conn, const struct tcp_hdr *header, size_t len)
{
    struct tcp_pcb *const pcb = conn->pcb;
    const u32_t number = lwip_ntohl(header->seqno);
    const u32_t ack = lwip_ntohl(header->ackno);

    if ((header->_hdrlen_rsvd_flags & HEADER_MASK) != HEADER_EXPECTED || number != pcb->rcv_nxt ||
        len > pcb->rcv_wnd || pcb->state != ESTABLISHED || pcb->ooseq != NULL ||
        pcb->refused_data != NULL || pcb->unsent != NULL || (pcb->flags & FLAGS_EXCEPTIONAL) != 0 ||
        (ack != pcb->lastack && ack != pcb->snd_nxt))
        return false;

    pcb->tmr = tcp_ticks;
    pcb->keep_cnt_sent = 0;
    pcb->persist_probe = 0;
    update_send_window(pcb, number, ack, lwip_ntohs(header->wnd));
    if (ack != pcb->lastack)
        acknowledge_all(pcb);
    take_data(conn, (u16_t)len);
    return true;
}

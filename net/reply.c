/*
 * What lwIP's way costs, from tcp_write() to the driver: some 900 instructions, for it makes a pbuf
 * and puts a header in front of it four times, and asks at each layer where the packet is to go.
 * This way: about 250.
 *
 * It is, like predict.c, a second place that knows how a PCB is kept, and so it must stay narrow
 * and be held equal to the first: tests/net sends the same answers both ways and compares every
 * field and every octet. It takes an answer only when
 *
 *     - the connection is ESTABLISHED, nothing waits to be sent, no loss is being mended, and no
 *       window is being probed;
 *     - it fits one segment, the peer's window and the congestion window;
 *     - the device sums checksums, and a descriptor is free.
 *
 * The block that it makes is what lwIP would have made, for it is lwIP that may have to send it
 * again, and that frees it when it is acknowledged:
 *
 *     | struct pbuf | room for the driver | Ethernet | IPv4 | TCP | data |
 */
#include "net/reply.h"

#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "net/copy.h"
#include "net/link.h"
#include "net/pool.h"

/* Where pbuf_alloc() lets data begin. */
#define DATA_AT           LWIP_MEM_ALIGN_SIZE(sizeof(struct pbuf) + PBUF_TRANSPORT)

#define FLAGS_EXCEPTIONAL (TF_INFR | TF_RTO | TF_RXCLOSED | TF_FIN | TF_CLOSEPEND | TF_NAGLEMEMERR)

static bool is_plain(const struct tcp_pcb *pcb, size_t len)
{
    const tcpwnd_size_t window = pcb->snd_wnd < pcb->cwnd ? pcb->snd_wnd : pcb->cwnd;
    return pcb->state == ESTABLISHED && pcb->unsent == NULL &&
           (pcb->flags & FLAGS_EXCEPTIONAL) == 0 && pcb->persist_backoff == 0 && len <= pcb->mss &&
           pcb->snd_lbb - pcb->lastack + len <= window && len <= pcb->snd_buf &&
           pcb->snd_queuelen < TCP_SND_QUEUELEN;
}

/* NULL if memory is out. */
static struct tcp_seg *make_segment(const uint8_t *bytes, size_t len)
{
    struct pbuf *const p = pool_alloc(DATA_AT + len);
    if (p == NULL)
        return NULL;
    struct tcp_seg *const segment = pool_alloc(LWIP_MEM_ALIGN_SIZE(sizeof *segment));
    if (segment == NULL) {
        pool_free(p);
        return NULL;
    }
    uint8_t *const data = (uint8_t *)p + DATA_AT;
    copy_bytes(data, bytes, len);
    *p = (struct pbuf){
        .payload = data - TCP_HLEN,
        .tot_len = (u16_t)(TCP_HLEN + len),
        .len = (u16_t)(TCP_HLEN + len),
        .type_internal = (u8_t)PBUF_RAM,
        .ref = 1,
        .if_idx = NETIF_NO_INDEX,
    };
    *segment = (struct tcp_seg){
        .p = p,
        .len = (u16_t)len,
        .tcphdr = (struct tcp_hdr *)(void *)(data - TCP_HLEN),
    };
    return segment;
}

static void fill_header(const struct tcp_pcb *pcb, struct tcp_hdr *header)
{
    *header = (struct tcp_hdr){
        .src = lwip_htons(pcb->local_port),
        .dest = lwip_htons(pcb->remote_port),
        .seqno = lwip_htonl(pcb->snd_lbb),
        .ackno = lwip_htonl(pcb->rcv_nxt),
        ._hdrlen_rsvd_flags = PP_HTONS(0x5000 | TCP_PSH | TCP_ACK),
        .wnd = lwip_htons(pcb->rcv_ann_wnd),
    };
}

static void append_unacked(struct tcp_pcb *pcb, struct tcp_seg *segment)
{
    struct tcp_seg **end = &pcb->unacked;
    while (*end != NULL)
        end = &(*end)->next;
    *end = segment;
}

/* What tcp_write(), tcp_output() and tcp_output_segment() keep of a segment that goes out. */
static void count_as_sent(struct tcp_pcb *pcb, struct tcp_seg *segment)
{
    if (pcb->rtime < 0)
        pcb->rtime = 0;
    if (pcb->rttest == 0) {
        pcb->rttest = tcp_ticks;
        pcb->rtseq = pcb->snd_lbb;
    }
    pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_ann_wnd;
    pcb->snd_lbb += segment->len;
    pcb->snd_nxt = pcb->snd_lbb;
    pcb->snd_buf = (tcpwnd_size_t)(pcb->snd_buf - segment->len);
    pcb->snd_queuelen++;
    append_unacked(pcb, segment);
    tcp_clear_flags(pcb, TF_ACK_DELAY | TF_ACK_NOW);
}

/* With all that it calls, down to the driver, in one function (boot/image.ld says why). */
__attribute__((noinline, flatten)) bool reply_send(struct server_conn *conn, const uint8_t *bytes,
                                                   size_t len, size_t taken)
{
    struct tcp_pcb *const pcb = conn->pcb;

    if (!is_plain(pcb, len) || !link_takes_segments())
        return false;
    struct tcp_seg *const segment = make_segment(bytes, len);
    if (segment == NULL)
        return false;
    pcb->rcv_wnd = (tcpwnd_size_t)(pcb->rcv_wnd + taken);
    (void)tcp_update_rcv_ann_wnd(pcb);
    fill_header(pcb, segment->tcphdr);
    count_as_sent(pcb, segment);
    conn->flags &= (uint8_t)~CONN_ACK_DUE;
    link_send_segment(segment->p, conn->mac, ip_2_ip4(&pcb->local_ip)->addr,
                      ip_2_ip4(&pcb->remote_ip)->addr);
    return true;
}

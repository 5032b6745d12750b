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
 *     - the device sums checksums, and a descriptor is free, or many for one that is kept.
 *
 * The block that it makes is what lwIP would have made, for it is lwIP that may have to send it
 * again, and that frees it when it is acknowledged:
 *
 *     | struct pbuf | room for the driver | Ethernet | IPv4 | TCP | data |
 *
 * A long answer that the application keeps is not copied. Its segment is what tcp_write() makes of
 * data that stays where it is, a pbuf of headers and one that refers to the data, both in a block:
 *
 *     | struct pbuf | room for the driver | Ethernet | IPv4 | TCP | struct pbuf | whose data |
 *
 * That saves the copy, and above all the cache lines: the device reads the same ones for all
 * connections. It costs a descriptor more, so a short answer is copied all the same.
 */
#include "net/tcp/reply.h"

#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "net/core/copy.h"
#include "net/core/pool.h"
#include "net/link/link.h"

/* Where pbuf_alloc() lets data begin. */
#define DATA_AT LWIP_MEM_ALIGN_SIZE(sizeof(struct pbuf) + PBUF_TRANSPORT)

/* A copy of less costs less than another descriptor. */
#define KEPT_BYTES_MIN 512

/*
 * Descriptors that must be free: of a batch's answers (link.c: RECEIVE_SPACE) none shall find that
 * others took two each.
 */
#define KEPT_SPACE_MIN 64

#define PBUFS_MAX      2 /* a segment */

/* So that the TCP header, at its end, is aligned as lwIP aligns it. */
#define KEPT_HEADERS_BYTES 72

_Static_assert(KEPT_HEADERS_BYTES >= PBUF_TRANSPORT, "room for all headers");

#define FLAGS_EXCEPTIONAL (TF_INFR | TF_RTO | TF_RXCLOSED | TF_FIN | TF_CLOSEPEND | TF_NAGLEMEMERR)

static bool is_plain(const struct tcp_pcb *pcb, size_t len)
{
    const tcpwnd_size_t window = pcb->snd_wnd < pcb->cwnd ? pcb->snd_wnd : pcb->cwnd;
    return pcb->state == ESTABLISHED && pcb->unsent == NULL &&
           (pcb->flags & FLAGS_EXCEPTIONAL) == 0 && pcb->persist_backoff == 0 && len <= pcb->mss &&
           pcb->snd_lbb - pcb->lastack + len <= window && len <= pcb->snd_buf &&
           pcb->snd_queuelen + PBUFS_MAX <= TCP_SND_QUEUELEN;
}

/* Headers, and data that is the application's. */
struct kept_answer {
    struct pbuf_custom headers;
    uint8_t room[KEPT_HEADERS_BYTES];
    struct pbuf_custom data;
    struct server_kept *kept;
};

/* The block goes with the other pbuf, which is freed after this one. */
static void free_headers(struct pbuf *p)
{
    (void)p;
}

static void free_data(struct pbuf *p)
{
    struct kept_answer *const answer =
        (struct kept_answer *)(void *)((uint8_t *)p - offsetof(struct kept_answer, data));
    answer->kept->uses--;
    pool_free(answer);
}

static struct pbuf *refer(const uint8_t *bytes, size_t len, struct server_kept *kept)
{
    struct kept_answer *const answer = pool_alloc(sizeof *answer);
    if (answer == NULL)
        return NULL;
    answer->headers = (struct pbuf_custom){
        .pbuf = {.next = &answer->data.pbuf,
                 .payload = answer->room + KEPT_HEADERS_BYTES - TCP_HLEN,
                 .tot_len = (u16_t)(TCP_HLEN + len),
                 .len = TCP_HLEN,
                 .type_internal = (u8_t)PBUF_RAM,
                 .flags = PBUF_FLAG_IS_CUSTOM,
                 .ref = 1,
                 .if_idx = NETIF_NO_INDEX},
        .custom_free_function = free_headers,
    };
    answer->data = (struct pbuf_custom){
        .pbuf = {.payload = (void *)(uintptr_t)bytes,
                 .tot_len = (u16_t)len,
                 .len = (u16_t)len,
                 .type_internal = (u8_t)PBUF_ROM,
                 .flags = PBUF_FLAG_IS_CUSTOM,
                 .ref = 1,
                 .if_idx = NETIF_NO_INDEX},
        .custom_free_function = free_data,
    };
    answer->kept = kept;
    kept->uses++;
    return &answer->headers.pbuf;
}

static struct pbuf *copy(const uint8_t *bytes, size_t len)
{
    struct pbuf *const p = pool_alloc(DATA_AT + len);
    if (p == NULL)
        return NULL;
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
    return p;
}

static bool is_worth_keeping(size_t len, const struct server_kept *kept)
{
    return kept != NULL && len >= KEPT_BYTES_MIN && link_space(KEPT_SPACE_MIN) >= KEPT_SPACE_MIN;
}

/* NULL if memory is out. */
static struct tcp_seg *make_segment(const uint8_t *bytes, size_t len, struct server_kept *kept)
{
    struct tcp_seg *const segment = pool_alloc(LWIP_MEM_ALIGN_SIZE(sizeof *segment));
    if (segment == NULL)
        return NULL;
    struct pbuf *const p = is_worth_keeping(len, kept) ? refer(bytes, len, kept) : copy(bytes, len);
    if (p == NULL) {
        pool_free(segment);
        return NULL;
    }
    *segment = (struct tcp_seg){.p = p, .len = (u16_t)len, .tcphdr = p->payload};
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
    pcb->snd_queuelen = (u16_t)(pcb->snd_queuelen + (segment->p->next == NULL ? 1 : 2));
    append_unacked(pcb, segment);
    tcp_clear_flags(pcb, TF_ACK_DELAY | TF_ACK_NOW);
}

/* With all that it calls, down to the driver, in one function (boot/image.ld says why). */
__attribute__((noinline, flatten)) bool reply_send(struct server_conn *conn, const uint8_t *bytes,
                                                   size_t len, struct server_kept *kept,
                                                   size_t taken)
{
    struct tcp_pcb *const pcb = conn->pcb;

    if (!is_plain(pcb, len) || !link_takes_segments())
        return false;
    struct tcp_seg *const segment = make_segment(bytes, len, kept);
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

/*
 * A PCB's life, as lwIP tells it:
 *
 *     passive_open   a SYN was let in (server.c has seen to the slots)
 *     accepted       the handshake is complete
 *     received       bytes in order, or the peer's FIN, that lwIP judged; queued for the turn
 *     destroyed      freed, for whatever reason: reset, timed out, closed, aborted by us
 *
 * and the segments that lwIP 2.2.1 must not be given, or not as they are: endpoint_check_segment().
 */
#include "net/tcp/endpoint.h"

#include <assert.h>
#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/server_state.h"
#include "net/flow/deadlines.h"
#include "net/flow/unread.h"
#include "net/link/link.h"
#include "net/tcp/lwip_hooks.h"

static uint8_t ext_arg;
static uint64_t retransmissions;

uint64_t endpoint_retransmissions(void)
{
    return retransmissions;
}

/* lwIP sizes segments by the MSS and half of the largest window announced. */
static void clamp_sizes(struct tcp_pcb *pcb)
{
    const u16_t mtu = link_netif()->mtu;
    const u16_t most = (u16_t)(mtu - IP_HLEN - TCP_HLEN);
    if (pcb->mss < ENDPOINT_MSS_MIN)
        pcb->mss = ENDPOINT_MSS_MIN;
    if (pcb->mss > most)
        pcb->mss = most;
    if (pcb->snd_wnd_max < 2 * pcb->mss)
        pcb->snd_wnd_max = (tcpwnd_size_t)(2 * pcb->mss);
}

static void destroyed(u8_t id, void *data)
{
    struct server_conn *const conn = data;
    (void)id;

    if (conn->phase == CONN_OPEN && (conn->flags & CONN_NEW) == 0)
        server.config.handlers.on_close(conn, conn->state);
    unread_forget(conn);
    conns_drop(conn);
    conns_touch(conn);
}

static err_t passive_open(u8_t id, struct tcp_pcb_listen *listener, struct tcp_pcb *pcb);

static const struct tcp_ext_arg_callbacks callbacks = {
    .destroy = destroyed,
    .passive_open = passive_open,
};

static err_t passive_open(u8_t id, struct tcp_pcb_listen *listener, struct tcp_pcb *pcb)
{
    (void)listener;
    const uint64_t key = conns_key(ip_2_ip4(&pcb->remote_ip)->addr, pcb->remote_port);
    struct server_conn *const conn = conns_add(key, pcb);
    if (conn == NULL)
        return ERR_MEM;
    endpoint_follow(conn);
    tcp_ext_arg_set(pcb, id, conn);
    tcp_ext_arg_set_callbacks(pcb, id, &callbacks);
    tcp_arg(pcb, conn);
    clamp_sizes(pcb);
    deadlines_start(conn, DEADLINE_HALF_OPEN);
    conns_touch(conn);
    return ERR_OK;
}

static err_t received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct server_conn *const conn = arg;
    (void)err;

    /* Bytes for one that is over lwIP refuses itself (TF_RXCLOSED): this is the peer's FIN. */
    if (conn->phase != CONN_OPEN) {
        assert(p == NULL);
        return ERR_OK;
    }
    if (p == NULL)
        conn->flags |= CONN_PEER_FIN;
    else
        unread_add(conn, p);
    /* tcp_input() would acknowledge at once what the turn's answer can carry. */
    if ((pcb->flags & TF_ACK_NOW) != 0) {
        tcp_clear_flags(pcb, TF_ACK_NOW);
        tcp_set_flags(pcb, TF_ACK_DELAY);
        conn->flags |= CONN_ACK_DUE;
    }
    return ERR_OK;
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct server_conn *const conn = arg;

    /* lwIP had no memory for a PCB: the peer will send its SYN again. */
    if (err != ERR_OK)
        return ERR_OK;
    /* An MSS in a SYN that was sent again has not been looked at yet. */
    clamp_sizes(pcb);
    tcp_nagle_disable(pcb);
    tcp_recv(pcb, received);
    conns_open(conn);
    conn->flags |= CONN_NEW;
    deadlines_start(conn, DEADLINE_IDLE);
    server.counters.connections_accepted++;
    return ERR_OK;
}

void endpoint_listen(uint16_t port)
{
    ext_arg = tcp_ext_arg_alloc_id();

    struct tcp_pcb *const pcb = tcp_new();
    assert(pcb != NULL);
    /* Copied to the listening PCB by tcp_listen(); destroying this one says nothing. */
    static const struct tcp_ext_arg_callbacks of_listener = {.passive_open = passive_open};
    tcp_ext_arg_set_callbacks(pcb, ext_arg, &of_listener);
    /* Segments leave by the device also while its link is down: lost, and sent again. */
    tcp_bind_netif(pcb, link_netif());
    const err_t err = tcp_bind(pcb, IP4_ADDR_ANY, port);
    assert(err == ERR_OK);
    struct tcp_pcb *const listener = tcp_listen(pcb);
    assert(listener != NULL);
    tcp_accept(listener, accepted);
}

/* ---- what lwIP must not be given ---- */

static inline bool is_after(u32_t a, u32_t b)
{
    return TCP_SEQ_GT(a, b);
}

/* The segment is dropped, and answered with what we have and expect (a challenge ACK). */
static err_t refuse(struct tcp_pcb *pcb)
{
    struct server_conn *const conn = pcb->callback_arg;
    tcp_set_flags(pcb, TF_ACK_DELAY);
    conn->flags |= CONN_ACK_DUE;
    return ERR_VAL;
}

/*
 * lwIP ignores every reset in TIME-WAIT (RFC 1337). So a peer that begins anew with a lower number,
 * and answers our challenge with a reset, could not connect until TIME-WAIT is over. Obeyed is the
 * one that is just in place; one elsewhere in the window is challenged (RFC 5961 section 3.2). What
 * is refused here tcp_input() drops without another look at the PCB, so the PCB may be gone.
 */
static err_t reset_time_wait(struct tcp_pcb *pcb, u32_t number)
{
    if (number == pcb->rcv_nxt)
        tcp_abandon(pcb, 0);
    else if (TCP_SEQ_BETWEEN(number, pcb->rcv_nxt + 1, pcb->rcv_nxt + pcb->rcv_wnd - 1))
        (void)refuse(pcb);
    return ERR_RST;
}

/*
 * Segments ahead of what is expected. lwIP keeps the first of them untrimmed, and takes a FIN along
 * when a later segment covers it; both end in an assertion about the window when the gap closes.
 * So what goes beyond the window is refused, and a FIN must come again in order.
 */
static err_t check_out_of_order(struct tcp_pcb *pcb, struct tcp_hdr *header, u32_t end,
                                const struct pbuf *p)
{
    if (is_after(end, pcb->rcv_nxt + pcb->rcv_wnd))
        return refuse(pcb);
    if ((TCPH_FLAGS(header) & TCP_FIN) != 0) {
        if (p->tot_len == 0)
            return refuse(pcb);
        TCPH_UNSET_FLAG(header, TCP_FIN);
    }
    return ERR_OK;
}

/*
 * Which window counts: one that is told by a segment which is not older than the last that told
 * one, and acknowledges nothing older (RFC 9293 section 3.10.7.4; what is old of its data is cut
 * off before). lwIP takes none that is smaller if the numbers are the same, and any that is larger
 * if the acknowledgement is. What it compares with makes it do the one or the other.
 */
static void judge_window(struct tcp_pcb *pcb, struct tcp_hdr *header)
{
    const u32_t first = is_after(pcb->rcv_nxt, header->seqno) ? pcb->rcv_nxt : header->seqno;
    if (is_after(pcb->snd_wl1, first) || is_after(pcb->lastack, header->ackno))
        header->wnd = pcb->snd_wnd;
    else
        pcb->snd_wl1 = header->seqno - 1;
}

err_t endpoint_check_segment(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t options_len,
                             struct pbuf *p)
{
    const u8_t flags = TCPH_FLAGS(header);

    if (pcb->state == TIME_WAIT && (flags & TCP_RST) != 0)
        return reset_time_wait(pcb, header->seqno);
    /* lwIP judges SYNs and other resets well (RFC 5961 sections 3.2 and 4.2). */
    if (pcb->state == LISTEN || pcb->state == TIME_WAIT || (flags & (TCP_SYN | TCP_RST)) != 0)
        return ERR_OK;
    /*
     * RFC 9293 section 3.10.7.4: "if the ACK bit is off, drop the segment". guard.c has, but the
     * segment lies where the device can write.
     */
    if ((flags & TCP_ACK) == 0)
        return ERR_VAL;
    /* lwIP would take an MSS from any segment, and asserts that it has not shrunk. */
    if (options_len != 0)
        *(u8_t *)(header + 1) = LWIP_TCP_OPT_EOL;
    if (pcb->state == SYN_RCVD)
        return header->seqno == pcb->rcv_nxt ? ERR_OK : refuse(pcb);

    /* RFC 5961 section 5.2: not of what was never sent, nor of what is older than a window. */
    if (is_after(header->ackno, pcb->snd_nxt) ||
        is_after(pcb->lastack - pcb->snd_wnd_max, header->ackno))
        return refuse(pcb);

    /* Just what was expected next: who can tell the numbers is the peer, wherever it is now. */
    if (header->seqno == pcb->rcv_nxt && !is_after(pcb->lastack, header->ackno))
        endpoint_follow(pcb->callback_arg);

    const u32_t end = header->seqno + p->tot_len + ((flags & TCP_FIN) != 0 ? 1 : 0);
    /*
     * Section 3.10.7.4 again: what is old is acknowledged, no more. lwIP would take a window of it.
     */
    if (is_after(pcb->rcv_nxt, header->seqno) && !is_after(end, pcb->rcv_nxt))
        return refuse(pcb);
    if (is_after(header->seqno, pcb->rcv_nxt) && end != header->seqno &&
        check_out_of_order(pcb, header, end, p) != ERR_OK)
        return ERR_VAL;
    judge_window(pcb, header);
    return ERR_OK;
}

/*
 * A retransmission has octets, none of them new. While the persist timer runs they are probes of
 * the window: the peer has lost nothing.
 */
u32_t *endpoint_count_segment(const struct pbuf *p, const struct tcp_hdr *header,
                              const struct tcp_pcb *pcb, u32_t *options)
{
    const u32_t data = (u32_t)(p->tot_len - TCPH_HDRLEN_BYTES(header));
    const u32_t octets = data + ((TCPH_FLAGS(header) & (TCP_SYN | TCP_FIN)) != 0 ? 1 : 0);
    if (pcb != NULL && octets != 0 && pcb->persist_backoff == 0 &&
        !is_after(lwip_ntohl(header->seqno) + octets, pcb->snd_nxt))
        retransmissions++;
    return options;
}

/*
 * What is wrong with lwIP 2.2.1, and mended from outside: its sources stay as they are. The hooks
 * of net/lwip_hooks.h lead here, and flow/timers.c calls before lwIP's timers look at a PCB. isn.c
 * and lease.c mend initial sequence numbers and DHCP.
 */
#include "net/tcp/mend.h"

#include "net/core/conn_table.h"
#include "net/link/link.h"
#include "net/lwip_hooks.h"

static uint64_t retransmissions;

uint64_t mend_retransmissions(void)
{
    return retransmissions;
}

/* lwIP sizes segments by the MSS and half of the largest window announced. */
void mend_sizes(struct tcp_pcb *pcb)
{
    const u16_t mtu = link_netif()->mtu;
    const u16_t most = (u16_t)(mtu - IP_HLEN - TCP_HLEN);
    if (pcb->mss < MEND_MSS_MIN)
        pcb->mss = MEND_MSS_MIN;
    if (pcb->mss > most)
        pcb->mss = most;
    if (pcb->snd_wnd_max < 2 * pcb->mss)
        pcb->snd_wnd_max = (tcpwnd_size_t)(2 * pcb->mss);
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

err_t mend_segment(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t options_len, struct pbuf *p)
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
        link_follow_peer(pcb->callback_arg);

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
u32_t *mend_count_segment(const struct pbuf *p, const struct tcp_hdr *header,
                          const struct tcp_pcb *pcb, u32_t *options)
{
    const u32_t data = (u32_t)(p->tot_len - TCPH_HDRLEN_BYTES(header));
    const u32_t octets = data + ((TCPH_FLAGS(header) & (TCP_SYN | TCP_FIN)) != 0 ? 1 : 0);
    if (pcb != NULL && octets != 0 && pcb->persist_backoff == 0 &&
        !is_after(lwip_ntohl(header->seqno) + octets, pcb->snd_nxt))
        retransmissions++;
    return options;
}

/* ---- lwIP's timers ---- */

/*
 * lwIP asserts in its timer that a persist timer runs only while there is unsent output and nothing
 * in flight, and forgets to stop it when a window probe is acknowledged that was all there was. A
 * peer could halt the machine by that. So before every timer, not only after every turn: the
 * acknowledgement may have come in this very batch.
 */
void mend_stale_persist(struct tcp_pcb *pcb)
{
    if (pcb->persist_backoff != 0 && (pcb->unsent == NULL || pcb->unacked != NULL))
        pcb->persist_backoff = 0;
}

/*
 * The persist timer splits a segment that does not fit the window, but lwIP 2.2.1 leaves a FIN on
 * both halves (tcp_split_unsent_seg() adds to the flags of the first): the peer would take the
 * first half for all there is. So a segment with a FIN is split here, and the first half loses it.
 */
void mend_split_before_fin(struct tcp_pcb *pcb)
{
    struct tcp_seg *const head = pcb->unsent;
    if (pcb->persist_backoff == 0 || pcb->snd_wnd == 0 || head->len <= pcb->snd_wnd ||
        (TCPH_FLAGS(head->tcphdr) & TCP_FIN) == 0)
        return;
    if (tcp_split_unsent_seg(pcb, (u16_t)pcb->snd_wnd) == ERR_OK)
        TCPH_UNSET_FLAG(head->tcphdr, TCP_FIN);
    else
        pcb->persist_cnt = 0; /* without memory: not lwIP's turn to split it either */
}

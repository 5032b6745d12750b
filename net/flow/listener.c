/*
 * A PCB's life, as lwIP tells it:
 *
 *     passive_open   a SYN was admitted (admission.c has seen to the slots)
 *     accepted       the handshake is complete
 *     received       bytes in order, or the peer's FIN, that lwIP judged; queued for the turn
 *     destroyed      freed, for whatever reason: reset, timed out, closed, aborted by us
 */
#include "net/flow/listener.h"

#include <assert.h>

#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/server_state.h"
#include "net/flow/deadlines.h"
#include "net/flow/unread.h"
#include "net/link/link.h"
#include "net/tcp/mend.h"

static uint8_t ext_arg;

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
    link_follow_peer(conn);
    tcp_ext_arg_set(pcb, id, conn);
    tcp_ext_arg_set_callbacks(pcb, id, &callbacks);
    tcp_arg(pcb, conn);
    mend_sizes(pcb);
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
    mend_sizes(pcb);
    tcp_nagle_disable(pcb);
    tcp_recv(pcb, received);
    conns_open(conn);
    conn->flags |= CONN_NEW;
    deadlines_start(conn, DEADLINE_IDLE);
    server.counters.connections_accepted++;
    return ERR_OK;
}

void listener_open(uint16_t port)
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

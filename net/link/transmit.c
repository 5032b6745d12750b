/*
 * Transmitting. A pbuf goes to the device as it is, and is held until its token comes back. What
 * lwIP sends, what reply.c sends in its place, and what handshake.c sends meet here.
 */
#include "net/link/transmit.h"

#include <assert.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/etharp.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "net/core/conn_table.h"
#include "net/core/server_state.h"
#include "net/link/link_state.h"
#include "net/wire/ip_header.h"

_Static_assert(PBUF_LINK_ENCAPSULATION_HLEN >= NETDEV_HEADROOM_BYTES, "room for the driver");

static size_t in_flight; /* frames whose tokens are out */

void transmit_init(void)
{
    in_flight = 0;
}

/* The device's reference; TCP nearly always has another, until the peer acknowledges. */
static inline void release(struct pbuf *p)
{
    if (p->ref > 1)
        p->ref--;
    else
        pbuf_free(p);
}

__attribute__((noinline)) void link_reap(void)
{
    void *tokens[64];
    size_t count;

    if (in_flight == 0)
        return;
    do {
        count = netdev_transmitted(tokens, sizeof tokens / sizeof tokens[0]);
        assert(count <= in_flight);
        in_flight -= count;
        for (size_t i = 0; i < count; i++)
            release(tokens[i]);
    } while (count == sizeof tokens / sizeof tokens[0]);
}

bool link_is_idle(void)
{
    link_reap();
    return in_flight == 0;
}

size_t link_space(size_t wanted)
{
    size_t space = netdev_transmit_space();
    if (space < wanted) {
        link_reap();
        space = netdev_transmit_space();
    }
    return space;
}

static void sum_headers(struct netdev_frame *frame, struct ip_hdr *ip, size_t packet_len)
{
    const bool offloads = link_state.checksum_offload && ip->_proto == IP_PROTO_TCP;
    ip_header_sum(ip, offloads, packet_len);
    if (offloads) {
        frame->checksum_start = SEGMENT_AT;
        frame->checksum_offset = offsetof(struct tcp_hdr, chksum);
    }
}

/* The frame is the device's until its token, the pbuf, comes back. */
static inline void hand_over(struct netdev_frame *frame, struct pbuf *held)
{
    frame->token = held;
    in_flight++;
    link_state.to_flush = true;
    netdev_transmit(frame);
}

/* Fills in the frame's buffers; false if the chain has more than a frame may. */
static bool gather(struct netdev_frame *frame, const struct pbuf *p)
{
    for (; p != NULL; p = p->next) {
        if (p->len == 0)
            continue;
        if (frame->buffer_count == NETDEV_TRANSMIT_BUFFERS_MAX)
            return false;
        frame->buffers[frame->buffer_count++] = (struct netdev_buffer){p->payload, p->len};
    }
    return true;
}

/* lwIP's linkoutput: `p` begins with the Ethernet header, and all headers are in its first pbuf. */
err_t transmit_frame(struct netif *netif, struct pbuf *p)
{
    struct netdev_frame frame;
    (void)netif;

    frame.buffer_count = 0;
    frame.checksum_start = 0;
    frame.checksum_offset = 0;
    const struct eth_hdr *const ethernet = p->payload;
    if (ethernet->type == PP_HTONS(ETHTYPE_IP)) {
        struct ip_hdr *const ip = (struct ip_hdr *)((uint8_t *)p->payload + ETHERNET_BYTES);
        const size_t packet_len = lwip_ntohs(ip->_len);
        ip_header_identify(ip, packet_len);
        sum_headers(&frame, ip, packet_len);
    }

    struct pbuf *held = p;
    if (gather(&frame, p)) {
        pbuf_ref(p);
    } else {
        held = pbuf_clone(PBUF_LINK, PBUF_RAM, p);
        if (held == NULL)
            return ERR_MEM;
        frame.buffer_count = 0;
        (void)gather(&frame, held);
    }
    if (link_space(frame.buffer_count) < frame.buffer_count) {
        pbuf_free(held);
        return ERR_MEM;
    }
    hand_over(&frame, held);
    return ERR_OK;
}

bool link_transmit(struct pbuf *token, const void *bytes, size_t len)
{
    struct netdev_frame frame;
    if (link_space(link_state.receive_space + 1) <= link_state.receive_space)
        return false;
    frame.buffers[0] = (struct netdev_buffer){bytes, (uint32_t)len};
    frame.buffer_count = 1;
    frame.checksum_start = 0;
    frame.checksum_offset = 0;
    hand_over(&frame, token);
    return true;
}

static void put_ethernet_header(struct eth_hdr *ethernet, const uint8_t mac[6])
{
    memcpy(&ethernet->dest, mac, sizeof ethernet->dest);
    memcpy(&ethernet->src, link_state.netif.hwaddr, sizeof ethernet->src);
    ethernet->type = PP_HTONS(ETHTYPE_IP);
}

/* Where the segments of a connection come from; NULL if there is no such connection. */
static const uint8_t *mac_of_peer(uint32_t address, const struct tcp_hdr *tcp)
{
    if (lwip_ntohs(tcp->src) != server.config.port)
        return NULL;
    const struct server_conn *const conn = conns_find(conns_key(address, lwip_ntohs(tcp->dest)));
    return conn != NULL ? conn->mac : NULL;
}

/*
 * lwIP's output, in place of etharp_output(). A connection's segments go to where its own come
 * from: no ARP entry need be there, so nobody on the link can cut a connection by filling the table
 * (32 entries) with forged addresses, and a burst of SYNs from new hosts waits for no resolution.
 */
err_t transmit_packet(struct netif *netif, struct pbuf *p, const ip4_addr_t *next_hop)
{
    const struct ip_hdr *const ip = p->payload;
    const struct tcp_hdr *const tcp =
        (const struct tcp_hdr *)((const uint8_t *)p->payload + IP_HLEN);
    const uint8_t *mac = NULL;

    if (ip->_proto == IP_PROTO_TCP)
        mac = mac_of_peer(ip->dest.addr, tcp);
    if (mac == NULL)
        return etharp_output(netif, p, next_hop);
    if (pbuf_add_header(p, ETHERNET_BYTES) != 0)
        return ERR_BUF;
    put_ethernet_header(p->payload, mac);
    return transmit_frame(netif, p);
}

bool link_takes_segments(void)
{
    return link_state.checksum_offload && link_space(1) >= 1;
}

__attribute__((noinline)) static void transmit_chain(struct pbuf *p)
{
    struct netdev_frame frame;
    frame.buffer_count = 0;
    (void)gather(&frame, p);
    frame.checksum_start = SEGMENT_AT;
    frame.checksum_offset = offsetof(struct tcp_hdr, chksum);
    pbuf_ref(p);
    hand_over(&frame, p);
}

void link_send_segment(struct pbuf *p, const uint8_t mac[6], uint32_t source, uint32_t destination)
{
    const size_t headers = SEGMENT_AT;
    struct ip_hdr *const ip = (struct ip_hdr *)((uint8_t *)p->payload - IP_HLEN);

    ip_header_write(ip, source, destination, (size_t)IP_HLEN + p->tot_len);
    p->payload = (uint8_t *)p->payload - headers;
    p->len = (u16_t)(p->len + headers);
    p->tot_len = (u16_t)(p->tot_len + headers);
    put_ethernet_header(p->payload, mac);

    if (p->next != NULL) {
        transmit_chain(p);
        return;
    }
    struct netdev_frame frame;
    frame.buffers[0] = (struct netdev_buffer){p->payload, p->len};
    frame.buffer_count = 1;
    frame.checksum_start = SEGMENT_AT;
    frame.checksum_offset = offsetof(struct tcp_hdr, chksum);
    pbuf_ref(p);
    hand_over(&frame, p);
}

bool link_flush(void)
{
    const bool had = link_state.to_flush;
    if (had)
        netdev_flush();
    link_state.to_flush = false;
    return had;
}

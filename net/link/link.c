/*
 * Buffers of the receive ring are not lwIP's to keep. In-order data is gone from them by the end of
 * the batch (turn.c takes it, or copies what cannot be taken yet). What lies out of order lwIP
 * keeps, as long as link_ooseq_pbufs_max() lets it: until half of the ring's buffers are held.
 * Beyond, it is dropped and sent again by the peer. So no ring is ever held empty, whoever sends
 * what.
 */
#include "net/link/link.h"

#include <assert.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/etharp.h"
#include "lwip/ip4.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "net/core/conn_table.h"
#include "net/core/server_state.h"
#include "net/link/lease.h"
#include "net/lwip_hooks.h"
#include "net/wire/ip_header.h"

#define ETHERNET_BYTES  14
#define ADDRESSES_BYTES 12 /* the two that a frame begins with */
#define SEGMENT_AT      (ETHERNET_BYTES + IP_HLEN)

/* Pieces received and not recycled: one batch, and what is held over. */
#define RECEIVED_MAX    256
#define HELD_MAX        128 /* ring buffers out of order, of all connections, or half of the ring */
#define OOSEQ_PBUFS_MAX 16  /* of one connection */

/* Descriptors without which nothing is received: for an answer to each of a batch, and more. */
#define RECEIVE_SPACE 96

_Static_assert(PBUF_LINK_ENCAPSULATION_HLEN >= NETDEV_HEADROOM_BYTES, "room for the driver");

/* A received piece; `custom` is first, because lwIP gives back a pointer to it. */
struct received {
    struct pbuf_custom custom;
    struct netdev_piece piece;
    struct received *next_free;
};

static struct {
    struct netif netif;
    const struct link_upcalls *upcalls;
    struct guard_self self;
    const uint8_t *source; /* see link_source() */
    uint64_t refused;      /* see link_refused() */
    size_t receive_space;  /* RECEIVE_SPACE, or half of a ring that is smaller */
    size_t in_flight;      /* frames whose tokens are out */
    size_t buffers_held;   /* of the receive ring, in pieces not recycled */
    size_t buffers_max;    /* of these: with more, nothing is kept out of order */
    unsigned pieces_held;
    bool to_flush;
    bool checksum_offload;
    u16_t check_flags; /* netif.chksum_flags that concern receiving */
    struct received *free;
    struct received received[RECEIVED_MAX];
} link_state;

uint32_t link_random(void)
{
    return entropy_u32();
}

struct netif *link_netif(void)
{
    return &link_state.netif;
}

uint32_t link_address(void)
{
    return netif_ip4_addr(&link_state.netif)->addr;
}

const uint8_t *link_source(void)
{
    return link_state.source;
}

bool link_is_up(void)
{
    return netif_is_link_up(&link_state.netif);
}

uint64_t link_refused(void)
{
    return link_state.refused;
}

/* ---- sending ---- */

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

    if (link_state.in_flight == 0)
        return;
    do {
        count = netdev_transmitted(tokens, sizeof tokens / sizeof tokens[0]);
        assert(count <= link_state.in_flight);
        link_state.in_flight -= count;
        for (size_t i = 0; i < count; i++)
            release(tokens[i]);
    } while (count == sizeof tokens / sizeof tokens[0]);
}

bool link_is_idle(void)
{
    link_reap();
    return link_state.in_flight == 0;
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
static inline void transmit(struct netdev_frame *frame, struct pbuf *held)
{
    frame->token = held;
    link_state.in_flight++;
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
static err_t send_frame(struct netif *netif, struct pbuf *p)
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
    transmit(&frame, held);
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
    transmit(&frame, token);
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
static err_t send_packet(struct netif *netif, struct pbuf *p, const ip4_addr_t *next_hop)
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
    return send_frame(netif, p);
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
    transmit(&frame, p);
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
    transmit(&frame, p);
}

bool link_flush(void)
{
    const bool had = link_state.to_flush;
    if (had)
        netdev_flush();
    link_state.to_flush = false;
    return had;
}

/* ---- receiving ---- */

u16_t link_ooseq_pbufs_max(void)
{
    return link_state.buffers_held <= link_state.buffers_max ? OOSEQ_PBUFS_MAX : 0;
}

static void recycle(const struct netdev_piece *piece)
{
    netdev_recycle(piece);
    link_state.to_flush = true;
}

static void free_received(struct pbuf *p)
{
    struct received *const received = (struct received *)(void *)p;
    link_state.buffers_held -= received->piece.ring_count;
    link_state.pieces_held--;
    received->next_free = link_state.free;
    link_state.free = received;
    recycle(&received->piece);
}

/* The bytes of a piece from `skip` on, as a pbuf. link_receive() has seen that there is one. */
static struct pbuf *wrap(const struct netdev_piece *piece, size_t skip)
{
    struct received *const received = link_state.free;
    link_state.free = received->next_free;
    link_state.pieces_held++;
    link_state.buffers_held += piece->ring_count;
    received->piece = *piece;
    received->custom.custom_free_function = free_received;
    return pbuf_alloced_custom(PBUF_RAW, (u16_t)(piece->len - skip), PBUF_REF, &received->custom,
                               piece->bytes + skip, (u16_t)(piece->len - skip));
}

/* Chains the pieces of a frame, without its Ethernet header and padding. */
__attribute__((noinline)) static struct pbuf *wrap_pieces(const struct netdev_piece *pieces,
                                                          size_t count, uint32_t len)
{
    struct pbuf *const first = wrap(&pieces[0], ETHERNET_BYTES);
    /* From the last to the first, so that each knows the length of what follows. */
    struct pbuf *rest = NULL;
    for (size_t i = count - 1; i > 0; i--) {
        struct pbuf *const p = wrap(&pieces[i], 0);
        p->next = rest;
        p->tot_len = (u16_t)(p->len + (rest == NULL ? 0 : rest->tot_len));
        rest = p;
    }
    first->next = rest;
    first->tot_len = (u16_t)(first->len + rest->tot_len);
    pbuf_realloc(first, (u16_t)len);
    return first;
}

static struct pbuf *wrap_frame(const struct netdev_piece *pieces, size_t count, uint32_t len)
{
    if (count > 1)
        return wrap_pieces(pieces, count, len);
    struct pbuf *const p = wrap(&pieces[0], ETHERNET_BYTES);
    p->len = (u16_t)len;
    p->tot_len = (u16_t)len;
    return p;
}

/* `sound`: lwIP need not sum it. */
__attribute__((noinline)) static void give_to_lwip(struct pbuf *p, bool sound)
{
    link_state.netif.chksum_flags =
        (u16_t)((link_state.netif.chksum_flags & ~link_state.check_flags) |
                (sound ? 0 : link_state.check_flags));
    (void)ip4_input(p, &link_state.netif);
}

static void deliver_segment(const struct guard_segment *segment, struct pbuf *p, bool sound)
{
    if (link_state.upcalls->admit(segment, p, sound) == LINK_DROP) {
        pbuf_free(p);
        return;
    }
    give_to_lwip(p, sound);
    link_state.upcalls->admitted();
}

__attribute__((noinline)) static void refuse(const struct netdev_piece *pieces, size_t count)
{
    link_state.refused++;
    for (size_t i = 0; i < count; i++)
        recycle(&pieces[i]);
}

static bool is_dealt_with(const struct guard_frame *frame, const struct netdev_piece *piece)
{
    const struct guard_segment *const segment = &frame->segment;
    const uint8_t *const packet = piece->bytes + ETHERNET_BYTES;
    if ((segment->flags & TCP_SYN) != 0)
        return link_state.upcalls->answer(segment, packet, frame->payload_len,
                                          piece->checksum_valid);
    return piece->checksum_valid && link_state.upcalls->serve(segment, packet, frame->payload_len);
}

/* Takes out the tag: the addresses move up to the type. */
__attribute__((noinline)) static void untag(struct netdev_piece *piece)
{
    memmove(piece->bytes + GUARD_TAG_BYTES, piece->bytes, ADDRESSES_BYTES);
    piece->bytes += GUARD_TAG_BYTES;
    piece->len -= GUARD_TAG_BYTES;
}

/* False: it is to be received again, without the tag that it had. */
static bool receive_frame(struct netdev_piece *pieces, size_t count, size_t total_len)
{
    struct guard_frame frame;
    enum guard_kind kind = GUARD_REFUSED;

    if (total_len - ETHERNET_BYTES <= UINT16_MAX)
        kind = guard_check(&link_state.self, pieces[0].bytes, pieces[0].len, total_len, &frame);
    if (kind == GUARD_REFUSED) {
        refuse(pieces, count);
        return true;
    }
    if (kind == GUARD_TAGGED) {
        untag(&pieces[0]);
        return false;
    }

    link_state.source = pieces[0].bytes + 6;
    if (kind == GUARD_SEGMENT && count == 1 && is_dealt_with(&frame, &pieces[0])) {
        recycle(&pieces[0]);
        return true;
    }
    struct pbuf *const p = wrap_frame(pieces, count, frame.payload_len);
    if (kind == GUARD_SEGMENT)
        deliver_segment(&frame.segment, p, pieces[0].checksum_valid);
    else if (kind == GUARD_IP)
        give_to_lwip(p, pieces[0].checksum_valid);
    else
        etharp_input(p, &link_state.netif);
    return true;
}

size_t link_receive(void)
{
    struct netdev_piece pieces[NETDEV_PIECES_MAX];
    size_t frames = 0;

    if (link_state.pieces_held + NETDEV_PIECES_MAX > RECEIVED_MAX ||
        link_space(link_state.receive_space) < link_state.receive_space)
        return 0;
    const size_t count = netdev_receive(pieces, NETDEV_PIECES_MAX);
    for (size_t first = 0; first < count;) {
        size_t last = first;
        size_t total_len = pieces[first].len;
        while (pieces[last].more) {
            last++;
            assert(last < count);
            total_len += pieces[last].len;
        }
        if (receive_frame(&pieces[first], last - first + 1, total_len)) {
            first = last + 1;
            frames++;
        }
    }
    return frames;
}

/* ---- coming up ---- */

static void log_address(const struct netif *netif)
{
    const ip4_addr_t *const address = netif_ip4_addr(netif);
    const uint32_t netmask = netif_ip4_netmask(netif)->addr;
    log_info("net", "%u.%u.%u.%u/%u is up, MTU %u", ip4_addr1_16(address), ip4_addr2_16(address),
             ip4_addr3_16(address), ip4_addr4_16(address), (unsigned)__builtin_popcount(netmask),
             netif->mtu);
}

/*
 * A subnet of two addresses has none for broadcast (RFC 3021), nor has one of a single address.
 * lwIP would take the other of the two for it, and neither hear nor answer the peer.
 */
static void follow_netmask(struct netif *netif)
{
    if (~lwip_ntohl(netif_ip4_netmask(netif)->addr) <= 1)
        netif->flags &= (uint8_t)~NETIF_FLAG_BROADCAST;
    else
        netif->flags |= NETIF_FLAG_BROADCAST;
}

/* lwIP calls this when the interface, its address or its netmask has come, changed or gone. */
static void follow_settings(struct netif *netif, netif_nsc_reason_t reason,
                            const netif_ext_callback_args_t *args)
{
    const uint32_t address = netif_ip4_addr(netif)->addr;
    const bool had_address = link_state.self.address != 0;
    const netif_nsc_reason_t reasons =
        LWIP_NSC_STATUS_CHANGED | LWIP_NSC_IPV4_ADDRESS_CHANGED | LWIP_NSC_IPV4_NETMASK_CHANGED;
    (void)args;

    if ((reason & reasons) == 0)
        return;
    link_state.self.address = address;
    follow_netmask(netif);
    if (address != 0)
        log_address(netif);
    else if (had_address)
        log_warn("net", "the address is gone");
}

static err_t init_netif(struct netif *netif)
{
    const struct netdev_info *const info = netdev_get_info();

    netif->name[0] = 'e';
    netif->name[1] = 'n';
    netif->output = send_packet;
    netif->linkoutput = send_frame;
    netif->mtu = info->mtu_bytes;
    netif->hwaddr_len = sizeof info->mac;
    memcpy(netif->hwaddr, info->mac, sizeof info->mac);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    return ERR_OK;
}

NETIF_DECLARE_EXT_CALLBACK(settings_callback)

void link_init(uint32_t address, uint32_t netmask, uint32_t gateway,
               const struct link_upcalls *upcalls)
{
    const struct netdev_info *const info = netdev_get_info();
    const ip4_addr_t addresses[3] = {{address}, {netmask}, {gateway}};

    memset(&link_state, 0, sizeof link_state);
    link_state.upcalls = upcalls;
    for (unsigned i = 0; i < RECEIVED_MAX; i++) {
        link_state.received[i].next_free = link_state.free;
        link_state.free = &link_state.received[i];
    }
    const size_t ring = netdev_transmit_space();
    link_state.receive_space = ring / 2 < RECEIVE_SPACE ? ring / 2 : RECEIVE_SPACE;
    link_state.buffers_max = LWIP_MIN(info->receive_buffers / 2, HELD_MAX);
    memcpy(link_state.self.mac, info->mac, sizeof link_state.self.mac);

    const bool added = netif_add(&link_state.netif, &addresses[0], &addresses[1], &addresses[2],
                                 NULL, init_netif, netif_input) != NULL;
    assert(added);
    link_state.checksum_offload = info->transmit_checksum;
    link_state.check_flags = NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP;
    if (link_state.checksum_offload)
        link_state.netif.chksum_flags &= (u16_t)~NETIF_CHECKSUM_GEN_TCP;
    netif_set_default(&link_state.netif);
    netif_add_ext_callback(&settings_callback, follow_settings);
    netif_set_up(&link_state.netif);
    (void)link_watch();
    if (address == 0)
        lease_start(&link_state.netif);
}

bool link_watch(void)
{
    const bool up = netdev_link_is_up();
    if (up == link_is_up())
        return false;
    if (up)
        netif_set_link_up(&link_state.netif);
    else
        netif_set_link_down(&link_state.netif);
    log_info("net", "link %s", up ? "up" : "down");
    return up;
}

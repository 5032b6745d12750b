/*
 * The answer is written into one of a few frames of its own, without lwIP and without a block of
 * the pools. It is summed here, whatever the device could do: a few words.
 */
#include "net/admit/handshake.h"

#include <string.h>

#include "kernel/netdev.h"
#include "lwip/ip4.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "net/admit/cookie.h"
#include "net/core/conn_table.h"
#include "net/core/pool.h"
#include "net/core/server_state.h"
#include "net/link/link.h"
#include "net/tcp/isn.h"
#include "net/wire/checksum.h"
#include "net/wire/ip_header.h"
#include "net/wire/tcp_options.h"

#define MSS_DEFAULT 536 /* RFC 9293 section 3.7.1: of a peer that tells none */

#define ANSWERS     160 /* at once: what a ring of 256 has to spare (link.c: RECEIVE_SPACE) */

/* A SYN or a SYN-ACK. */
struct syn_packet {
    struct ip_hdr ip;
    struct tcp_hdr tcp;
    uint32_t mss_option;
};

#define SEGMENT_BYTES (sizeof(struct syn_packet) - sizeof(struct ip_hdr))

/* `custom` is first, because lwIP gives back a pointer to it. */
struct answer {
    struct pbuf_custom custom;
    struct answer *next_free;
    uint8_t headroom[NETDEV_HEADROOM_BYTES + 2]; /* and so the packet is aligned */
    struct eth_hdr ethernet;
    struct syn_packet packet;
};

_Static_assert(offsetof(struct answer, packet) - offsetof(struct answer, ethernet) ==
                       SIZEOF_ETH_HDR &&
                   sizeof(struct syn_packet) == IP_HLEN + TCP_HLEN + TCP_OPTION_MSS_BYTES,
               "as on the wire");

static struct {
    struct answer answers[ANSWERS];
    struct answer *free;
    /* Of what is the same in all answers: in the header's sum, and in the segment's. */
    uint64_t ip_sum, tcp_sum;
} handshake;

static struct cookie_peer peer_of(const struct guard_segment *segment, uint32_t number)
{
    return (struct cookie_peer){segment->source, link_address(), segment->source_port, number};
}

/* ---- what is the same in all ---- */

/* All but what tells one peer from another: addresses, ports, numbers, window, sums. */
static void fill(struct syn_packet *packet, uint8_t flags, uint16_t mss)
{
    *packet = (struct syn_packet){
        .ip._v_hl = 0x45,
        .ip._len = PP_HTONS(sizeof *packet),
        /* Never cut up, so its identification need not differ (RFC 6864 section 4.1). */
        .ip._offset = PP_HTONS(IP_DF),
        .ip._ttl = TCP_TTL,
        .ip._proto = IP_PROTO_TCP,
        .tcp._hdrlen_rsvd_flags = lwip_htons((u16_t)(SEGMENT_BYTES / 4 << 12 | flags)),
        .mss_option = TCP_BUILD_MSS_OPTION((u32_t)mss),
    };
}

/* RFC 1071. */
static inline uint64_t sum_words(const uint8_t *bytes, size_t len)
{
    uint64_t sum = 0;
    uint64_t word;
    for (; len >= sizeof word; len -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        sum += (word & 0xffffffff) + (word >> 32);
    }
    for (unsigned shift = 0; len > 0; len--, shift ^= 8)
        sum += (uint64_t)*bytes++ << shift;
    return sum;
}

static void free_answer(struct pbuf *p)
{
    struct answer *const answer = (struct answer *)(void *)p;
    answer->next_free = handshake.free;
    handshake.free = answer;
}

/* NULL if all are on their way. */
static struct answer *take_answer(void)
{
    struct answer *const answer = handshake.free;
    if (answer != NULL) {
        handshake.free = answer->next_free;
        answer->custom.pbuf.ref = 1;
    }
    return answer;
}

void handshake_init(void)
{
    const struct netif *const netif = link_netif();

    handshake.free = NULL;
    for (unsigned i = 0; i < ANSWERS; i++) {
        struct answer *const answer = &handshake.answers[i];
        answer->custom.custom_free_function = free_answer;
        free_answer(pbuf_alloced_custom(PBUF_RAW, 0, PBUF_REF, &answer->custom, NULL, 0));
        memcpy(&answer->ethernet.src, netif->hwaddr, sizeof answer->ethernet.src);
        answer->ethernet.type = PP_HTONS(ETHTYPE_IP);
        fill(&answer->packet, TCP_SYN | TCP_ACK,
             (uint16_t)LWIP_MIN(TCP_MSS, netif->mtu - IP_HLEN - TCP_HLEN));
        answer->packet.tcp.src = lwip_htons(server.config.port);
        answer->packet.tcp.wnd = PP_HTONS(TCP_WND);
    }
    const struct syn_packet *const packet = &handshake.answers[0].packet;
    handshake.ip_sum = sum_words((const uint8_t *)&packet->ip, IP_HLEN);
    handshake.tcp_sum = sum_words((const uint8_t *)&packet->tcp, SEGMENT_BYTES) +
                        ip_header_pseudo_sum(SEGMENT_BYTES);
}

/* ---- the answer to a SYN ---- */

static uint16_t mss_told(const struct tcp_hdr *tcp)
{
    const uint8_t *const options = (const uint8_t *)(tcp + 1);
    const size_t len = TCPH_HDRLEN_BYTES(tcp) - (size_t)TCP_HLEN;
    size_t bytes;

    for (size_t at = 0; at < len && (bytes = tcp_option_bytes(options + at, len - at)) != 0;
         at += bytes)
        if (options[at] == TCP_OPTION_MSS && bytes == TCP_OPTION_MSS_BYTES)
            return (uint16_t)(options[at + 2] << 8 | options[at + 3]);
    return MSS_DEFAULT;
}

/* Who lwIP would not answer either (RFC 1122 section 3.2.1.3). */
static bool is_nobody(uint32_t source)
{
    const ip4_addr_t address = {source};
    return ip4_addr_isbroadcast(&address, link_netif()) || ip4_addr_ismulticast(&address);
}

/* Not one with more data than was copied beside its headers: there is no use for it in a SYN. */
static bool sum_is_right(const uint8_t *packet, size_t len)
{
    const struct ip_hdr *const ip = (const struct ip_hdr *)packet;
    const uint64_t sum = ip_header_pseudo_sum(len - IP_HLEN) + ip->src.addr + ip->dest.addr;
    return len == lwip_ntohs(ip->_len) &&
           checksum_fold(sum + sum_words(packet + IP_HLEN, len - IP_HLEN)) == 0xffff;
}

static void write_answer(struct answer *answer, const struct guard_segment *syn, uint32_t cookie)
{
    struct ip_hdr *const ip = &answer->packet.ip;
    struct tcp_hdr *const tcp = &answer->packet.tcp;

    memcpy(&answer->ethernet.dest, link_source(), sizeof answer->ethernet.dest);
    ip->src.addr = link_address();
    ip->dest.addr = syn->source;
    const uint64_t addresses = (uint64_t)ip->src.addr + ip->dest.addr;
    ip->_chksum = (uint16_t)~checksum_fold(handshake.ip_sum + addresses);
    tcp->dest = lwip_htons(syn->source_port);
    tcp->seqno = lwip_htonl(cookie);
    tcp->ackno = lwip_htonl(syn->number + 1);
    /* The port is the upper half of its word. */
    tcp->chksum = (uint16_t)~checksum_fold(handshake.tcp_sum + addresses +
                                           ((uint64_t)tcp->dest << 16) + tcp->seqno + tcp->ackno);
}

void handshake_answer(const struct guard_segment *syn, const uint8_t *packet, size_t len,
                      bool sound)
{
    if (is_nobody(syn->source) || (!sound && !sum_is_right(packet, len)))
        return;
    struct answer *const answer = take_answer();
    if (answer == NULL)
        return;
    const struct cookie_peer peer = peer_of(syn, syn->number);
    const uint16_t mss = mss_told((const struct tcp_hdr *)(packet + IP_HLEN));
    write_answer(answer, syn, cookie_make(&peer, mss, server.batch_ns));
    /* It is off the list before: link_transmit() reaps, and so puts others there. */
    if (link_transmit(&answer->custom.pbuf, &answer->ethernet,
                      SIZEOF_ETH_HDR + sizeof answer->packet))
        server.counters.syn_cookies_sent++;
    else
        free_answer(&answer->custom.pbuf);
}

/* ---- the ACK that follows ---- */

bool handshake_cookie_is_good(const struct guard_segment *ack, uint16_t *mss)
{
    const struct cookie_peer peer = peer_of(ack, ack->number - 1);
    return cookie_is_good(&peer, ack->ack - 1, server.batch_ns, mss);
}

static err_t swallow(struct netif *netif, struct pbuf *p, const ip4_addr_t *next_hop)
{
    (void)netif;
    (void)p;
    (void)next_hop;
    return ERR_OK;
}

static void is_static(struct pbuf *p)
{
    (void)p;
}

/* The SYN as it must have been. One at a time: lwIP keeps none. */
static struct pbuf *write_syn(const struct guard_segment *ack, uint16_t mss)
{
    static struct pbuf_custom custom = {.custom_free_function = is_static};
    static struct syn_packet packet;

    fill(&packet, TCP_SYN, mss);
    packet.ip.src.addr = ack->source;
    packet.ip.dest.addr = link_address();
    packet.tcp.src = lwip_htons(ack->source_port);
    packet.tcp.dest = lwip_htons(ack->port);
    packet.tcp.seqno = lwip_htonl(ack->number - 1);
    packet.tcp.wnd = lwip_htons(ack->window);
    return pbuf_alloced_custom(PBUF_RAW, sizeof packet, PBUF_REF, &custom, &packet, sizeof packet);
}

struct server_conn *handshake_rebuild(const struct guard_segment *ack, uint16_t mss)
{
    struct netif *const netif = link_netif();
    const netif_output_fn output = netif->output;
    const u16_t chksum_flags = netif->chksum_flags;

    pool_expect_pcb(true);
    isn_choose(ack->ack - 1);
    netif->output = swallow;
    netif->chksum_flags = 0;
    (void)ip4_input(write_syn(ack, mss), netif);
    netif->output = output;
    netif->chksum_flags = chksum_flags;
    conns_hide();
    pool_expect_pcb(false);
    isn_choose_freely();

    struct server_conn *const conn = conns_find(conns_key(ack->source, ack->source_port));
    /* A round trip that was not measured. */
    if (conn != NULL)
        conn->pcb->rttest = 0;
    return conn;
}

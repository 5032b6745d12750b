#include "net/wire/guard.h"

#include <stdbool.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/def.h"
#include "lwip/prot/tcp.h"
#include "net/wire/checksum.h"
#include "net/wire/tcp_options.h"

#define ARP_BYTES     28
#define GROUP_ADDRESS 0x01 /* of a MAC address' first byte: nobody sends from one */
#define IP_BYTES      20
#define TCP_BYTES     20
#define UDP_BYTES     8
#define ICMP_BYTES    8

/* In network order, like FRAGMENT_MASK. */
#define TYPE_IP       PP_HTONS(0x0800)
#define TYPE_ARP      PP_HTONS(0x0806)
#define TYPE_VLAN     PP_HTONS(0x8100)

#define VLAN_ID_MASK  0x0fff /* of the tag; the rest is the priority */

#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP  6
#define PROTOCOL_UDP  17

/* IPv4's version and header length in words, in one byte: no options. */
#define VERSION_4_WORDS_5 0x45

/* More fragments, and the offset; "don't fragment" is none of our business. In network order. */
#define FRAGMENT_MASK PP_HTONS(0x3fff)

/* As it stands, and as a number. */
static inline uint16_t get16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, 2);
    return value;
}

static inline uint16_t read16(const uint8_t *bytes)
{
    return lwip_ntohs(get16(bytes));
}

static inline uint32_t get32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, 4);
    return value;
}

/* RFC 1071, over a header without options: true if it sums to nothing. */
static bool header_sum_is_right(const uint8_t *ip)
{
    uint64_t sum = (uint64_t)get32(ip) + get32(ip + 4) + get32(ip + 8) + get32(ip + 12) +
                   (uint64_t)get32(ip + 16);
    return checksum_fold(sum) == 0xffff;
}

static bool options_are_whole(const uint8_t *options, size_t len)
{
    size_t at = 0, bytes = 1;
    while (at < len && (bytes = tcp_option_bytes(options + at, len - at)) != 0)
        at += bytes;
    return at == len || options[at] == TCP_OPTION_END;
}

static bool segment_is_sound(const uint8_t *tcp, size_t here)
{
    if (here < TCP_BYTES)
        return false;
    const size_t header_len = (size_t)(tcp[12] >> 4) * 4;
    if (header_len < TCP_BYTES || header_len > here)
        return false;

    const uint8_t flags = tcp[13];
    if ((flags & (TCP_SYN | TCP_RST | TCP_ACK)) == 0)
        return false;
    if ((flags & TCP_SYN) != 0 && (flags & (TCP_FIN | TCP_RST)) != 0)
        return false;
    if (get16(tcp) == 0)
        return false;
    return options_are_whole(tcp + TCP_BYTES, header_len - TCP_BYTES);
}

/* `here` of the `len` bytes lie at `bytes`. */
static bool transport_is_sound(uint8_t protocol, const uint8_t *bytes, size_t here, size_t len)
{
    switch (protocol) {
    case PROTOCOL_TCP:
        return segment_is_sound(bytes, here);
    case PROTOCOL_UDP:
        return here >= UDP_BYTES && read16(bytes + 4) >= UDP_BYTES && read16(bytes + 4) <= len;
    case PROTOCOL_ICMP:
        return here >= ICMP_BYTES;
    default:
        return true;
    }
}

/* A source that nobody but ourselves could have; lwIP refuses broadcast and multicast ones. */
static bool source_is_ours(const struct guard_self *self, const uint8_t *ip)
{
    return ip[12] == 127 || (self->address != 0 && get32(ip + 12) == self->address);
}

static enum guard_kind check_ip(const struct guard_self *self, const uint8_t *ip, size_t here,
                                size_t len, struct guard_frame *frame)
{
    if (here < IP_BYTES || ip[0] != VERSION_4_WORDS_5)
        return GUARD_REFUSED;
    const size_t packet_len = read16(ip + 2);
    if (packet_len < IP_BYTES || packet_len > len || (get16(ip + 6) & FRAGMENT_MASK) != 0 ||
        !header_sum_is_right(ip) || source_is_ours(self, ip))
        return GUARD_REFUSED;

    const uint8_t *const transport = ip + IP_BYTES;
    const size_t transport_here = (here < packet_len ? here : packet_len) - IP_BYTES;
    if (!transport_is_sound(ip[9], transport, transport_here, packet_len - IP_BYTES))
        return GUARD_REFUSED;
    frame->payload_len = (uint32_t)packet_len;
    if (ip[9] != PROTOCOL_TCP || get32(ip + 16) != self->address)
        return GUARD_IP;

    frame->segment = (struct guard_segment){
        .source = get32(ip + 12),
        .number = __builtin_bswap32(get32(transport + 4)),
        .ack = __builtin_bswap32(get32(transport + 8)),
        .source_port = read16(transport),
        .port = read16(transport + 2),
        .window = read16(transport + 14),
        .flags = transport[13],
    };
    return GUARD_SEGMENT;
}

/*
 * What a frame to all may bring: ARP, and UDP that is not for us alone (DHCP). A packet for one
 * host is discarded if its frame was sent to all (RFC 1122 section 3.3.6).
 */
__attribute__((noinline)) static bool is_for_all(const struct guard_self *self,
                                                 const uint8_t *bytes, size_t len)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const uint8_t *const ip = bytes + ETHERNET_BYTES;
    if (memcmp(bytes, broadcast, 6) != 0)
        return false;
    return get16(bytes + 12) != TYPE_IP ||
           (len >= ETHERNET_BYTES + IP_BYTES && ip[9] == PROTOCOL_UDP &&
            get32(ip + 16) != self->address);
}

/* Nothing here listens to a multicast group. */
static bool is_for_us(const struct guard_self *self, const uint8_t *bytes, size_t len)
{
    return memcmp(bytes, self->mac, 6) == 0 || is_for_all(self, bytes, len);
}

/* IEEE 802.1Q section 9.6: VLAN ID 0 says that the tag has a priority alone. One tag is enough. */
static bool is_priority_tag(const uint8_t *tag, size_t len)
{
    return len >= GUARD_TAG_BYTES && (read16(tag) & VLAN_ID_MASK) == 0 &&
           get16(tag + 2) != TYPE_VLAN;
}

__attribute__((noinline)) static enum guard_kind check_other(const uint8_t *bytes, size_t len,
                                                             struct guard_frame *frame)
{
    switch (get16(bytes + 12)) {
    case TYPE_ARP:
        if (len < ETHERNET_BYTES + ARP_BYTES)
            return GUARD_REFUSED;
        frame->payload_len = ARP_BYTES;
        return GUARD_ARP;
    case TYPE_VLAN:
        if (is_priority_tag(bytes + ETHERNET_BYTES, len - ETHERNET_BYTES))
            return GUARD_TAGGED;
        return GUARD_REFUSED;
    default:
        return GUARD_REFUSED;
    }
}

enum guard_kind guard_check(const struct guard_self *self, const uint8_t *bytes, size_t len,
                            size_t total_len, struct guard_frame *frame)
{
    if (len < ETHERNET_BYTES || !is_for_us(self, bytes, len) || (bytes[6] & GROUP_ADDRESS) != 0)
        return GUARD_REFUSED;
    if (get16(bytes + 12) == TYPE_IP)
        return check_ip(self, bytes + ETHERNET_BYTES, len - ETHERNET_BYTES,
                        total_len - ETHERNET_BYTES, frame);
    return check_other(bytes, len, frame);
}

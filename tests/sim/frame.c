#include "tests/sim/frame.h"

#include <string.h>

#include "tests/fake_netdev.h"
#include "tests/octets.h"
#include "tests/sim/sim.h"

#define TYPE_IP      0x0800
#define TYPE_ARP     0x0806
#define PROTOCOL_TCP 6

static uint16_t segment_sum(const uint8_t *ip, size_t segment_len)
{
    const uint64_t pseudo = PROTOCOL_TCP + segment_len;
    return sum16(ip + IP_BYTES, segment_len, pseudo + sum16(ip + 12, 8, 0));
}

static bool is_near(uint32_t address)
{
    return (address & FRAME_NETMASK) == (FRAME_SERVER & FRAME_NETMASK);
}

/* Whose MAC address a packet from or to `address` has on the link. */
static void put_mac(uint8_t *at, uint32_t address)
{
    put16(at, 0x0200);
    put32(at + 2, is_near(address) ? address : FRAME_GATEWAY);
}

static void put_ethernet(uint8_t *frame, uint32_t source, uint16_t type)
{
    memcpy(frame, fake_netdev_default.mac, 6);
    put_mac(frame + 6, source);
    put16(frame + 12, type);
}

size_t frame_of_ip(uint8_t protocol, uint32_t source, size_t payload_len,
                   uint8_t frame[FRAME_BYTES_MAX])
{
    uint8_t *const ip = frame + ETHERNET_BYTES;
    put_ethernet(frame, source, TYPE_IP);
    memset(ip, 0, IP_BYTES);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(IP_BYTES + payload_len));
    ip[8] = 64;
    ip[9] = protocol;
    put32(ip + 12, source);
    put32(ip + 16, FRAME_SERVER);
    put16(ip + 10, (uint16_t)~sum16(ip, IP_BYTES, 0));
    return ETHERNET_BYTES + IP_BYTES + payload_len;
}

void frame_sum_segment(uint8_t *frame, size_t len)
{
    uint8_t *const ip = frame + ETHERNET_BYTES;
    put16(ip + IP_BYTES + 16, 0);
    put16(ip + IP_BYTES + 16, (uint16_t)~segment_sum(ip, len - ETHERNET_BYTES - IP_BYTES));
}

size_t frame_of_segment(const struct segment *segment, uint8_t frame[FRAME_BYTES_MAX])
{
    uint8_t *const tcp = frame + ETHERNET_BYTES + IP_BYTES;
    size_t header_len = 20;

    put16(tcp, segment->port);
    put16(tcp + 2, segment->server_port);
    put32(tcp + 4, segment->number);
    put32(tcp + 8, segment->ack);
    tcp[13] = segment->flags;
    put16(tcp + 14, segment->window);
    put16(tcp + 18, 0);
    if (segment->mss != 0) {
        put16(tcp + 20, 0x0204);
        put16(tcp + 22, segment->mss);
        header_len += 4;
    }
    memcpy(tcp + header_len, segment->options, segment->options_len);
    header_len += segment->options_len;
    tcp[12] = (uint8_t)(header_len / 4 << 4);
    if (segment->len > 0)
        memcpy(tcp + header_len, segment->data, segment->len);
    const size_t len =
        frame_of_ip(PROTOCOL_TCP, segment->address, header_len + segment->len, frame);
    frame_sum_segment(frame, len);
    return len;
}

size_t frame_of_arp(uint16_t op, uint32_t sender, uint8_t frame[FRAME_BYTES_MAX])
{
    uint8_t *const arp = frame + ETHERNET_BYTES;
    memset(arp, 0, 28);
    put_ethernet(frame, sender, TYPE_ARP);
    memcpy(arp, "\x00\x01\x08\x00\x06\x04", 6);
    put16(arp + 6, op);
    put_mac(arp + 8, sender);
    put32(arp + 14, sender);
    memcpy(arp + 18, fake_netdev_default.mac, 6);
    put32(arp + 24, FRAME_SERVER);
    return ETHERNET_BYTES + 28;
}

bool frame_is_sound(const uint8_t *frame, size_t len)
{
    const uint8_t *const ip = frame + ETHERNET_BYTES;
    if (len < ETHERNET_BYTES + IP_BYTES || get16(frame + 12) != TYPE_IP || ip[0] != 0x45)
        return false;
    const size_t packet_len = get16(ip + 2);
    if (packet_len < IP_BYTES || packet_len > len - ETHERNET_BYTES)
        return false;
    if (sum16(ip, IP_BYTES, 0) != 0xffff)
        return false;
    if (ip[9] != PROTOCOL_TCP)
        return true;
    return packet_len >= IP_BYTES + 20 && segment_sum(ip, packet_len - IP_BYTES) == 0xffff;
}

static enum frame_kind read_arp(const uint8_t *arp, size_t len, struct segment *segment)
{
    SIM_CHECK(len >= 28, "the appliance sent %zu bytes of ARP", len);
    SIM_CHECK(get32(arp + 14) == FRAME_SERVER, "ARP in the name of another");
    segment->address = get32(arp + 24);
    return get16(arp + 6) == 1 ? FRAME_ARP_REQUEST : FRAME_OTHER;
}

static void read_segment(const uint8_t *tcp, size_t len, struct segment *segment)
{
    const size_t header_len = (size_t)(tcp[12] >> 4) * 4;
    SIM_CHECK(header_len >= 20 && header_len <= len, "a TCP header of %zu bytes in %zu", header_len,
              len);
    segment->server_port = get16(tcp);
    segment->port = get16(tcp + 2);
    segment->number = get32(tcp + 4);
    segment->ack = get32(tcp + 8);
    segment->flags = tcp[13];
    segment->window = get16(tcp + 14);
    if (header_len >= 24 && get16(tcp + 20) == 0x0204)
        segment->mss = get16(tcp + 22);
    segment->data = tcp + header_len;
    segment->len = len - header_len;
}

enum frame_kind frame_read(const uint8_t *frame, size_t len, struct segment *segment)
{
    const uint8_t *const ip = frame + ETHERNET_BYTES;
    uint8_t mac[6];

    memset(segment, 0, sizeof *segment);
    SIM_CHECK(len >= ETHERNET_BYTES && len <= ETHERNET_BYTES + 1500, "a frame of %zu bytes", len);
    SIM_CHECK(memcmp(frame + 6, fake_netdev_default.mac, 6) == 0, "a MAC address not its own");
    if (get16(frame + 12) == TYPE_ARP)
        return read_arp(ip, len - ETHERNET_BYTES, segment);
    SIM_CHECK(get16(frame + 12) == TYPE_IP, "a frame of type %#x", get16(frame + 12));
    SIM_CHECK(frame_is_sound(frame, len), "a packet with wrong checksums or lengths");
    SIM_CHECK(get16(ip + 2) == len - ETHERNET_BYTES, "bytes behind the packet");
    SIM_CHECK(get32(ip + 12) == FRAME_SERVER, "an IP source not its own");
    segment->address = get32(ip + 16);
    put_mac(mac, segment->address);
    SIM_CHECK(memcmp(mac, frame, 6) == 0, "a packet for %#x went to another's MAC address",
              segment->address);
    if (ip[9] != PROTOCOL_TCP)
        return FRAME_OTHER;
    read_segment(ip + IP_BYTES, len - ETHERNET_BYTES - IP_BYTES, segment);
    return FRAME_TCP;
}

#include "tests/abuse/packet.h"

#include <arpa/inet.h>
#include <string.h>

#include "tests/octets.h"

#define ETHERNET_BYTES 14
#define IP_BYTES       20
#define TCP_BYTES      20
#define UDP_BYTES      8
#define ICMP_BYTES     8

#define PROTOCOL_ICMP  1
#define PROTOCOL_TCP   6
#define PROTOCOL_UDP   17

static uint32_t pseudo_sum(const uint8_t *ip, uint32_t protocol, size_t len)
{
    uint32_t sum = protocol + (uint32_t)len;
    for (size_t i = 12; i < 20; i += 2)
        sum += get16(ip + i);
    return sum;
}

void packet_sum_ip(uint8_t *frame)
{
    uint8_t *const ip = frame + ETHERNET_BYTES;
    put16(ip + 10, 0);
    put16(ip + 10, checksum16(ip, IP_BYTES, 0));
}

static uint8_t *start_frame(uint8_t *frame, const struct packet_path *path, uint32_t type)
{
    memcpy(frame, path->to_mac, 6);
    memcpy(frame + 6, path->from_mac, 6);
    put16(frame + 12, type);
    return frame + ETHERNET_BYTES;
}

/* Returns where the payload begins. */
static uint8_t *start_ip(uint8_t *frame, const struct packet_path *path, uint32_t from,
                         uint8_t protocol, size_t payload_len)
{
    uint8_t *const ip = start_frame(frame, path, 0x0800);
    memset(ip, 0, IP_BYTES);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(IP_BYTES + payload_len));
    ip[8] = 64;
    ip[9] = protocol;
    memcpy(ip + 12, &from, 4);
    memcpy(ip + 16, &path->to, 4);
    packet_sum_ip(frame);
    return ip + IP_BYTES;
}

size_t packet_tcp(uint8_t *frame, const struct packet_path *path, const struct packet_tcp *tcp)
{
    const size_t header_len = TCP_BYTES + tcp->options_len;
    const size_t len = header_len + tcp->data_len;
    uint8_t *const at = start_ip(frame, path, tcp->from, PROTOCOL_TCP, len);

    put16(at, tcp->from_port);
    put16(at + 2, path->to_port);
    put32(at + 4, tcp->number);
    put32(at + 8, tcp->acknowledged);
    at[12] = (uint8_t)(header_len / 4 << 4);
    at[13] = tcp->flags;
    put16(at + 14, tcp->window);
    put32(at + 16, 0);
    if (tcp->options_len > 0)
        memcpy(at + TCP_BYTES, tcp->options, tcp->options_len);
    if (tcp->data_len > 0)
        memcpy(at + header_len, tcp->data, tcp->data_len);
    put16(at + 16, checksum16(at, len, pseudo_sum(at - IP_BYTES, PROTOCOL_TCP, len)));
    return ETHERNET_BYTES + IP_BYTES + len;
}

size_t packet_udp(uint8_t *frame, const struct packet_path *path, uint32_t from, uint16_t from_port,
                  size_t data_len)
{
    const size_t len = UDP_BYTES + data_len;
    uint8_t *const at = start_ip(frame, path, from, PROTOCOL_UDP, len);

    memset(at, 0, len);
    put16(at, from_port);
    put16(at + 2, path->to_port);
    put16(at + 4, (uint32_t)len);
    put16(at + 6, checksum16(at, len, pseudo_sum(at - IP_BYTES, PROTOCOL_UDP, len)));
    return ETHERNET_BYTES + IP_BYTES + len;
}

size_t packet_echo(uint8_t *frame, const struct packet_path *path, uint32_t from, uint16_t number,
                   size_t data_len)
{
    const size_t len = ICMP_BYTES + data_len;
    uint8_t *const at = start_ip(frame, path, from, PROTOCOL_ICMP, len);

    memset(at, 0, len);
    at[0] = 8;
    put16(at + 6, number);
    put16(at + 2, checksum16(at, len, 0));
    return ETHERNET_BYTES + IP_BYTES + len;
}

size_t packet_arp(uint8_t *frame, const struct packet_path *path, uint32_t from, uint16_t operation)
{
    static const uint8_t kind[] = {0, 1, 8, 0, 6, 4}; /* Ethernet, IPv4 */
    uint8_t *const at = start_frame(frame, path, 0x0806);

    memcpy(at, kind, sizeof kind);
    put16(at + 6, operation);
    memcpy(at + 8, path->from_mac, 6);
    memcpy(at + 14, &from, 4);
    memcpy(at + 18, path->to_mac, 6);
    memcpy(at + 24, &path->to, 4);
    return ETHERNET_BYTES + 28;
}

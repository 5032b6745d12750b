/*
 * Ethernet frames, made and read: TCP segments with right checksums, ARP, and the addresses of the
 * simulated network.
 *
 *     10.0.0.2         the appliance
 *     10.0.1.h         hosts on the link, h from 1; each with a MAC address of its own
 *     172.16.x.y       hosts behind the gateway
 *     10.0.0.254       the gateway
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_BYTES_MAX   65549
#define FRAME_SERVER      0x0a000002u
#define FRAME_NETMASK     0xffff0000u
#define FRAME_GATEWAY     0x0a0000feu
#define FRAME_HOST(h)     (0x0a000100u + (h))
#define FRAME_FAR(n)      (0xac100000u + (n))
#define FRAME_SERVER_PORT 8080

#define FLAG_FIN          0x01
#define FLAG_SYN          0x02
#define FLAG_RST          0x04
#define FLAG_PSH          0x08
#define FLAG_ACK          0x10

#define ETHERNET_BYTES    14
#define IP_BYTES          20

/* A segment between the appliance and a client. Addresses and numbers in host byte order. */
struct segment {
    uint32_t address; /* the client's */
    uint16_t port;    /* the client's */
    uint16_t server_port;
    uint32_t number, ack;
    uint16_t window, mss; /* mss 0: no option */
    uint8_t flags;
    uint8_t options_len; /* besides the MSS; a multiple of 4 */
    uint8_t options[32];
    const uint8_t *data;
    size_t len;
};

/* The frame by which a client sends it; returns its length. */
size_t frame_of_segment(const struct segment *segment, uint8_t frame[FRAME_BYTES_MAX]);

/* An ARP packet from one of the simulated hosts to the appliance. `op` 1: request, 2: reply. */
size_t frame_of_arp(uint16_t op, uint32_t sender, uint8_t frame[FRAME_BYTES_MAX]);

/* An IP packet of any protocol, its header right; `payload` is at frame + 34 already. */
size_t frame_of_ip(uint8_t protocol, uint32_t source, size_t payload_len,
                   uint8_t frame[FRAME_BYTES_MAX]);

/* (Re)computes the checksum of a frame's TCP segment. */
void frame_sum_segment(uint8_t *frame, size_t len);

/* True if it is an IP packet whose checksums are right, as far as it has any. */
bool frame_is_sound(const uint8_t *frame, size_t len);

enum frame_kind { FRAME_TCP, FRAME_ARP_REQUEST, FRAME_OTHER };

/*
 * Reads a frame that the appliance sent. Anything malformed is a violation, also a MAC address that
 * is not that of the receiver. For ARP requests, *segment has the address asked for.
 */
enum frame_kind frame_read(const uint8_t *frame, size_t len, struct segment *segment);

/* Frames: an Ethernet header, an IPv4 header, and what it carries, with sums that are right. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PACKET_BYTES_MAX 1514

struct packet_path {
    uint8_t from_mac[6], to_mac[6];
    uint32_t to; /* addresses in network byte order */
    uint16_t to_port;
};

struct packet_tcp {
    uint32_t from;
    uint16_t from_port;
    uint32_t number, acknowledged;
    uint8_t flags;
    uint16_t window;
    const uint8_t *options;
    size_t options_len; /* a multiple of 4, up to 40 */
    const void *data;
    size_t data_len;
};

/* Each returns the length of the frame. */
size_t packet_tcp(uint8_t *frame, const struct packet_path *path, const struct packet_tcp *tcp);
size_t packet_udp(uint8_t *frame, const struct packet_path *path, uint32_t from, uint16_t from_port,
                  size_t data_len);
size_t packet_echo(uint8_t *frame, const struct packet_path *path, uint32_t from, uint16_t number,
                   size_t data_len);
size_t packet_arp(uint8_t *frame, const struct packet_path *path, uint32_t from,
                  uint16_t operation);

/* Completes the IP header of a packet whose fields were changed. */
void packet_sum_ip(uint8_t *frame);

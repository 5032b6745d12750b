/*
 * The link: lwIP's network interface over kernel/netdev.h.
 *
 * Receiving: a frame's headers are copied, and its data stays where the device put it. Most frames
 * are dealt with there (link_upcalls). Of other segments the headers become a pbuf, and each piece
 * of data another one, which points into the ring and gives its buffers back when lwIP frees it.
 * What is no segment for us is copied whole.
 *
 * Sending: a pbuf goes to the device as it is, with NETDEV_HEADROOM_BYTES in front of it for the
 * driver, and is held until its token comes back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lwip/netif.h"
#include "net/core/conn.h"
#include "net/wire/guard.h"

struct tcp_hdr;

enum link_verdict {
    LINK_DROP, /* `p` remains the caller's */
    LINK_PASS, /* lwIP shall have it */
};

/*
 * What the link asks of those above it, of TCP segments to our address. The first two are asked
 * before there is a pbuf, for a frame in one piece; true if the segment is dealt with. The others
 * are called for each segment that lwIP is to have. `sound`: its checksum is known to be right.
 *
 * Headers, here and in pbufs, are a copy of those that were checked. Data lies where the device put
 * it, and could change it.
 */
struct link_upcalls {
    /* A SYN that begins nothing yet: its headers lie at `packet`, with data up to `len`. */
    bool (*answer)(const struct guard_segment *segment, const uint8_t *packet, size_t len,
                   bool sound);
    /* Data for a connection, of a segment that is sound; right only if it has no TCP options. */
    bool (*serve)(const struct guard_segment *segment, const struct tcp_hdr *header,
                  const uint8_t *bytes, size_t len);
    /* Before lwIP has it. */
    enum link_verdict (*admit)(const struct guard_segment *segment, struct pbuf *p, bool sound);
    /* After LINK_PASS, and lwIP. */
    void (*admitted)(void);
};

/*
 * Brings the interface up: with the address given (network byte order), or with DHCP if it is 0.
 * The MTU and the like come from the device. `upcalls` stays the caller's. Called once, after
 * lwip_init().
 */
void link_init(uint32_t address, uint32_t netmask, uint32_t gateway,
               const struct link_upcalls *upcalls);

struct netif *link_netif(void);

/* The address in use, network byte order; 0 while there is none. */
uint32_t link_address(void);
bool link_is_up(void);

/* False while the device has frames of ours: where it takes them to, they have not gone yet. */
bool link_is_idle(void);

/*
 * To be called some tens of times a second; true if the link came up just now. Reads its state off
 * the device, which is several VM exits: each time, but once a second while frames come.
 */
bool link_watch(void);

/* The MAC address that the frame being delivered came from; 6 bytes. */
const uint8_t *link_source(void);

/* The peer's segments come this way, perhaps from now on; ours go back that way. */
static inline void link_follow_peer(struct server_conn *conn)
{
    memcpy(conn->mac, link_source(), sizeof conn->mac);
}

/*
 * Takes what the device has received, at most NETDEV_PIECES_MAX pieces, and sees to it.
 * Returns the number of frames; 0 also while the transmit ring is too full for what they could be
 * answered with: nobody is served by requests whose answers must be thrown away.
 */
size_t link_receive(void);

/*
 * Sends a frame that is complete, its checksums too, with NETDEV_HEADROOM_BYTES in front of it.
 * `token` is freed when the device has sent it. False if that would take one of the descriptors
 * without which nothing is received: they are for those who are connected.
 */
bool link_transmit(struct pbuf *token, const void *frame, size_t len);

/* Frees what the device has sent. */
void link_reap(void);

/* Descriptors free for sending; reaps when that is fewer than `wanted`. */
size_t link_space(size_t wanted);

/* Whether link_send_segment() can be called: the device sums checksums, and has room for a pbuf. */
bool link_takes_segments(void);

/*
 * Sends a TCP segment that begins at the payload of `p`, with its header in the first pbuf and room
 * for all others in front of that. There MUST be a descriptor for each pbuf. Its checksum field is
 * filled in here. Addresses in network byte order.
 */
void link_send_segment(struct pbuf *p, const uint8_t mac[6], uint32_t source, uint32_t destination);

/* Publishes what was queued and recycled since the last call; true if there was anything. */
bool link_flush(void);

/* Frames that guard.c has kept out. */
uint64_t link_refused(void);

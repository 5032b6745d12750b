/*
 * The link: lwIP's network interface over kernel/netdev.h.
 *
 * Receiving: a frame stays where the device put it. Most are dealt with there, in link_serve(). Of
 * others each piece becomes a pbuf that points into the ring and gives its buffers back when lwIP
 * frees it.
 *
 * Sending: a pbuf goes to the device as it is, with NETDEV_HEADROOM_BYTES in front of it for the
 * driver, and is held until its token comes back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lwip/netif.h"
#include "net/wire/guard.h"

/*
 * Brings the interface up: with the address given (network byte order), or with DHCP if it is 0.
 * `mtu_bytes` and the rest come from the device. Called once, after lwip_init().
 */
void link_init(uint32_t address, uint32_t netmask, uint32_t gateway);

struct netif *link_netif(void);

/* The address in use, network byte order; 0 while there is none. */
uint32_t link_address(void);
bool link_is_up(void);

/* False while the device has frames of ours: where it takes them to, they have not gone yet. */
bool link_is_idle(void);

/* Reads the state of the link off the device; true if it came up just now. */
bool link_watch(void);

/*
 * Called for each TCP segment to our address that lwIP is to have, before it does, with its
 * packet; server.c.
 * `sound`: its checksum is known to be right. After LINK_PASS, and lwIP, link_admitted() follows.
 */
enum link_verdict {
    LINK_DROP, /* `p` remains the caller's */
    LINK_PASS, /* lwIP shall have it */
};

enum link_verdict link_admit(const struct guard_segment *segment, struct pbuf *p, bool sound);
void link_admitted(void);

/*
 * Before there is a pbuf of it, for a frame in one piece that has its packet at `packet`. True if
 * the segment is dealt with:
 *
 *     link_answer()   a SYN that begins nothing yet
 *     link_serve()    data for a connection, of a segment that is `sound`
 */
bool link_answer(const struct guard_segment *segment, const uint8_t *packet, size_t len,
                 bool sound);
bool link_serve(const struct guard_segment *segment, const uint8_t *packet, size_t len);

/* The MAC address that the frame being delivered came from; 6 bytes. */
const uint8_t *link_source(void);

/*
 * The MAC address of the connection between our `port` and the peer's, NULL if there is none such;
 * server.c. `address` in network byte order, ports in host byte order.
 */
const uint8_t *link_peer(uint32_t address, uint16_t peer_port, uint16_t port);

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

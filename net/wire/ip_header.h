/*
 * The fields of an outgoing IPv4 header that depend on the others: identification and checksum.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lwip/def.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"

/*
 * Identification and fragmentation of a packet of `packet_len` bytes. One of at most 576, which no
 * link in use today has to fragment (RFC 791 lets it from 68 on), forbids it, and then needs no
 * identification (RFC 6864 section 4.1). Others get one that cannot be guessed, so that nobody can
 * tell from it what else is sent (section 4.3).
 */
void ip_header_identify(struct ip_hdr *ip, size_t packet_len);

/*
 * The header's checksum; all else in it is complete. With `with_tcp` also the checksum field of the
 * TCP header that follows gets the pseudo-header's sum (RFC 9293 section 3.1), which a device
 * completes.
 */
void ip_header_sum(struct ip_hdr *ip, bool with_tcp, size_t packet_len);

/*
 * All of the header of a TCP segment, and the pseudo-header's sum in the TCP header behind it. In
 * whole words, out of registers: a processor that is to sum up what it has just stored in smaller
 * pieces waits until they are in its cache.
 */
void ip_header_write(struct ip_hdr *ip, uint32_t source, uint32_t destination, size_t packet_len);

/* Of the pseudo-header of a TCP segment, what is not the addresses (RFC 9293 section 3.1). */
static inline uint64_t ip_header_pseudo_sum(size_t segment_len)
{
    return PP_HTONS(IP_PROTO_TCP) + (uint64_t)lwip_htons((uint16_t)segment_len);
}

#include "net/wire/ip_header.h"

#include <string.h>

#include "kernel/netdev.h"
#include "lwip/def.h"
#include "lwip/ip.h"
#include "lwip/prot/tcp.h"
#include "net/wire/checksum.h"

#define NEVER_FRAGMENTED_BYTES 576

static struct {
    uint16_t numbers[128];
    unsigned left;
} random_ids;

__attribute__((noinline)) static uint16_t next_random_id(void)
{
    if (random_ids.left == 0) {
        entropy_fill(random_ids.numbers, sizeof random_ids.numbers);
        random_ids.left = sizeof random_ids.numbers / sizeof random_ids.numbers[0];
    }
    return random_ids.numbers[--random_ids.left];
}

static inline void store32(uint8_t *bytes, uint32_t word)
{
    memcpy(bytes, &word, sizeof word);
}

/* The header's second word. */
static inline uint32_t identify(size_t packet_len)
{
    return packet_len <= NEVER_FRAGMENTED_BYTES ? (uint32_t)PP_HTONS(IP_DF) << 16
                                                : next_random_id();
}

void ip_header_identify(struct ip_hdr *ip, size_t packet_len)
{
    const uint32_t word = identify(packet_len);
    store32((uint8_t *)ip + 4, word);
}

static uint16_t pseudo_header_sum(uint64_t addresses, size_t packet_len)
{
    return checksum_fold(addresses + ip_header_pseudo_sum(packet_len - IP_HLEN));
}

void ip_header_sum(struct ip_hdr *ip, bool with_tcp, size_t packet_len)
{
    uint32_t words[5];

    ip->_chksum = 0;
    memcpy(words, ip, sizeof words);
    const uint64_t addresses = (uint64_t)words[3] + words[4];
    ip->_chksum = (uint16_t)~checksum_fold(addresses + words[0] + words[1] + words[2]);
    if (with_tcp)
        ((struct tcp_hdr *)(void *)(ip + 1))->chksum = pseudo_header_sum(addresses, packet_len);
}

void ip_header_write(struct ip_hdr *ip, uint32_t source, uint32_t destination, size_t packet_len)
{
    const uint32_t version_and_len = 0x45 | (uint32_t)lwip_htons((uint16_t)packet_len) << 16;
    const uint32_t identification = identify(packet_len);
    const uint32_t ttl_and_protocol = IP_DEFAULT_TTL | IP_PROTO_TCP << 8;
    const uint64_t addresses = (uint64_t)source + destination;
    const uint16_t sum =
        checksum_fold(addresses + version_and_len + identification + ttl_and_protocol);

    uint8_t *const bytes = (uint8_t *)ip;
    store32(bytes, version_and_len);
    store32(bytes + 4, identification);
    store32(bytes + 8, ttl_and_protocol | (uint32_t)(uint16_t)~sum << 16);
    store32(bytes + 12, source);
    store32(bytes + 16, destination);
    ((struct tcp_hdr *)(void *)(ip + 1))->chksum = pseudo_header_sum(addresses, packet_len);
}

#include "net/ip_header.h"

#include <string.h>

#include "kernel/netdev.h"
#include "lwip/def.h"
#include "lwip/ip.h"
#include "lwip/prot/tcp.h"
#include "net/checksum.h"

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

void ip_header_identify(struct ip_hdr *ip, size_t packet_len)
{
    if (packet_len <= NEVER_FRAGMENTED_BYTES) {
        ip->_offset = PP_HTONS(IP_DF);
        ip->_id = 0;
    } else {
        ip->_offset = 0;
        ip->_id = next_random_id();
    }
}

void ip_header_sum(struct ip_hdr *ip, bool with_tcp, size_t packet_len)
{
    uint32_t words[5];

    ip->_chksum = 0;
    memcpy(words, ip, sizeof words);
    const uint64_t addresses = (uint64_t)words[3] + words[4];
    ip->_chksum = (uint16_t)~checksum_fold(addresses + words[0] + words[1] + words[2]);
    if (with_tcp) {
        const uint16_t segment_len = (uint16_t)(packet_len - IP_HLEN);
        struct tcp_hdr *const tcp = (struct tcp_hdr *)(void *)(ip + 1);
        tcp->chksum = checksum_fold(addresses + lwip_htons(IP_PROTO_TCP) + lwip_htons(segment_len));
    }
}

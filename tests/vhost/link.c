#include "tests/vhost/link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>

#include "tests/vhost/rings.h"

/* ---- what is on the wire; numbers are in network byte order ---- */

#define TYPE_IPV4      0x0800
#define TYPE_ARP       0x0806
#define PROTOCOL_TCP   6
#define ARP_REQUEST    1
#define ARP_REPLY      2
#define OPTION_END     0
#define OPTION_NOP     1
#define OPTION_MSS     2
#define IP_DO_NOT_FRAG 0x4000

struct ethernet {
    uint8_t destination[6], source[6];
    uint16_t type;
} __attribute__((packed));

struct arp { /* RFC 826, IPv4 over Ethernet */
    uint16_t hardware, protocol;
    uint8_t hardware_len, protocol_len;
    uint16_t operation;
    uint8_t sender_ethernet[6];
    uint32_t sender;
    uint8_t target_ethernet[6];
    uint32_t target;
} __attribute__((packed));

struct ipv4 { /* RFC 791, without options */
    uint8_t version_and_words, service;
    uint16_t len, id, fragment;
    uint8_t time_to_live, protocol;
    uint16_t checksum;
    uint32_t source, destination;
} __attribute__((packed));

struct tcp { /* RFC 9293 */
    uint16_t source, destination;
    uint32_t sequence, acknowledgement;
    uint8_t words, flags;
    uint16_t window, checksum, urgent;
} __attribute__((packed));

struct frame {
    struct ethernet ethernet;
    struct ipv4 ip;
    struct tcp tcp;
    uint8_t options[40];
} __attribute__((packed));

#define HEADERS_BYTES 54u /* without TCP options */

_Static_assert(offsetof(struct frame, options) == HEADERS_BYTES, "Ethernet, IPv4, TCP");
_Static_assert(sizeof(struct arp) == 28, "RFC 826");

static const uint8_t own_ethernet[6] = {0x52, 0x54, 0x00, 0x12, 0x00, 0x01};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static struct {
    uint32_t own, guest; /* network byte order */
    uint8_t guest_ethernet[6];
    bool resolved;
    bool receive_checksums; /* the guest takes frames whose checksum is not filled in */
    bool trains;            /* GUEST_TSO4 */
    uint16_t id;
    struct frame template;
    uint32_t template_sum; /* of the IPv4 header, but for len and id */
    struct link_counters counters;
    char insanity[160];
    uint8_t received[RINGS_FRAME_BYTES_MAX];
} link_state;

const struct link_counters *link_get_counters(void)
{
    return &link_state.counters;
}

const char *link_insanity(void)
{
    return link_state.insanity;
}

/* ---- checksums (RFC 1071), in memory's own byte order ---- */

static uint64_t sum_bytes(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t sum = 0;

    for (; len >= 4; len -= 4, at += 4) {
        uint32_t word;
        memcpy(&word, at, sizeof(word));
        sum += word;
    }
    if (len >= 2) {
        uint16_t half;
        memcpy(&half, at, sizeof(half));
        sum += half;
        len -= 2;
        at += 2;
    }
    return len > 0 ? sum + *at : sum; /* the odd byte is the first of a pair with 0 */
}

static uint16_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static uint64_t sum_pseudo_header(uint32_t source, uint32_t destination, size_t tcp_bytes)
{
    return (uint64_t)source + destination + htons(PROTOCOL_TCP) + htons((uint16_t)tcp_bytes);
}

/* ---- setting up ---- */

void link_init(uint32_t own_address, uint32_t guest_address)
{
    struct frame *const frame = &link_state.template;

    link_state.own = htonl(own_address);
    link_state.guest = htonl(guest_address);
    memcpy(frame->ethernet.source, own_ethernet, 6);
    frame->ethernet.type = htons(TYPE_IPV4);
    frame->ip = (struct ipv4){.version_and_words = 0x45,
                              .fragment = htons(IP_DO_NOT_FRAG),
                              .time_to_live = 64,
                              .protocol = PROTOCOL_TCP,
                              .source = link_state.own,
                              .destination = link_state.guest};
    link_state.template_sum = (uint32_t)sum_bytes(&frame->ip, sizeof(frame->ip));
}

void link_set_features(uint64_t features)
{
    link_state.receive_checksums = (features >> VIRTIO_NET_F_GUEST_CSUM & 1) != 0;
    link_state.trains = (features >> VIRTIO_NET_F_GUEST_TSO4 & 1) != 0;
}

size_t link_segment_bytes_max(void)
{
    return link_state.trains ? LINK_TRAIN_BYTES_MAX : LINK_MSS;
}

/* 1,526: what a driver without trains offers at least (virtio 1.2, 5.1.6.3.1). */
bool link_has_space(size_t len)
{
    return rings_space() >= len / 1526 + 2;
}

/* ---- ARP ---- */

static bool send_arp(uint16_t operation, const uint8_t to[6], const uint8_t target_ethernet[6])
{
    struct {
        struct ethernet ethernet;
        struct arp arp;
        uint8_t padding[18]; /* to Ethernet's 60 bytes */
    } __attribute__((packed)) frame = {.ethernet = {.type = htons(TYPE_ARP)},
                                       .arp = {.hardware = htons(1),
                                               .protocol = htons(TYPE_IPV4),
                                               .hardware_len = 6,
                                               .protocol_len = 4,
                                               .operation = htons(operation),
                                               .sender = link_state.own,
                                               .target = link_state.guest}};
    struct virtio_net_hdr_mrg_rxbuf header = {0};

    memcpy(frame.ethernet.destination, to, 6);
    memcpy(frame.ethernet.source, own_ethernet, 6);
    memcpy(frame.arp.sender_ethernet, own_ethernet, 6);
    memcpy(frame.arp.target_ethernet, target_ethernet, 6);
    return rings_send(&header, &(struct rings_piece){&frame, sizeof(frame)}, 1);
}

bool link_resolve(void)
{
    static const uint8_t unknown[6];

    if (!link_state.resolved)
        (void)send_arp(ARP_REQUEST, broadcast, unknown); /* asked again if it was lost */
    return link_state.resolved;
}

static enum link_event insane(const char *why, size_t len)
{
    if (link_state.counters.insane++ == 0)
        snprintf(link_state.insanity, sizeof(link_state.insanity), "%s (%zu bytes)", why, len);
    return LINK_OTHER;
}

static enum link_event receive_arp(size_t len)
{
    const struct arp *const arp =
        (const struct arp *)(link_state.received + sizeof(struct ethernet));

    if (len < sizeof(struct ethernet) + sizeof(*arp))
        return insane("an ARP frame that is cut", len);
    if (arp->hardware != htons(1) || arp->protocol != htons(TYPE_IPV4) || arp->hardware_len != 6 ||
        arp->protocol_len != 4)
        return insane("an ARP frame not of IPv4 over Ethernet", len);
    if (arp->sender != link_state.guest)
        return LINK_OTHER; /* a probe for its own address */
    memcpy(link_state.guest_ethernet, arp->sender_ethernet, 6);
    memcpy(link_state.template.ethernet.destination, arp->sender_ethernet, 6);
    /* Not by its announcement: once it has answered, it knows this client's address too. */
    if (arp->operation == htons(ARP_REPLY) && arp->target == link_state.own)
        link_state.resolved = true;
    if (arp->operation == htons(ARP_REQUEST) && arp->target == link_state.own)
        (void)send_arp(ARP_REPLY, link_state.guest_ethernet, link_state.guest_ethernet);
    return LINK_OTHER;
}

/* ---- receiving ---- */

/* RFC 9293 3.2. False if the options are malformed. */
static bool read_options(const uint8_t *at, const uint8_t *end, struct link_segment *segment)
{
    while (at < end && *at != OPTION_END) {
        if (*at == OPTION_NOP) {
            at++;
            continue;
        }
        if (end - at < 2 || at[1] < 2 || at[1] > end - at)
            return false;
        if (*at == OPTION_MSS) {
            if (at[1] != 4)
                return false;
            segment->mss = (uint16_t)(at[2] << 8 | at[3]);
        }
        at += at[1];
    }
    return true;
}

/* The whole sum; or, where it is left to the device (5.1.6.2), exactly the pseudo-header's. */
static const char *check_tcp_sum(const struct virtio_net_hdr *header, const struct frame *frame,
                                 size_t tcp_bytes)
{
    const uint64_t pseudo = sum_pseudo_header(frame->ip.source, frame->ip.destination, tcp_bytes);

    if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0)
        return fold(pseudo + sum_bytes(&frame->tcp, tcp_bytes)) == 0xffff
                   ? NULL
                   : "a TCP checksum that is wrong";
    if (header->csum_start != offsetof(struct frame, tcp) ||
        header->csum_offset != offsetof(struct tcp, checksum))
        return "a checksum to be filled in at the wrong place";
    return fold(frame->tcp.checksum) == fold(pseudo)
               ? NULL
               : "a checksum to be filled in that does not begin with the pseudo-header's sum";
}

static const char *check_ip(const struct frame *frame, size_t len)
{
    if (frame->ip.version_and_words != 0x45)
        return "an IP header of another version, or with options";
    if (ntohs(frame->ip.len) > len - sizeof(struct ethernet))
        return "an IP length beyond the end of the frame";
    if (ntohs(frame->ip.len) < len - sizeof(struct ethernet) && len > 60)
        return "bytes after the IP packet";
    if (fold(sum_bytes(&frame->ip, sizeof(frame->ip))) != 0xffff)
        return "an IP header checksum that is wrong";
    if ((frame->ip.fragment & htons(0x3fff)) != 0)
        return "an IP fragment";
    if (memcmp(frame->ethernet.source, link_state.guest_ethernet, 6) != 0 ||
        frame->ip.source != link_state.guest)
        return "a source address that is not the guest's";
    return frame->ip.time_to_live == 0 ? "a time to live of 0" : NULL;
}

static enum link_event receive_tcp(const struct virtio_net_hdr *header, size_t frame_len,
                                   struct link_segment *segment)
{
    const struct frame *const frame = (const struct frame *)link_state.received;

    if (frame_len < HEADERS_BYTES)
        return insane("a TCP segment that is cut", frame_len);
    const size_t tcp_bytes = ntohs(frame->ip.len) - sizeof(struct ipv4);
    const size_t head_bytes = (size_t)(frame->tcp.words >> 4) * 4;
    if (ntohs(frame->ip.len) < sizeof(struct ipv4) + sizeof(struct tcp) ||
        head_bytes < sizeof(struct tcp) || head_bytes > tcp_bytes)
        return insane("a TCP header longer than its segment", frame_len);
    const char *const wrong = check_tcp_sum(header, frame, tcp_bytes);
    if (wrong != NULL)
        return insane(wrong, frame_len);
    const uint8_t *const bytes = (const uint8_t *)&frame->tcp + head_bytes;
    *segment = (struct link_segment){.source = ntohs(frame->tcp.source),
                                     .destination = ntohs(frame->tcp.destination),
                                     .sequence = ntohl(frame->tcp.sequence),
                                     .acknowledgement = ntohl(frame->tcp.acknowledgement),
                                     .window = ntohs(frame->tcp.window),
                                     .flags = frame->tcp.flags,
                                     .bytes = bytes,
                                     .len = tcp_bytes - head_bytes};
    if (head_bytes > sizeof(struct tcp) && !read_options(frame->options, bytes, segment))
        return insane("malformed TCP options", frame_len);
    return LINK_SEGMENT;
}

enum link_event link_receive(struct link_segment *segment)
{
    struct virtio_net_hdr_mrg_rxbuf header;
    const struct frame *const frame = (const struct frame *)link_state.received;
    const size_t len = rings_receive(&header, link_state.received);

    if (len == 0)
        return LINK_NOTHING;
    link_state.counters.received_frames++;
    link_state.counters.received_bytes += len;
    if (len > sizeof(struct ethernet) + 1500)
        return insane("a frame larger than the MTU", len);
    if (header.hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE ||
        (header.hdr.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        return insane("a virtio header with what was not offered", len);
    if (frame->ethernet.type == htons(TYPE_ARP))
        return receive_arp(len);
    if (frame->ethernet.type != htons(TYPE_IPV4) ||
        memcmp(frame->ethernet.destination, own_ethernet, 6) != 0) {
        link_state.counters.not_for_us++;
        return LINK_OTHER;
    }
    if (len < sizeof(struct ethernet) + sizeof(struct ipv4))
        return insane("an IP packet that is cut", len);
    const char *const wrong = check_ip(frame, len);
    if (wrong != NULL)
        return insane(wrong, len);
    if (frame->ip.protocol != PROTOCOL_TCP || frame->ip.destination != link_state.own) {
        link_state.counters.not_for_us++;
        return LINK_OTHER;
    }
    return receive_tcp(&header.hdr, len, segment);
}

/* ---- sending ---- */

/* With GUEST_CSUM the sum is left undone, as a tap of Linux does for what its own host sends. */
static void finish_checksum(struct virtio_net_hdr *header, struct frame *frame,
                            const struct link_segment *segment, size_t tcp_head_bytes)
{
    const size_t tcp_bytes = tcp_head_bytes + segment->len;
    uint64_t sum = sum_pseudo_header(frame->ip.source, frame->ip.destination, tcp_bytes);

    if (link_state.receive_checksums) {
        header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header->csum_start = offsetof(struct frame, tcp);
        header->csum_offset = offsetof(struct tcp, checksum);
        frame->tcp.checksum = fold(sum);
        return;
    }
    sum += sum_bytes(&frame->tcp, tcp_head_bytes) + sum_bytes(segment->bytes, segment->len);
    frame->tcp.checksum = (uint16_t)~fold(sum);
}

bool link_send(const struct link_segment *segment, uint16_t mss)
{
    struct virtio_net_hdr_mrg_rxbuf header = {0};
    struct frame *const frame = &link_state.template;
    const size_t tcp_head_bytes = sizeof(struct tcp) + ((segment->flags & LINK_SYN) ? 4 : 0);
    const size_t ip_bytes = sizeof(struct ipv4) + tcp_head_bytes + segment->len;
    const struct rings_piece pieces[] = {{frame, sizeof(struct ethernet) + ip_bytes - segment->len},
                                         {segment->bytes, segment->len}};

    assert(segment->len <= link_segment_bytes_max());
    frame->ip.len = htons((uint16_t)ip_bytes);
    frame->ip.id = htons(link_state.id++);
    frame->ip.checksum =
        (uint16_t)~fold((uint64_t)link_state.template_sum + frame->ip.len + frame->ip.id);
    frame->tcp = (struct tcp){.source = htons(segment->source),
                              .destination = htons(segment->destination),
                              .sequence = htonl(segment->sequence),
                              .acknowledgement = htonl(segment->acknowledgement),
                              .words = (uint8_t)(tcp_head_bytes / 4 << 4),
                              .flags = segment->flags,
                              .window = htons(segment->window)};
    frame->options[0] = OPTION_MSS; /* sent with a SYN only */
    frame->options[1] = 4;
    frame->options[2] = LINK_MSS >> 8;
    frame->options[3] = LINK_MSS & 0xff;
    finish_checksum(&header.hdr, frame, segment, tcp_head_bytes);
    if (segment->len > mss) {
        header.hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
        header.hdr.gso_size = mss;
        header.hdr.hdr_len = (uint16_t)(sizeof(struct ethernet) + ip_bytes - segment->len);
    }
    if (!rings_send(&header, pieces, segment->len > 0 ? 2 : 1)) {
        link_state.counters.ring_full++;
        return false;
    }
    link_state.counters.trains += segment->len > mss;
    link_state.counters.sent_frames++;
    link_state.counters.sent_bytes += sizeof(struct ethernet) + ip_bytes;
    return true;
}

/*
 * Receiving. Buffers of the ring are not lwIP's to keep. In-order data is gone from them by the end
 * of the batch: turn.c takes it, or copies what cannot be taken yet. What lies out of order lwIP
 * keeps, as long as link_ooseq_pbufs_max() lets it: until half of the ring's buffers are held.
 * Beyond, it is dropped and sent again by the peer. So no ring is ever held empty, whoever sends
 * what.
 */
#include "net/link/receive.h"

#include <assert.h>
#include <string.h>

#include "kernel/netdev.h"
#include "lwip/etharp.h"
#include "lwip/ip4.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "net/core/copy.h"
#include "net/link/link_state.h"
#include "net/lwip_hooks.h"

#define ADDRESSES_BYTES 12 /* the two that a frame begins with */

/* The headers of a segment's frame: without options, and the most there can be. */
#define HEADERS_BYTES_USUAL 54
#define HEADERS_BYTES_MAX   94
#define TCP_WORDS_AT        12 /* the byte of a TCP header that has its length */
#define CHECKED_AT          2  /* so that the IP header is aligned */

/* Five words and no SYN: nothing follows the header but data, which stays where it is. */
#define USUAL_MASK PP_HTONS(0xf000 | TCP_SYN)
#define USUAL      PP_HTONS(0x5000)

/* Pieces received and not recycled: one batch, and what is held over. */
#define RECEIVED_MAX    256
#define HELD_MAX        128 /* ring buffers out of order, of all connections, or half of the ring */
#define OOSEQ_PBUFS_MAX 32  /* of one connection: a segment has one for its headers, and its data */

/*
 * What lwIP is given of a segment: its headers, copied, and a piece of its data, where it lies.
 * `data` is first, because lwIP gives back a pointer to it.
 */
struct received {
    struct pbuf_custom data, headers;
    struct netdev_piece piece;
    struct received *next_free;
    unsigned uses; /* of the two pbufs */
    _Alignas(8) uint8_t header_bytes[HEADERS_BYTES_MAX - ETHERNET_BYTES];
};

static struct {
    const struct link_upcalls *upcalls;
    uint64_t refused;    /* see link_refused() */
    size_t buffers_held; /* of the receive ring, in pieces not recycled */
    size_t buffers_max;  /* of these: with more, nothing is kept out of order */
    unsigned pieces_held;
    u16_t check_flags;    /* netif.chksum_flags that concern receiving */
    size_t checked_bytes; /* of `checked` */
    /* What guard.c has checked of the frame: the device can still write what lies in the ring. */
    _Alignas(8) uint8_t checked[CHECKED_AT + HEADERS_BYTES_MAX];
    struct received *free;
    struct received received[RECEIVED_MAX];
} receive;

void receive_init(const struct link_upcalls *upcalls)
{
    memset(&receive, 0, sizeof receive);
    receive.upcalls = upcalls;
    for (unsigned i = 0; i < RECEIVED_MAX; i++) {
        receive.received[i].next_free = receive.free;
        receive.free = &receive.received[i];
    }
    receive.buffers_max = LWIP_MIN(netdev_get_info()->receive_buffers / 2, HELD_MAX);
    receive.check_flags = NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP;
}

const uint8_t *link_source(void)
{
    return receive.checked + CHECKED_AT + 6;
}

uint64_t link_refused(void)
{
    return receive.refused;
}

/* As much as there is, from `copied` on. */
__attribute__((noinline)) static void copy_more(const struct netdev_piece *piece, size_t copied)
{
    receive.checked_bytes = LWIP_MIN(piece->len, HEADERS_BYTES_MAX);
    copy_bytes(receive.checked + CHECKED_AT + copied, piece->bytes + copied,
               receive.checked_bytes - copied);
}

/*
 * Copies the headers of a frame out of the ring. All that is checked, and used after that, is this
 * copy: a device that changes its mind meanwhile changes nothing.
 */
static inline void copy_headers(const struct netdev_piece *piece)
{
    uint8_t *const to = receive.checked + CHECKED_AT;
    if (piece->len < HEADERS_BYTES_USUAL) {
        copy_more(piece, 0);
        return;
    }
    receive.checked_bytes = HEADERS_BYTES_USUAL;
    memcpy(to, piece->bytes, HEADERS_BYTES_USUAL);
    uint16_t words_and_flags;
    memcpy(&words_and_flags, to + SEGMENT_AT + TCP_WORDS_AT, sizeof words_and_flags);
    if ((words_and_flags & USUAL_MASK) != USUAL)
        copy_more(piece, HEADERS_BYTES_USUAL);
}

static inline const uint8_t *checked_packet(void)
{
    return receive.checked + CHECKED_AT + ETHERNET_BYTES;
}

u16_t link_ooseq_pbufs_max(void)
{
    return receive.buffers_held <= receive.buffers_max ? OOSEQ_PBUFS_MAX : 0;
}

static void recycle(const struct netdev_piece *piece)
{
    netdev_recycle(piece);
    link_state.to_flush = true;
}

/* Of the struct's pbufs one is freed; the other may be in use for longer. */
static void release_received(struct received *received)
{
    if (--received->uses > 0)
        return;
    receive.pieces_held--;
    received->next_free = receive.free;
    receive.free = received;
}

static void free_data(struct pbuf *p)
{
    struct received *const received = (struct received *)(void *)p;
    receive.buffers_held -= received->piece.ring_count;
    recycle(&received->piece);
    release_received(received);
}

static void free_headers(struct pbuf *p)
{
    release_received(
        (struct received *)(void *)((uint8_t *)p - offsetof(struct received, headers)));
}

/* link_receive() has seen that there is one. */
static struct received *take_received(void)
{
    struct received *const received = receive.free;
    receive.free = received->next_free;
    receive.pieces_held++;
    received->uses = 0;
    return received;
}

/* The bytes of a piece from `skip` on, as a pbuf. */
static struct pbuf *wrap(struct received *received, const struct netdev_piece *piece, size_t skip)
{
    received->uses++;
    received->piece = *piece;
    received->data.custom_free_function = free_data;
    receive.buffers_held += piece->ring_count;
    return pbuf_alloced_custom(PBUF_RAW, (u16_t)(piece->len - skip), PBUF_REF, &received->data,
                               piece->bytes + skip, (u16_t)(piece->len - skip));
}

/* The IP and TCP headers that were checked, as a pbuf. */
static struct pbuf *wrap_headers(struct received *received, size_t len)
{
    received->uses++;
    received->headers.custom_free_function = free_headers;
    memcpy(received->header_bytes, checked_packet(), len);
    return pbuf_alloced_custom(PBUF_RAW, (u16_t)len, PBUF_REF, &received->headers,
                               received->header_bytes, (u16_t)len);
}

/*
 * A segment, without its Ethernet header and padding: a pbuf of the headers that were checked, and
 * one for each piece that has data.
 */
static struct pbuf *wrap_segment(const struct netdev_piece *pieces, size_t count, uint32_t len)
{
    const size_t headers_len =
        IP_HLEN + TCPH_HDRLEN_BYTES((const struct tcp_hdr *)(checked_packet() + IP_HLEN));
    struct received *const received = take_received();
    struct pbuf *const first = wrap_headers(received, headers_len);
    /* From the last to the first, so that each knows the length of what follows. */
    struct pbuf *rest = NULL;
    for (size_t i = count - 1; i > 0; i--) {
        struct pbuf *const p = wrap(take_received(), &pieces[i], 0);
        p->next = rest;
        p->tot_len = (u16_t)(p->len + (rest == NULL ? 0 : rest->tot_len));
        rest = p;
    }
    if (len == headers_len) {
        recycle(&pieces[0]);
    } else {
        struct pbuf *const p = wrap(received, &pieces[0], ETHERNET_BYTES + headers_len);
        p->next = rest;
        p->tot_len = (u16_t)(p->len + (rest == NULL ? 0 : rest->tot_len));
        rest = p;
    }
    first->next = rest;
    first->tot_len = (u16_t)(first->len + (rest == NULL ? 0 : rest->tot_len));
    pbuf_realloc(first, (u16_t)len);
    return first;
}

/*
 * A packet of another kind, of which there are few and most are short: lwIP reads more of those
 * than their headers twice, so all is copied. NULL if memory is out.
 */
__attribute__((noinline)) static struct pbuf *copy_packet(const struct netdev_piece *pieces,
                                                          uint32_t len)
{
    struct pbuf *const p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
    if (p == NULL)
        return NULL;
    size_t copied = LWIP_MIN(len, receive.checked_bytes - ETHERNET_BYTES);
    size_t skip = ETHERNET_BYTES + copied;
    uint8_t *const bytes = p->payload;
    memcpy(bytes, checked_packet(), copied);
    for (; copied < len; pieces++) {
        const size_t here = LWIP_MIN(len - copied, pieces->len - skip);
        memcpy(bytes + copied, pieces->bytes + skip, here);
        copied += here;
        skip = 0;
    }
    return p;
}

/* `sound`: lwIP need not sum it. */
__attribute__((noinline)) static void give_to_lwip(struct pbuf *p, bool sound)
{
    link_state.netif.chksum_flags = (u16_t)((link_state.netif.chksum_flags & ~receive.check_flags) |
                                            (sound ? 0 : receive.check_flags));
    (void)ip4_input(p, &link_state.netif);
}

static void deliver_segment(const struct guard_segment *segment, struct pbuf *p, bool sound)
{
    if (receive.upcalls->admit(segment, p, sound) == LINK_DROP) {
        pbuf_free(p);
        return;
    }
    give_to_lwip(p, sound);
    receive.upcalls->admitted();
}

__attribute__((noinline)) static void refuse(const struct netdev_piece *pieces, size_t count)
{
    receive.refused++;
    for (size_t i = 0; i < count; i++)
        recycle(&pieces[i]);
}

static bool is_dealt_with(const struct guard_frame *frame, const struct netdev_piece *piece)
{
    const struct guard_segment *const segment = &frame->segment;
    const size_t headers = IP_HLEN + TCP_HLEN;
    if ((segment->flags & TCP_SYN) != 0)
        return receive.upcalls->answer(
            segment, checked_packet(),
            LWIP_MIN(frame->payload_len, receive.checked_bytes - ETHERNET_BYTES),
            piece->checksum_valid);
    return piece->checksum_valid && frame->payload_len > headers &&
           receive.upcalls->serve(segment, (const struct tcp_hdr *)(checked_packet() + IP_HLEN),
                                  piece->bytes + ETHERNET_BYTES + headers,
                                  frame->payload_len - headers);
}

/* Takes out the tag: the addresses move up to the type. */
__attribute__((noinline)) static void untag(struct netdev_piece *piece)
{
    memmove(piece->bytes + GUARD_TAG_BYTES, piece->bytes, ADDRESSES_BYTES);
    piece->bytes += GUARD_TAG_BYTES;
    piece->len -= GUARD_TAG_BYTES;
}

static enum guard_kind check(const struct netdev_piece *piece, size_t total_len,
                             struct guard_frame *frame)
{
    copy_headers(piece);
    return guard_check(&link_state.self, receive.checked + CHECKED_AT, receive.checked_bytes,
                       total_len, frame);
}

__attribute__((noinline)) static void
deliver_copy(enum guard_kind kind, const struct netdev_piece *pieces, size_t count, uint32_t len)
{
    const bool sound = pieces[0].checksum_valid;
    struct pbuf *const p = copy_packet(pieces, len);
    for (size_t i = 0; i < count; i++)
        recycle(&pieces[i]);
    if (p == NULL)
        receive.refused++;
    else if (kind == GUARD_IP)
        give_to_lwip(p, sound);
    else
        etharp_input(p, &link_state.netif);
}

/* False: it is to be received again, without the tag that it had. */
static bool receive_frame(struct netdev_piece *pieces, size_t count, size_t total_len)
{
    struct guard_frame frame;
    enum guard_kind kind = GUARD_REFUSED;

    if (total_len - ETHERNET_BYTES <= UINT16_MAX)
        kind = check(&pieces[0], total_len, &frame);
    if (kind == GUARD_REFUSED) {
        refuse(pieces, count);
        return true;
    }
    if (kind == GUARD_TAGGED) {
        untag(&pieces[0]);
        return false;
    }

    if (kind == GUARD_SEGMENT && count == 1 && is_dealt_with(&frame, &pieces[0])) {
        recycle(&pieces[0]);
        return true;
    }
    if (kind == GUARD_SEGMENT)
        deliver_segment(&frame.segment, wrap_segment(pieces, count, frame.payload_len),
                        pieces[0].checksum_valid);
    else
        deliver_copy(kind, pieces, count, frame.payload_len);
    return true;
}

size_t link_receive(void)
{
    struct netdev_piece pieces[NETDEV_PIECES_MAX];
    size_t frames = 0;

    if (receive.pieces_held + NETDEV_PIECES_MAX > RECEIVED_MAX ||
        link_space(link_state.receive_space) < link_state.receive_space)
        return 0;
    const size_t count = netdev_receive(pieces, NETDEV_PIECES_MAX);
    for (size_t first = 0; first < count;) {
        size_t last = first;
        size_t total_len = pieces[first].len;
        while (pieces[last].more) {
            last++;
            assert(last < count);
            total_len += pieces[last].len;
        }
        if (receive_frame(&pieces[first], last - first + 1, total_len)) {
            first = last + 1;
            frames++;
        }
    }
    return frames;
}

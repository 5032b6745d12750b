/* The peer of rig.h: TCP by hand, one segment at a time. */
#include <unistd.h>

#include "tests/net/rig.h"

void peer_init(struct peer *peer, uint16_t port)
{
    memset(peer, 0, sizeof *peer);
    peer->address = RIG_PEER_ADDRESS;
    peer->port = port;
    peer->window = 65535;
    peer->mss = 1460;
    peer->next = 1000u * port;
}

/* Fills in all but the options. */
static void compose(const struct peer *peer, uint8_t flags, uint32_t number, uint32_t ack,
                    const void *bytes, size_t len, struct rig_segment *segment)
{
    segment->address = peer->address;
    segment->port = peer->port;
    segment->server_port = RIG_PORT;
    segment->number = number;
    segment->ack = ack;
    segment->window = peer->window;
    segment->flags = flags;
    segment->options_len = 0;
    segment->len = len;
    if (len > 0)
        memcpy(segment->data, bytes, len);
}

void peer_compose(const struct peer *peer, const char *text, struct rig_segment *segment)
{
    compose(peer, PSH | ACK, peer->next, peer->expected, text, strlen(text), segment);
}

void peer_segment(struct peer *peer, uint8_t flags, uint32_t number, uint32_t ack,
                  const void *bytes, size_t len)
{
    static struct rig_segment outgoing;
    compose(peer, flags, number, ack, bytes, len, &outgoing);
    if ((flags & SYN) != 0 && peer->mss != 0) {
        outgoing.options_len = 4;
        outgoing.options[0] = 2;
        outgoing.options[1] = 4;
        outgoing.options[2] = (uint8_t)(peer->mss >> 8);
        outgoing.options[3] = (uint8_t)peer->mss;
    }
    EXPECT(rig_arrive(&outgoing));
}

void peer_send_syn(struct peer *peer)
{
    peer_segment(peer, SYN, peer->next, 0, NULL, 0);
}

bool peer_next(struct peer *peer, struct rig_segment *segment)
{
    return rig_next(peer->address, peer->port, segment);
}

static struct rig_segment incoming;

bool peer_take_syn_ack(struct peer *peer)
{
    if (!peer_next(peer, &incoming))
        return false;
    EXPECT_EQ(incoming.flags, SYN | ACK);
    EXPECT_EQ(incoming.ack, peer->next + 1);
    peer->next++;
    peer->expected = incoming.number + 1;
    return true;
}

void peer_connect(struct peer *peer)
{
    peer_send_syn(peer);
    EXPECT(peer_take_syn_ack(peer));
    peer_send_ack(peer);
    rig_poll();
}

void peers_connect(struct peer *peers, unsigned count, uint16_t first_port)
{
    for (unsigned i = 0; i < count; i++) {
        peer_init(&peers[i], (uint16_t)(first_port + i));
        peer_connect(&peers[i]);
    }
}

void peer_send_bytes(struct peer *peer, const void *bytes, size_t len)
{
    peer_segment(peer, PSH | ACK, peer->next, peer->expected, bytes, len);
    peer->next += (uint32_t)len;
}

void peer_send(struct peer *peer, const char *text)
{
    peer_send_bytes(peer, text, strlen(text));
}

void peer_send_fin(struct peer *peer)
{
    peer_segment(peer, FIN | ACK, peer->next, peer->expected, NULL, 0);
    peer->next++;
}

void peer_send_reset(struct peer *peer)
{
    peer_segment(peer, RST, peer->next, 0, NULL, 0);
}

void peer_send_ack(struct peer *peer)
{
    peer_segment(peer, ACK, peer->next, peer->expected, NULL, 0);
}

void peer_take(struct peer *peer)
{
    const uint32_t before = peer->expected;
    while (peer_next(peer, &incoming)) {
        peer->segments++;
        if ((incoming.flags & RST) != 0) {
            peer->reset = true;
            continue;
        }
        if (incoming.len == 0 && (incoming.flags & (SYN | FIN)) == 0) {
            peer->empty_segments++;
            continue;
        }
        EXPECT_EQ(incoming.number, peer->expected);
        EXPECT(peer->received + incoming.len <= sizeof peer->bytes);
        memcpy(peer->bytes + peer->received, incoming.data, incoming.len);
        peer->received += incoming.len;
        peer->expected += (uint32_t)incoming.len;
        if ((incoming.flags & FIN) != 0) {
            peer->fin = true;
            peer->expected++;
        }
    }
    if (peer->expected != before && !peer->holds_acks)
        peer_send_ack(peer);
    rig_poll();
}

void peer_be_closed(struct peer *peer)
{
    peer_send(peer, "c\n");
    peer_take(peer);
    EXPECT(peer->fin);
    peer_send_fin(peer);
    peer_take(peer);
}

void peer_expect(struct peer *peer, const char *text)
{
    peer->received = 0;
    peer_take(peer);
    if (peer->received != strlen(text) || memcmp(peer->bytes, text, strlen(text)) != 0) {
        test_print("received %zu bytes: \"%.*s\", not \"%s\"", peer->received, (int)peer->received,
                   (const char *)peer->bytes, text);
        _exit(1);
    }
}

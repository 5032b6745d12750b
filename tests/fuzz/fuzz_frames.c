/*
 * Ethernet frames into the whole appliance (net/, app/, lwIP) under libFuzzer.
 *
 * The input is a small program: its first bytes say what the machine is like, then come operations,
 * by which well-behaved peers get deep and misbehave there (enum operation). Held to be true:
 *
 *   - nothing crashes, reads or writes where it must not (free blocks of the pools are poisoned);
 *   - frames that are sent are sound;
 *   - what tests/sim/inside.h demands of each connection: it has a deadline, and what it has sent a
 *     timer;
 *   - when nobody sends any more, everything is as it was at the start (appliance_end()).
 */
#include <string.h>

#include "tests/fuzz/appliance.h"
#include "tests/fuzz/input.h"
#include "tests/sim/frame.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
/* An operation's byte: which in the low four bits, the peer in the next three; NO_POLL. */
enum operation {
    OP_CONNECT, /* a handshake as it should be */
    OP_SEGMENT, /* flags, number, acknowledgement, window, options, data: all of the input's */
    OP_SEND,    /* data in order */
    OP_REQUEST, /* one of `requests`, in order, so many times */
    OP_ACK,     /* of all that the appliance has sent, give or take */
    OP_FINISH,  /* FIN or RST, in order */
    OP_FRAME,   /* any bytes */
    OP_PACKET,  /* an IP packet, right but for what is in it */
    OP_ARP,
    OP_WAIT,
    OP_LINK,   /* down, or up */
    OP_STALL,  /* the device does not say what it has sent; or does again */
    OP_DAMAGE, /* bytes of the next frame, whatever it is */
    OP_SYNS,   /* from so many other ports */
    OP_HOLES,  /* segments out of order, as many as the ring takes */
    OP_DHCP,   /* an answer to what the appliance asked last */
};

#define NO_POLL        0x80
#define PEERS          8
#define OPERATIONS_MAX 200
#define DAMAGES_MAX    4
#define WAIT_STEP_MS   5
#define TICK_MS        31 /* of the appliance's timers */
#define TIMES_MAX      40 /* of requests in a train, of SYNs */

static const char *const requests[] = {
    "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\n{\"userId\":\"u\",\"value\":1.5}",
    "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /event HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "1a\r\n{\"userId\":\"v\",\"value\":2.5}\r\n0\r\n\r\n",
    "POST /event HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n",
    "POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n",
    "GET /no HTTP/1.1\r\n\r\n",
    "GET /health HTTP/1.0\r\n\r\n",
};

#define REQUESTS (sizeof requests / sizeof requests[0])

struct peer {
    uint32_t next;     /* our next number */
    uint32_t expected; /* the next of the appliance's */
    uint16_t window;
};

static struct peer peers[PEERS];
static uint8_t dhcp_request[300]; /* its last: from the BOOTP header on */
static bool link_up, stalled, vouches;
static uint16_t next_port;

static struct {
    uint16_t at;
    uint8_t bits;
} damages[DAMAGES_MAX];
static unsigned damage_count;

/* ---- the input ---- */

static struct input input;

/* Small in either direction, or anywhere: what is around a number matters most. */
static uint32_t take_offset(void)
{
    const uint8_t shape = take8(&input);
    if (shape < 0x40)
        return 0;
    if (shape < 0x80)
        return (uint32_t)shape - 0x60u;
    if (shape < 0xc0)
        return (uint32_t)take16(&input) - 0x8000u;
    const uint32_t high = take16(&input);
    return high << 16 | take16(&input);
}

static size_t take_bytes(const uint8_t **bytes, size_t wanted)
{
    const size_t len = wanted < input.left ? wanted : input.left;
    *bytes = input.bytes;
    input.bytes += len;
    input.left -= len;
    return len;
}

/* ---- the wire ---- */

static uint32_t address_of(unsigned peer)
{
    return peer < PEERS - 2 ? FRAME_HOST(1 + peer / 2) : FRAME_FAR(peer);
}

static uint16_t port_of(unsigned peer)
{
    return (uint16_t)(40000 + peer);
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* What the peers learn of a segment that was sent to them. */
static void see_segment(const uint8_t *frame, size_t len)
{
    const uint8_t *const tcp = frame + ETHERNET_BYTES + IP_BYTES;
    const unsigned index = get16(tcp + 2) - 40000u;
    const size_t header_len = (size_t)(tcp[12] >> 4) * 4;
    const uint32_t number = get32(tcp + 4);
    const size_t data_len = len - ETHERNET_BYTES - IP_BYTES - header_len;

    if (index >= PEERS || get32(frame + ETHERNET_BYTES + 16) != address_of(index))
        return;
    struct peer *const peer = &peers[index];
    if ((tcp[13] & FLAG_SYN) != 0) {
        peer->expected = number + 1;
        peer->next = get32(tcp + 8);
    } else if (number == peer->expected) {
        peer->expected += (uint32_t)data_len + ((tcp[13] & FLAG_FIN) != 0);
    }
}

static void see(const uint8_t *frame, size_t len)
{
    const uint8_t *const ip = frame + ETHERNET_BYTES;
    if (get16(frame + 12) != 0x0800)
        return;
    if (ip[9] == 6)
        see_segment(frame, len);
    else if (ip[9] == 17 && get16(ip + IP_BYTES + 2) == 67 && len > ETHERNET_BYTES + IP_BYTES + 8)
        memcpy(dhcp_request, ip + IP_BYTES + 8,
               len - 42 < sizeof dhcp_request ? len - 42 : sizeof dhcp_request);
}

static uint8_t frame_bytes[FRAME_BYTES_MAX];

static bool arrive(size_t len, bool sound)
{
    for (; damage_count > 0; damage_count--) {
        frame_bytes[damages[damage_count - 1].at % len] ^= damages[damage_count - 1].bits;
        sound = false;
    }
    return fake_netdev_arrive(frame_bytes, len, sound && vouches);
}

static bool send_segment(const struct segment *segment)
{
    return arrive(frame_of_segment(segment, frame_bytes), true);
}

static struct segment segment_of(unsigned index, uint8_t flags)
{
    return (struct segment){
        .address = address_of(index),
        .port = port_of(index),
        .server_port = FRAME_SERVER_PORT,
        .number = peers[index].next,
        .ack = peers[index].expected,
        .window = peers[index].window,
        .flags = flags,
    };
}

/* In order, in segments of at most 1,460 bytes. */
static void send_data(unsigned index, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        struct segment segment = segment_of(index, FLAG_PSH | FLAG_ACK);
        segment.data = bytes;
        segment.len = len < 1460 ? len : 1460;
        (void)send_segment(&segment);
        peers[index].next += (uint32_t)segment.len;
        bytes += segment.len;
        len -= segment.len;
    }
}

/* ---- the operations ---- */

static void connect_peer(unsigned index)
{
    struct segment syn = segment_of(index, FLAG_SYN);
    const uint8_t mss = take8(&input);
    syn.mss = (uint16_t)(mss < 0x80 ? 1460 : mss < 0xc0 ? mss - 0x80 : mss * 256);
    (void)send_segment(&syn);
    appliance_poll(see);
    const struct segment ack = segment_of(index, FLAG_ACK);
    (void)send_segment(&ack);
}

static void send_any_segment(unsigned index)
{
    struct segment segment = segment_of(index, take8(&input));
    segment.number += take_offset();
    segment.ack += take_offset();
    const uint8_t more = take8(&input);
    if ((more & 1) != 0)
        segment.window = take16(&input);
    if ((more & 2) != 0)
        segment.mss = take16(&input);
    if ((more & 4) != 0) {
        const uint8_t *options;
        segment.options_len = (uint8_t)(take_bytes(&options, (more >> 5) * 4u) & ~3u);
        if (segment.options_len > 0)
            memcpy(segment.options, options, segment.options_len);
    }
    if ((more & 8) != 0)
        segment.len = take_bytes(&segment.data, take8(&input));
    if ((more & 16) != 0)
        segment.server_port = take16(&input);
    (void)send_segment(&segment);
}

static void send_input(unsigned index)
{
    const uint8_t *bytes;
    const size_t len = take_bytes(&bytes, take8(&input));
    send_data(index, bytes, len);
}

static void send_requests(unsigned index)
{
    static uint8_t train[TIMES_MAX * 100];
    const char *const request = requests[take8(&input) % REQUESTS];
    const unsigned times = 1 + take8(&input) % TIMES_MAX;
    const size_t request_len = strlen(request);
    size_t len = 0;
    for (unsigned i = 0; i < times && len + request_len <= sizeof train; i++) {
        memcpy(train + len, request, request_len);
        len += request_len;
    }
    send_data(index, train, len);
}

static void send_ack(unsigned index)
{
    struct segment ack = segment_of(index, FLAG_ACK);
    ack.ack += take_offset();
    peers[index].window = ack.window = (uint16_t)(take8(&input) * 257u);
    (void)send_segment(&ack);
}

static void finish(unsigned index)
{
    const uint8_t flags = (take8(&input) & 1) != 0 ? FLAG_RST : FLAG_FIN | FLAG_ACK;
    const struct segment segment = segment_of(index, flags);
    (void)send_segment(&segment);
    peers[index].next++;
}

static void send_frame(void)
{
    const uint8_t *bytes;
    const uint8_t how = take8(&input);
    const size_t len = take_bytes(&bytes, 1 + take8(&input));
    if (len == 0)
        return;
    memcpy(frame_bytes, bytes, len);
    if ((how & 1) != 0 && len >= 14)
        memcpy(frame_bytes, fake_netdev_default.mac, 6);
    (void)arrive(len, (how & 2) != 0);
}

static void send_packet(unsigned index)
{
    const uint8_t *bytes;
    const uint8_t protocol = take8(&input);
    const size_t len = take_bytes(&bytes, take8(&input));
    if (len > 0)
        memcpy(frame_bytes + ETHERNET_BYTES + IP_BYTES, bytes, len);
    const size_t frame_len = frame_of_ip(protocol, address_of(index), len, frame_bytes);
    if (protocol == 6 && len >= 20)
        frame_sum_segment(frame_bytes, frame_len);
    (void)arrive(frame_len, true);
}

static void wait(void)
{
    const uint8_t shape = take8(&input);
    const unsigned step_ms = shape < 0x80 ? WAIT_STEP_MS : TICK_MS;
    unsigned ms = shape < 0x80 ? shape : (shape - 0x7fu) * 64u;
    for (; ms > 0; ms -= ms < step_ms ? ms : step_ms) {
        fake_clock_advance_ms(ms < step_ms ? ms : step_ms);
        appliance_poll(see);
    }
}

static void note_damage(void)
{
    damage_count = 1 + take8(&input) % DAMAGES_MAX;
    for (unsigned i = 0; i < damage_count; i++) {
        damages[i].at = take8(&input);
        damages[i].bits = take8(&input);
    }
}

static void send_syns(unsigned index)
{
    for (unsigned i = 1 + take8(&input) % TIMES_MAX; i > 0; i--) {
        struct segment syn = segment_of(index, FLAG_SYN);
        syn.port = next_port++;
        syn.mss = 1460;
        (void)send_segment(&syn);
    }
}

static void send_holes(unsigned index)
{
    static const uint8_t data[1460];
    const size_t len = 1 + take8(&input) * 5u;
    const uint32_t step = (uint32_t)len + take8(&input) % 4u;
    struct segment segment = segment_of(index, FLAG_ACK);
    segment.data = data;
    segment.len = len;
    for (unsigned i = take8(&input); i > 0; i--) {
        segment.number += step;
        if (!send_segment(&segment))
            break;
    }
}

/* RFC 2131: BOOTREPLY, with the transaction's number, an address, and the input's options. */
static void answer_dhcp(void)
{
    uint8_t *const udp = frame_bytes + ETHERNET_BYTES + IP_BYTES;
    uint8_t *const reply = udp + 8;
    const uint8_t *options;
    const uint8_t type = take8(&input);
    const size_t options_len = take_bytes(&options, take8(&input));
    const size_t len = 240 + 3 + 6 + options_len;
    static const uint8_t server_id[6] = {54, 4, 10, 0, 0, 0xfe};

    memcpy(reply, dhcp_request, 240);
    reply[0] = 2;
    memcpy(reply + 16, "\x0a\x00\x00\x02", 4);
    memcpy(reply + 240, (const uint8_t[]){53, 1, (uint8_t)(type % 8)}, 3);
    memcpy(reply + 243, server_id, sizeof server_id);
    if (options_len > 0)
        memcpy(reply + 249, options, options_len);
    memcpy(udp,
           (const uint8_t[]){0, 67, 0, 68, (uint8_t)((len + 8) >> 8), (uint8_t)(len + 8), 0, 0}, 8);
    (void)arrive(frame_of_ip(17, FRAME_GATEWAY, len + 8, frame_bytes), true);
}

static void operate(uint8_t byte)
{
    const unsigned index = byte >> 4 & (PEERS - 1);
    switch ((enum operation)(byte & 0x0f)) {
    case OP_CONNECT:
        connect_peer(index);
        break;
    case OP_SEGMENT:
        send_any_segment(index);
        break;
    case OP_SEND:
        send_input(index);
        break;
    case OP_REQUEST:
        send_requests(index);
        break;
    case OP_ACK:
        send_ack(index);
        break;
    case OP_FINISH:
        finish(index);
        break;
    case OP_FRAME:
        send_frame();
        break;
    case OP_PACKET:
        send_packet(index);
        break;
    case OP_ARP:
        (void)arrive(frame_of_arp(1 + (take8(&input) & 1), address_of(index), frame_bytes), true);
        break;
    case OP_WAIT:
        wait();
        break;
    case OP_LINK:
        fake_netdev_set_link(link_up = !link_up);
        break;
    case OP_STALL:
        fake_netdev_stall(stalled = !stalled);
        break;
    case OP_DAMAGE:
        note_damage();
        break;
    case OP_SYNS:
        send_syns(index);
        break;
    case OP_HOLES:
        send_holes(index);
        break;
    case OP_DHCP:
        answer_dhcp();
        break;
    }
}

static void start(void)
{
    struct appliance_config config = {.device = fake_netdev_default};
    const uint8_t machine = take8(&input);
    const uint8_t limits = take8(&input);

    config.dhcp = (machine & 1) != 0;
    config.device.transmit_checksum = (machine & 2) == 0;
    config.device.receive_checksum = (machine & 4) == 0;
    config.device.mtu_bytes = (machine & 8) != 0 ? 576 : 1500;
    config.device.receive_buffer_bytes = (machine & 16) != 0 ? 256 : 2048;
    config.device.transmit_ring = (machine & 32) != 0 ? 64 : 256;
    vouches = (machine & 64) == 0;
    config.connections_max = 1 + limits % APPLIANCE_CONNECTIONS_MAX;
    appliance_start(&config);
    fake_netdev_scatter(limits >> 6); /* 0: not at all */
    for (unsigned i = 0; i < PEERS; i++)
        peers[i] = (struct peer){.next = 1000 * i, .window = 65535};
    memset(dhcp_request, 0, sizeof dhcp_request);
    link_up = true;
    stalled = false;
    damage_count = 0;
    next_port = 1;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    appliance_keep();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = (struct input){data, size};
    start();
    for (unsigned i = 0; i < OPERATIONS_MAX && input.left > 0; i++) {
        const uint8_t byte = take8(&input);
        operate(byte);
        if ((byte & NO_POLL) != 0)
            continue;
        appliance_poll(see);
        appliance_check();
    }
    appliance_end();
    return 0;
}

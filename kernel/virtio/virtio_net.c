/*
 * virtio-net, polled. receive_ring.c does the receiving; virtqueue.c tells how kicks are batched
 * and why none is lost.
 *
 * Starting (start(), virtio 1.2 3.1.1 and 5.1.5) takes what the device offers of an allow-list.
 * Transmitting takes a descriptor for each buffer of a frame; the header goes before the first
 * buffer, where netdev.h reserves room. Frames are published 16 at a time and at the flush. Cost of
 * a frame of one buffer in a batch of 32, in instructions (callgrind, -O2 without LTO): to transmit
 * it 83, to reap it 33.
 *
 * Trust. A device that breaks the contract (virtq.fault says how) is reset and started anew at
 * the next netdev_receive() or netdev_link_is_up(): pieces that the receiver holds stay valid,
 * frames that were out come back as if they had been sent. If it does not start, that is tried
 * again each second; meanwhile nothing is received or sent and the link is down. Both calls do it,
 * because the receiver stops receiving while it has no descriptors for its answers, and a broken
 * device returns none. A device that returns nothing at all cannot be told from a slow one; it
 * costs its traffic, nothing else.
 */
#include "kernel/virtio/virtio_net.h"

#include <assert.h>
#include <string.h>

#include "kernel/mem/memory.h"
#include "kernel/plat/sleep.h"
#include "kernel/virtio/receive_ring.h"
#include "kernel/virtio/virtio.h"
#include "kernel/virtio/virtio_mmio.h"
#include "kernel/virtio/virtio_pci.h"

/* Feature masks (5.1.3). */
#define F_CSUM       (1ULL << 0)
#define F_GUEST_CSUM (1ULL << 1)
#define F_MTU        (1ULL << 3)
#define F_MAC        (1ULL << 5)
#define F_GUEST_TSO4 (1ULL << 7)
#define F_MRG_RXBUF  (1ULL << 15)
#define F_STATUS     (1ULL << 16)

/*
 * Only what is served. GUEST_TSO6 is not: IPv6 is refused, and a train of 64 KiB would take 17
 * buffers of the ring to be dropped.
 */
#define FEATURES_WANTED                                                                            \
    (VIRTIO_FEATURES_PLATFORM | VIRTIO_F_EVENT_IDX | F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC |       \
     F_GUEST_TSO4 | F_MRG_RXBUF | F_STATUS)

struct config { /* struct virtio_net_config (5.1.4) */
    uint8_t mac[6];
    uint16_t status;
    uint16_t max_virtqueue_pairs;
    uint16_t mtu;
};

#define STATUS_LINK_UP 1 /* VIRTIO_NET_S_LINK_UP */

_Static_assert(offsetof(struct config, mtu) == 10, "virtio 1.2, 5.1.4");

enum { RECEIVE_QUEUE = 0, TRANSMIT_QUEUE = 1 };

#define TRANSMIT_SIZE_MIN 64u
#define TRANSMIT_SIZE_MAX VIRTQ_SIZE_MAX

#define MTU_DEFAULT       1500u
#define MTU_MIN           576u /* RFC 791: what every host must take */
#define MTU_MAX           9000u
/* Without MRG_RXBUF: what goes into one slot beside headers, those of Ethernet with a VLAN tag. */
#define MTU_ONE_SLOT_MAX                                                                           \
    (RECEIVE_RING_SLOT_BYTES - (uint32_t)sizeof(struct virtio_net_header) - 18u)

/* Frames queued for transmission before they are published without waiting for the flush. */
#define PUBLISH_FRAMES 16
#define RETRY_NS       CLOCK_NS_PER_S /* between attempts to start a device that failed to */
#define COMPLAIN_NS    CLOCK_NS_PER_S /* between log lines that the device can provoke */

static struct {
    struct virtio_device *device;
    bool running;           /* false: the device did not start again after a reset */
    bool interrupts;        /* of the receive queue end sleeps */
    uint64_t retry_ns;      /* when to try next, while it is not running */
    uint64_t complained_ns; /* 0: never */
    void *receive_memory, *transmit_memory; /* what the queues share with the device */
    struct netdev_info info;
    struct netdev_counters counters;
} net;

static struct receive_ring receive;

static struct {
    struct virtq q;
    uint16_t size;
    uint16_t returned_count;         /* tokens of frames that a reset has cancelled */
    void *tokens[TRANSMIT_SIZE_MAX]; /* by head */
    void *returned[TRANSMIT_SIZE_MAX];
} transmit;

const struct netdev_info *netdev_get_info(void)
{
    return &net.info;
}

const struct netdev_counters *netdev_get_counters(void)
{
    return &net.counters;
}

/* ---- kicking ---- */

static inline void kick_if_due(struct virtq *q, uint16_t index)
{
    if (virtq_kick_due(q)) {
        net.device->transport->notify(net.device, index);
        net.counters.kicks++;
    }
}

/* Once a batch: kept out of the functions that are called for each frame. */
static __attribute__((noinline)) void publish(struct virtq *q, uint16_t index)
{
    virtq_publish(q);
    kick_if_due(q, index);
}

/* ---- starting, and starting again ---- */

/* What to accept of what is offered; a feature that needs another comes with it or not at all. */
static uint64_t choose_features(uint64_t offered)
{
    uint64_t features = offered & FEATURES_WANTED;

    /* 5.1.3.1: TSO requires the checksum's. A train needs more than one buffer. */
    if ((features & F_GUEST_CSUM) == 0 || (features & F_MRG_RXBUF) == 0)
        features &= ~F_GUEST_TSO4;
    return features;
}

/* Sets up both queues of a device whose features are accepted, and lets it run. */
static bool start_queues(void)
{
    net.interrupts =
        sleep_is_possible() && net.device->transport->route_interrupt(net.device, RECEIVE_QUEUE);
    if (!virtio_add_queue(net.device, RECEIVE_QUEUE, &receive.q, net.receive_memory,
                          receive.size) ||
        !virtio_add_queue(net.device, TRANSMIT_QUEUE, &transmit.q, net.transmit_memory,
                          transmit.size))
        return false;
    receive_ring_start(&receive);
    virtio_run(net.device);
    publish(&receive.q, RECEIVE_QUEUE); /* 3.1.1: no notification before DRIVER_OK */
    return true;
}

/* After a reset the device has nothing any more: takes back what it had. */
static void take_back(void)
{
    receive_ring_reclaim(&receive);
    for (uint16_t head = 0; head < transmit.size; head++)
        if (transmit.q.chain[head] != 0) {
            transmit.q.chain[head] = 0;
            assert(transmit.returned_count < transmit.size);
            transmit.returned[transmit.returned_count++] = transmit.tokens[head];
        }
}

static bool restart(void)
{
    const uint64_t features = net.device->features;
    uint64_t offered;

    if (!virtio_begin(net.device, &offered)) {
        net.device->features = features;
        return false;
    }
    take_back();
    net.device->features = features; /* also when it fails below: they are what is tried again */
    return (features & ~offered) == 0 && virtio_accept(net.device, features) && start_queues();
}

/* Resets the device if it broke its contract, or tries again what failed. True if it runs. */
static __attribute__((noinline, cold)) bool recover(void)
{
    const char *const fault = receive.q.fault != NULL ? receive.q.fault : transmit.q.fault;
    const uint64_t now_ns = clock_ns();
    const bool complain = net.complained_ns == 0 || now_ns - net.complained_ns >= COMPLAIN_NS;

    if (net.running) {
        net.counters.resets++;
        if (complain)
            log_error("net", "%s failed: %s; reset number %llu", net.device->name, fault,
                      (unsigned long long)net.counters.resets);
    } else if (now_ns < net.retry_ns) {
        return false;
    }
    if (complain)
        net.complained_ns = now_ns;
    net.running = restart();
    if (!net.running) {
        net.retry_ns = now_ns + RETRY_NS;
        if (complain)
            log_error("net", "%s does not start again; next attempt in a second", net.device->name);
    }
    return net.running;
}

static inline bool is_sound(void)
{
    return __builtin_expect(net.running && receive.q.fault == NULL && transmit.q.fault == NULL,
                            true);
}

/* Reads MAC and MTU. Before FEATURES_OK, so that an MTU that cannot be kept is not accepted. */
static uint64_t read_config(uint64_t features)
{
    struct config config = {0};
    uint32_t mtu = MTU_DEFAULT;

    if (features & F_MTU) {
        virtio_config_read(net.device, offsetof(struct config, mtu), &config.mtu,
                           sizeof(config.mtu));
        if (config.mtu >= MTU_MIN) {
            mtu = config.mtu < MTU_MAX ? config.mtu : MTU_MAX;
        } else {
            log_warn("net", "the device's MTU of %u is below %u; %u is used", config.mtu, MTU_MIN,
                     MTU_DEFAULT);
            features &= ~F_MTU;
        }
    }
    if ((features & F_MRG_RXBUF) == 0 && mtu > MTU_ONE_SLOT_MAX) {
        log_warn("net", "without mergeable buffers the MTU is %u at most, not %u", MTU_ONE_SLOT_MAX,
                 mtu);
        mtu = MTU_ONE_SLOT_MAX;
    }
    net.info.mtu_bytes = (uint16_t)mtu;
    if (features & F_MAC) {
        virtio_config_read(net.device, offsetof(struct config, mac), net.info.mac,
                           sizeof(net.info.mac));
    } else {
        entropy_fill(net.info.mac, sizeof(net.info.mac));
        net.info.mac[0] = (uint8_t)((net.info.mac[0] & 0xfc) | 0x02); /* ours, to one station */
    }
    return features;
}

/* Decides how large the queues are, and takes memory for them. */
static bool take_memory(void)
{
    const uint16_t size = virtio_queue_size(net.device, RECEIVE_QUEUE, RECEIVE_RING_SIZE_MAX);

    transmit.size = virtio_queue_size(net.device, TRANSMIT_QUEUE, TRANSMIT_SIZE_MAX);
    if (size < RECEIVE_RING_SIZE_MIN || transmit.size < TRANSMIT_SIZE_MIN) {
        log_error("net", "%s has queues of %u and %u entries; %u and %u are needed",
                  net.device->name, size, transmit.size, RECEIVE_RING_SIZE_MIN, TRANSMIT_SIZE_MIN);
        return false;
    }
    net.info.receive_buffers = size;
    net.receive_memory = memory_take(VIRTQ_BYTES(size), VIRTQ_ALIGN_BYTES, "receive ring");
    net.transmit_memory =
        memory_take(VIRTQ_BYTES(transmit.size), VIRTQ_ALIGN_BYTES, "transmit ring");
    /* Not cleared: the device writes a slot before anybody reads it, and 1 MiB takes a while. */
    receive_ring_init(
        &receive,
        memory_take_dirty((size_t)size * RECEIVE_RING_SLOT_BYTES, 4096, "receive buffers"), size);
    return true;
}

static bool start(void)
{
    uint64_t offered;

    if (!virtio_begin(net.device, &offered))
        return false;
    const uint64_t features = read_config(choose_features(offered));
    if (!virtio_accept(net.device, features) || !take_memory())
        return false;
    receive.merges = (features & F_MRG_RXBUF) != 0;
    receive.checksums = (features & F_GUEST_CSUM) != 0;
    net.info.receive_checksum = (features & F_GUEST_CSUM) != 0;
    net.info.transmit_checksum = (features & F_CSUM) != 0;
    return start_queues();
}

bool netdev_init(void)
{
    assert(net.device == NULL);
    net.device = virtio_find(VIRTIO_ID_NET);
    if (net.device == NULL) {
        log_error("net",
                  "no virtio-net device that can be used: looked at %u PCI buses and in %u places "
                  "of virtio-mmio",
                  virtio_pci_buses(), virtio_mmio_places());
        return false;
    }
    if (!start()) {
        log_error("net", "%s does not start", net.device->name);
        virtio_give_up(net.device);
        return false;
    }
    net.running = true;
    const uint64_t features = net.device->features;
    const uint8_t *const mac = net.info.mac;
    log_info("net",
             "virtio-net at %s, %02x:%02x:%02x:%02x:%02x:%02x, rings %u/%u, MTU %u%s%s%s%s%s",
             net.device->name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], receive.size,
             transmit.size, net.info.mtu_bytes, features & F_CSUM ? ", csum" : "",
             features & F_GUEST_CSUM ? ", guest-csum" : "", receive.merges ? ", mrg-rxbuf" : "",
             features & F_GUEST_TSO4 ? ", guest-tso" : "",
             features & VIRTIO_F_EVENT_IDX ? ", event-idx" : "");
    if (sleep_is_possible() && !net.interrupts)
        log_warn("net", "%s has no interrupts that could end a sleep: idle=poll", net.device->name);
    return true;
}

bool netdev_link_is_up(void)
{
    uint16_t status = 0;

    /* There is no interrupt to say so: look when asked. */
    if (net.running && virtio_needs_reset(net.device))
        virtq_break(&receive.q, "it says that it needs a reset");
    if (!is_sound() && !recover())
        return false;
    if ((net.device->features & F_STATUS) == 0)
        return true; /* 5.1.4.2 */
    virtio_config_read(net.device, offsetof(struct config, status), &status, sizeof(status));
    return (status & STATUS_LINK_UP) != 0;
}

/* ---- receiving ---- */

size_t netdev_receive(struct netdev_piece *pieces, size_t pieces_max)
{
    assert(pieces_max >= NETDEV_PIECES_MAX);
    if (!is_sound() && !recover())
        return 0;
    const uint16_t ready = virtq_used_count(&receive.q);
    if (ready == 0) { /* nothing to do: the time to look whether a kick was lost */
        kick_if_due(&receive.q, RECEIVE_QUEUE);
        kick_if_due(&transmit.q, TRANSMIT_QUEUE);
        return 0;
    }
    return receive_ring_take(&receive, ready, pieces, pieces_max, &net.counters);
}

void netdev_recycle(const struct netdev_piece *piece)
{
    receive_ring_recycle(&receive, piece);
}

/* ---- before a sleep ---- */

/*
 * The transmit queue stays hushed. What it has sent can wait, as long as nobody waits for its
 * descriptors; and whoever does, does not sleep (net/server.h).
 *
 * The access to a register is a fence, too, for an emulator that leaves fences out (virtqueue.c).
 */
bool netdev_arm(void)
{
    if (!net.interrupts || !is_sound())
        return false;
    virtq_arm(&receive.q);
    net.device->transport->acknowledge(net.device);
    return true;
}

bool netdev_is_quiet(void)
{
    kick_if_due(&receive.q, RECEIVE_QUEUE);
    kick_if_due(&transmit.q, TRANSMIT_QUEUE);
    return virtq_is_quiet(&receive.q);
}

void netdev_disarm(void)
{
    virtq_hush(&receive.q);
}

/* ---- transmitting ---- */

size_t netdev_transmit_space(void)
{
    /* Tokens that wait to be fetched after a reset count as if they were still in the ring. */
    const int space = transmit.q.free_count - transmit.returned_count;

    return space > 0 ? (size_t)space : 0;
}

void netdev_transmit(const struct netdev_frame *frame)
{
    const uint16_t count = frame->buffer_count;
    uint8_t *const first =
        (uint8_t *)(uintptr_t)frame->buffers[0].bytes - sizeof(struct virtio_net_header);
    const uint16_t head = virtq_chain_begin(&transmit.q);
    uint32_t frame_bytes = frame->buffers[0].len;

    assert(count - 1u < NETDEV_TRANSMIT_BUFFERS_MAX && count <= transmit.q.free_count);
    assert(frame->checksum_start == 0 || net.info.transmit_checksum);
    /* 5.1.6.2; no segmentation is asked for. */
    *(struct virtio_net_header *)first = (struct virtio_net_header){
        .flags = frame->checksum_start != 0 ? VIRTIO_NET_HEADER_NEEDS_CSUM : 0,
        .csum_start = frame->checksum_start,
        .csum_offset = frame->checksum_offset,
    };
    uint16_t at = virtq_link(&transmit.q, head, (uintptr_t)first,
                             frame_bytes + (uint32_t)sizeof(struct virtio_net_header),
                             count > 1 ? VIRTQ_DESC_NEXT : 0);
    for (uint16_t i = 1; i < count; i++) {
        const struct netdev_buffer *const buffer = &frame->buffers[i];
        frame_bytes += buffer->len;
        at = virtq_link(&transmit.q, at, (uintptr_t)buffer->bytes, buffer->len,
                        i + 1 < count ? VIRTQ_DESC_NEXT : 0);
    }
    virtq_chain_end(&transmit.q, at, count);
    transmit.tokens[head] = frame->token;
    net.counters.transmitted_frames++;
    net.counters.transmitted_bytes += frame_bytes;
    if ((uint16_t)(transmit.q.offered - transmit.q.published) >= PUBLISH_FRAMES && is_sound())
        publish(&transmit.q, TRANSMIT_QUEUE);
}

static size_t fetch_returned(void **tokens, size_t max)
{
    size_t count = 0;

    while (count < max && transmit.returned_count > 0)
        tokens[count++] = transmit.returned[--transmit.returned_count];
    return count;
}

size_t netdev_transmitted(void **tokens, size_t max)
{
    uint32_t ignored_len;
    size_t count = 0;

    if (__builtin_expect(transmit.returned_count > 0, 0))
        return fetch_returned(tokens, max);
    if (!is_sound())
        return 0;
    for (uint16_t ready = virtq_used_count(&transmit.q); ready > 0 && count < max; ready--) {
        const uint16_t head = virtq_peek(&transmit.q, &ignored_len);
        if (head == VIRTQ_NONE)
            break;
        virtq_take_chain(&transmit.q, head);
        tokens[count++] = transmit.tokens[head];
    }
    return count;
}

/* ---- both ---- */

void netdev_flush(void)
{
    if (!is_sound())
        return;
    if (transmit.q.offered != transmit.q.published)
        publish(&transmit.q, TRANSMIT_QUEUE);
    receive_ring_refill(&receive);
    if (receive.q.offered != receive.q.published)
        publish(&receive.q, RECEIVE_QUEUE);
}

/*
 * The whole virtio-net driver on the host, against a device in memory that does as it is told.
 *
 * The driver's sources are compiled into the file that includes this one, every name that the
 * linker sees prefixed by VNET(): so its statics can be looked at, several files can do so, and
 * other tests may bring a netdev, a clock and a log of their own.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define clock_ns              VNET(clock_ns)
#define log_line              VNET(log_line)
#define memory_take           VNET(memory_take)
#define memory_take_dirty     VNET(memory_take_dirty)
#define entropy_fill          VNET(entropy_fill)
#define virtio_find           VNET(virtio_find)
#define virtio_find_all       VNET(virtio_find_all)
#define virtio_reset          VNET(virtio_reset)
#define virtio_begin          VNET(virtio_begin)
#define virtio_accept         VNET(virtio_accept)
#define virtio_queue_size     VNET(virtio_queue_size)
#define virtio_add_queue      VNET(virtio_add_queue)
#define virtio_run            VNET(virtio_run)
#define virtio_give_up        VNET(virtio_give_up)
#define virtio_needs_reset    VNET(virtio_needs_reset)
#define virtio_config_read    VNET(virtio_config_read)
#define virtio_pci_find       VNET(virtio_pci_find)
#define virtio_mmio_find      VNET(virtio_mmio_find)
#define virtio_pci_buses      VNET(virtio_pci_buses)
#define virtio_mmio_places    VNET(virtio_mmio_places)
#define netdev_init           VNET(netdev_init)
#define netdev_get_info       VNET(netdev_get_info)
#define netdev_get_counters   VNET(netdev_get_counters)
#define netdev_link_is_up     VNET(netdev_link_is_up)
#define netdev_receive        VNET(netdev_receive)
#define netdev_recycle        VNET(netdev_recycle)
#define netdev_transmit       VNET(netdev_transmit)
#define netdev_transmit_space VNET(netdev_transmit_space)
#define netdev_transmitted    VNET(netdev_transmitted)
#define netdev_flush          VNET(netdev_flush)
#define netdev_arm            VNET(netdev_arm)
#define netdev_is_quiet       VNET(netdev_is_quiet)
#define netdev_disarm         VNET(netdev_disarm)
#define sleep_is_possible     VNET(sleep_is_possible)
#define receive_ring_init     VNET(receive_ring_init)
#define receive_ring_start    VNET(receive_ring_start)
#define receive_ring_reclaim  VNET(receive_ring_reclaim)
#define receive_ring_take     VNET(receive_ring_take)
#define receive_ring_recycle  VNET(receive_ring_recycle)
#define receive_ring_refill   VNET(receive_ring_refill)

#include "kernel/virtio/receive_ring.c"
#undef SLOT_BYTES
#include "kernel/virtio/virtio.c"
#include "kernel/virtio/virtio_net.c"

#include "tests/test.h"
#include "tests/unit/random.h"

#define SLOT        RECEIVE_RING_SLOT_BYTES
#define HEADER      HEADER_BYTES
#define PIECES      128
#define ALL_OFFERED (~(F_MTU | F_STATUS))

/* ---- the device ---- */

struct fake_queue {
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    uint16_t size_max, size, seen;
    unsigned notified;
};

static struct {
    struct virtio_device device;
    bool present, resets, accepts;
    bool enables[2]; /* a queue */
    bool sleep_is_possible, routes;
    unsigned routed[2], acknowledged; /* how often; a queue's interrupts while it is set up */
    uint8_t status;
    uint8_t statuses[16]; /* as they were written */
    unsigned status_count;
    uint64_t offered, accepted;
    uint64_t insists; /* on these: without them it does not work */
    struct config config;
    struct fake_queue queues[2];
    uint64_t now_ns;
    unsigned log_lines;
    char said[160]; /* the last of them */
    void *memory[8];
    unsigned memory_count;
} fake;

static uint8_t fake_read_status(struct virtio_device *device)
{
    (void)device;
    return fake.status;
}

static void fake_write_status(struct virtio_device *device, uint8_t status)
{
    (void)device;
    if (status == 0) {
        if (!fake.resets)
            return;
        for (unsigned i = 0; i < 2; i++)
            fake.queues[i] = (struct fake_queue){.size_max = fake.queues[i].size_max};
        fake.status_count = 0;
    }
    if (!fake.accepts || (fake.accepted & fake.insists) != fake.insists)
        status &= (uint8_t)~STATUS_FEATURES_OK;
    fake.status = status;
    if (fake.status_count < sizeof(fake.statuses))
        fake.statuses[fake.status_count++] = status;
}

static uint64_t fake_read_features(struct virtio_device *device)
{
    (void)device;
    return fake.offered;
}

static void fake_write_features(struct virtio_device *device, uint64_t features)
{
    (void)device;
    fake.accepted = features;
}

static uint16_t fake_queue_size_max(struct virtio_device *device, uint16_t index)
{
    (void)device;
    return fake.queues[index].size_max;
}

static bool fake_queue_enable(struct virtio_device *device, uint16_t index, const struct virtq *q)
{
    struct fake_queue *const queue = &fake.queues[index];

    (void)device;
    queue->desc = q->desc;
    queue->avail = q->avail;
    queue->used = q->used;
    queue->size = q->size;
    queue->seen = 0;
    return fake.enables[index];
}

static void fake_notify(struct virtio_device *device, uint16_t index)
{
    (void)device;
    fake.queues[index].notified++;
}

static bool fake_route_interrupt(struct virtio_device *device, uint16_t index)
{
    (void)device;
    if (fake.queues[index].size == 0) /* or it would be too late */
        fake.routed[index]++;
    return fake.routes;
}

static void fake_acknowledge(struct virtio_device *device)
{
    (void)device;
    fake.acknowledged++;
}

static uint32_t fake_config_generation(struct virtio_device *device)
{
    (void)device;
    return 7;
}

static void fake_config_read(struct virtio_device *device, uint32_t offset, void *to, size_t len)
{
    (void)device;
    memcpy(to, (const uint8_t *)&fake.config + offset, len);
}

static const struct virtio_transport fake_transport = {
    .read_status = fake_read_status,
    .write_status = fake_write_status,
    .read_features = fake_read_features,
    .write_features = fake_write_features,
    .queue_size_max = fake_queue_size_max,
    .queue_enable = fake_queue_enable,
    .notify = fake_notify,
    .route_interrupt = fake_route_interrupt,
    .acknowledge = fake_acknowledge,
    .config_generation = fake_config_generation,
    .config_read = fake_config_read,
};

/* ---- the rest of the machine ---- */

size_t virtio_pci_find(enum virtio_id id, struct virtio_device **found, size_t max, unsigned *seen)
{
    *seen += fake.present;
    if (!fake.present || id != VIRTIO_ID_NET || max == 0)
        return 0;
    found[0] = &fake.device;
    return 1;
}

size_t virtio_mmio_find(enum virtio_id id, struct virtio_device **found, size_t max, unsigned *seen)
{
    (void)id;
    (void)found;
    (void)max;
    (void)seen;
    return 0;
}

bool sleep_is_possible(void)
{
    return fake.sleep_is_possible;
}

unsigned virtio_pci_buses(void)
{
    return 0;
}

unsigned virtio_mmio_places(void)
{
    return 0;
}

uint64_t clock_ns(void)
{
    return fake.now_ns += 1000;
}

void log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list args;

    (void)subsystem;
    if (level == LOG_DEBUG)
        return;
    va_start(args, format);
    (void)vsnprintf(fake.said, sizeof(fake.said), format, args);
    va_end(args);
    fake.log_lines++;
}

void *memory_take_dirty(size_t bytes, size_t align, const char *what)
{
    void *const memory = aligned_alloc(align, (bytes + align - 1) / align * align);

    (void)what;
    assert(memory != NULL && fake.memory_count < 8);
    memset(memory, 0x5a, bytes);
    return fake.memory[fake.memory_count++] = memory;
}

void *memory_take(size_t bytes, size_t align, const char *what)
{
    return memset(memory_take_dirty(bytes, align, what), 0, bytes);
}

void entropy_fill(void *bytes, size_t len)
{
    memset(bytes, 0xff, len);
}

/* ---- what the device does well ---- */

static inline uint16_t device_waiting(unsigned index)
{
    const struct fake_queue *const queue = &fake.queues[index];

    return (uint16_t)(queue->avail->idx - queue->seen);
}

static inline uint16_t device_take(unsigned index)
{
    struct fake_queue *const queue = &fake.queues[index];

    assert(device_waiting(index) > 0);
    return queue->avail->ring[queue->seen++ % queue->size];
}

static inline void device_use(unsigned index, uint32_t id, uint32_t len)
{
    struct virtq_used *const used = fake.queues[index].used;

    used->ring[used->idx % fake.queues[index].size] = (struct virtq_used_elem){id, len};
    __atomic_store_n(&used->idx, (uint16_t)(used->idx + 1), __ATOMIC_RELEASE);
}

/* The bytes of frame `seed`: so that each can be told from all others. */
static inline uint8_t frame_byte(uint32_t seed, uint32_t at)
{
    return (uint8_t)((seed * 2654435761u >> 13) + at * 7 + (at >> 8));
}

/* Delivers a frame as 5.1.6.4.1 asks. False, and nothing was done, when it wants for buffers. */
static inline bool device_deliver(uint32_t seed, uint32_t frame_bytes, uint8_t flags)
{
    const uint32_t bytes = frame_bytes + HEADER;
    const uint16_t buffers = (uint16_t)((bytes + SLOT - 1) / SLOT);
    uint32_t at = 0;

    if (device_waiting(0) < buffers)
        return false;
    struct virtq_used *const used = fake.queues[0].used;
    uint16_t idx = used->idx;
    for (uint16_t i = 0; i < buffers; i++) {
        const uint16_t id = device_take(0);
        uint8_t *const to = (uint8_t *)(uintptr_t)fake.queues[0].desc[id].address;
        const uint32_t left = bytes - i * SLOT;
        const uint32_t len = left < SLOT ? left : SLOT;
        const uint32_t skip = i == 0 ? HEADER : 0;
        if (i == 0)
            *(struct virtio_net_header *)to =
                (struct virtio_net_header){.flags = flags, .num_buffers = buffers};
        for (uint32_t k = skip; k < len; k++)
            to[k] = frame_byte(seed, at++);
        used->ring[idx++ % fake.queues[0].size] = (struct virtq_used_elem){id, len};
    }
    used->idx = idx;
    return true;
}

/* ---- set up and torn down ---- */

static inline void set_up(void)
{
    memset(&fake, 0, sizeof(fake));
    memset(&net, 0, sizeof(net));
    memset(&receive, 0, sizeof(receive));
    memset(&transmit, 0, sizeof(transmit));
    fake.device.transport = &fake_transport;
    strcpy(fake.device.name, "fake");
    fake.present = fake.resets = fake.accepts = true;
    fake.enables[0] = fake.enables[1] = true;
    fake.offered = ALL_OFFERED;
    fake.config = (struct config){{2, 0, 0, 0, 0, 1}, STATUS_LINK_UP, 1, 1500};
    fake.queues[0].size_max = fake.queues[1].size_max = 256;
    fake.now_ns = 1;
}

static inline void tear_down(void)
{
    for (unsigned i = 0; i < fake.memory_count; i++)
        free(fake.memory[i]);
    fake.memory_count = 0;
}

/* Each test's body, so that its memory is freed however it ends. */
#define VNET_TEST(test_name)                                                                       \
    static void body_##test_name(void);                                                            \
    TEST(virtio_net_##test_name)                                                                   \
    {                                                                                              \
        set_up();                                                                                  \
        body_##test_name();                                                                        \
        tear_down();                                                                               \
    }                                                                                              \
    static void body_##test_name(void)

/* ---- what the tests share ---- */

/* True if the pieces are exactly frame `seed` of `bytes` bytes. */
static inline bool is_frame(const struct netdev_piece *piece, size_t count, uint32_t seed,
                            uint32_t bytes)
{
    uint32_t at = 0;

    for (size_t i = 0; i < count; i++) {
        if (piece[i].more != (i + 1 < count))
            return false;
        for (uint32_t k = 0; k < piece[i].len; k++)
            if (piece[i].bytes[k] != frame_byte(seed, at++))
                return false;
    }
    return at == bytes;
}

static inline void recycle(const struct netdev_piece *piece, size_t count)
{
    for (size_t i = 0; i < count; i++)
        netdev_recycle(&piece[i]);
}

static uint8_t sent_bytes[4096];

static inline void send(void *token, uint32_t len)
{
    const struct netdev_frame frame = {
        .buffers = {{sent_bytes + NETDEV_HEADROOM_BYTES, len}}, .buffer_count = 1, .token = token};

    netdev_transmit(&frame);
}

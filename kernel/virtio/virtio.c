#include "kernel/virtio/virtio.h"

#include <assert.h>

#include "kernel/plat/log.h"
#include "kernel/time/clock.h"
#include "kernel/virtio/virtio_mmio.h"
#include "kernel/virtio/virtio_pci.h"

/* Device status bits (virtio 1.2, 2.1). */
enum {
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,
    STATUS_NEEDS_RESET = 64,
    STATUS_FAILED = 128,
};

/* Emulated devices reset within the write itself; a host process behind one may take its time. */
#define RESET_NS_MAX             (100 * CLOCK_NS_PER_MS)

#define CONFIG_READ_ATTEMPTS_MAX 8

static size_t find(enum virtio_id id, struct virtio_device **devices, size_t max, unsigned *seen)
{
    size_t count = virtio_pci_find(id, devices, max, seen);
    if (count < max)
        count += virtio_mmio_find(id, devices + count, max - count, seen);
    return count;
}

struct virtio_device *virtio_find(enum virtio_id id)
{
    struct virtio_device *device;
    unsigned seen = 0;

    if (find(id, &device, 1, &seen) == 0)
        return NULL; /* each that cannot be used has had its line */
    if (seen > 1)
        log_warn("virtio", "%u devices with id %u; the first, %s, is used", seen, (unsigned)id,
                 device->name);
    return device;
}

size_t virtio_find_all(enum virtio_id id, struct virtio_device **devices, size_t max)
{
    unsigned seen = 0;
    const size_t count = find(id, devices, max, &seen);

    if (seen > count)
        log_warn("virtio", "%u devices with id %u; %u are used", seen, (unsigned)id,
                 (unsigned)count);
    return count;
}

static void add_status(struct virtio_device *device, uint8_t bits)
{
    const uint8_t status = device->transport->read_status(device);

    device->transport->write_status(device, (uint8_t)(status | bits));
}

bool virtio_reset(struct virtio_device *device)
{
    const uint64_t deadline_ns = clock_ns() + RESET_NS_MAX;

    device->transport->write_status(device, 0);
    while (device->transport->read_status(device) != 0) /* 2.4.2, 4.1.4.3.2 */
        if (clock_ns() > deadline_ns)
            return false;
    return true;
}

bool virtio_begin(struct virtio_device *device, uint64_t *offered)
{
    device->features = 0;
    if (!virtio_reset(device)) {
        log_error("virtio", "%s does not reset", device->name);
        return false;
    }
    add_status(device, STATUS_ACKNOWLEDGE);
    add_status(device, STATUS_DRIVER);
    *offered = device->transport->read_features(device);
    log_debug("virtio", "%s offers %#llx", device->name, (unsigned long long)*offered);
    return true;
}

bool virtio_accept(struct virtio_device *device, uint64_t features)
{
    if ((features & VIRTIO_F_VERSION_1) == 0) {
        log_error("virtio", "%s is a legacy device: it does not offer VERSION_1", device->name);
        return false;
    }
    device->transport->write_features(device, features);
    add_status(device, STATUS_FEATURES_OK);
    if ((device->transport->read_status(device) & STATUS_FEATURES_OK) == 0) {
        log_error("virtio", "%s refuses the features %#llx of those it offers", device->name,
                  (unsigned long long)features);
        return false;
    }
    device->features = features;
    log_debug("virtio", "%s: features %#llx", device->name, (unsigned long long)features);
    return true;
}

uint16_t virtio_queue_size(struct virtio_device *device, uint16_t index, uint16_t limit)
{
    const uint16_t max = device->transport->queue_size_max(device, index);
    uint16_t size = limit;

    assert(limit > 0 && (limit & (limit - 1)) == 0);
    while (size > max)
        size = (uint16_t)(size / 2);
    return size;
}

bool virtio_add_queue(struct virtio_device *device, uint16_t index, struct virtq *q, void *memory,
                      uint16_t size)
{
    if (size == 0 || device->transport->queue_size_max(device, index) < size) {
        log_error("virtio", "%s has no queue %u of %u entries", device->name, index, size);
        return false;
    }
    virtq_init(q, memory, size, (device->features & VIRTIO_F_EVENT_IDX) != 0);
    if (!device->transport->queue_enable(device, index, q)) {
        log_error("virtio", "%s does not enable queue %u", device->name, index);
        return false;
    }
    log_debug("virtio", "%s: queue %u of %u entries", device->name, index, size);
    return true;
}

void virtio_run(struct virtio_device *device)
{
    add_status(device, STATUS_DRIVER_OK);
}

void virtio_give_up(struct virtio_device *device)
{
    if (virtio_reset(device))
        device->transport->write_status(device, STATUS_FAILED);
}

bool virtio_needs_reset(struct virtio_device *device)
{
    /* A device that was unplugged reads as all ones, which has the bit too. */
    return (device->transport->read_status(device) & STATUS_NEEDS_RESET) != 0;
}

void virtio_config_read(struct virtio_device *device, uint32_t offset, void *to, size_t len)
{
    const struct virtio_transport *const transport = device->transport;

    for (int attempt = 0; attempt < CONFIG_READ_ATTEMPTS_MAX; attempt++) {
        const uint32_t before = transport->config_generation(device);
        transport->config_read(device, offset, to, len);
        if (transport->config_generation(device) == before)
            return;
    }
}

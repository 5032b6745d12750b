/*
 * A virtio 1.x device, whatever it is attached to: status, features, queues, configuration.
 *
 *     virtio.c        the steps that are the same everywhere (virtio 1.2, 3.1)
 *     virtio_pci.c    the PCI transport (4.1)
 *     virtio_mmio.c   the memory-mapped transport (4.2)
 *
 * To start a device (3.1.1): virtio_find, virtio_begin, look at what is offered, virtio_accept,
 * virtio_add_queue for each, virtio_run. Where a step fails: virtio_give_up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/virtio/virtqueue.h"

enum virtio_id { VIRTIO_ID_NET = 1, VIRTIO_ID_BLK = 2, VIRTIO_ID_RNG = 4 }; /* section 5 */

/* Feature masks (section 6). */
#define VIRTIO_F_EVENT_IDX       (1ULL << 29)
#define VIRTIO_F_VERSION_1       (1ULL << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ULL << 33)
#define VIRTIO_F_ORDER_PLATFORM  (1ULL << 36)

/*
 * What every driver accepts where it is offered, for a device may refuse to work without it (6.1):
 *
 *     ACCESS_PLATFORM   The device goes through the platform's IOMMU, if there is one. Nobody here
 *                       switches an IOMMU on, and one that is off translates nothing. So addresses
 *                       are physical ones as before.
 *     ORDER_PLATFORM    The device is hardware, and needs the barriers that hardware needs. On x86
 *                       these are the ones of virtqueue.c.
 */
#define VIRTIO_FEATURES_PLATFORM                                                                   \
    (VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_ORDER_PLATFORM)

#define VIRTIO_NAME_BYTES_MAX 32

struct virtio_device;

/* What a transport does for a device. Values are little-endian, as is the machine. */
struct virtio_transport {
    uint8_t (*read_status)(struct virtio_device *device);
    void (*write_status)(struct virtio_device *device, uint8_t status);
    uint64_t (*read_features)(struct virtio_device *device);
    void (*write_features)(struct virtio_device *device, uint64_t features);
    /* The largest size that the device takes for the queue; 0 when it has no such queue. */
    uint16_t (*queue_size_max)(struct virtio_device *device, uint16_t index);
    __attribute__((warn_unused_result)) bool (*queue_enable)(struct virtio_device *device,
                                                             uint16_t index, const struct virtq *q);
    void (*notify)(struct virtio_device *device, uint16_t index);
    /*
     * Has the queue's interrupts end sleeps (kernel/plat/sleep.h), which MUST be possible. False if
     * that cannot be. Before queue_enable, each time; the first time during the boot.
     */
    __attribute__((warn_unused_result)) bool (*route_interrupt)(struct virtio_device *device,
                                                                uint16_t index);
    /*
     * The interrupts so far are known of; without that there may be no further one. It is an access
     * to a register of the device.
     */
    void (*acknowledge)(struct virtio_device *device);
    uint32_t (*config_generation)(struct virtio_device *device);
    /* One access for a field of 1, 2 or 4 bytes, else byte by byte. */
    void (*config_read)(struct virtio_device *device, uint32_t offset, void *to, size_t len);
};

/* Embedded, first, in what the transport keeps of it. */
struct virtio_device {
    const struct virtio_transport *transport;
    enum virtio_id id;
    uint64_t features; /* negotiated */
    char name[VIRTIO_NAME_BYTES_MAX];
};

/*
 * The first device with this id, NULL if there is none; says so in the log when there are more.
 * It looks again at each call, and a device asked for twice is the same object.
 */
struct virtio_device *virtio_find(enum virtio_id id);

/* All devices with this id that can be used, at most `max`, in the order of their places. */
size_t virtio_find_all(enum virtio_id id, struct virtio_device **devices, size_t max);

/* Resets the device and waits, for a bounded time, until it has let go of its queues. */
__attribute__((warn_unused_result)) bool virtio_reset(struct virtio_device *device);

/* Steps 1 to 4: resets, acknowledges, reads what is offered. */
__attribute__((warn_unused_result)) bool virtio_begin(struct virtio_device *device,
                                                      uint64_t *offered);

/* Steps 4 to 6: accepts `features`, which MUST be a subset of what is offered. */
__attribute__((warn_unused_result)) bool virtio_accept(struct virtio_device *device,
                                                       uint64_t features);

/* The largest power of two that the device takes for the queue, at most `limit`; or 0. */
uint16_t virtio_queue_size(struct virtio_device *device, uint16_t index, uint16_t limit);

/* Step 7: initialises `q` in `memory` (see virtq_init) and hands it to the device. */
__attribute__((warn_unused_result)) bool virtio_add_queue(struct virtio_device *device,
                                                          uint16_t index, struct virtq *q,
                                                          void *memory, uint16_t size);

/* Step 8: DRIVER_OK. Notifications are allowed from here on. */
void virtio_run(struct virtio_device *device);

/* Stops the device for good: reset, then FAILED, for whoever looks at it from outside. */
void virtio_give_up(struct virtio_device *device);

/* The device says that it cannot go on (DEVICE_NEEDS_RESET, 2.1.2), or is gone. */
bool virtio_needs_reset(struct virtio_device *device);

/*
 * For the transports' config_read: copies a field out of device memory by accesses of its own width
 * (4.1.3.1), and what is no field of 2 or 4 bytes byte by byte.
 */
static inline void virtio_read_field(void *to, const volatile uint8_t *from, size_t len)
{
    if (len == 2)
        memcpy(to, &(const uint16_t){*(const volatile uint16_t *)from}, 2);
    else if (len == 4)
        memcpy(to, &(const uint32_t){*(const volatile uint32_t *)from}, 4);
    else
        for (size_t i = 0; i < len; i++)
            ((uint8_t *)to)[i] = from[i];
}

/* Reads `len` bytes of the device's configuration, none of them older than another (2.5.1). */
void virtio_config_read(struct virtio_device *device, uint32_t offset, void *to, size_t len);

#include "kernel/virtio/virtio_mmio.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "kernel/cpu/ioapic.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/log.h"
#include "kernel/plat/pci.h"
#include "kernel/virtio/virtio_mmio_windows.h"

/* 4.2.2: the registers, by their offset. */
enum reg {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_SIZE_MAX = 0x034,
    REG_QUEUE_SIZE = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_DRIVER = 0x090,
    REG_QUEUE_DEVICE = 0x0a0,
    REG_CONFIG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

#define MAGIC          0x74726976 /* "virt" */
#define VERSION_LEGACY 1
#define VERSION_MODERN 2

/* QEMU's microvm (hw/i386/microvm.c): where its transports are, most of them without a device. */
#define MICROVM_BASE  0xfeb00000u
#define MICROVM_SLOT  0x200u
#define MICROVM_SLOTS 24

#define DEVICES_MAX   (MMIO_WINDOWS_MAX + MICROVM_SLOTS) /* one in each place */

struct virtio_mmio {
    struct virtio_device device; /* first */
    volatile uint8_t *registers;
    uint64_t bytes;
    unsigned line;
};

static struct virtio_mmio devices[DEVICES_MAX];
static size_t device_count;
static unsigned places_searched;

static struct virtio_mmio *of(struct virtio_device *device)
{
    return (struct virtio_mmio *)device;
}

static uint32_t read_register(volatile uint8_t *registers, enum reg reg)
{
    return *(volatile uint32_t *)(registers + reg);
}

static void write_register(volatile uint8_t *registers, enum reg reg, uint32_t value)
{
    *(volatile uint32_t *)(registers + reg) = value;
}

static uint8_t read_status(struct virtio_device *device)
{
    return (uint8_t)read_register(of(device)->registers, REG_STATUS);
}

static void write_status(struct virtio_device *device, uint8_t status)
{
    write_register(of(device)->registers, REG_STATUS, status);
}

static uint64_t read_features(struct virtio_device *device)
{
    volatile uint8_t *const registers = of(device)->registers;

    write_register(registers, REG_DEVICE_FEATURES_SEL, 0);
    const uint64_t low = read_register(registers, REG_DEVICE_FEATURES);
    write_register(registers, REG_DEVICE_FEATURES_SEL, 1);
    return low | (uint64_t)read_register(registers, REG_DEVICE_FEATURES) << 32;
}

static void write_features(struct virtio_device *device, uint64_t features)
{
    volatile uint8_t *const registers = of(device)->registers;

    write_register(registers, REG_DRIVER_FEATURES_SEL, 0);
    write_register(registers, REG_DRIVER_FEATURES, (uint32_t)features);
    write_register(registers, REG_DRIVER_FEATURES_SEL, 1);
    write_register(registers, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
}

static uint16_t queue_size_max(struct virtio_device *device, uint16_t index)
{
    volatile uint8_t *const registers = of(device)->registers;

    write_register(registers, REG_QUEUE_SEL, index);
    const uint32_t max = read_register(registers, REG_QUEUE_SIZE_MAX);
    return max > VIRTQ_SIZE_MAX ? VIRTQ_SIZE_MAX : (uint16_t)max;
}

static void write_address(volatile uint8_t *registers, enum reg reg, const volatile void *pointer)
{
    const uint64_t address = (uintptr_t)pointer;

    *(volatile uint32_t *)(registers + reg) = (uint32_t)address;
    *(volatile uint32_t *)(registers + reg + 4) = (uint32_t)(address >> 32);
}

static bool queue_enable(struct virtio_device *device, uint16_t index, const struct virtq *q)
{
    volatile uint8_t *const registers = of(device)->registers;

    write_register(registers, REG_QUEUE_SEL, index);
    if (read_register(registers, REG_QUEUE_READY) != 0) /* 4.2.3.2 */
        return false;
    write_register(registers, REG_QUEUE_SIZE, q->size);
    write_address(registers, REG_QUEUE_DESC, q->desc);
    write_address(registers, REG_QUEUE_DRIVER, q->avail);
    write_address(registers, REG_QUEUE_DEVICE, q->used);
    write_register(registers, REG_QUEUE_READY, 1);
    return read_register(registers, REG_QUEUE_READY) == 1;
}

static void notify(struct virtio_device *device, uint16_t index)
{
    write_register(of(device)->registers, REG_QUEUE_NOTIFY, index); /* 4.2.3.3 */
}

/* Its one line is that of all its queues. */
static bool route_interrupt(struct virtio_device *device, uint16_t index)
{
    (void)index;
    return of(device)->line != MMIO_NO_LINE && ioapic_route(of(device)->line);
}

/* The line falls, so that it can rise again, which is what the I/O APIC hears. */
static void acknowledge(struct virtio_device *device)
{
    const uint32_t used_buffer = 1, configuration_change = 2; /* 4.2.2 */

    write_register(of(device)->registers, REG_INTERRUPT_ACK, used_buffer | configuration_change);
}

static uint32_t config_generation(struct virtio_device *device)
{
    return read_register(of(device)->registers, REG_CONFIG_GENERATION);
}

static void config_read(struct virtio_device *device, uint32_t offset, void *to, size_t len)
{
    volatile uint8_t *const config = of(device)->registers + REG_CONFIG + offset;

    if (REG_CONFIG + offset + len > of(device)->bytes)
        memset(to, 0, len);
    else
        virtio_read_field(to, config, len);
}

static const struct virtio_transport transport = {
    .read_status = read_status,
    .write_status = write_status,
    .read_features = read_features,
    .write_features = write_features,
    .queue_size_max = queue_size_max,
    .queue_enable = queue_enable,
    .notify = notify,
    .route_interrupt = route_interrupt,
    .acknowledge = acknowledge,
    .config_generation = config_generation,
    .config_read = config_read,
};

static struct virtio_device *device_at(const struct mmio_window *window,
                                       volatile uint8_t *registers, enum virtio_id id)
{
    for (size_t i = 0; i < device_count; i++)
        if (devices[i].registers == registers)
            return &devices[i].device;
    assert(device_count < DEVICES_MAX);
    struct virtio_mmio *const mmio = &devices[device_count++];
    memset(mmio, 0, sizeof(*mmio));
    mmio->device.transport = &transport;
    mmio->device.id = id;
    mmio->registers = registers;
    mmio->bytes = window->bytes;
    mmio->line = window->line;
    snprintf(mmio->device.name, sizeof(mmio->device.name), "mmio %#llx",
             (unsigned long long)window->base);
    return &mmio->device;
}

/* Counts a window that holds a device with this id; returns the device if it is usable. */
static struct virtio_device *look_at(const struct mmio_window *window, enum virtio_id id,
                                     unsigned *seen)
{
    volatile uint8_t *const registers = memory_map_device(window->base, window->bytes);

    places_searched++;
    if (read_register(registers, REG_MAGIC) != MAGIC ||
        read_register(registers, REG_DEVICE_ID) != (uint32_t)id)
        return NULL;
    ++*seen;
    const uint32_t version = read_register(registers, REG_VERSION);
    if (version == VERSION_MODERN)
        return device_at(window, registers, id);
    if (version == VERSION_LEGACY)
        log_error("virtio",
                  "mmio %#llx is a legacy device; with QEMU, add "
                  "-global virtio-mmio.force-legacy=false",
                  (unsigned long long)window->base);
    else
        log_error("virtio", "mmio %#llx has version %u, which is not known",
                  (unsigned long long)window->base, version);
    return NULL;
}

size_t virtio_mmio_find(enum virtio_id id, struct virtio_device **found, size_t max, unsigned *seen)
{
    const bool is_probed = mmio_window_count == 0 && !pci_is_present();
    const size_t places = is_probed ? MICROVM_SLOTS : mmio_window_count;
    size_t count = 0;

    places_searched = 0;
    for (size_t i = 0; i < places; i++) {
        const struct mmio_window slot = {MICROVM_BASE + MICROVM_SLOT * i, MICROVM_SLOT,
                                         MMIO_NO_LINE};
        struct virtio_device *const device =
            look_at(is_probed ? &slot : &mmio_windows[i], id, seen);
        if (device != NULL && count < max)
            found[count++] = device;
    }
    return count;
}

unsigned virtio_mmio_places(void)
{
    return places_searched;
}

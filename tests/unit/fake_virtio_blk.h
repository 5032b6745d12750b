/*
 * The whole virtio-blk driver on the host, against devices in memory that do as they are told.
 *
 * The driver's sources are compiled into the file that includes this one, with names of their own
 * for what the linker sees, so that its statics can be looked at.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define VBLK(name)            vblk_##name
#define clock_ns              VBLK(clock_ns)
#define log_line              VBLK(log_line)
#define memory_take           VBLK(memory_take)
#define virtio_find           VBLK(virtio_find)
#define virtio_find_all       VBLK(virtio_find_all)
#define virtio_reset          VBLK(virtio_reset)
#define virtio_begin          VBLK(virtio_begin)
#define virtio_accept         VBLK(virtio_accept)
#define virtio_queue_size     VBLK(virtio_queue_size)
#define virtio_add_queue      VBLK(virtio_add_queue)
#define virtio_run            VBLK(virtio_run)
#define virtio_give_up        VBLK(virtio_give_up)
#define virtio_needs_reset    VBLK(virtio_needs_reset)
#define virtio_config_read    VBLK(virtio_config_read)
#define virtio_pci_find       VBLK(virtio_pci_find)
#define virtio_mmio_find      VBLK(virtio_mmio_find)
#define blockdev_init         VBLK(blockdev_init)
#define blockdev_count        VBLK(blockdev_count)
#define blockdev_get_info     VBLK(blockdev_get_info)
#define blockdev_get_counters VBLK(blockdev_get_counters)
#define blockdev_submit       VBLK(blockdev_submit)
#define blockdev_kick         VBLK(blockdev_kick)
#define blockdev_completed    VBLK(blockdev_completed)

#include "kernel/virtio/virtio.c"
#include "kernel/virtio/virtio_blk.c"

#include "tests/test.h"

#define SECTORS     64
#define ALL_OFFERED (~UINT64_C(0))

/* ---- the devices ---- */

struct fake {
    struct virtio_device device;
    bool resets, accepts, enables;
    bool answers; /* false: it takes requests, and returns none */
    uint8_t status;
    uint64_t offered;
    struct config config;
    uint16_t size_max;
    const char *serial; /* NULL: it does not know the question */
    uint8_t media[SECTORS * BLOCKDEV_SECTOR_BYTES];
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    uint16_t size, seen;
    unsigned notified, flushes, config_reads;
};

#define FAKES_MAX (BLOCKDEV_DEVICES_MAX + 2)

static struct fake fakes[FAKES_MAX];
static unsigned fake_count, log_lines, memory_count;
static char said[200];           /* the last line */
static uint64_t now_ns, step_ns; /* the clock goes on by a step with each look */
static void *memory[2 * FAKES_MAX];

static struct fake *fake_of(struct virtio_device *device)
{
    return (struct fake *)(void *)device; /* its first member */
}

static uint8_t fake_read_status(struct virtio_device *device)
{
    return fake_of(device)->status;
}

static void fake_write_status(struct virtio_device *device, uint8_t status)
{
    struct fake *const fake = fake_of(device);
    if (status == 0) {
        if (!fake->resets)
            return;
        fake->desc = NULL;
        fake->seen = 0;
    }
    if (!fake->accepts)
        status &= (uint8_t)~STATUS_FEATURES_OK;
    fake->status = status;
}

static uint64_t fake_read_features(struct virtio_device *device)
{
    return fake_of(device)->offered;
}

static void fake_write_features(struct virtio_device *device, uint64_t features)
{
    (void)device;
    (void)features;
}

static uint16_t fake_queue_size_max(struct virtio_device *device, uint16_t index)
{
    (void)index;
    return fake_of(device)->size_max;
}

static bool fake_queue_enable(struct virtio_device *device, uint16_t index, const struct virtq *q)
{
    struct fake *const fake = fake_of(device);
    (void)index;
    fake->desc = q->desc;
    fake->avail = q->avail;
    fake->used = q->used;
    fake->size = q->size;
    return fake->enables;
}

static uint32_t fake_config_generation(struct virtio_device *device)
{
    (void)device;
    return 7;
}

static void fake_config_read(struct virtio_device *device, uint32_t offset, void *to, size_t len)
{
    struct fake *const fake = fake_of(device);
    fake->config_reads++;
    memcpy(to, (const uint8_t *)&fake->config + offset, len);
}

/* Takes the next request; false if there is none. */
static bool fake_take(struct fake *fake, uint16_t *head)
{
    if (fake->desc == NULL || fake->seen == fake->avail->idx)
        return false;
    *head = fake->avail->ring[fake->seen++ & (fake->size - 1)];
    return true;
}

static void fake_return(struct fake *fake, uint32_t head, uint32_t written)
{
    fake->used->ring[fake->used->idx & (fake->size - 1)] = (struct virtq_used_elem){head, written};
    fake->used->idx++;
    /* 2.7.10: it wants to hear of the next request. */
    *(uint16_t *)&fake->used->ring[fake->size] = fake->seen;
}

static const struct header *fake_header(const struct fake *fake, uint16_t head)
{
    return (const struct header *)(uintptr_t)fake->desc[head].address;
}

/* Carries the request out as an honest device does, with this status. */
static void fake_serve(struct fake *fake, uint16_t head, uint8_t status)
{
    const struct header *const header = fake_header(fake, head);
    uint8_t *media = fake->media + header->sector * BLOCKDEV_SECTOR_BYTES;
    uint32_t written = 1;
    uint16_t at = fake->desc[head].next;
    for (; (fake->desc[at].flags & VIRTQ_DESC_NEXT) != 0; at = fake->desc[at].next) {
        void *const bytes = (void *)(uintptr_t)fake->desc[at].address;
        const uint32_t len = fake->desc[at].len;
        assert(((fake->desc[at].flags & VIRTQ_DESC_WRITE) != 0) == (header->type != TYPE_OUT));
        if (status != STATUS_OK)
            continue;
        if (header->type == TYPE_OUT)
            memcpy(media, bytes, len);
        else if (header->type == TYPE_IN)
            memcpy(bytes, media, len);
        else
            strncpy(bytes, fake->serial, len);
        media += len;
        written += header->type == TYPE_OUT ? 0 : len;
    }
    fake->flushes += header->type == TYPE_FLUSH;
    assert(fake->desc[at].len == 1);
    *(uint8_t *)(uintptr_t)fake->desc[at].address = status;
    fake_return(fake, head, written);
}

static void fake_serve_all(struct fake *fake)
{
    uint16_t head;
    while (fake_take(fake, &head)) {
        const bool knows = fake_header(fake, head)->type != TYPE_GET_ID || fake->serial != NULL;
        fake_serve(fake, head, knows ? STATUS_OK : STATUS_UNSUPP);
    }
}

static void fake_notify(struct virtio_device *device, uint16_t index)
{
    struct fake *const fake = fake_of(device);
    assert(index == 0);
    fake->notified++;
    if (fake->answers)
        fake_serve_all(fake);
}

static const struct virtio_transport fake_transport = {
    .read_status = fake_read_status,
    .write_status = fake_write_status,
    .read_features = fake_read_features,
    .write_features = fake_write_features,
    .queue_size_max = fake_queue_size_max,
    .queue_enable = fake_queue_enable,
    .notify = fake_notify,
    .config_generation = fake_config_generation,
    .config_read = fake_config_read,
};

/* ---- the rest of the machine ---- */

size_t virtio_pci_find(enum virtio_id id, struct virtio_device **found, size_t max, unsigned *seen)
{
    size_t count = 0;
    assert(id == VIRTIO_ID_BLK);
    *seen += fake_count;
    for (; count < fake_count && count < max; count++)
        found[count] = &fakes[count].device;
    return count;
}

size_t virtio_mmio_find(enum virtio_id id, struct virtio_device **found, size_t max, unsigned *seen)
{
    (void)id;
    (void)found;
    (void)max;
    (void)seen;
    return 0;
}

void log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list arguments;
    (void)subsystem;
    if (level >= LOG_DEBUG)
        return;
    log_lines++;
    va_start(arguments, format);
    vsnprintf(said, sizeof said, format, arguments);
    va_end(arguments);
}

uint64_t clock_ns(void)
{
    return now_ns += step_ns;
}

void *memory_take(size_t bytes, size_t align, const char *name)
{
    (void)name;
    assert(memory_count < sizeof memory / sizeof memory[0]);
    void *const taken = aligned_alloc(align, (bytes + align - 1) / align * align);
    memset(taken, 0, bytes);
    return memory[memory_count++] = taken;
}

/* So many sound devices, which are not looked for yet. */
static void set_up(unsigned count)
{
    while (memory_count > 0)
        free(memory[--memory_count]);
    memset(disks, 0, sizeof disks);
    disk_count = 0;
    fake_count = count;
    log_lines = 0;
    now_ns = 10 * CLOCK_NS_PER_S;
    step_ns = 0;
    for (unsigned i = 0; i < FAKES_MAX; i++)
        fakes[i] = (struct fake){
            .device = {.transport = &fake_transport, .name = "fake"},
            .resets = true,
            .accepts = true,
            .enables = true,
            .answers = true,
            .offered = ALL_OFFERED & ~F_RO,
            .config = {.capacity = SECTORS,
                       .size_max = UINT32_MAX,
                       .seg_max = 126,
                       .blk_size = 512,
                       .physical_block_exp = 3},
            .size_max = 256,
            .serial = "tally-0",
        };
}

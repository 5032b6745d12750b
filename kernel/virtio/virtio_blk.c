/*
 * virtio-blk, polled. virtqueue.c tells how kicks are batched and why none is lost.
 *
 * A request is a chain of descriptors: a header that says what is wanted and where, the buffers,
 * and a byte of status that the device writes last (virtio 1.2, 5.2.6). Header and status lie in a
 * slot of ours, one for each request that may be out.
 *
 *     | header (16) | buffer | ... | buffer | status (1) |
 *
 * Trust. The device is not believed:
 *
 *   - A head that it does not have, a used index too far ahead, a status that is none, more bytes
 *     written than there was room for: each breaks it for good. So does NEEDS_RESET.
 *   - A broken device is reset, so that it has no memory of ours any more, and is not started
 *     again: what it held in its cache is unknown, and whoever stands on it must know that.
 *   - What it read into buffers may be anything, whatever it says: the store has CRCs.
 *   - A device that returns nothing cannot be told from a slow one. That is for the store to judge.
 */
#include "kernel/virtio/virtio_blk.h"

#include <assert.h>
#include <string.h>

#include "kernel/blockdev.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/log.h"
#include "kernel/time/clock.h"
#include "kernel/virtio/virtio.h"

/* Feature masks (5.2.3). */
#define F_SIZE_MAX (1ULL << 1)
#define F_SEG_MAX  (1ULL << 2)
#define F_RO       (1ULL << 5)
#define F_BLK_SIZE (1ULL << 6)
#define F_FLUSH    (1ULL << 9)
#define F_TOPOLOGY (1ULL << 10)

#define FEATURES_WANTED                                                                            \
    (VIRTIO_FEATURES_PLATFORM | VIRTIO_F_EVENT_IDX | F_SIZE_MAX | F_SEG_MAX | F_RO | F_BLK_SIZE |  \
     F_FLUSH | F_TOPOLOGY)

struct config { /* struct virtio_blk_config (5.2.4), as far as it is read */
    uint64_t capacity;
    uint32_t size_max;
    uint32_t seg_max;
    uint8_t geometry[4];
    uint32_t blk_size;
    uint8_t physical_block_exp;
};

_Static_assert(offsetof(struct config, blk_size) == 20, "virtio 1.2, 5.2.4");
_Static_assert(offsetof(struct config, physical_block_exp) == 24, "virtio 1.2, 5.2.4");

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8 }; /* 5.2.6 */
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2, STATUS_NONE = 0xff };

struct header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

#define REQUEST_QUEUE    0
#define DESCRIPTORS_MAX  (BLOCKDEV_BUFFERS_MAX + 2) /* a request */
#define REQUESTS_MAX     16                         /* out at once */
#define QUEUE_SIZE_MAX   512
#define SERIAL_BYTES     20                   /* 5.2.6: not terminated when it is full */
#define SERIAL_NS_MAX    (2 * CLOCK_NS_PER_S) /* a host that is busy */
#define CONFIG_LOOK_NS   CLOCK_NS_PER_S       /* between two looks at what may change */
#define PHYSICAL_EXP_MAX 16

_Static_assert(QUEUE_SIZE_MAX >= REQUESTS_MAX * DESCRIPTORS_MAX, "all requests fit");

/* One that is out. What the device reads and writes is together, and in memory of its own. */
struct shared {
    struct header header;
    uint8_t status;
};

struct slot {
    bool is_out;
    enum blockdev_operation operation;
    uint32_t len; /* of the buffers in all */
    void *token;
};

struct disk {
    struct virtio_device *device;
    struct blockdev_info info;
    struct blockdev_counters counters;
    bool is_broken;
    unsigned out;
    uint64_t looked_ns; /* at its configuration */
    struct shared *shared;
    struct slot slots[REQUESTS_MAX];
    uint8_t slot_of[QUEUE_SIZE_MAX]; /* by head */
    struct virtq q;
    _Alignas(8) char serial[SERIAL_BYTES];
};

static struct disk disks[BLOCKDEV_DEVICES_MAX];
static size_t disk_count;

size_t blockdev_count(void)
{
    return disk_count;
}

const struct blockdev_info *blockdev_get_info(size_t device)
{
    return &disks[device].info;
}

const struct blockdev_counters *blockdev_get_counters(size_t device)
{
    return &disks[device].counters;
}

/* ---- a device that breaks its contract ---- */

static __attribute__((cold)) void give_up(struct disk *disk, const char *why)
{
    disk->is_broken = true;
    log_error("disk", "%s failed: %s", disk->device->name, why);
    if (!virtio_reset(disk->device))
        log_error("disk", "%s does not reset", disk->device->name);
}

/* ---- submitting ---- */

static struct slot *find_slot(struct disk *disk)
{
    for (unsigned i = 0; i < REQUESTS_MAX; i++)
        if (!disk->slots[i].is_out)
            return &disk->slots[i];
    return NULL;
}

static uint16_t link_header(struct disk *disk, const struct slot *slot, uint16_t at, uint32_t type,
                            uint64_t sector)
{
    struct shared *const shared = &disk->shared[slot - disk->slots];
    shared->header = (struct header){.type = type, .sector = sector};
    shared->status = STATUS_NONE;
    return virtq_link(&disk->q, at, (uintptr_t)&shared->header, sizeof shared->header,
                      VIRTQ_DESC_NEXT);
}

static void offer(struct disk *disk, struct slot *slot, uint16_t at, uint16_t buffer_count)
{
    struct shared *const shared = &disk->shared[slot - disk->slots];
    disk->slot_of[virtq_chain_begin(&disk->q)] = (uint8_t)(slot - disk->slots);
    at = virtq_link(&disk->q, at, (uintptr_t)&shared->status, 1, VIRTQ_DESC_WRITE);
    virtq_chain_end(&disk->q, at, (uint16_t)(buffer_count + 2));
    slot->is_out = true;
    disk->out++;
}

bool blockdev_submit(size_t device, const struct blockdev_request *request)
{
    static const uint32_t types[] = {
        [BLOCKDEV_READ] = TYPE_IN, [BLOCKDEV_WRITE] = TYPE_OUT, [BLOCKDEV_FLUSH] = TYPE_FLUSH};
    struct disk *const disk = &disks[device];
    struct slot *const slot = find_slot(disk);

    assert(request->buffer_count <= BLOCKDEV_BUFFERS_MAX);
    if (slot == NULL || disk->q.free_count < request->buffer_count + 2)
        return false;
    slot->operation = request->operation;
    slot->token = request->token;
    slot->len = 0;
    if (disk->is_broken) { /* it comes back at the next look, and the device never sees it */
        slot->is_out = true;
        disk->out++;
        return true;
    }
    const uint16_t writes = request->operation == BLOCKDEV_READ ? VIRTQ_DESC_WRITE : 0;
    uint16_t at = link_header(disk, slot, virtq_chain_begin(&disk->q), types[request->operation],
                              request->operation == BLOCKDEV_FLUSH ? 0 : request->sector);
    for (unsigned i = 0; i < request->buffer_count; i++) {
        const struct blockdev_buffer *const buffer = &request->buffers[i];
        slot->len += buffer->len;
        at = virtq_link(&disk->q, at, (uintptr_t)buffer->bytes, buffer->len,
                        VIRTQ_DESC_NEXT | writes);
    }
    assert(slot->len % BLOCKDEV_SECTOR_BYTES == 0);
    offer(disk, slot, at, request->buffer_count);
    return true;
}

void blockdev_kick(size_t device)
{
    struct disk *const disk = &disks[device];
    if (disk->is_broken)
        return;
    if (disk->q.published != disk->q.offered)
        virtq_publish(&disk->q);
    if (virtq_kick_due(&disk->q))
        disk->device->transport->notify(disk->device, REQUEST_QUEUE);
}

/* ---- completing ---- */

static void count(struct disk *disk, const struct slot *slot, enum blockdev_status status)
{
    struct blockdev_counters *const counters = &disk->counters;
    switch (slot->operation) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case BLOCKDEV_READ:
        counters->reads++;
        counters->read_bytes += slot->len;
        break;
    case BLOCKDEV_WRITE:
        counters->writes++;
        counters->written_bytes += slot->len;
        break;
    case BLOCKDEV_FLUSH:
        counters->flushes++;
        break;
    }
    counters->failures += status != BLOCKDEV_OK;
}

static struct blockdev_completion complete(struct disk *disk, struct slot *slot,
                                           enum blockdev_status status)
{
    slot->is_out = false;
    disk->out--;
    count(disk, slot, status);
    return (struct blockdev_completion){.token = slot->token, .status = status};
}

/* What the device says of a request that it has returned. False: that cannot be. */
static bool read_status(const struct disk *disk, const struct slot *slot, uint32_t written,
                        enum blockdev_status *status)
{
    const struct shared *const shared = &disk->shared[slot - disk->slots];
    if (written > 1 + (slot->operation == BLOCKDEV_READ ? slot->len : 0))
        return false;
    switch (__atomic_load_n(&shared->status, __ATOMIC_RELAXED)) {
    case STATUS_OK:
        *status = BLOCKDEV_OK;
        return true;
    case STATUS_IOERR:
        *status = BLOCKDEV_FAILED;
        return true;
    case STATUS_UNSUPP:
        *status = BLOCKDEV_UNSUPPORTED;
        return true;
    default:
        return false;
    }
}

/* Takes the request at the front. NULL: the device is broken now. */
static struct slot *take(struct disk *disk, enum blockdev_status *status)
{
    uint32_t written;
    const uint16_t head = virtq_peek(&disk->q, &written);
    if (head == VIRTQ_NONE)
        return NULL;
    struct slot *const slot = &disk->slots[disk->slot_of[head]];
    if (!read_status(disk, slot, written, status)) {
        virtq_break(&disk->q, "it returned a request with a status or a length that cannot be");
        return NULL;
    }
    virtq_take_chain(&disk->q, head);
    return slot;
}

/* Of a broken device: all that was out has failed. */
static size_t fail_all(struct disk *disk, struct blockdev_completion *completions, size_t max)
{
    size_t count = 0;
    for (unsigned i = 0; i < REQUESTS_MAX && count < max; i++)
        if (disk->slots[i].is_out)
            completions[count++] = complete(disk, &disk->slots[i], BLOCKDEV_FAILED);
    return count;
}

/* Once a second at most: reading the configuration is several VM exits. */
static void look_at_configuration(struct disk *disk)
{
    const uint64_t now_ns = clock_ns();
    if (now_ns - disk->looked_ns < CONFIG_LOOK_NS)
        return;
    disk->looked_ns = now_ns;
    if (virtio_needs_reset(disk->device)) {
        virtq_break(&disk->q, "it says that it needs a reset");
        return;
    }
    virtio_config_read(disk->device, offsetof(struct config, capacity), &disk->info.sectors,
                       sizeof disk->info.sectors);
}

size_t blockdev_completed(size_t device, struct blockdev_completion *completions, size_t max)
{
    struct disk *const disk = &disks[device];
    size_t count = 0;

    if (!disk->is_broken) {
        uint16_t ready = virtq_used_count(&disk->q);
        for (; ready > 0 && count < max; ready--) {
            enum blockdev_status status;
            struct slot *const slot = take(disk, &status);
            if (slot == NULL)
                break;
            completions[count++] = complete(disk, slot, status);
        }
        if (count == 0) { /* nothing to do: the time to look whether a kick was lost */
            look_at_configuration(disk);
            blockdev_kick(device);
        }
        if (disk->q.fault != NULL)
            give_up(disk, disk->q.fault);
    }
    if (disk->is_broken)
        count += fail_all(disk, completions + count, max - count);
    return count;
}

/* ---- starting ---- */

static void read_config(struct disk *disk, uint64_t features)
{
    struct blockdev_info *const info = &disk->info;
    struct virtio_device *const device = disk->device;

    virtio_config_read(device, offsetof(struct config, capacity), &info->sectors,
                       sizeof info->sectors);
    info->logical_block_bytes = BLOCKDEV_SECTOR_BYTES;
    if (features & F_BLK_SIZE)
        virtio_config_read(device, offsetof(struct config, blk_size), &info->logical_block_bytes,
                           sizeof info->logical_block_bytes);
    uint8_t exp = 0;
    if (features & F_TOPOLOGY)
        virtio_config_read(device, offsetof(struct config, physical_block_exp), &exp, sizeof exp);
    info->physical_block_bytes = info->logical_block_bytes << (exp <= PHYSICAL_EXP_MAX ? exp : 0);
    info->read_only = (features & F_RO) != 0;
    info->flush = (features & F_FLUSH) != 0;
}

/* Requests have up to BLOCKDEV_BUFFERS_MAX buffers, each as long as a block of the store. */
static bool takes_our_requests(struct disk *disk, uint64_t features)
{
    uint32_t size_max = UINT32_MAX, seg_max = UINT32_MAX;
    const uint32_t block_bytes = disk->info.logical_block_bytes;

    if (features & F_SIZE_MAX)
        virtio_config_read(disk->device, offsetof(struct config, size_max), &size_max,
                           sizeof size_max);
    if (features & F_SEG_MAX)
        virtio_config_read(disk->device, offsetof(struct config, seg_max), &seg_max,
                           sizeof seg_max);
    if (block_bytes < BLOCKDEV_SECTOR_BYTES || (block_bytes & (block_bytes - 1)) != 0) {
        log_error("disk", "%s has blocks of %u bytes", disk->device->name, block_bytes);
        return false;
    }
    if (size_max < BLOCKDEV_BUFFER_BYTES_MAX || seg_max < BLOCKDEV_BUFFERS_MAX) {
        log_error("disk", "%s takes %u buffers of %u bytes a request; %u of %u are needed",
                  disk->device->name, seg_max, size_max, BLOCKDEV_BUFFERS_MAX,
                  BLOCKDEV_BUFFER_BYTES_MAX);
        return false;
    }
    return true;
}

static bool start(struct disk *disk)
{
    uint64_t offered;

    if (!virtio_begin(disk->device, &offered))
        return false;
    const uint64_t features = offered & FEATURES_WANTED;
    read_config(disk, features);
    if (!takes_our_requests(disk, features) || !virtio_accept(disk->device, features))
        return false;
    const uint16_t size = virtio_queue_size(disk->device, REQUEST_QUEUE, QUEUE_SIZE_MAX);
    if (size < DESCRIPTORS_MAX) {
        log_error("disk", "%s has a queue of %u entries; %u are needed", disk->device->name, size,
                  DESCRIPTORS_MAX);
        return false;
    }
    disk->shared = memory_take(REQUESTS_MAX * sizeof *disk->shared, 64, "disk requests");
    if (!virtio_add_queue(disk->device, REQUEST_QUEUE, &disk->q,
                          memory_take(VIRTQ_BYTES(size), VIRTQ_ALIGN_BYTES, "disk ring"), size))
        return false;
    virtio_run(disk->device);
    return true;
}

/* Asks for the serial number. A device that does not know the question has none. */
static void read_serial(struct disk *disk)
{
    struct blockdev_completion done;
    struct slot *const slot = find_slot(disk);
    const size_t device = (size_t)(disk - disks);
    const uint64_t deadline_ns = clock_ns() + SERIAL_NS_MAX;

    *slot = (struct slot){.operation = BLOCKDEV_READ, .len = SERIAL_BYTES};
    uint16_t at = link_header(disk, slot, virtq_chain_begin(&disk->q), TYPE_GET_ID, 0);
    at = virtq_link(&disk->q, at, (uintptr_t)disk->serial, SERIAL_BYTES,
                    VIRTQ_DESC_NEXT | VIRTQ_DESC_WRITE);
    offer(disk, slot, at, 1);
    blockdev_kick(device);
    while (blockdev_completed(device, &done, 1) == 0)
        if (clock_ns() > deadline_ns)
            give_up(disk, "it does not answer"); /* the request has failed at the next look */
    for (size_t i = 0; i < SERIAL_BYTES && disk->serial[i] > ' ' && disk->serial[i] <= '~'; i++)
        disk->info.serial[i] = disk->serial[i];
    disk->counters = (struct blockdev_counters){0};
}

static void log_disk(const struct disk *disk)
{
    const struct blockdev_info *const info = &disk->info;
    log_info("disk", "virtio-blk at %s, %llu MiB, blocks of %u/%u%s%s%s%s%s", disk->device->name,
             (unsigned long long)(info->sectors / 2048), info->logical_block_bytes,
             info->physical_block_bytes, info->flush ? ", flush" : "",
             info->read_only ? ", read-only" : "", disk->q.event_idx ? ", event-idx" : "",
             info->serial[0] != '\0' ? ", serial " : "", info->serial);
}

void blockdev_init(void)
{
    struct virtio_device *found[BLOCKDEV_DEVICES_MAX];
    const size_t count = virtio_find_all(VIRTIO_ID_BLK, found, BLOCKDEV_DEVICES_MAX);

    assert(disk_count == 0);
    for (size_t i = 0; i < count; i++) {
        struct disk *const disk = &disks[disk_count];
        *disk = (struct disk){.device = found[i]};
        if (!start(disk)) {
            log_error("disk", "%s does not start", disk->device->name);
            virtio_give_up(disk->device);
            continue;
        }
        disk_count++;
        read_serial(disk);
        log_disk(disk);
    }
}

/* See disk.h. */
#include "tests/store/disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"

#define STEP_NS 1000
#define HANG_NS 1000000 /* who waits for a disk that hangs should not have to do so for long */

struct disk disks[DISKS_MAX];
size_t disk_count;
uint64_t disk_now_ns;
jmp_buf disk_end;
static unsigned steps_left;

void chance_seed(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15 | 1;
}

uint32_t chance(uint32_t bound)
{
    return random_below(bound);
}

uint64_t disk_clock(void)
{
    return disk_now_ns += STEP_NS;
}

uint64_t disk_bytes(const struct disk *disk)
{
    return disk->info.sectors * DISK_SECTOR;
}

static void forget_writes(struct disk *disk)
{
    while (disk->write_count > 0)
        free(disk->writes[--disk->write_count].bytes);
}

static void empty_queue(struct disk *disk)
{
    while (disk->queue_count > 0)
        free(disk->queue[--disk->queue_count].bytes);
}

static void end(struct disk *disk)
{
    forget_writes(disk);
    empty_queue(disk);
    free(disk->media);
    free(disk->latest);
    memset(disk, 0, sizeof *disk);
}

void disks_end(void)
{
    for (size_t i = 0; i < DISKS_MAX; i++)
        end(&disks[i]);
    steps_left = 0;
}

/* Memory of the right size is used again: fetching it anew is what would take time. */
static void make(struct disk *disk, uint64_t sectors)
{
    uint8_t *media = NULL, *latest = NULL;
    if (disk->info.sectors == sectors) {
        media = disk->media;
        latest = disk->latest;
        disk->media = disk->latest = NULL;
        memset(media, 0, sectors * DISK_SECTOR);
        memset(latest, 0, sectors * DISK_SECTOR);
    }
    end(disk);
    disk->info = (struct blockdev_info){
        .sectors = sectors, .logical_block_bytes = 512, .physical_block_bytes = 512, .flush = true};
    disk->media = media != NULL ? media : calloc(sectors, DISK_SECTOR);
    disk->latest = latest != NULL ? latest : calloc(sectors, DISK_SECTOR);
    disk->queue_limit = QUEUE_MAX;
    assert(disk->media != NULL && disk->latest != NULL);
}

void disks_make(size_t count, uint64_t sectors)
{
    disk_count = count;
    disk_now_ns = 1000000;
    steps_left = 0;
    for (size_t i = 0; i < count; i++)
        make(&disks[i], sectors);
}

void disk_set_image(struct disk *disk, const uint8_t *image)
{
    forget_writes(disk);
    empty_queue(disk);
    memcpy(disk->media, image, disk_bytes(disk));
    memcpy(disk->latest, image, disk_bytes(disk));
}

void disk_put(struct disk *disk, uint64_t at, const void *bytes, uint64_t len)
{
    assert(at + len <= disk_bytes(disk));
    memcpy(disk->media + at, bytes, len);
    memcpy(disk->latest + at, bytes, len);
}

void disk_rot(struct disk *disk, uint64_t at)
{
    disk_put(disk, at, &(uint8_t){disk->latest[at] ^ 0x10}, 1);
}

void disk_end_in(unsigned steps)
{
    steps_left = steps;
}

static void step(void)
{
    disk_now_ns += STEP_NS;
    if (steps_left != 0 && --steps_left == 0)
        longjmp(disk_end, 1);
}

/* ---- what requests carry ---- */

static uint32_t len_of(const struct blockdev_request *request)
{
    uint32_t len = 0;
    for (unsigned i = 0; i < request->buffer_count; i++)
        len += request->buffers[i].len;
    assert(len % DISK_SECTOR == 0);
    return len;
}

static uint8_t *gather(const struct blockdev_request *request)
{
    uint8_t *const bytes = malloc(len_of(request)), *at = bytes;
    for (unsigned i = 0; i < request->buffer_count; at += request->buffers[i++].len)
        memcpy(at, request->buffers[i].bytes, request->buffers[i].len);
    return bytes;
}

static void scatter(const struct blockdev_request *request, const uint8_t *bytes)
{
    for (unsigned i = 0; i < request->buffer_count; bytes += request->buffers[i++].len)
        memcpy(request->buffers[i].bytes, bytes, request->buffers[i].len);
}

static bool counts_down(unsigned *in)
{
    return *in != 0 && --*in == 0;
}

/* A write is in the cache from now on. */
static void cache_write(struct disk *disk, struct queued *queued)
{
    uint8_t *const bytes = queued->is_early ? queued->bytes : gather(&queued->request);
    queued->bytes = NULL;
    const uint32_t len = len_of(&queued->request);
    uint64_t sector = queued->request.sector;
    if (counts_down(&disk->misdirect_in))
        sector += (uint64_t)disk->misdirect_by;
    assert(disk->write_count < WRITES_MAX);
    disk->writes[disk->write_count++] = (struct volatile_write){sector, len, bytes};
    memcpy(disk->latest + sector * DISK_SECTOR, bytes, len);
}

static void write_back(struct disk *disk, unsigned count)
{
    assert(count <= disk->write_count);
    for (unsigned i = 0; i < count; i++) {
        struct volatile_write *const write = &disk->writes[i];
        memcpy(disk->media + write->sector * DISK_SECTOR, write->bytes, write->len);
        free(write->bytes);
    }
    disk->write_count -= count;
    memmove(disk->writes, disk->writes + count, disk->write_count * sizeof disk->writes[0]);
}

static enum blockdev_status carry_out(struct disk *disk, struct queued *queued)
{
    const struct blockdev_request *const request = &queued->request;
    const uint64_t end = request->sector + len_of(request) / DISK_SECTOR;
    assert(end <= disk->info.sectors);
    switch (request->operation) {
    case BLOCKDEV_READ:
        if (counts_down(&disk->fail_read_in) ||
            (request->sector < disk->bad_to && end > disk->bad_from))
            return BLOCKDEV_FAILED;
        scatter(request, disk->latest + request->sector * DISK_SECTOR);
        return BLOCKDEV_OK;
    case BLOCKDEV_WRITE:
        assert(!disk->info.read_only);
        if (counts_down(&disk->fail_write_in)) {
            free(queued->bytes);
            return BLOCKDEV_FAILED;
        }
        cache_write(disk, queued);
        if (!disk->info.flush)
            write_back(disk, disk->write_count);
        return BLOCKDEV_OK;
    default:
        assert(disk->info.flush);
        if (counts_down(&disk->fail_flush_in)) { /* and what it was to write is gone */
            forget_writes(disk);
            memcpy(disk->latest, disk->media, disk_bytes(disk));
            return BLOCKDEV_FAILED;
        }
        write_back(disk, queued->covers);
        for (unsigned i = 0; i < disk->queue_count; i++) /* other flushes */
            disk->queue[i].covers -=
                disk->queue[i].covers < queued->covers ? disk->queue[i].covers : queued->covers;
        disk->flushes++;
        return BLOCKDEV_OK;
    }
}

/* ---- the machine's end ---- */

/* What is in the queue may have been carried out. */
static void carry_out_some(struct disk *disk)
{
    for (unsigned i = 0; i < disk->queue_count; i++)
        if (disk->queue[i].request.operation == BLOCKDEV_WRITE && chance(2) != 0)
            cache_write(disk, &disk->queue[i]);
    empty_queue(disk);
}

void disk_kill_machine(struct disk *disk)
{
    carry_out_some(disk);
}

void disk_cut_power(struct disk *disk, enum disk_loss loss)
{
    carry_out_some(disk);
    /* Sectors find their way in any order. */
    for (unsigned left = disk->write_count; left > 1; left--) {
        const unsigned other = chance(left);
        const struct volatile_write swapped = disk->writes[left - 1];
        disk->writes[left - 1] = disk->writes[other];
        disk->writes[other] = swapped;
    }
    for (unsigned i = 0; i < disk->write_count; i++) {
        const struct volatile_write *const write = &disk->writes[i];
        const bool is_kept = loss == LOSS_NOTHING || (loss == LOSS_WRITES && chance(2) != 0);
        for (unsigned at = 0; at < write->len; at += DISK_SECTOR)
            if (is_kept || (loss == LOSS_SECTORS && chance(8) != 0))
                memcpy(disk->media + write->sector * DISK_SECTOR + at, write->bytes + at,
                       DISK_SECTOR);
    }
    forget_writes(disk);
    memcpy(disk->latest, disk->media, disk_bytes(disk));
}

#define TORN_WRITES  3u
#define WHOLE_WRITES 3u
#define WAYS         5u /* lost, whole, first sector only, all but the last, every other */

unsigned disk_variants(struct disk *disk)
{
    for (unsigned i = 0; i < disk->queue_count; i++)
        if (disk->queue[i].request.operation == BLOCKDEV_WRITE)
            cache_write(disk, &disk->queue[i]);
    empty_queue(disk);
    unsigned variants = 1;
    for (unsigned i = 0; i < disk->write_count && i < TORN_WRITES + WHOLE_WRITES; i++)
        variants *= i < TORN_WRITES ? WAYS : 2;
    return variants;
}

void disk_variant(const struct disk *disk, unsigned variant, uint8_t *media)
{
    memcpy(media, disk->media, disk_bytes(disk));
    for (unsigned i = 0; i < disk->write_count && i < TORN_WRITES + WHOLE_WRITES; i++) {
        const struct volatile_write *const write = &disk->writes[i];
        const unsigned ways = i < TORN_WRITES ? WAYS : 2, way = variant % ways;
        variant /= ways;
        for (unsigned at = 0; at < write->len; at += DISK_SECTOR) {
            const bool is_first = at == 0, is_last = at + DISK_SECTOR == write->len;
            if (way == 1 || (way == 2 && is_first) || (way == 3 && !is_last) ||
                (way == 4 && at / DISK_SECTOR % 2 == 0))
                memcpy(media + write->sector * DISK_SECTOR + at, write->bytes + at, DISK_SECTOR);
        }
    }
}

/* ---- kernel/blockdev.h ---- */

size_t blockdev_count(void)
{
    return disk_count;
}

const struct blockdev_info *blockdev_get_info(size_t device)
{
    assert(device < disk_count);
    return &disks[device].info;
}

bool blockdev_submit(size_t device, const struct blockdev_request *request)
{
    struct disk *const disk = &disks[device];
    step();
    assert(request->buffer_count <= BLOCKDEV_BUFFERS_MAX);
    assert((request->operation == BLOCKDEV_FLUSH) == (request->buffer_count == 0));
    assert(len_of(request) % disk->info.logical_block_bytes == 0 &&
           request->sector * DISK_SECTOR % disk->info.logical_block_bytes == 0);
    if (disk->queue_count >= disk->queue_limit)
        return false;
    struct queued *const queued = &disk->queue[disk->queue_count++];
    *queued = (struct queued){.request = *request, .covers = disk->write_count};
    if (request->operation == BLOCKDEV_WRITE && chance(2) != 0) {
        queued->is_early = true;
        queued->bytes = gather(request);
    }
    return true;
}

void blockdev_kick(size_t device)
{
    assert(device < disk_count);
}

size_t blockdev_completed(size_t device, struct blockdev_completion *completions, size_t max)
{
    struct disk *const disk = &disks[device];
    size_t count = 0;
    step();
    while (count < max && disk->queue_count > 0) {
        if (disk->hang_in == 1)
            disk_now_ns += HANG_NS;
        if (disk->hang_in == 1 || (!disk->is_prompt && chance(3) == 0))
            break;
        if (disk->hang_in > 1)
            disk->hang_in--;
        const unsigned which = disk->is_prompt ? 0 : chance(disk->queue_count);
        if (disk->hangs_in_flushes && disk->queue[which].request.operation == BLOCKDEV_FLUSH) {
            disk_now_ns += HANG_NS;
            break;
        }
        struct queued queued = disk->queue[which];
        disk->queue_count--;
        memmove(&disk->queue[which], &disk->queue[which + 1],
                (disk->queue_count - which) * sizeof queued);
        completions[count].token = queued.request.token;
        completions[count++].status = carry_out(disk, &queued);
    }
    return count;
}

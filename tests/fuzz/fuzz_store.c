/*
 * Disks under libFuzzer: a store with some users in it, of which the input changes bytes here and
 * there, with CRCs made right again or not; or anything at all at the beginning of a disk. Held to
 * be true:
 *
 *   - choosing and recovering come to an end, within so many requests;
 *   - nothing is read or written beyond the disk;
 *   - a refusal says why;
 *   - what was recovered counts on: another life recovers what this one has made stable.
 */
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "app/store/crc32c.h"
#include "app/store/store.h"
#include "kernel/blockdev.h"
#include "tests/fuzz/input.h"

#define DISK_BYTES   (4u << 20)
#define MEMORY_BYTES (1u << 19)
#define REQUESTS_MAX 20000
#define PATCHES_MAX  16
#define POLLS_MAX    1000
#define USERS        600

static uint8_t disk_bytes[DISK_BYTES], sound[DISK_BYTES];
static alignas(64) uint8_t memory[MEMORY_BYTES];
static struct format_superblock superblock; /* of `sound` */
static struct blockdev_info info;
static struct blockdev_counters counters;
static struct blockdev_completion done[16];
static size_t done_count;
static unsigned requests;
static uint64_t now;

/* ---- the disk: what is submitted is done ---- */

size_t blockdev_count(void)
{
    return 1;
}

const struct blockdev_info *blockdev_get_info(size_t device)
{
    (void)device;
    return &info;
}

const struct blockdev_counters *blockdev_get_counters(size_t device)
{
    (void)device;
    return &counters;
}

bool blockdev_submit(size_t device, const struct blockdev_request *request)
{
    uint64_t at = request->sector * BLOCKDEV_SECTOR_BYTES;
    (void)device;
    REQUIRE(requests++ < REQUESTS_MAX);
    if (done_count == sizeof done / sizeof done[0])
        return false;
    for (unsigned i = 0; i < request->buffer_count; i++) {
        const struct blockdev_buffer *const buffer = &request->buffers[i];
        REQUIRE(at <= DISK_BYTES && buffer->len <= DISK_BYTES - at);
        if (request->operation == BLOCKDEV_READ)
            memcpy(buffer->bytes, disk_bytes + at, buffer->len);
        else
            memcpy(disk_bytes + at, buffer->bytes, buffer->len);
        at += buffer->len;
    }
    done[done_count++] = (struct blockdev_completion){.token = request->token};
    return true;
}

void blockdev_kick(size_t device)
{
    (void)device;
}

size_t blockdev_completed(size_t device, struct blockdev_completion *completions, size_t max)
{
    size_t count = 0;
    (void)device;
    while (count < max && done_count > 0)
        completions[count++] = done[--done_count];
    return count;
}

/* ---- a life of the machine ---- */

static uint64_t clock(void)
{
    return now += 1000;
}

static bool wall_s(int64_t *unix_s)
{
    *unix_s = 1764590000;
    return true;
}

static void fill(void *bytes, size_t len)
{
    memset(bytes, 0x5a, len);
}

static void tell(const char *line)
{
    REQUIRE(line[0] != '\0' && strlen(line) < STORE_ERROR_BYTES_MAX);
}

static const struct store_config config = {
    .choice = STORE_AUTO, .now_ns = clock, .wall_s = wall_s, .fill_random = fill, .tell = tell};

static enum store_opened live(struct stats *stats)
{
    static struct store_disk disk;
    static char error[STORE_ERROR_BYTES_MAX];
    const struct siphash_key key = {1, 2};
    requests = 0;
    done_count = 0;
    memset(error, 0x7f, sizeof error);
    enum store_opened opened = store_choose(&config, &disk, error);
    if (opened == STORE_OPEN) {
        stats_init(stats, users_init(memory, sizeof memory, 20000, &key));
        opened = store_recover(&config, &disk, stats, error);
    }
    REQUIRE(memchr(error, '\0', sizeof error) != NULL);
    REQUIRE((opened == STORE_REFUSED) == (error[0] != '\0') || opened == STORE_ABSENT);
    return opened;
}

static void count_users(struct stats *stats, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        uint8_t id[24] = {(uint8_t)i, (uint8_t)(i >> 8), 1};
        const struct event event = {.user_id = id, .user_id_len = 8 + i % 16, .value = i};
        if (!stats_add(stats, &event))
            return;
    }
}

static void finish(void)
{
    store_finish();
    for (unsigned i = 0; i < POLLS_MAX && !store_is_clean(); i++)
        store_poll(clock());
    REQUIRE(store_is_clean());
}

static void make_sound(void)
{
    struct stats stats;
    info = (struct blockdev_info){.sectors = DISK_BYTES / BLOCKDEV_SECTOR_BYTES,
                                  .logical_block_bytes = 512,
                                  .physical_block_bytes = 4096,
                                  .flush = true};
    REQUIRE(live(&stats) == STORE_OPEN);
    for (unsigned i = 0; i < 3; i++) {
        count_users(&stats, i * USERS / 3, USERS / 3);
        finish();
        REQUIRE(live(&stats) == STORE_OPEN);
    }
    memcpy(sound, disk_bytes, sizeof sound);
    memcpy(&superblock, sound, sizeof superblock);
}

/* ---- what the input makes of it ---- */

static void fix_superblock(uint64_t at)
{
    struct format_superblock fixed;
    memcpy(&fixed, disk_bytes + at, sizeof fixed);
    fixed.crc = crc32c(0, &fixed, offsetof(struct format_superblock, crc));
    memcpy(disk_bytes + at, &fixed, sizeof fixed);
}

static void fix_slot(unsigned slot)
{
    const uint64_t sector = format_slot_sector(&superblock, slot);
    const uint64_t block = sector * BLOCKDEV_SECTOR_BYTES / superblock.block_bytes;
    uint8_t *const bytes = disk_bytes + sector * BLOCKDEV_SECTOR_BYTES;
    const size_t len = format_slot_bytes(&superblock) - sizeof(uint32_t);
    uint32_t crc = crc32c(0, superblock.uuid, sizeof superblock.uuid);
    crc = crc32c(crc32c(crc, &block, sizeof block), bytes, len);
    memcpy(bytes + len, &crc, sizeof crc);
}

static void fix_block(unsigned block)
{
    uint8_t *const bytes =
        disk_bytes + format_arena_sector(&superblock, block) * BLOCKDEV_SECTOR_BYTES;
    const uint32_t crc = format_arena_block_crc(&superblock, block, bytes);
    memcpy(bytes + format_payload_bytes(&superblock), &crc, sizeof crc);
}

/* Changes one number somewhere. */
static void patch(struct input *input)
{
    const uint8_t kind = take8(input);
    const unsigned index = take8(input);
    const unsigned at = take16(input);
    const uint32_t value = take32(input);
    uint64_t base;
    uint32_t len;
    switch (kind & 3) {
    case 0:
        base = index % 2 * (uint64_t)FORMAT_COPY_AT;
        len = sizeof(struct format_superblock);
        break;
    case 1:
        base = format_slot_sector(&superblock, index % FORMAT_SLOTS) * BLOCKDEV_SECTOR_BYTES;
        len = (uint32_t)format_slot_bytes(&superblock);
        break;
    default:
        base = format_arena_sector(&superblock, index % 8) * BLOCKDEV_SECTOR_BYTES;
        len = superblock.block_bytes;
        break;
    }
    memcpy(disk_bytes + base + at % (len - sizeof value), &value, 1 + (kind >> 2) % sizeof value);
    if ((kind & 0x80) != 0)
        return;
    if ((kind & 3) == 0)
        fix_superblock(base);
    else if ((kind & 3) == 1)
        fix_slot(index % FORMAT_SLOTS);
    else
        fix_block(index % 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stats stats;
    static bool is_made;
    struct input input = {data, size};
    if (!is_made)
        make_sound();
    is_made = true;
    const uint8_t flags = take8(&input);
    if ((flags & 1) != 0) {
        memset(disk_bytes, 0, sizeof disk_bytes);
        memcpy(disk_bytes, input.bytes, input.left < DISK_BYTES ? input.left : DISK_BYTES);
        info.logical_block_bytes = (flags & 2) != 0 ? 4096 : 512;
    } else {
        memcpy(disk_bytes, sound, sizeof sound);
        info.logical_block_bytes = 512;
        for (unsigned i = 0; i < PATCHES_MAX && input.left > 0; i++)
            patch(&input);
    }
    if (live(&stats) != STORE_OPEN)
        return 0;
    count_users(&stats, 5000, 50);
    finish();
    const uint64_t count = stats.count, users = users_count(stats.users);
    REQUIRE(live(&stats) == STORE_OPEN);
    REQUIRE(stats.count == count && users_count(stats.users) == users);
    return 0;
}

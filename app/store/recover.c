/*
 * The state that slots.c has found, into memory. Every block of ids is read and its CRC looked at,
 * every id is inserted, and all must add up: what was stable is there to the last byte, or the
 * machine does not start and says which block is rotten.
 *
 * Blocks that were written are never written again, so the ids must come to lie in memory as they
 * do on the disk, in the order of their first arrival: which is how they are read.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "app/store/blocking.h"
#include "app/store/commit.h"
#include "app/store/slots.h"
#include "app/store/superblock.h"
#include "kernel/lib/bytes.h"

#define LENGTH_BYTES 2u
#define CHUNK_BYTES  (128u << 10)
#define PROGRESS_NS  UINT64_C(1000000000)
#define ULL(number)  ((unsigned long long)(number))
#define ERROR(...)   (void)snprintf(error, STORE_ERROR_BYTES_MAX, __VA_ARGS__)

_Static_assert(CHUNK_BYTES % FORMAT_BLOCK_BYTES_MAX == 0, "whole blocks");

/* ---- ids, from bytes that come piece by piece ---- */

enum ids_result { IDS_GOOD, IDS_MALFORMED, IDS_FULL, IDS_ROTTEN, IDS_UNREADABLE };

struct ids {
    struct users *users;
    uint64_t count;
    uint32_t partial_len; /* of an id that goes on in the next piece */
    uint8_t partial[LENGTH_BYTES + USERS_ID_BYTES_MAX];
};

static uint8_t chunk[CHUNK_BYTES];

/* How long what begins with these bytes is, length and all; 0: no id begins like this. */
static uint32_t whole_len(const uint8_t *bytes)
{
    const uint32_t len = bytes_load16(bytes);
    return len >= 1 && len <= USERS_ID_BYTES_MAX ? LENGTH_BYTES + len : 0;
}

static enum ids_result insert(struct ids *ids, const uint8_t *bytes, uint32_t len)
{
    ids->count++;
    return users_note(ids->users, bytes + LENGTH_BYTES, len - LENGTH_BYTES) ? IDS_GOOD : IDS_FULL;
}

/* A byte at a time: the ids that straddle pieces are few. Takes what it needs of the piece. */
static enum ids_result complete(struct ids *ids, const uint8_t **at, const uint8_t *end)
{
    while (*at < end) {
        ids->partial[ids->partial_len++] = *(*at)++;
        if (ids->partial_len < LENGTH_BYTES)
            continue;
        const uint32_t len = whole_len(ids->partial);
        if (len == 0)
            return IDS_MALFORMED;
        if (ids->partial_len == len) {
            ids->partial_len = 0;
            return insert(ids, ids->partial, len);
        }
    }
    return IDS_GOOD;
}

static enum ids_result feed(struct ids *ids, const uint8_t *bytes, size_t bytes_len)
{
    const uint8_t *at = bytes, *const end = bytes + bytes_len;
    enum ids_result result = IDS_GOOD;
    while (at < end && result == IDS_GOOD) {
        const size_t left = (size_t)(end - at);
        const uint32_t len = ids->partial_len == 0 && left >= LENGTH_BYTES ? whole_len(at) : 0;
        if (len == 0 || len > left) {
            result = complete(ids, &at, end);
        } else {
            result = insert(ids, at, len);
            at += len;
        }
    }
    return result;
}

/* ---- the arena ---- */

/* `count` blocks from *block on, which lie in `chunk`. *block ends at the one that is not good. */
static enum ids_result feed_blocks(const struct format_superblock *superblock, struct ids *ids,
                                   uint64_t *block, uint32_t count)
{
    const uint32_t payload_bytes = format_payload_bytes(superblock);
    for (uint32_t i = 0; i < count; i++, ++*block) {
        const uint8_t *const bytes = chunk + i * superblock->block_bytes;
        if (format_arena_block_crc(superblock, *block, bytes) !=
            bytes_load32(bytes + payload_bytes))
            return IDS_ROTTEN;
        const enum ids_result result = feed(ids, bytes, payload_bytes);
        if (result != IDS_GOOD)
            return result;
    }
    return IDS_GOOD;
}

static void tell_progress(const struct store_config *config, const struct store_disk *disk,
                          const struct ids *ids, uint64_t *told_ns)
{
    if (config->now_ns() - *told_ns <= PROGRESS_NS)
        return;
    char line[80];
    (void)snprintf(line, sizeof line, "recovering: %llu of %llu users", ULL(ids->count),
                   ULL(disk->state.users));
    config->tell(line);
    *told_ns = config->now_ns();
}

/*
 * Reads `count` blocks from *block on into `chunk`. If the disk cannot, they are read one by one:
 * *block ends at the one that fails.
 */
static bool read_blocks(struct blocking *device, const struct format_superblock *superblock,
                        uint64_t *block, uint32_t count)
{
    const uint64_t first = *block;
    const uint32_t block_bytes = superblock->block_bytes;
    if (blocking_read(device, format_arena_sector(superblock, first), chunk, count * block_bytes))
        return true;
    for (uint32_t i = 0; i < count; i++) {
        *block = first + i;
        if (!blocking_read(device, format_arena_sector(superblock, *block), chunk + i * block_bytes,
                           block_bytes))
            return false;
    }
    *block = first;
    return true;
}

/* All full blocks, then the tail; *block ends at the one that is not good. */
static enum ids_result read_ids(struct blocking *device, const struct store_config *config,
                                const struct store_disk *disk, struct ids *ids, uint64_t *block)
{
    const struct format_superblock *const superblock = &disk->superblock;
    const uint32_t payload_bytes = format_payload_bytes(superblock);
    const uint32_t blocks_max = CHUNK_BYTES / superblock->block_bytes;
    const uint64_t blocks = disk->state.arena_bytes / payload_bytes;
    uint64_t told_ns = config->now_ns();
    while (*block < blocks) {
        const uint64_t left = blocks - *block;
        const uint32_t count = left < blocks_max ? (uint32_t)left : blocks_max;
        if (!read_blocks(device, superblock, block, count))
            return IDS_UNREADABLE;
        const enum ids_result result = feed_blocks(superblock, ids, block, count);
        if (result != IDS_GOOD)
            return result;
        tell_progress(config, disk, ids, &told_ns);
    }
    const enum ids_result result = feed(ids, disk->tail, disk->state.arena_bytes % payload_bytes);
    if (result != IDS_GOOD)
        return result;
    /* One id twice is no new user. */
    return ids->partial_len == 0 && ids->count == disk->state.users &&
                   users_count(ids->users) == disk->state.users
               ? IDS_GOOD
               : IDS_MALFORMED;
}

static bool recover_ids(struct blocking *device, const struct store_config *config,
                        const struct store_disk *disk, struct users *users, char *error)
{
    static struct ids ids;
    ids = (struct ids){.users = users};
    uint64_t block = 0;
    const enum ids_result result = read_ids(device, config, disk, &ids, &block);
    const uint64_t sector = device->first_sector + format_arena_sector(&disk->superblock, block);
    switch (result) {
    case IDS_ROTTEN:
        ERROR("block %llu of the ids (sector %llu) is rotten: restore the disk from a copy",
              ULL(block), ULL(sector));
        break;
    case IDS_UNREADABLE:
        ERROR("the disk cannot read block %llu of the ids (sector %llu): restore it from a copy",
              ULL(block), ULL(sector));
        break;
    case IDS_FULL:
        ERROR("the disk holds %llu users with %llu bytes of ids, and memory is full after %llu: "
              "give the machine more",
              ULL(disk->state.users), ULL(disk->state.arena_bytes), ULL(users_count(users)));
        break;
    case IDS_MALFORMED:
        ERROR("the ids on the disk do not add up at block %llu, though its CRC holds: restore it "
              "from a copy",
              ULL(block));
        break;
    default:
        break;
    }
    return result == IDS_GOOD;
}

/* ---- the life's first commit ---- */

/* Above all that were seen, and not in the slot of the state that was recovered. */
static uint64_t first_seq(const struct store_disk *disk)
{
    const uint64_t seq = disk->seq_seen + 1;
    return seq % FORMAT_SLOTS == disk->state.seq % FORMAT_SLOTS ? seq + 1 : seq;
}

/*
 * What was recovered may be in the device's cache only: of the last life's newest commit nobody
 * knows whether its flush completed. So it is flushed before anything else is written. Otherwise
 * lives that end before their first flush would one after another write over the slots around it,
 * until none of what the device may still lose is left on the disk.
 */
static bool commit_this_life(struct blocking *device, const struct store_config *config,
                             const struct store_disk *disk, struct stats *stats, char *error)
{
    if (!blocking_flush(device)) {
        ERROR("the disk cannot be flushed, or does not answer: use another");
        return false;
    }
    const uint64_t begun_ns = config->now_ns(), seq = first_seq(disk);
    uint64_t now_ns = begun_ns;
    commit_begin_life(config, disk, stats, seq, now_ns);
    while (store_stable() != seq && store_health(now_ns) != STORE_FAILED &&
           now_ns - begun_ns <= BLOCKING_PATIENCE_NS) {
        store_poll(now_ns);
        now_ns = config->now_ns();
    }
    if (store_stable() != seq)
        ERROR("the disk cannot be written to, or does not answer: use another");
    return store_stable() == seq;
}

/* The state into memory. */
static bool read_state(struct blocking *device, const struct store_config *config,
                       const struct store_disk *disk, struct stats *stats, char *error)
{
    if (disk->state.users > users_limit(stats->users)) {
        ERROR("the disk holds %llu users, and max-users or memory lets this machine hold %llu: "
              "raise it, or give the machine more memory",
              ULL(disk->state.users), ULL(users_limit(stats->users)));
        return false;
    }
    users_limit_arena(stats->users, format_arena_bytes_max(&disk->superblock));
    if (!recover_ids(device, config, disk, stats->users, error))
        return false;
    assert(users_arena(stats->users).len == disk->state.arena_bytes);
    stats->count = disk->state.count;
    stats->sum = disk->state.sum;
    return true;
}

static struct blocking blocking_of(const struct store_config *config, const struct store_disk *disk)
{
    return (struct blocking){
        .device = disk->device, .first_sector = disk->first_sector, .now_ns = config->now_ns};
}

static bool recover(const struct store_config *config, struct store_disk *disk, struct stats *stats,
                    char *error)
{
    struct blocking device = blocking_of(config, disk);
    if (disk->is_blank) {
        if (!superblock_format(&device, &disk->superblock)) {
            ERROR("the disk could not be formatted: use another");
            return false;
        }
        if (!slots_recover(&device, disk, error))
            return false;
    }
    if (!read_state(&device, config, disk, stats, error))
        return false;
    if (disk->is_unfinished && !superblock_finish(&device, &disk->superblock)) {
        ERROR("the disk's first superblock cannot be written: use another disk");
        return false;
    }
    return commit_this_life(&device, config, disk, stats, error);
}

enum store_opened store_recover(const struct store_config *config, struct store_disk *disk,
                                struct stats *stats, char error[STORE_ERROR_BYTES_MAX])
{
    assert(stats->count == 0 && users_count(stats->users) == 0);
    error[0] = '\0';
    return recover(config, disk, stats, error) ? STORE_OPEN : STORE_REFUSED;
}

bool store_read(const struct store_config *config, const struct store_disk *disk,
                struct stats *stats, char error[STORE_ERROR_BYTES_MAX])
{
    struct blocking device = blocking_of(config, disk);
    assert(stats->count == 0 && users_count(stats->users) == 0 && !disk->is_blank);
    error[0] = '\0';
    return read_state(&device, config, disk, stats, error);
}

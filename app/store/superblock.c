/*
 * A disk is ours by its first superblock; or by its second, if the first is rotten or was never
 * written. It is blank if the first and the last MiB are all zeros. Anything else belongs to
 * someone, even if the second superblock is still there.
 *
 * Formatting writes the slots first, then the second superblock, then the first, each stable before
 * the next. Wherever it is cut off, the disk is still blank, or has a second superblock and all
 * that it speaks of. (A superblock is one sector: it is there or it is not.)
 */
#include "app/store/superblock.h"

#include <string.h>

#include "kernel/blockdev.h"
#include "kernel/lib/bytes.h"

#define MIB            (1u << 20)
#define SECONDS_SECTOR (FORMAT_COPY_AT / FORMAT_SECTOR_BYTES)
#define FIRST_COMMITS  2 /* as after a seal: one rotten slot is no loss */
#define CHUNK_BYTES    (64u << 10)

static uint8_t chunk[CHUNK_BYTES];

_Static_assert(MIB % CHUNK_BYTES == 0, "whole chunks");
_Static_assert(CHUNK_BYTES >= FORMAT_SLOT_BYTES_MAX, "a slot, too");

/* False, too, if it cannot be read. */
static bool is_zero_mib(struct blocking *disk, uint64_t sector)
{
    uint64_t any = 0;
    for (unsigned done = 0; done < MIB; done += CHUNK_BYTES) {
        if (!blocking_read(disk, sector + done / FORMAT_SECTOR_BYTES, chunk, CHUNK_BYTES))
            return false;
        for (unsigned i = 0; i < CHUNK_BYTES; i += sizeof any)
            any |= bytes_load64(chunk + i);
    }
    return any == 0;
}

/* Disks may be read and written by whole blocks only. */
static enum format_superblock_state read_one(struct blocking *disk, uint64_t sector,
                                             struct format_superblock *superblock)
{
    const uint32_t logical_bytes = blockdev_get_info(disk->device)->logical_block_bytes;
    const uint32_t len =
        logical_bytes < FORMAT_BLOCK_BYTES_MIN ? FORMAT_BLOCK_BYTES_MIN : logical_bytes;
    if (!blocking_read(disk, sector, chunk, len))
        return FORMAT_ROTTEN;
    memcpy(superblock, chunk, sizeof *superblock);
    return format_superblock_check(superblock);
}

static bool write_one(struct blocking *disk, uint64_t sector,
                      const struct format_superblock *superblock)
{
    memset(chunk, 0, superblock->block_bytes);
    memcpy(chunk, superblock, sizeof *superblock);
    return blocking_write(disk, sector, chunk, superblock->block_bytes) && blocking_flush(disk);
}

enum superblock_found superblock_find(struct blocking *disk, uint64_t sectors,
                                      struct format_superblock *superblock)
{
    const enum format_superblock_state first = read_one(disk, 0, superblock);
    if (first == FORMAT_OURS)
        return SUPERBLOCK_OURS;
    if (first == FORMAT_NEWER)
        return SUPERBLOCK_NEWER;
    const bool is_foreign =
        first == FORMAT_FOREIGN || (first == FORMAT_ZEROS && !is_zero_mib(disk, 0));

    const enum format_superblock_state second = read_one(disk, SECONDS_SECTOR, superblock);
    if (is_foreign)
        return second == FORMAT_OURS ? SUPERBLOCK_CLOBBERED : SUPERBLOCK_FOREIGN;
    if (second == FORMAT_OURS)
        return first == FORMAT_ZEROS ? SUPERBLOCK_OURS_UNFINISHED : SUPERBLOCK_OURS_BY_SECOND;
    if (second == FORMAT_NEWER)
        return SUPERBLOCK_NEWER;
    if (first == FORMAT_ROTTEN || second == FORMAT_ROTTEN)
        return SUPERBLOCK_ROTTEN;
    return is_zero_mib(disk, sectors - MIB / FORMAT_SECTOR_BYTES) ? SUPERBLOCK_BLANK
                                                                  : SUPERBLOCK_FOREIGN;
}

bool superblock_finish(struct blocking *disk, const struct format_superblock *superblock)
{
    return write_one(disk, 0, superblock);
}

bool superblock_format(struct blocking *disk, const struct format_superblock *superblock)
{
    static struct format_state empty;
    sum_clear(&empty.sum);
    for (unsigned seq = 1; seq <= FIRST_COMMITS; seq++) {
        empty.seq = seq;
        empty.durable_seq = seq - 1;
        format_slot_encode(superblock, &empty, chunk, chunk);
        if (!blocking_write(disk, format_slot_sector(superblock, seq), chunk,
                            (uint32_t)format_slot_bytes(superblock)))
            return false;
    }
    return blocking_flush(disk) && write_one(disk, SECONDS_SECTOR, superblock) &&
           superblock_finish(disk, superblock);
}

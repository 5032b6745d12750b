/*
 * Which of the machine's disks is the store's, or which partition. There is one, or none, or a
 * reason not to start: a disk that can be written to and is neither ours nor blank was attached for
 * a purpose, and it is not for this machine to guess which.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/store/gpt.h"
#include "app/store/slots.h"
#include "app/store/store.h"
#include "app/store/superblock.h"
#include "kernel/blockdev.h"

#define SECTORS_MIN (2 * (1u << 20) / FORMAT_SECTOR_BYTES) /* a first and a last MiB */

enum verdict { VERDICT_TAKE, VERDICT_PASS_OVER, VERDICT_REFUSE };

/* A disk, or the partition of it that is Tally's; and what was found there. */
struct place {
    size_t device;
    uint64_t first_sector, sectors;
    enum superblock_found found;
    struct format_superblock superblock;
};

/* One sentence, which begins with the disk that it is about. */
__attribute__((format(printf, 3, 4))) static void sentence(char text[STORE_ERROR_BYTES_MAX],
                                                           size_t device, const char *format, ...)
{
    const char *const serial = blockdev_get_info(device)->serial;
    const int len = snprintf(text, STORE_ERROR_BYTES_MAX, "disk %zu%s%s%s ", device,
                             serial[0] != '\0' ? " (" : "", serial, serial[0] != '\0' ? ")" : "");
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + len, STORE_ERROR_BYTES_MAX - (size_t)len, format, arguments);
    va_end(arguments);
}

static struct blocking blocking_of(const struct store_config *config, size_t device,
                                   uint64_t first_sector)
{
    return (struct blocking){
        .device = device, .first_sector = first_sector, .now_ns = config->now_ns};
}

/*
 * Why a disk cannot be the store with this superblock; NULL: it can. Blocks that do not lie as the
 * disk's own do would share those with their neighbours, which a torn write would take along.
 */
static const char *unfit(const struct blockdev_info *info, const struct place *place)
{
    const struct format_superblock *const superblock = &place->superblock;
    if (place->first_sector % (superblock->block_bytes / FORMAT_SECTOR_BYTES) != 0)
        return "has a partition for Tally that does not begin where a block does: let it begin at "
               "a MiB";
    if (place->found == SUPERBLOCK_BLANK)
        return NULL;
    if (info->read_only)
        return "is Tally's and read-only: attach it writable";
    if (place->sectors < superblock->sectors)
        return "is Tally's and smaller than it was: give it back its size";
    if (info->logical_block_bytes > superblock->block_bytes ||
        info->physical_block_bytes > superblock->block_bytes)
        return "is Tally's and has larger blocks than it was formatted for: copy it to a disk like "
               "the one it was made on";
    return NULL;
}

static enum verdict judge_fit(const struct blockdev_info *info, const struct place *place,
                              char *text)
{
    const char *const why = unfit(info, place);
    if (why == NULL)
        return VERDICT_TAKE;
    sentence(text, place->device, "%s", why);
    return VERDICT_REFUSE;
}

static bool has_room(const struct blockdev_info *info)
{
    return info->sectors >= SECTORS_MIN && info->logical_block_bytes <= FORMAT_BLOCK_BYTES_MAX;
}

static void say_what_is_needed(uint64_t sectors, uint32_t block_bytes, size_t device, char *text)
{
    sentence(text, device,
             "has %llu sectors in blocks of %u bytes: Tally needs 2 MiB or more, in blocks of at "
             "most %u",
             (unsigned long long)sectors, block_bytes, FORMAT_BLOCK_BYTES_MAX);
}

static enum verdict judge_foreign(const struct blockdev_info *info, size_t device, char *text)
{
    if (info->read_only) {
        sentence(text, device, "is read-only and not Tally's: passed over");
        return VERDICT_PASS_OVER;
    }
    if (!has_room(info))
        say_what_is_needed(info->sectors, info->logical_block_bytes, device, text);
    else
        sentence(text, device,
                 "holds something else: use an empty disk, or clear its first and its last 2 MiB");
    return VERDICT_REFUSE;
}

static enum verdict judge_blank(const struct store_config *config, const struct blockdev_info *info,
                                struct place *place, char *text)
{
    if (info->read_only) {
        sentence(text, place->device, "is read-only and blank: passed over");
        return VERDICT_PASS_OVER;
    }
    uint32_t block_bytes = FORMAT_BLOCK_BYTES_MIN;
    if (block_bytes < info->logical_block_bytes)
        block_bytes = info->logical_block_bytes;
    if (block_bytes < info->physical_block_bytes)
        block_bytes = info->physical_block_bytes;
    uint8_t uuid[FORMAT_UUID_BYTES], key[FORMAT_PRODUCERS_KEY_BYTES];
    config->fill_random(uuid, sizeof uuid);
    config->fill_random(key, sizeof key);
    if (format_superblock_make(&place->superblock, place->sectors, block_bytes, uuid, key))
        return judge_fit(info, place, text);
    say_what_is_needed(place->sectors, block_bytes, place->device, text);
    return VERDICT_REFUSE;
}

/*
 * Whether the disk as a whole is what it seems, whatever a partition table says. Where the store's
 * second superblock would be, 1 MiB from the beginning, is where partitions begin, too: it may be
 * the first one of a store that lies there.
 */
static bool is_certain(const struct place *place)
{
    switch (place->found) {
    case SUPERBLOCK_OURS:
    case SUPERBLOCK_BLANK:
    case SUPERBLOCK_NEWER:
        return true;
    case SUPERBLOCK_OURS_BY_SECOND:
    case SUPERBLOCK_OURS_UNFINISHED:
        return place->superblock.sectors == place->sectors;
    default:
        return false;
    }
}

/* Fills in *place: all of the device, or its partition. False: it has more than one. */
static bool look(const struct store_config *config, const struct blockdev_info *info,
                 struct place *place)
{
    struct gpt_partition partition;
    place->first_sector = 0;
    place->sectors = info->sectors;
    place->found = SUPERBLOCK_FOREIGN;
    if (!has_room(info))
        return true;
    struct blocking blocking = blocking_of(config, place->device, 0);
    place->found = superblock_find(&blocking, place->sectors, &place->superblock);
    if (is_certain(place))
        return true;
    const enum gpt_found found = gpt_find(&blocking, info->sectors, &partition);
    if (found == GPT_FOUND && partition.sectors >= SECTORS_MIN) {
        place->first_sector = partition.first_sector;
        place->sectors = partition.sectors;
        blocking.first_sector = partition.first_sector;
        place->found = superblock_find(&blocking, place->sectors, &place->superblock);
    }
    return found != GPT_SEVERAL;
}

/* Text, where there is any: why it is passed over or refused, or what is odd about it. */
static enum verdict judge(const struct store_config *config, struct place *place,
                          char text[STORE_ERROR_BYTES_MAX])
{
    const struct blockdev_info *const info = blockdev_get_info(place->device);
    const size_t device = place->device;
    text[0] = '\0';
    if (!look(config, info, place)) {
        sentence(text, device, "has several partitions of Tally's type: leave it one");
        return VERDICT_REFUSE;
    }
    switch (place->found) {
    case SUPERBLOCK_FOREIGN:
        return judge_foreign(info, device, text);
    case SUPERBLOCK_BLANK:
        return judge_blank(config, info, place, text);
    case SUPERBLOCK_NEWER:
        sentence(text, device, "was made by a newer Tally: run that one");
        return VERDICT_REFUSE;
    case SUPERBLOCK_ROTTEN:
        sentence(text, device,
                 "cannot be read, or both of its superblocks are rotten: restore it "
                 "from a copy, or use another");
        return VERDICT_REFUSE;
    case SUPERBLOCK_CLOBBERED:
        sentence(text, device,
                 "was Tally's until something else was written to its beginning: restore it from a "
                 "copy, or use another");
        return VERDICT_REFUSE;
    case SUPERBLOCK_OURS_BY_SECOND:
        sentence(text, device, "has a rotten first superblock: the second is used");
        return judge_fit(info, place, text);
    default:
        return judge_fit(info, place, text);
    }
}

/* The one disk that can be taken into *disk; how many there are. -1: refused. */
static int look_at_all(const struct store_config *config, struct store_disk *disk, char *error)
{
    int takeable = 0;
    for (size_t device = 0; device < blockdev_count(); device++) {
        if (config->choice == STORE_SERIAL &&
            strcmp(config->serial, blockdev_get_info(device)->serial) != 0)
            continue;
        static struct place place;
        place.device = device;
        const enum verdict verdict = judge(config, &place, error);
        if (verdict == VERDICT_REFUSE)
            return -1;
        if (error[0] != '\0')
            config->tell(error);
        if (verdict == VERDICT_PASS_OVER)
            continue;
        if (++takeable > 1) {
            sentence(error, device,
                     "and disk %zu could both be the store: choose one by its serial "
                     "number (disk=serial:ID)",
                     disk->device);
            return -1;
        }
        disk->device = device;
        disk->first_sector = place.first_sector;
        disk->superblock = place.superblock;
        disk->is_blank = place.found == SUPERBLOCK_BLANK;
        disk->is_unfinished = place.found == SUPERBLOCK_OURS_UNFINISHED;
    }
    return takeable;
}

enum store_opened store_choose(const struct store_config *config, struct store_disk *disk,
                               char error[STORE_ERROR_BYTES_MAX])
{
    memset(disk, 0, sizeof *disk);
    error[0] = '\0';
    if (config->choice == STORE_NONE)
        return STORE_ABSENT;
    const int takeable = look_at_all(config, disk, error);
    if (takeable < 0)
        return STORE_REFUSED;
    if (takeable == 0) {
        if (config->choice == STORE_AUTO)
            return STORE_ABSENT;
        (void)snprintf(error, STORE_ERROR_BYTES_MAX,
                       "there is no disk%s%s for the store: attach one",
                       config->choice == STORE_SERIAL ? " with the serial number " : "",
                       config->choice == STORE_SERIAL ? config->serial : "");
        return STORE_REFUSED;
    }
    struct blocking blocking = blocking_of(config, disk->device, disk->first_sector);
    return disk->is_blank || slots_recover(&blocking, disk, error) ? STORE_OPEN : STORE_REFUSED;
}

uint64_t store_users_max(const struct store_disk *disk, size_t id_bytes)
{
    return format_arena_bytes_max(&disk->superblock) / (2 + id_bytes);
}

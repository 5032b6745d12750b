/*
 * Which of the machine's disks is the store's. There is one, or none, or a reason not to start: a
 * disk that can be written to and is neither ours nor blank was attached for a purpose, and it is
 * not for this machine to guess which.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/store/slots.h"
#include "app/store/store.h"
#include "app/store/superblock.h"
#include "kernel/blockdev.h"

#define SECTORS_MIN (2 * (1u << 20) / FORMAT_SECTOR_BYTES) /* a first and a last MiB */

enum verdict { VERDICT_TAKE, VERDICT_PASS_OVER, VERDICT_REFUSE };

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

static struct blocking blocking_of(const struct store_config *config, size_t device)
{
    return (struct blocking){.device = device, .now_ns = config->now_ns};
}

/* Why a disk of ours cannot go on being it; NULL: it can. */
static const char *unfit(const struct blockdev_info *info,
                         const struct format_superblock *superblock)
{
    if (info->read_only)
        return "is Tally's and read-only: attach it writable";
    if (info->sectors < superblock->sectors)
        return "is Tally's and smaller than it was: give it back its size";
    if (info->logical_block_bytes > superblock->block_bytes ||
        info->physical_block_bytes > superblock->block_bytes)
        return "is Tally's and has larger blocks than it was formatted for: copy it to a disk like "
               "the one it was made on";
    return NULL;
}

static enum verdict judge_foreign(const struct blockdev_info *info, size_t device, char *text)
{
    if (info->read_only) {
        sentence(text, device, "is read-only and not Tally's: passed over");
        return VERDICT_PASS_OVER;
    }
    sentence(text, device,
             "holds something else: use an empty disk, or clear its first and its last 2 MiB");
    return VERDICT_REFUSE;
}

static enum verdict judge_blank(const struct store_config *config, const struct blockdev_info *info,
                                size_t device, struct format_superblock *superblock, char *text)
{
    if (info->read_only) {
        sentence(text, device, "is read-only and blank: passed over");
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
    if (format_superblock_make(superblock, info->sectors, block_bytes, uuid, key))
        return VERDICT_TAKE;
    sentence(text, device,
             "has %llu sectors in blocks of %u bytes: Tally needs 4 MiB or more, in blocks of at "
             "most %u",
             (unsigned long long)info->sectors, block_bytes, FORMAT_BLOCK_BYTES_MAX);
    return VERDICT_REFUSE;
}

/* Text, where there is any: why it is passed over or refused, or what is odd about it. */
static enum verdict judge(const struct store_config *config, size_t device,
                          enum superblock_found *found, struct format_superblock *superblock,
                          char text[STORE_ERROR_BYTES_MAX])
{
    const struct blockdev_info *const info = blockdev_get_info(device);
    struct blocking blocking = blocking_of(config, device);
    text[0] = '\0';
    *found = info->sectors < SECTORS_MIN || info->logical_block_bytes > FORMAT_BLOCK_BYTES_MAX
                 ? SUPERBLOCK_FOREIGN
                 : superblock_find(&blocking, info->sectors, superblock);
    switch (*found) {
    case SUPERBLOCK_FOREIGN:
        return judge_foreign(info, device, text);
    case SUPERBLOCK_BLANK:
        return judge_blank(config, info, device, superblock, text);
    case SUPERBLOCK_NEWER:
        sentence(text, device, "was made by a newer Tally: run that one");
        return VERDICT_REFUSE;
    case SUPERBLOCK_ROTTEN:
        sentence(text, device,
                 "cannot be read, or both of its superblocks are rotten: restore it "
                 "from a copy, or use another");
        return VERDICT_REFUSE;
    case SUPERBLOCK_OURS_BY_SECOND:
        sentence(text, device, "has a rotten first superblock: the second is used");
        break;
    default:
        break;
    }
    const char *const why = unfit(info, superblock);
    if (why == NULL)
        return VERDICT_TAKE;
    sentence(text, device, "%s", why);
    return VERDICT_REFUSE;
}

/* The one disk that can be taken into *disk; how many there are. -1: refused. */
static int look_at_all(const struct store_config *config, struct store_disk *disk, char *error)
{
    int takeable = 0;
    for (size_t device = 0; device < blockdev_count(); device++) {
        if (config->choice == STORE_SERIAL &&
            strcmp(config->serial, blockdev_get_info(device)->serial) != 0)
            continue;
        static struct format_superblock superblock;
        enum superblock_found found;
        const enum verdict verdict = judge(config, device, &found, &superblock, error);
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
        disk->superblock = superblock;
        disk->is_blank = found == SUPERBLOCK_BLANK;
        disk->is_unfinished = found == SUPERBLOCK_OURS_UNFINISHED;
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
    struct blocking blocking = blocking_of(config, disk->device);
    return disk->is_blank || slots_recover(&blocking, disk, error) ? STORE_OPEN : STORE_REFUSED;
}

uint64_t store_users_max(const struct store_disk *disk, size_t id_bytes)
{
    return format_arena_bytes_max(&disk->superblock) / (2 + id_bytes);
}

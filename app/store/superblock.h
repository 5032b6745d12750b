/*
 * The two superblocks of a disk: what they say it is, and how a blank disk gets them.
 */
#pragma once

#include "app/store/blocking.h"
#include "app/store/format.h"

enum superblock_found {
    SUPERBLOCK_OURS,
    SUPERBLOCK_OURS_BY_SECOND,  /* the first is rotten */
    SUPERBLOCK_OURS_UNFINISHED, /* there is no first yet: superblock_finish() writes it */
    SUPERBLOCK_BLANK,
    SUPERBLOCK_NEWER,
    SUPERBLOCK_ROTTEN,    /* ours by what is left, but none of both can be read */
    SUPERBLOCK_CLOBBERED, /* the second is ours, and someone has written over the first */
    SUPERBLOCK_FOREIGN,
};

/*
 * `sectors`: of the disk, 2 MiB or more, in logical blocks of FORMAT_BLOCK_BYTES_MAX at most. Fills
 * in *superblock where it is ours.
 */
enum superblock_found superblock_find(struct blocking *disk, uint64_t sectors,
                                      struct format_superblock *superblock);

/* Makes a store with nothing in it. False: the disk failed. */
__attribute__((warn_unused_result)) bool
superblock_format(struct blocking *disk, const struct format_superblock *superblock);

/* The last step of superblock_format(). */
__attribute__((warn_unused_result)) bool
superblock_finish(struct blocking *disk, const struct format_superblock *superblock);

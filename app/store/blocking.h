/*
 * One request to a disk, and its answer waited for: for boot, when nothing else is to be done.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of a disk: all of it, or a partition. */
struct blocking {
    size_t device;
    uint64_t first_sector; /* that sector numbers below count from */
    uint64_t (*now_ns)(void);
    /* A request was not answered: its buffer stays the device's, and no other request is made. */
    bool hangs;
};

#define BLOCKING_PATIENCE_NS (30 * UINT64_C(1000000000))

/*
 * True once it is done. False: it failed, or there was no answer for BLOCKING_PATIENCE_NS; after
 * the latter all further ones are false at once. `len` is a multiple of 512.
 */
__attribute__((warn_unused_result)) bool blocking_read(struct blocking *disk, uint64_t sector,
                                                       void *bytes, uint32_t len);
__attribute__((warn_unused_result)) bool blocking_write(struct blocking *disk, uint64_t sector,
                                                        const void *bytes, uint32_t len);

/* Makes every write before it stable. Without F_FLUSH writes were stable when they completed. */
__attribute__((warn_unused_result)) bool blocking_flush(struct blocking *disk);

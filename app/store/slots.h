/*
 * The slots of a store, read at boot: which state is the newest whole one.
 */
#pragma once

#include "app/store/blocking.h"
#include "app/store/store.h"

/*
 * Fills in disk->state, tail, seq_seen and boots_seen, of the store whose superblock stands in
 * *disk. False: refused, with one sentence in `error`.
 */
__attribute__((warn_unused_result)) bool
slots_recover(struct blocking *device, struct store_disk *disk, char error[STORE_ERROR_BYTES_MAX]);

/* What stands on a simulated disk, read and changed with the CRCs put right: forged images. */
#pragma once

#include "app/store/format.h"
#include "tests/store/disk.h"

struct format_superblock image_superblock(void);

/* The newest state whose own CRC holds; its slot. */
struct format_state image_newest(void);

uint64_t image_slot_at(uint64_t seq);    /* in bytes from the disk's beginning */
uint64_t image_block_at(uint64_t block); /* of the arena */

/* Writes a slot; `ids` is the whole arena. */
void image_put_slot(const struct format_state *state, const uint8_t *ids);

/* The whole arena as of the newest state: it MUST fit `ids`. */
void image_ids(uint8_t *ids, size_t bytes);
/* Writes its full blocks, and the newest state with it in its slot. */
void image_put_ids(const struct format_state *state, const uint8_t *ids);

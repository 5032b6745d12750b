/*
 * What a store looks like on its disk: format version 1.
 *
 *     byte 0     | superblock (512) | zeros                        |   1 MiB in all
 *     1 MiB      | superblock again, padded to a block             |
 *     then       | slot 0 | slot 1 | ... | slot 63                 |   two blocks each
 *     then       | block 0 of the arena | block 1 | ...            |   to the end of the disk
 *
 * A block is what the disk writes as one, 4,096 bytes at least. All numbers are little-endian.
 *
 *     slot:         | header (192) | sum (384) | producers (64 x 32) | tail | zeros | CRC (4) |
 *     arena block:  | ids, as app/aggregate/users.h has them                        | CRC (4) |
 *
 * The arena is one string of bytes, cut without regard to where an id ends. A block of it is
 * written once, when it is full; what does not fill one yet is the tail, and stands in the slot.
 *
 * The CRC of a slot or an arena block (CRC-32C) begins with the store's uuid and the block's
 * number: a block of another store, or one that was written to the wrong place, does not pass.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/aggregate/sum.h"

#define FORMAT_VERSION             1
#define FORMAT_SECTOR_BYTES        512
#define FORMAT_BLOCK_BYTES_MIN     4096u
#define FORMAT_BLOCK_BYTES_MAX     16384u
#define FORMAT_SLOTS               64u
#define FORMAT_SLOT_BLOCKS         2u
#define FORMAT_SLOT_BYTES_MAX      (FORMAT_SLOT_BLOCKS * FORMAT_BLOCK_BYTES_MAX)
#define FORMAT_PRODUCERS           64u
#define FORMAT_PRODUCER_BYTES      32u
#define FORMAT_PRODUCERS_BYTES     (FORMAT_PRODUCERS * FORMAT_PRODUCER_BYTES)
#define FORMAT_COPY_AT             (1u << 20) /* the second superblock */
#define FORMAT_SEQ_MAX             ((uint64_t)1 << 62)
#define FORMAT_UUID_BYTES          16
#define FORMAT_PRODUCERS_KEY_BYTES 16

/* ---- the superblock: a sector, so that it is written whole or not at all ---- */

struct format_superblock {
    uint8_t magic[8];
    uint32_t version;
    uint32_t block_bytes;
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t sectors; /* of the disk, when it was formatted */
    uint32_t slots;
    uint32_t slot_blocks;
    uint32_t producers; /* that a slot has room for */
    uint32_t producer_bytes;
    uint64_t slots_block; /* where they begin, in blocks */
    uint64_t arena_block;
    uint64_t arena_blocks;
    uint8_t producers_key[FORMAT_PRODUCERS_KEY_BYTES]; /* that their names are hashed with */
    uint8_t zeros[412];
    uint32_t crc; /* of all before it */
};

/*
 * Lays a store out on so many sectors. False: there is no room for one, or block_bytes is no power
 * of two between FORMAT_BLOCK_BYTES_MIN and FORMAT_BLOCK_BYTES_MAX.
 */
__attribute__((warn_unused_result)) bool
format_superblock_make(struct format_superblock *superblock, uint64_t sectors, uint32_t block_bytes,
                       const uint8_t uuid[FORMAT_UUID_BYTES],
                       const uint8_t producers_key[FORMAT_PRODUCERS_KEY_BYTES]);

enum format_superblock_state {
    FORMAT_OURS,
    FORMAT_ZEROS,
    FORMAT_ROTTEN, /* ours by its magic, but not what format_superblock_make() makes */
    FORMAT_NEWER,  /* of a later version */
    FORMAT_FOREIGN,
};

enum format_superblock_state format_superblock_check(const struct format_superblock *superblock);

/* ---- where things are, in sectors from the beginning ---- */

uint64_t format_slot_sector(const struct format_superblock *superblock, uint64_t slot);
uint64_t format_arena_sector(const struct format_superblock *superblock, uint64_t block);
size_t format_slot_bytes(const struct format_superblock *superblock);

/* Bytes of ids in an arena block. */
uint32_t format_payload_bytes(const struct format_superblock *superblock);

/* The most bytes of ids, each with its length, that the store holds. */
uint64_t format_arena_bytes_max(const struct format_superblock *superblock);

/* ---- slots: the state as of one commit ---- */

struct format_state {
    uint64_t boots; /* lives of the machine with this store; commits are in order of boots, seq */
    uint64_t seq;   /* the commit's number; its slot is seq mod FORMAT_SLOTS */
    uint64_t durable_seq; /* of the newest commit known to be stable when this one was written */
    uint64_t count;
    uint64_t users;
    uint64_t arena_bytes; /* of all ids */
    uint64_t arena_from;  /* the first arena block that was not full in commit durable_seq */
    uint32_t arena_crc;   /* of the CRCs of the full blocks from that one on */
    int64_t wall_s;       /* Unix time when the commit began; 0: it was not known */
    struct sum sum;
    uint8_t producers[FORMAT_PRODUCERS_BYTES]; /* opaque here: kept as they were found */
};

/* `ids` is the whole arena of which the slot takes the tail. */
void format_slot_encode(const struct format_superblock *superblock,
                        const struct format_state *state, const uint8_t *ids, uint8_t *slot);

/*
 * False: this is no state that was written to slot `index` of this store; *state is undefined.
 * The tail: format_slot_tail(), state->arena_bytes % format_payload_bytes() long.
 */
__attribute__((warn_unused_result)) bool
format_slot_decode(const struct format_superblock *superblock, uint64_t index, const uint8_t *slot,
                   struct format_state *state);

const uint8_t *format_slot_tail(const uint8_t *slot);

/* ---- arena blocks ---- */

/* What stands behind the payload of arena block `block`. */
uint32_t format_arena_block_crc(const struct format_superblock *superblock, uint64_t block,
                                const uint8_t *payload);

/* format_state.arena_crc with one more block; 0 of none. */
uint32_t format_arena_crc_append(uint32_t arena_crc, uint32_t block_crc);

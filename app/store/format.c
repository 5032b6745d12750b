/* The fields of format.h, and that each is what it can be: a CRC that holds proves no sense. */
#include "app/store/format.h"

#include <string.h>

#include "app/aggregate/users.h"
#include "app/store/crc32c.h"
#include "kernel/lib/bytes.h"

#define CRC_BYTES    ((uint32_t)sizeof(uint32_t))
#define LENGTH_BYTES 2u

/* A little more than the 4 GiB of ids that memory can hold. */
#define ARENA_BYTES_OF_USE ((uint64_t)5 << 30)

static const uint8_t superblock_magic[8] = "TallyStr";
static const uint8_t slot_magic[8] = "TallySlt";

/* A slot on the disk, but for its tail. */
struct slot_head {
    uint8_t magic[8];
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t boots;
    uint64_t seq;
    uint64_t durable_seq;
    uint64_t count;
    uint64_t users;
    uint64_t arena_bytes;
    uint64_t arena_from;
    uint32_t arena_crc;
    uint32_t sum_bytes;
    int64_t wall_s;
    uint8_t zeros[96];
    uint8_t sum[384];
    uint8_t producers[FORMAT_PRODUCERS_BYTES];
};

_Static_assert(sizeof(struct format_superblock) == FORMAT_SECTOR_BYTES, "a sector");
_Static_assert(offsetof(struct slot_head, sum) == 192, "as drawn");
_Static_assert(sizeof(((struct slot_head *)0)->sum) >= SUM_ENCODED_BYTES_MAX, "any sum");
_Static_assert(sizeof(struct slot_head) + FORMAT_BLOCK_BYTES_MIN + CRC_BYTES <=
                   FORMAT_SLOT_BLOCKS * FORMAT_BLOCK_BYTES_MIN,
               "a slot holds the longest tail");

/* ---- the superblock ---- */

bool format_superblock_make(struct format_superblock *superblock, uint64_t sectors,
                            uint32_t block_bytes, const uint8_t uuid[FORMAT_UUID_BYTES],
                            const uint8_t producers_key[FORMAT_PRODUCERS_KEY_BYTES])
{
    if (block_bytes < FORMAT_BLOCK_BYTES_MIN || block_bytes > FORMAT_BLOCK_BYTES_MAX ||
        (block_bytes & (block_bytes - 1)) != 0)
        return false;
    const uint64_t blocks = sectors / (block_bytes / FORMAT_SECTOR_BYTES);
    const uint64_t slots_block = FORMAT_COPY_AT / block_bytes + 1;
    const uint64_t arena_block = slots_block + FORMAT_SLOTS * FORMAT_SLOT_BLOCKS;
    if (blocks <= arena_block)
        return false;
    const uint64_t room = blocks - arena_block, of_use = ARENA_BYTES_OF_USE / block_bytes;
    *superblock = (struct format_superblock){
        .version = FORMAT_VERSION,
        .block_bytes = block_bytes,
        .sectors = sectors,
        .slots = FORMAT_SLOTS,
        .slot_blocks = FORMAT_SLOT_BLOCKS,
        .producers = FORMAT_PRODUCERS,
        .producer_bytes = FORMAT_PRODUCER_BYTES,
        .slots_block = slots_block,
        .arena_block = arena_block,
        .arena_blocks = room < of_use ? room : of_use,
    };
    memcpy(superblock->magic, superblock_magic, sizeof superblock_magic);
    memcpy(superblock->uuid, uuid, FORMAT_UUID_BYTES);
    memcpy(superblock->producers_key, producers_key, FORMAT_PRODUCERS_KEY_BYTES);
    superblock->crc = crc32c(0, superblock, offsetof(struct format_superblock, crc));
    return true;
}

enum format_superblock_state format_superblock_check(const struct format_superblock *superblock)
{
    static const struct format_superblock zeros;
    if (memcmp(superblock, &zeros, sizeof zeros) == 0)
        return FORMAT_ZEROS;
    if (memcmp(superblock->magic, superblock_magic, sizeof superblock_magic) != 0)
        return FORMAT_FOREIGN;
    if (crc32c(0, superblock, offsetof(struct format_superblock, crc)) != superblock->crc)
        return FORMAT_ROTTEN;
    if (superblock->version > FORMAT_VERSION)
        return FORMAT_NEWER;
    struct format_superblock made;
    if (!format_superblock_make(&made, superblock->sectors, superblock->block_bytes,
                                superblock->uuid, superblock->producers_key) ||
        memcmp(&made, superblock, sizeof made) != 0)
        return FORMAT_ROTTEN;
    return FORMAT_OURS;
}

/* ---- where things are ---- */

static uint64_t slot_block(const struct format_superblock *superblock, uint64_t slot)
{
    return superblock->slots_block + slot * FORMAT_SLOT_BLOCKS;
}

uint64_t format_slot_sector(const struct format_superblock *superblock, uint64_t slot)
{
    return slot_block(superblock, slot) * (superblock->block_bytes / FORMAT_SECTOR_BYTES);
}

uint64_t format_arena_sector(const struct format_superblock *superblock, uint64_t block)
{
    return (superblock->arena_block + block) * (superblock->block_bytes / FORMAT_SECTOR_BYTES);
}

size_t format_slot_bytes(const struct format_superblock *superblock)
{
    return (size_t)FORMAT_SLOT_BLOCKS * superblock->block_bytes;
}

uint32_t format_payload_bytes(const struct format_superblock *superblock)
{
    return superblock->block_bytes - CRC_BYTES;
}

uint64_t format_arena_bytes_max(const struct format_superblock *superblock)
{
    return superblock->arena_blocks * format_payload_bytes(superblock);
}

/* ---- slots ---- */

static uint32_t block_crc(const struct format_superblock *superblock, uint64_t block,
                          const uint8_t *bytes, size_t len)
{
    const uint32_t seed = crc32c(0, superblock->uuid, FORMAT_UUID_BYTES);
    return crc32c(crc32c(seed, &block, sizeof block), bytes, len);
}

static uint32_t slot_crc(const struct format_superblock *superblock, uint64_t index,
                         const uint8_t *slot)
{
    return block_crc(superblock, slot_block(superblock, index), slot,
                     format_slot_bytes(superblock) - CRC_BYTES);
}

const uint8_t *format_slot_tail(const uint8_t *slot)
{
    return slot + sizeof(struct slot_head);
}

void format_slot_encode(const struct format_superblock *superblock,
                        const struct format_state *state, const uint8_t *ids, uint8_t *slot)
{
    struct slot_head head = {
        .boots = state->boots,
        .seq = state->seq,
        .durable_seq = state->durable_seq,
        .count = state->count,
        .users = state->users,
        .arena_bytes = state->arena_bytes,
        .arena_from = state->arena_from,
        .arena_crc = state->arena_crc,
        .wall_s = state->wall_s,
    };
    memcpy(head.magic, slot_magic, sizeof slot_magic);
    memcpy(head.uuid, superblock->uuid, FORMAT_UUID_BYTES);
    head.sum_bytes = (uint32_t)sum_encode(&state->sum, head.sum);
    memcpy(head.producers, state->producers, FORMAT_PRODUCERS_BYTES);

    const size_t bytes = format_slot_bytes(superblock);
    const size_t tail_bytes = state->arena_bytes % format_payload_bytes(superblock);
    memcpy(slot, &head, sizeof head);
    memcpy(slot + sizeof head, ids + (state->arena_bytes - tail_bytes), tail_bytes);
    memset(slot + sizeof head + tail_bytes, 0, bytes - sizeof head - tail_bytes);
    const uint32_t crc = slot_crc(superblock, state->seq % FORMAT_SLOTS, slot);
    memcpy(slot + bytes - CRC_BYTES, &crc, CRC_BYTES);
}

/* What holds of every state that was ever reached. */
static bool is_plausible(const struct format_superblock *superblock, uint64_t index,
                         const struct slot_head *head)
{
    if (head->seq % FORMAT_SLOTS != index || head->seq > FORMAT_SEQ_MAX ||
        head->boots > FORMAT_SEQ_MAX || head->durable_seq >= head->seq)
        return false;
    if (head->arena_bytes > format_arena_bytes_max(superblock) ||
        head->arena_from > head->arena_bytes / format_payload_bytes(superblock))
        return false;
    /* An id takes a byte or more, and a user has an event or more. */
    if (head->users > head->arena_bytes / (LENGTH_BYTES + 1) ||
        head->arena_bytes > head->users * (LENGTH_BYTES + USERS_ID_BYTES_MAX))
        return false;
    return head->users <= head->count && (head->users == 0) == (head->count == 0);
}

bool format_slot_decode(const struct format_superblock *superblock, uint64_t index,
                        const uint8_t *slot, struct format_state *state)
{
    struct slot_head head;
    memcpy(&head, slot, sizeof head);
    if (memcmp(head.magic, slot_magic, sizeof slot_magic) != 0 ||
        memcmp(head.uuid, superblock->uuid, FORMAT_UUID_BYTES) != 0)
        return false;
    const uint32_t crc = bytes_load32(slot + format_slot_bytes(superblock) - CRC_BYTES);
    if (slot_crc(superblock, index, slot) != crc || !is_plausible(superblock, index, &head))
        return false;

    *state = (struct format_state){
        .boots = head.boots,
        .seq = head.seq,
        .durable_seq = head.durable_seq,
        .count = head.count,
        .users = head.users,
        .arena_bytes = head.arena_bytes,
        .arena_from = head.arena_from,
        .arena_crc = head.arena_crc,
        .wall_s = head.wall_s,
    };
    memcpy(state->producers, head.producers, FORMAT_PRODUCERS_BYTES);
    return head.sum_bytes <= sizeof head.sum && sum_decode(&state->sum, head.sum, head.sum_bytes);
}

/* ---- arena blocks ---- */

uint32_t format_arena_block_crc(const struct format_superblock *superblock, uint64_t block,
                                const uint8_t *payload)
{
    return block_crc(superblock, superblock->arena_block + block, payload,
                     format_payload_bytes(superblock));
}

uint32_t format_arena_crc_append(uint32_t arena_crc, uint32_t crc)
{
    return crc32c(arena_crc, &crc, sizeof crc);
}

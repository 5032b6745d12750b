/* See image.h. */
#include "tests/store/image.h"

#include <assert.h>
#include <string.h>

struct format_superblock image_superblock(void)
{
    struct format_superblock superblock;
    memcpy(&superblock, disks[0].latest, sizeof superblock);
    return superblock;
}

uint64_t image_slot_at(uint64_t seq)
{
    const struct format_superblock superblock = image_superblock();
    return format_slot_sector(&superblock, seq % FORMAT_SLOTS) * DISK_SECTOR;
}

uint64_t image_block_at(uint64_t block)
{
    const struct format_superblock superblock = image_superblock();
    return format_arena_sector(&superblock, block) * DISK_SECTOR;
}

struct format_state image_newest(void)
{
    const struct format_superblock superblock = image_superblock();
    struct format_state newest = {.seq = 0}, state;
    for (uint64_t i = 0; i < FORMAT_SLOTS; i++)
        if (format_slot_decode(&superblock, i, disks[0].latest + image_slot_at(i), &state) &&
            state.seq > newest.seq)
            newest = state;
    return newest;
}

void image_put_slot(const struct format_state *state, const uint8_t *ids)
{
    static uint8_t slot[FORMAT_SLOT_BYTES_MAX];
    const struct format_superblock superblock = image_superblock();
    format_slot_encode(&superblock, state, ids, slot);
    disk_put(&disks[0], image_slot_at(state->seq), slot, format_slot_bytes(&superblock));
}

void image_ids(uint8_t *ids, size_t bytes)
{
    const struct format_superblock superblock = image_superblock();
    const struct format_state state = image_newest();
    const uint32_t payload_bytes = format_payload_bytes(&superblock);
    assert(state.arena_bytes <= bytes);
    uint64_t block = 0;
    for (; block < state.arena_bytes / payload_bytes; block++)
        memcpy(ids + block * payload_bytes, disks[0].latest + image_block_at(block), payload_bytes);
    memcpy(ids + block * payload_bytes,
           format_slot_tail(disks[0].latest + image_slot_at(state.seq)),
           state.arena_bytes % payload_bytes);
}

void image_put_ids(const struct format_state *state, const uint8_t *ids)
{
    const struct format_superblock superblock = image_superblock();
    const uint32_t payload_bytes = format_payload_bytes(&superblock);
    for (uint64_t block = 0; block < state->arena_bytes / payload_bytes; block++) {
        const uint8_t *const payload = ids + block * payload_bytes;
        const uint32_t crc = format_arena_block_crc(&superblock, block, payload);
        disk_put(&disks[0], image_block_at(block), payload, payload_bytes);
        disk_put(&disks[0], image_block_at(block) + payload_bytes, &crc, sizeof crc);
    }
    image_put_slot(state, ids);
}

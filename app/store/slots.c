/*
 * Commits are in order of (boots, seq). The newest is the highest slot whose own CRC holds, and of
 * whose arena blocks, those written since the last stable commit before it, every CRC holds, too:
 * a commit that power was cut in the middle of lacks one or the other, and the one before it is
 * what the machine answered for.
 *
 * But a stable commit may have rotted. Taking the one before it would silently lose what was
 * answered. So each slot says which commit was stable when it was written, and those that were
 * passed over are asked, too: if any of them knows of a stable commit beyond the one that was
 * found, the store is refused.
 *
 * The next life numbers its commits from above every seq seen, and counts boots from above every
 * one seen: a slot of this life or of earlier ones, should it become readable again, never outranks
 * what comes.
 */
#include "app/store/slots.h"

#include <stdio.h>
#include <string.h>

#include "kernel/lib/bytes.h"

/* What is remembered of each while all are compared. */
struct seen {
    bool holds; /* its own CRC does */
    uint64_t boots, seq, durable_seq;
    uint64_t arena_from, arena_to; /* blocks that its arena CRC is of */
    uint32_t arena_crc;
};

static struct seen seen[FORMAT_SLOTS];
static uint8_t buffer[FORMAT_SLOT_BYTES_MAX];

_Static_assert(sizeof buffer >= FORMAT_BLOCK_BYTES_MAX, "an arena block, too");

static bool read_slot(struct blocking *device, const struct format_superblock *superblock,
                      uint64_t index, struct format_state *state)
{
    return blocking_read(device, format_slot_sector(superblock, index), buffer,
                         (uint32_t)format_slot_bytes(superblock)) &&
           format_slot_decode(superblock, index, buffer, state);
}

static void read_slots(struct blocking *device, struct store_disk *disk)
{
    struct format_state *const state = &disk->state; /* as a place for it */
    disk->seq_seen = disk->boots_seen = 0;
    for (unsigned i = 0; i < FORMAT_SLOTS; i++) {
        seen[i] = (struct seen){.holds = read_slot(device, &disk->superblock, i, state)};
        if (!seen[i].holds)
            continue;
        seen[i] = (struct seen){
            .holds = true,
            .boots = state->boots,
            .seq = state->seq,
            .durable_seq = state->durable_seq,
            .arena_from = state->arena_from,
            .arena_to = state->arena_bytes / format_payload_bytes(&disk->superblock),
            .arena_crc = state->arena_crc,
        };
        if (disk->seq_seen < state->seq)
            disk->seq_seen = state->seq;
        if (disk->boots_seen < state->boots)
            disk->boots_seen = state->boots;
    }
}

static bool is_newer(const struct seen *left, const struct seen *right)
{
    return left->boots != right->boots ? left->boots > right->boots : left->seq > right->seq;
}

static bool arena_holds(struct blocking *device, const struct format_superblock *superblock,
                        const struct seen *slot)
{
    const uint32_t payload_bytes = format_payload_bytes(superblock);
    uint32_t arena_crc = 0;
    for (uint64_t block = slot->arena_from; block < slot->arena_to; block++) {
        if (!blocking_read(device, format_arena_sector(superblock, block), buffer,
                           superblock->block_bytes))
            return false;
        const uint32_t crc = format_arena_block_crc(superblock, block, buffer);
        if (crc != bytes_load32(buffer + payload_bytes))
            return false;
        arena_crc = format_arena_crc_append(arena_crc, crc);
    }
    return arena_crc == slot->arena_crc;
}

/* NULL: there is none. */
static const struct seen *find_newest(struct blocking *device,
                                      const struct format_superblock *superblock)
{
    bool is_out[FORMAT_SLOTS] = {false};
    for (unsigned tried = 0; tried < FORMAT_SLOTS; tried++) {
        const struct seen *newest = NULL;
        for (unsigned i = 0; i < FORMAT_SLOTS; i++)
            if (seen[i].holds && !is_out[i] && (newest == NULL || is_newer(&seen[i], newest)))
                newest = &seen[i];
        if (newest == NULL || arena_holds(device, superblock, newest))
            return newest;
        is_out[newest - seen] = true;
    }
    return NULL;
}

bool slots_recover(struct blocking *device, struct store_disk *disk,
                   char error[STORE_ERROR_BYTES_MAX])
{
    read_slots(device, disk);
    if (disk->seq_seen > FORMAT_SEQ_MAX / 2 || disk->boots_seen > FORMAT_SEQ_MAX / 2) {
        /* Its next commits would soon be beyond what slots may say, and not be recovered. */
        (void)snprintf(error, STORE_ERROR_BYTES_MAX,
                       "the disk counts more commits or boots than there can have been: restore it "
                       "from a copy");
        return false;
    }
    const struct seen *const newest = find_newest(device, &disk->superblock);
    if (newest == NULL) {
        (void)snprintf(error, STORE_ERROR_BYTES_MAX,
                       "the disk is Tally's, but none of its %u slots can be read: restore it from "
                       "a copy, or use another",
                       FORMAT_SLOTS);
        return false;
    }
    for (unsigned i = 0; i < FORMAT_SLOTS; i++)
        if (seen[i].holds && seen[i].durable_seq > newest->seq) {
            (void)snprintf(error, STORE_ERROR_BYTES_MAX,
                           "the disk had made commit %llu stable and has lost it (slot %u says "
                           "so; the newest that is whole is %llu): restore it from a copy",
                           (unsigned long long)seen[i].durable_seq, i,
                           (unsigned long long)newest->seq);
            return false;
        }
    if (!read_slot(device, &disk->superblock, (uint64_t)(newest - seen), &disk->state)) {
        (void)snprintf(error, STORE_ERROR_BYTES_MAX, "the disk reads slot %u once, and not again",
                       (unsigned)(newest - seen));
        return false;
    }
    memcpy(disk->tail, format_slot_tail(buffer), format_payload_bytes(&disk->superblock));
    return true;
}

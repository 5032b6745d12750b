/* What recovery makes of disks that rot, lose what they had made stable, or were forged. */
#include <string.h>

#include "app/store/crc32c.h"
#include "tests/store/image.h"
#include "tests/store/world.h"
#include "tests/test.h"

#define SLOT_CRC_AT (2 * 4096 - 4)

static bool is_refused(const char *words)
{
    const enum store_opened opened = world_boot();
    if (opened == STORE_REFUSED && strstr(world.error, words) != NULL)
        return true;
    test_print("%d, not \"%s\": %s", opened, words, world.error);
    return false;
}

/* A store of some hundreds of users in several blocks of ids. */
static bool make_used(bool is_sealed)
{
    if (!world_begin())
        return false;
    for (unsigned i = 0; i < 4; i++) {
        world_add(400);
        if (!world_settle())
            return false;
    }
    if (is_sealed && !world_seal())
        return false;
    disk_cut_power(&disks[0], LOSS_ALL);
    return world.stable_count == 1600;
}

/* ---- rot ---- */

TEST(seal_keeps_the_newest_commit_when_either_slot_rots)
{
    for (unsigned i = 0; i < 2; i++) {
        CHECK(make_used(true));
        disk_rot(&disks[0], image_slot_at(image_newest().seq - i) + 700);
        CHECK(world_is_back());
        CHECK_EQ(world.event_count, 1600);
    }
    CHECK(make_used(true)); /* nor when one of them cannot be read */
    disks[0].bad_from = image_slot_at(image_newest().seq) / DISK_SECTOR;
    disks[0].bad_to = disks[0].bad_from + 1;
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 1600);
}

TEST(recovery_names_the_block_that_rotted)
{
    CHECK(make_used(true));
    const uint64_t blocks = image_newest().arena_bytes / 4092;
    CHECK(blocks >= 3);
    disk_rot(&disks[0], image_block_at(blocks - 1) + 100); /* the seal stands for the newest, too */
    char words[40] = "block 0 of the ids";
    words[6] = (char)('0' + blocks - 1);
    CHECK(blocks < 10 ? is_refused(words) : is_refused("is rotten"));

    CHECK(make_used(true));
    disk_rot(&disks[0], image_block_at(1) + 4092); /* its CRC */
    CHECK(is_refused("block 1 of the ids (sector "));
    disk_rot(&disks[0], image_block_at(1) + 4092);
    disks[0].bad_from = image_block_at(2) / DISK_SECTOR;
    disks[0].bad_to = disks[0].bad_from + 1;
    CHECK(is_refused("cannot read block 2 of the ids (sector "));
    disks[0].bad_to = 0;
    disks[0].fail_read_in = 1 + 64 + 1 + 1; /* of all the blocks at once; one by one it can */
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 1600);
}

/* A block where another belongs, each with its CRC: what a misdirected write leaves. */
TEST(recovery_notices_blocks_and_slots_in_each_others_places)
{
    CHECK(make_used(true));
    static uint8_t block[4096];
    memcpy(block, disks[0].latest + image_block_at(0), sizeof block);
    disk_put(&disks[0], image_block_at(1), block, sizeof block);
    CHECK(is_refused("block 1 of the ids"));

    CHECK(make_used(true));
    static uint8_t slot[8192];
    const uint64_t seq = image_newest().seq;
    memcpy(slot, disks[0].latest + image_slot_at(seq - 2), sizeof slot);
    disk_put(&disks[0], image_slot_at(seq), slot, sizeof slot);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 1600);
}

TEST(recovery_is_refused_when_a_newer_slot_knows_of_a_stable_commit_that_is_lost)
{
    CHECK(world_begin());
    world_add(10);
    CHECK(world_settle());
    const uint64_t stable = store_stable();
    world_add(2000);
    while (store_begun() == stable)
        world_poll();
    disks[0].is_prompt = true;
    disks[0].queue_limit = 16;
    while (store_stable() == stable) /* its slot is written, of which there is a copy */
        world_poll();
    const uint64_t newer = store_stable();
    CHECK_EQ(image_newest().durable_seq, stable);
    disk_rot(&disks[0], image_block_at(0)); /* the newer one lost a block: power was cut */
    CHECK_EQ(world_boot(), STORE_OPEN);
    CHECK_EQ(world.stats.count, 10);

    CHECK(world_begin());
    world_add(10);
    CHECK(world_settle());
    world_add(2000);
    CHECK(world_settle());
    CHECK_EQ(store_stable(), newer);
    disk_rot(&disks[0], image_block_at(0));
    disk_rot(&disks[0], image_slot_at(stable) + 100); /* and what was stable has rotted */
    CHECK(is_refused("commit 4 stable and has lost it"));
}

TEST(recovery_is_refused_without_any_slot)
{
    CHECK(make_used(true));
    for (unsigned i = 0; i < FORMAT_SLOTS; i++)
        disk_rot(&disks[0], image_slot_at(i) + 8);
    CHECK(is_refused("none of its 64 slots"));

    /* Nor with 64 that all lack a block. */
    CHECK(make_used(true));
    struct format_state state = image_newest();
    static uint8_t ids[1 << 20];
    image_ids(ids, sizeof ids);
    state.arena_crc = 1;
    for (unsigned i = 0; i < FORMAT_SLOTS; i++) {
        state.seq++;
        image_put_slot(&state, ids);
    }
    CHECK(is_refused("none of its 64 slots"));
}

TEST(recovery_passes_over_commits_whose_blocks_cannot_be_read)
{
    CHECK(world_begin());
    world_add(10);
    CHECK(world_settle());
    world_add(2000);
    CHECK(world_settle());
    disks[0].bad_from = image_block_at(0) / DISK_SECTOR;
    disks[0].bad_to = disks[0].bad_from + 1;
    CHECK_EQ(world_boot(), STORE_OPEN);
    CHECK_EQ(world.stats.count, 10);
}

/* Every block holds, but they are not all those that the slot was written for. */
TEST(recovery_passes_over_commits_with_a_block_of_another_life)
{
    CHECK(world_begin());
    world_add(10);
    CHECK(world_settle());
    world_add(2000);
    CHECK(world_settle());
    static uint8_t ids[1 << 20];
    image_ids(ids, sizeof ids);
    const struct format_state newest = image_newest();
    ids[4000] ^= 1;
    image_put_ids(&newest, ids);
    CHECK_EQ(world_boot(), STORE_OPEN);
    CHECK_EQ(world.stats.count, 10);
}

TEST(recovery_refuses_a_slot_that_reads_only_once)
{
    CHECK(make_used(true));
    disks[0].fail_read_in = 1 + 64 + 1; /* a superblock, slots, and again the one that was chosen */
    CHECK(is_refused("once, and not again"));
}

/* ---- lives ---- */

/* A slot that could not be read for a while, of a life that others have followed. */
TEST(recovery_prefers_a_later_life_to_a_higher_number)
{
    CHECK(make_used(true));
    static uint8_t ids[1 << 20];
    const struct format_state older = image_newest();
    image_ids(ids, sizeof ids);
    CHECK(world_is_back());
    world_add(50);
    CHECK(world_seal());
    disk_cut_power(&disks[0], LOSS_ALL);
    struct format_state hidden = older;
    hidden.seq = image_newest().seq + 5;
    hidden.durable_seq = older.seq;
    image_put_slot(&hidden, ids);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 1650);
    CHECK_EQ(store_stable(), hidden.seq + 1); /* above every number seen */
    CHECK_EQ(image_newest().boots, older.boots + 2);
}

TEST(a_life_does_not_begin_in_the_slot_that_it_stands_on)
{
    CHECK(make_used(true));
    static uint8_t ids[1 << 20];
    const struct format_state newest = image_newest();
    image_ids(ids, sizeof ids);
    struct format_state torn = newest; /* its blocks are missing */
    torn.seq = newest.seq + FORMAT_SLOTS - 1;
    torn.durable_seq = newest.durable_seq;
    torn.arena_from = 0;
    torn.arena_crc = 1;
    image_put_slot(&torn, ids);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 1600);
    CHECK_EQ(store_stable(), newest.seq + FORMAT_SLOTS + 1);
}

/*
 * What a life recovers may be in the disk's cache, and so may be what the life before it wrote, and
 * all of them may be lost together. None may be written over what was stable.
 */
TEST(lives_whose_flushes_never_complete_leave_what_was_stable)
{
    CHECK(make_used(false));
    const uint64_t stable = image_newest().seq;
    for (unsigned i = 0; i < FORMAT_SLOTS + 2; i++) {
        disks[0].hangs_in_flushes = true;
        CHECK(is_refused("does not answer"));
        disk_kill_machine(&disks[0]);
    }
    disks[0].hangs_in_flushes = false;
    for (unsigned i = 0; i < disks[0].write_count;
         i++) /* the power goes while it writes this one */
        if (disks[0].writes[i].sector == image_slot_at(stable) / DISK_SECTOR)
            memcpy(disks[0].media + image_slot_at(stable), disks[0].writes[i].bytes, DISK_SECTOR);
    disk_cut_power(&disks[0], LOSS_ALL);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 1600);
}

TEST(lives_and_what_they_recovered_are_counted)
{
    struct store_counters counters;
    CHECK(world_begin());
    store_get_counters(&counters);
    CHECK_EQ(counters.boots, 1);
    CHECK_EQ(counters.recovered_count, 0);
    world_add(100);
    CHECK(world_settle());
    CHECK(world_is_back());
    store_get_counters(&counters);
    CHECK_EQ(counters.boots, 2);
    CHECK_EQ(counters.recovered_count, 100);
    CHECK_EQ(counters.recovered_users, users_count(world.stats.users));
    CHECK_EQ(counters.arena_bytes, users_arena(world.stats.users).len);
    CHECK_EQ(counters.arena_bytes_max, (1024 - 385) * 4092);
}

/* Whatever a later issue puts there, this version carries on. */
TEST(a_state_has_the_time_at_which_its_commit_began)
{
    CHECK(world_begin());
    disk_now_ns = UINT64_C(5000000000);
    world_add(1);
    CHECK(world_settle());
    CHECK_EQ(image_newest().wall_s, 1764590005);
    disk_now_ns = UINT64_C(9000000000);
    disk_kill_machine(&disks[0]);
    CHECK(world_is_back()); /* which is the same state once more */
    CHECK_EQ(image_newest().wall_s, 1764590005);
    disk_now_ns = 0;
    world_add(1);
    CHECK(world_settle());
    CHECK_EQ(image_newest().wall_s, 0);
    disks_end();
}

/* For tools that look at a disk. */
TEST(a_state_may_be_read_without_a_life_that_begins)
{
    static struct store_disk disk;
    static struct stats stats;
    static uint8_t before[WORLD_SECTORS * DISK_SECTOR];
    static _Alignas(64) uint8_t users_memory[1 << 20];
    const struct siphash_key key = {1, 2};
    CHECK(make_used(true));
    memcpy(before, disks[0].latest, sizeof before);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(store_choose(&world.config, &disk, world.error), STORE_OPEN);
        stats_init(&stats, users_init(users_memory, sizeof users_memory, 20000, &key));
        if (i == 1)
            disk_rot(&disks[0], image_block_at(0) + 1);
        CHECK_EQ(store_read(&world.config, &disk, &stats, world.error), i == 0);
        CHECK_EQ(strstr(world.error, "block 0 of the ids") != NULL, i == 1);
        if (i == 0)
            CHECK(stats.count == 1600 && memcmp(before, disks[0].latest, sizeof before) == 0);
    }
    disks_end();
}

TEST(producers_are_kept_as_they_were_found)
{
    CHECK(make_used(true));
    static uint8_t ids[1 << 20];
    struct format_state state = image_newest();
    image_ids(ids, sizeof ids);
    for (unsigned i = 0; i < FORMAT_PRODUCERS_BYTES; i++)
        state.producers[i] = (uint8_t)(i * 7);
    image_put_slot(&state, ids);
    CHECK(world_is_back());
    world_add(50);
    CHECK(world_seal());
    const struct format_state newest = image_newest();
    CHECK_EQ(newest.count, 1650);
    CHECK(memcmp(newest.producers, state.producers, sizeof newest.producers) == 0);
}

/* The CRC holds; but no slot could hold the numbers of what comes next. */
TEST(recovery_refuses_numbers_that_nobody_counts_to)
{
    static uint8_t ids[1 << 20];
    for (unsigned i = 0; i < 2; i++) {
        CHECK(make_used(true));
        struct format_state state = image_newest();
        image_ids(ids, sizeof ids);
        *(i == 0 ? &state.seq : &state.boots) = FORMAT_SEQ_MAX;
        image_put_slot(&state, ids);
        CHECK(is_refused("more commits or boots than there can have been"));
    }
}

/* ---- what memory does not hold ---- */

TEST(recovery_is_refused_when_users_or_their_ids_do_not_fit_memory)
{
    CHECK(make_used(true));
    const uint64_t users = image_newest().users;
    world.users_max = (unsigned)users - 1;
    CHECK(is_refused("lets this machine hold"));
    world.users_max = (unsigned)users;
    world.memory_bytes = (unsigned)users_memory_bytes(users, 1);
    CHECK(is_refused("and memory is full after"));
    world.memory_bytes = 1 << 20;
    CHECK(world_is_back());
}

/* ---- ids that make no sense, though every CRC holds ---- */

static struct format_state forged;
static uint8_t forged_ids[1 << 20];

static bool begin_forging(void)
{
    if (!make_used(true))
        return false;
    forged = image_newest();
    image_ids(forged_ids, sizeof forged_ids);
    return true;
}

/* Where the id begins that is cut by the end of block 0. */
static size_t cut_id_at(void)
{
    size_t at = 0;
    for (;;) {
        const size_t next = at + 2 + forged_ids[at] + 256u * forged_ids[at + 1];
        if (next > 4092)
            return at;
        at = next;
    }
}

static bool forgery_is_refused(void)
{
    image_put_ids(&forged, forged_ids);
    return is_refused("do not add up");
}

TEST(recovery_refuses_ids_that_are_none)
{
    CHECK(begin_forging());
    image_put_ids(&forged, forged_ids);
    CHECK(world_is_back()); /* as long as nothing was changed */

    static const uint16_t lengths[] = {0, USERS_ID_BYTES_MAX + 1, 0xffff};
    for (unsigned i = 0; i < 3; i++) {
        CHECK(begin_forging());
        memcpy(forged_ids, &lengths[i], 2);
        CHECK(forgery_is_refused());
        CHECK(begin_forging());
        memcpy(forged_ids + cut_id_at(), &lengths[i], 2);
        CHECK(forgery_is_refused());
    }
}

TEST(recovery_refuses_ids_that_are_not_as_many_as_it_says)
{
    CHECK(begin_forging());
    forged.users--;
    CHECK(forgery_is_refused());

    CHECK(begin_forging()); /* the last is none */
    CHECK(forged.arena_bytes % 4092 > 200);
    memset(forged_ids + forged.arena_bytes / 4092 * 4092, 0, forged.arena_bytes % 4092);
    CHECK(forgery_is_refused());

    CHECK(begin_forging()); /* the last is cut short */
    forged.arena_bytes--;
    CHECK(forgery_is_refused());

    CHECK(begin_forging()); /* one is there twice */
    size_t at = 0, same = 0;
    while (same == 0) {
        const size_t len = 2u + forged_ids[at] + 256u * forged_ids[at + 1], next = at + len;
        if (memcmp(forged_ids + at, forged_ids + next, 2) == 0)
            same = next;
        else
            at = next;
    }
    memcpy(forged_ids + same, forged_ids + at, 2u + forged_ids[at] + 256u * forged_ids[at + 1]);
    CHECK(forgery_is_refused());
}

/* An id's length itself may be cut by a block's end. */
TEST(recovery_reads_ids_wherever_blocks_cut_them)
{
    CHECK(world_begin());
    for (unsigned len = 1; len <= 40; len++) {
        CHECK(world_begin());
        for (unsigned i = 0; i < 800; i++) {
            uint8_t id[64] = {0};
            memcpy(id, &i, sizeof i);
            const struct event event = {.user_id = id, .user_id_len = 24 + (i == 0 ? len : 0)};
            CHECK(stats_add(&world.stats, &event));
        }
        const uint64_t users = users_count(world.stats.users);
        CHECK(world_finish());
        disk_cut_power(&disks[0], LOSS_ALL);
        CHECK_EQ(world_boot(), STORE_OPEN);
        CHECK_EQ(users_count(world.stats.users), users);
        CHECK_EQ(world.stats.count, 800);
    }
}

/* ---- a recovery that takes long ---- */

static uint64_t slow_clock(void)
{
    return disk_now_ns += UINT64_C(400000000);
}

TEST(recovery_tells_how_far_it_is)
{
    CHECK(world_begin());
    world_add(10000);
    CHECK(world_finish());
    disk_cut_power(&disks[0], LOSS_ALL);
    world.config.now_ns = slow_clock;
    disks[0].is_prompt = true;
    CHECK_EQ(world_boot(), STORE_OPEN);
    CHECK(strstr(world.told, "recovering: ") != NULL && strstr(world.told, " users") != NULL);
    disks_end();
}

/* ---- slots ---- */

static bool decodes(const struct format_state *state)
{
    static uint8_t slot[FORMAT_SLOT_BYTES_MAX];
    struct format_state decoded;
    const struct format_superblock superblock = image_superblock();
    format_slot_encode(&superblock, state, forged_ids, slot);
    return format_slot_decode(&superblock, state->seq % FORMAT_SLOTS, slot, &decoded);
}

TEST(slots_are_refused_when_a_field_makes_no_sense)
{
    CHECK(begin_forging());
    CHECK(decodes(&forged));
    const struct format_state good = forged;
#define REFUSED_WITH(field, value)                                                                 \
    forged = good;                                                                                 \
    forged.field = value;                                                                          \
    CHECK(!decodes(&forged))
    REFUSED_WITH(seq, FORMAT_SEQ_MAX + 1);
    REFUSED_WITH(boots, FORMAT_SEQ_MAX + 1);
    REFUSED_WITH(durable_seq, good.seq);
    REFUSED_WITH(arena_from, good.arena_bytes / 4092 + 1);
    REFUSED_WITH(arena_bytes, (1024 - 385) * 4092 + 1);
    REFUSED_WITH(users, good.arena_bytes / 3 + 1);
    REFUSED_WITH(users, good.arena_bytes / (2 + USERS_ID_BYTES_MAX));
    REFUSED_WITH(count, good.users - 1);
    forged = good;
    forged.users = forged.arena_bytes = forged.arena_from = 0;
    CHECK(!decodes(&forged)); /* events of nobody */
}

/* Each bit that is not what was written; and what only a forger writes. */
TEST(slots_are_refused_when_any_byte_is_another)
{
    static uint8_t slot[FORMAT_SLOT_BYTES_MAX];
    CHECK(begin_forging());
    struct format_state decoded;
    const struct format_superblock superblock = image_superblock();
    format_slot_encode(&superblock, &forged, forged_ids, slot);
    const uint64_t index = forged.seq % FORMAT_SLOTS;
    for (unsigned at = 0; at < 8192; at += at < 600 ? 1 : 61) {
        slot[at] ^= 1;
        CHECK(!format_slot_decode(&superblock, index, slot, &decoded));
        slot[at] ^= 1;
    }
    CHECK(format_slot_decode(&superblock, index, slot, &decoded));
    CHECK(!format_slot_decode(&superblock, (index + 1) % FORMAT_SLOTS, slot, &decoded));

    static const struct {
        unsigned at;
        uint32_t value;
    } fields[] = {{84, 385}, {84, 0xffffffff}, {84, 1}, {32, 1}}; /* the sum's length; seq */
    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        memcpy(slot + fields[i].at, &fields[i].value, sizeof fields[i].value);
        const uint64_t block = superblock.slots_block + 2 * index;
        uint32_t crc = crc32c(0, superblock.uuid, 16);
        crc = crc32c(crc32c(crc, &block, 8), slot, SLOT_CRC_AT);
        memcpy(slot + SLOT_CRC_AT, &crc, sizeof crc);
        CHECK(!format_slot_decode(&superblock, index, slot, &decoded));
    }
    disks_end();
}

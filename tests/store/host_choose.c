/* Which disk is taken, formatted, passed over, refused. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "app/store/crc32c.h"
#include "tests/store/world.h"
#include "tests/test.h"

#define MIB (UINT64_C(1) << 20)

static bool error_has(const char *words)
{
    if (strstr(world.error, words) != NULL)
        return true;
    test_print("not \"%s\": %s", words, world.error);
    return false;
}

static bool is_refused(const char *words)
{
    return world_boot() == STORE_REFUSED && error_has(words);
}

static struct format_superblock superblock_at(uint64_t at)
{
    struct format_superblock superblock;
    memcpy(&superblock, disks[0].latest + at, sizeof superblock);
    return superblock;
}

static void put_superblock(uint64_t at, struct format_superblock superblock)
{
    superblock.crc = crc32c(0, &superblock, offsetof(struct format_superblock, crc));
    disk_put(&disks[0], at, &superblock, sizeof superblock);
}

static void clear(uint64_t at, uint64_t len)
{
    static const uint8_t zeros[MIB];
    disk_put(&disks[0], at, zeros, len);
}

/* A store with something in it, sealed, and its machine gone. */
static bool make_used(void)
{
    if (!world_begin())
        return false;
    world_add(500);
    const bool is_sealed = world_seal();
    disk_cut_power(&disks[0], LOSS_ALL);
    return is_sealed && world.stable_count == 500;
}

TEST(store_formats_a_blank_disk_and_knows_it_again)
{
    CHECK(world_begin());
    const struct format_superblock first = superblock_at(0), second = superblock_at(MIB);
    CHECK(memcmp(&first, &second, sizeof first) == 0);
    CHECK_EQ(first.version, 1);
    CHECK_EQ(first.block_bytes, 4096);
    CHECK_EQ(first.sectors, WORLD_SECTORS);
    world_add(10);
    CHECK(world_settle());
    disk_cut_power(&disks[0], LOSS_ALL);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 10);
    const struct format_superblock again = superblock_at(0);
    CHECK(memcmp(&first, &again, sizeof first) == 0);
}

TEST(store_takes_blocks_as_large_as_the_disks)
{
    static const uint32_t sizes[][3] = {{512, 512, 4096},
                                        {512, 4096, 4096},
                                        {4096, 4096, 4096},
                                        {512, 8192, 8192},
                                        {8192, 16384, 16384}};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        world_make(WORLD_SECTORS);
        disks[0].info.logical_block_bytes = sizes[i][0];
        disks[0].info.physical_block_bytes = sizes[i][1];
        CHECK(world_is_back());
        CHECK_EQ(superblock_at(0).block_bytes, sizes[i][2]);
        world_add(2000);
        CHECK(world_finish());
        CHECK(world_is_back());
        CHECK_EQ(world.event_count, 2000);
    }
}

TEST(store_refused_disks_have_too_little_room_or_too_large_blocks)
{
    world_make(4096); /* 2 MiB hold a store of blocks of 4 KiB */
    CHECK(world_is_back());
    world_make(4096);
    disks[0].info.physical_block_bytes = 16384;
    CHECK(is_refused("Tally needs 2 MiB or more"));
    disks[0].info.physical_block_bytes = 32768;
    CHECK(is_refused("in blocks of at most 16384"));
    disks[0].info.physical_block_bytes = 12288; /* no power of two */
    CHECK(is_refused("12288"));
    world_make(4088);
    CHECK(is_refused("has 4088 sectors in blocks of 512 bytes: Tally needs 2 MiB or more"));
    world_make(WORLD_SECTORS);
    disks[0].info.logical_block_bytes = 32768;
    CHECK(is_refused("in blocks of 32768 bytes"));
    disks[0].info.read_only = true;
    CHECK_EQ(world_boot(), STORE_ABSENT);
}

TEST(store_refused_foreign_disks_are_not_written_to)
{
    static const uint64_t places[] = {0,       511,     512,
                                      MIB - 1, 3 * MIB, 4 * MIB - 1}; /* of a disk of 4 MiB */
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        world_make(WORLD_SECTORS);
        disk_put(&disks[0], places[i], "!", 1);
        static uint8_t before[4 * MIB];
        memcpy(before, disks[0].latest, sizeof before);
        CHECK(is_refused("holds something else"));
        CHECK(memcmp(before, disks[0].latest, sizeof before) == 0);
    }
    world_make(WORLD_SECTORS); /* neither in the first nor in the last MiB: of no matter */
    disk_put(&disks[0], 2 * MIB, "!", 1);
    CHECK(world_is_back());
}

TEST(store_passes_over_read_only_media)
{
    world_make(WORLD_SECTORS);
    disks[0].info.read_only = true;
    CHECK_EQ(world_boot(), STORE_ABSENT);
    CHECK(strstr(world.told, "read-only and blank") != NULL);
    disk_put(&disks[0], 5, "!", 1);
    CHECK_EQ(world_boot(), STORE_ABSENT);
    CHECK(strstr(world.told, "read-only and not Tally's") != NULL);
    world.config.choice = STORE_REQUIRED;
    CHECK(is_refused("there is no disk for the store"));
    world.config.choice = STORE_AUTO;
    disk_count = 0;
    CHECK_EQ(world_boot(), STORE_ABSENT);
}

TEST(store_none_looks_at_no_disk)
{
    CHECK(make_used());
    world.config.choice = STORE_NONE;
    CHECK_EQ(world_boot(), STORE_ABSENT);
}

TEST(store_refused_ours_is_not_fit)
{
    CHECK(make_used());
    disks[0].info.read_only = true;
    CHECK(is_refused("read-only"));
    disks[0].info.read_only = false;
    disks[0].info.sectors = WORLD_SECTORS - 8;
    CHECK(is_refused("smaller than it was"));
    disks[0].info.sectors = WORLD_SECTORS;
    disks[0].info.physical_block_bytes = 8192;
    CHECK(is_refused("larger blocks"));
    disks[0].info.logical_block_bytes = 8192;
    disks[0].info.physical_block_bytes = 512;
    CHECK(is_refused("larger blocks"));
    disks[0].info.logical_block_bytes = 4096;
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 500);
}

TEST(store_may_grow_its_disk)
{
    CHECK(make_used());
    static uint8_t image[4 * MIB];
    memcpy(image, disks[0].latest, sizeof image);
    disks_make(1, 2 * WORLD_SECTORS);
    disk_put(&disks[0], 0, image, sizeof image);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 500);
    disk_kill_machine(&disks[0]);
    disk_rot(&disks[0], 60); /* of which the second superblock still speaks */
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 500);
}

TEST(store_refused_newer_formats)
{
    CHECK(make_used());
    struct format_superblock superblock = superblock_at(0);
    superblock.version = 2;
    put_superblock(0, superblock);
    CHECK(is_refused("newer Tally"));
    disk_rot(&disks[0], 20);
    put_superblock(MIB, superblock);
    CHECK(is_refused("newer Tally"));
}

TEST(store_uses_the_second_superblock_where_the_first_is_rotten)
{
    static const uint64_t rotten[] = {20, 60, 90}; /* the uuid, where slots begin, the key */
    for (unsigned i = 0; i < sizeof rotten / sizeof rotten[0]; i++) {
        CHECK(make_used());
        disk_rot(&disks[0], rotten[i]);
        CHECK(world_is_back());
        CHECK_EQ(world.event_count, 500);
        CHECK(strstr(world.told, "rotten first superblock") != NULL);
    }

    CHECK(make_used()); /* or cannot be read */
    disks[0].bad_to = 1;
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 500);

    CHECK(make_used()); /* but one that someone has written over is not ours */
    disk_put(&disks[0], 0, "\xeb\x3c\x90", 3);
    CHECK(is_refused("was Tally's until something else was written"));
    clear(0, 512);
    disk_put(&disks[0], 1024, "ext4", 4);
    CHECK(is_refused("was Tally's until something else was written"));
    disk_rot(&disks[0], MIB + 60);
    CHECK(is_refused("holds something else"));
}

TEST(store_refused_both_superblocks_rotten)
{
    CHECK(make_used());
    disk_rot(&disks[0], 60);
    disk_rot(&disks[0], MIB + 60);
    CHECK(is_refused("both of its superblocks are rotten"));
    clear(0, 512);
    CHECK(is_refused("both of its superblocks are rotten"));
    clear(MIB, 512); /* who wants to begin anew clears both */
    clear(4 * MIB - MIB, MIB);
    CHECK_EQ(world_boot(), STORE_OPEN);
    CHECK_EQ(world.stats.count, 0);
    disks[0].bad_to = WORLD_SECTORS;
    CHECK(is_refused("cannot be read"));
}

TEST(store_refused_disks_that_cannot_be_read_where_they_seem_blank)
{
    world_make(WORLD_SECTORS);
    disks[0].bad_from = 1500;
    disks[0].bad_to = 1501;
    CHECK(is_refused("holds something else"));
}

TEST(store_finishes_formatting_that_was_cut_off)
{
    CHECK(make_used());
    const struct format_superblock before = superblock_at(0);
    clear(0, 512);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 500);
    const struct format_superblock after = superblock_at(0);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    clear(0, 512);
    disks[0].fail_write_in = 1;
    CHECK(is_refused("first superblock cannot be written"));
}

/* Each field that is not what it must be, though the CRC holds. */
TEST(store_refused_superblocks_make_no_sense)
{
    for (unsigned at = 8; at < sizeof(struct format_superblock) - 4; at++) {
        const bool is_free = (at >= 16 && at < 32) || /* uuid */
                             (at >= 32 && at < 40) || /* sectors: of a disk that was larger */
                             (at >= 80 && at < 96);   /* the producers' key */
        if (is_free || (at > 100 && at < 500))
            continue;
        world_make(WORLD_SECTORS);
        CHECK(world_is_back());
        disk_rot(&disks[0], at);
        put_superblock(0, superblock_at(0));
        disk_rot(&disks[0], MIB + 60);
        CHECK_EQ(world_boot(), STORE_REFUSED);
    }
}

TEST(store_refused_disks_that_fail_while_they_are_formatted)
{
    for (unsigned i = 1; i <= 5; i++) { /* two slots, two superblocks, the life's first commit */
        world_make(WORLD_SECTORS);
        disks[0].fail_write_in = i;
        CHECK(is_refused(i < 5 ? "could not be formatted" : "cannot be written to"));
    }
    for (unsigned i = 1; i <= 5; i++) {
        world_make(WORLD_SECTORS);
        disks[0].fail_flush_in = i;
        CHECK(is_refused(i < 4    ? "could not be formatted"
                         : i == 4 ? "cannot be flushed"
                                  : "cannot be written to"));
    }
    world_make(WORLD_SECTORS); /* what it wrote does not come back */
    disks[0].misdirect_in = 1;
    disks[0].misdirect_by = 2000;
    CHECK(world_is_back()); /* the second slot says the same */
    world_make(WORLD_SECTORS);
    disks[0].bad_from = 2056; /* the slots, which lie between */
    disks[0].bad_to = 3080;
    CHECK(is_refused("none of its 64 slots"));
}

TEST(store_refused_disks_that_do_not_answer)
{
    CHECK(make_used());
    for (unsigned i = 1; i <= 69; i++) { /* a superblock, slots, one again; a flush; a commit */
        disks[0].hang_in = i;
        const uint64_t begun_ns = disk_now_ns;
        CHECK_EQ(world_boot(), STORE_REFUSED);
        CHECK(world.error[0] != '\0');
        CHECK(disk_now_ns - begun_ns < 40 * UINT64_C(1000000000));
        disk_cut_power(&disks[0], LOSS_ALL);
    }
    disks[0].hang_in = 0;
    disks[0].queue_limit = 0;
    CHECK_EQ(world_boot(), STORE_REFUSED);
}

/* ---- more than one ---- */

static void make_three(void)
{
    world_make(WORLD_SECTORS);
    disks_make(3, WORLD_SECTORS);
    memcpy(disks[0].info.serial, "system", 7);
    disk_put(&disks[0], 0, "!", 1);
    memcpy(disks[1].info.serial, "tally-1", 8);
    memcpy(disks[2].info.serial, "tally-2", 8);
}

TEST(store_takes_the_disk_of_the_serial_number)
{
    make_three();
    world.config.choice = STORE_SERIAL;
    world.config.serial = "tally-2";
    CHECK(world_is_back());
    CHECK_EQ(disks[1].flushes, 0);
    CHECK(disks[2].flushes > 0);
    world.config.serial = "tally-3";
    CHECK(is_refused("no disk with the serial number tally-3"));
    world.config.serial = "system";
    CHECK(is_refused("disk 0 (system) holds something else"));
}

TEST(store_refused_a_choice_between_two)
{
    make_three();
    CHECK(is_refused("disk 0 (system) holds something else"));
    disks[0].info.read_only = true;
    CHECK(is_refused("disk 2 (tally-2) and disk 1 could both be the store"));
    disks[1].info.read_only = true;
    CHECK(world_is_back());
    CHECK(disks[2].flushes > 0);
}

TEST(store_says_how_many_users_the_disk_holds)
{
    static struct store_disk chosen;
    world_make(WORLD_SECTORS);
    CHECK_EQ(store_choose(&world.config, &chosen, world.error), STORE_OPEN);
    /* 1,024 blocks but for 385: of 4,092 bytes each, 10 and 2 a user. */
    CHECK_EQ(store_users_max(&chosen, 10), (1024 - 385) * 4092 / 12);
    CHECK(chosen.is_blank);
    CHECK(make_used());
    CHECK_EQ(store_choose(&world.config, &chosen, world.error), STORE_OPEN);
    CHECK(!chosen.is_blank);
    CHECK_EQ(chosen.state.count, 500);
    CHECK_EQ(chosen.state.users, users_count(world.stats.users));
    disks_end();
}

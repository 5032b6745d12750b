/* A partition of Tally's type, on a disk that has others' as well. */
#include <string.h>

#include "app/store/gpt.h"
#include "app/store/superblock.h"
#include "tests/store/world.h"
#include "tests/test.h"

#define SECTORS  (16u << 11) /* 16 MiB */
#define OURS     2048u       /* where ours begins, and how long it is, in sectors */
#define OURS_LEN (8u << 11)

/* CRC-32 (ISO-HDLC), by the book. */
static uint32_t crc32(const uint8_t *bytes, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            const uint32_t top = (crc ^ (uint32_t)bytes[i] >> bit) & 1;
            crc = crc >> 1 ^ (top ? 0xedb88320u : 0);
        }
    return ~crc;
}

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

/* What the tables say; both of them are written by put_tables(). */
static struct {
    uint32_t lba_bytes, header_bytes, count, entry_bytes;
    uint8_t entries[32 << 10];
} table;

static uint64_t lbas(void)
{
    return (uint64_t)SECTORS * DISK_SECTOR / table.lba_bytes;
}

static void put_entry(unsigned index, const uint8_t type[16], uint64_t first, uint64_t last)
{
    uint8_t *const entry = table.entries + index * table.entry_bytes;
    memcpy(entry, type, 16);
    put64(entry + 32, first);
    put64(entry + 40, last);
}

static void put_table(uint64_t header_lba, uint64_t entries_lba)
{
    static uint8_t block[4096];
    memset(block, 0, sizeof block);
    memcpy(block, "EFI PART", 8);
    put32(block + 8, 0x10000);
    put32(block + 12, table.header_bytes);
    put64(block + 24, header_lba);
    put64(block + 72, entries_lba);
    put32(block + 80, table.count);
    put32(block + 84, table.entry_bytes);
    put32(block + 88, crc32(table.entries, (size_t)table.count * table.entry_bytes));
    if (table.header_bytes <= table.lba_bytes)
        put32(block + 16, crc32(block, table.header_bytes));
    disk_put(&disks[0], header_lba * table.lba_bytes, block, table.lba_bytes);
    disk_put(&disks[0], entries_lba * table.lba_bytes, table.entries, sizeof table.entries);
}

static void put_tables(void)
{
    put_table(1, 2);
    put_table(lbas() - 1, lbas() - 1 - sizeof table.entries / table.lba_bytes);
}

static const uint8_t ours[16] = GPT_TYPE;
static const uint8_t others[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11};

/* A disk with an EFI partition and ours behind it, blank. */
static void make(uint32_t lba_bytes)
{
    const uint32_t per_lba = lba_bytes / DISK_SECTOR;
    chance_seed(1);
    world_make(SECTORS);
    disks[0].info.logical_block_bytes = lba_bytes;
    memset(&table, 0, sizeof table);
    table.lba_bytes = lba_bytes;
    table.header_bytes = 92;
    table.count = 128;
    table.entry_bytes = 128;
    put_entry(0, others, 40 / per_lba, (OURS - 1) / per_lba);
    put_entry(3, ours, OURS / per_lba, (OURS + OURS_LEN) / per_lba - 1);
}

static bool is_refused(const char *words)
{
    if (world_boot() == STORE_REFUSED && strstr(world.error, words) != NULL)
        return true;
    test_print("not \"%s\": %s", words, world.error);
    return false;
}

/* Counts on through a power cut, and writes nothing outside of the partition. */
static bool keeps(void)
{
    static uint8_t before[SECTORS * DISK_SECTOR];
    memcpy(before, disks[0].latest, sizeof before);
    if (!world_is_back())
        return false;
    world_add(600);
    if (!world_settle())
        return false;
    disk_cut_power(&disks[0], LOSS_ALL);
    const size_t end = (size_t)(OURS + OURS_LEN) * DISK_SECTOR;
    return world_is_back() && world.event_count == 600 &&
           memcmp(before, disks[0].latest, OURS * DISK_SECTOR) == 0 &&
           memcmp(before + end, disks[0].latest + end, sizeof before - end) == 0;
}

TEST(gpt_partition_of_our_type_is_a_store)
{
    static const uint32_t lba_bytes[] = {512, 4096};
    for (unsigned i = 0; i < 2; i++) {
        make(lba_bytes[i]);
        put_tables();
        CHECK(keeps());
    }
    disks_end();
}

TEST(gpt_entries_may_be_longer_and_fill_what_there_is_room_for)
{
    make(512);
    table.entry_bytes = 256;
    memset(table.entries, 0, sizeof table.entries);
    put_entry(127, ours, OURS, OURS + OURS_LEN - 1);
    put_tables();
    CHECK(keeps());
    disks_end();
}

TEST(gpt_second_table_serves_where_the_first_is_rotten)
{
    static const uint64_t rotten[] = {512, 512 + 17, 512 + 50, 1024 + 3 * 128, 1024 + 3 * 128 + 33};
    for (unsigned i = 0; i < sizeof rotten / sizeof rotten[0]; i++) {
        make(512);
        put_tables();
        disk_rot(&disks[0], rotten[i]);
        CHECK(keeps());
    }
    make(512); /* and where it cannot be read */
    put_tables();
    disks[0].bad_from = 10;
    disks[0].bad_to = 11;
    CHECK(keeps());
    disks_end();
}

/* The partition's first superblock lies where the second one of the whole disk would. */
TEST(gpt_partition_is_found_where_the_beginning_of_the_disk_is_lost)
{
    static const uint8_t zeros[OURS * DISK_SECTOR];
    make(512);
    put_tables();
    CHECK(keeps());
    disk_kill_machine(&disks[0]);
    disk_put(&disks[0], 0, zeros, sizeof zeros);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 600);
    disk_kill_machine(&disks[0]);
    disks[0].bad_to = 1;
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 600);
    disks_end();
}

TEST(gpt_without_a_whole_table_is_somebody_elses_disk)
{
    make(512);
    put_tables();
    disk_rot(&disks[0], 512 + 50);
    disk_rot(&disks[0], (lbas() - 1) * 512 + 50);
    CHECK(is_refused("holds something else"));
    disks_end();
}

TEST(gpt_tables_that_make_no_sense_are_none)
{
    static const struct {
        uint32_t header_bytes, count, entry_bytes;
    } rows[] = {{91, 128, 128}, {513, 128, 128}, {0xffffffff, 128, 128},
                {92, 128, 127}, {92, 0, 128},    {92, 257, 128},
                {92, 1, 0},     {92, 1, 32769},  {92, 0, 32769}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        make(512);
        table.header_bytes = rows[i].header_bytes;
        table.count = 0;
        put_tables();
        table.count = rows[i].count;
        table.entry_bytes = rows[i].entry_bytes;
        if ((uint64_t)table.count * table.entry_bytes <= sizeof table.entries)
            put_tables();
        CHECK(is_refused("holds something else"));
    }
    /* A header that belongs elsewhere; entries beyond the disk; more than there is room for. */
    static const struct {
        unsigned at;
        uint64_t value;
    } fields[] = {{24, 3},
                  {72, SECTORS - 3},
                  {72, SECTORS},
                  {72, UINT64_MAX},
                  {80, UINT64_C(128) << 32 | 257},
                  {80, UINT64_C(128) << 32 | 0xffffffff}};
    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        static uint8_t block[512];
        make(512);
        put_tables();
        memcpy(block, disks[0].latest + 512, sizeof block);
        put64(block + fields[i].at, fields[i].value);
        put32(block + 16, 0);
        put32(block + 16, crc32(block, 92));
        disk_put(&disks[0], 512, block, sizeof block);
        disk_rot(&disks[0], (lbas() - 1) * 512 + 50);
        CHECK(is_refused("holds something else"));
    }
    disks_end();
}

TEST(gpt_partitions_that_are_not_within_the_disk_are_none)
{
    static const struct {
        uint64_t first, last;
    } rows[] = {{OURS, SECTORS}, {OURS + 1, OURS}, {UINT64_MAX, UINT64_MAX}, {OURS, OURS + 100}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        make(512);
        put_entry(3, ours, rows[i].first, rows[i].last);
        put_tables();
        CHECK(is_refused("holds something else"));
    }
    disks_end();
}

TEST(gpt_with_several_partitions_of_our_type_is_refused)
{
    make(512);
    put_entry(7, ours, OURS + OURS_LEN, OURS + 2 * OURS_LEN - 5000);
    put_tables();
    CHECK(is_refused("several partitions of Tally's type"));
    disks_end();
}

/* Its blocks would share those of the disk with their neighbours. */
TEST(gpt_partition_that_does_not_begin_where_a_block_does_is_refused)
{
    make(512);
    put_entry(3, ours, OURS + 7, OURS + OURS_LEN - 1);
    put_tables();
    CHECK(is_refused("does not begin where a block does"));
    make(512);
    put_entry(3, ours, OURS + 8, OURS + OURS_LEN - 1);
    put_tables();
    CHECK_EQ(world_boot(), STORE_OPEN);
    disk_kill_machine(&disks[0]);
    disks[0].info.physical_block_bytes = 8192; /* nor does it for a disk of larger blocks */
    CHECK(is_refused("larger blocks"));
    disks_end();
}

TEST(gpt_partition_that_holds_something_else_is_refused)
{
    make(512);
    put_tables();
    disk_put(&disks[0], (OURS + 8) * DISK_SECTOR, "something", 9);
    CHECK(is_refused("holds something else"));
    disks_end();
}

TEST(gpt_partition_that_became_smaller_is_refused)
{
    make(512);
    put_tables();
    CHECK(keeps());
    disk_kill_machine(&disks[0]);
    put_entry(3, ours, OURS, OURS + OURS_LEN - 2);
    put_tables();
    CHECK(is_refused("smaller than it was"));
    disks_end();
}

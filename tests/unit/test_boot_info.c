/* boot/pvh.c, and what kernel/mem/ram.c makes of the memory map. */
#include "boot/pvh.h"
#include "kernel/mem/ram.h"
#include "tests/test.h"
#include "tests/unit/random.h"

static struct hvm_memmap_table_entry map[BOOT_MEMORY_MAX + 1];
static struct hvm_start_info start;
static struct boot_info info;

static void start_with(uint32_t entries, const char *command_line)
{
    memset(&info, 0xff, sizeof info);
    start = (struct hvm_start_info){
        .magic = HVM_START_MAGIC,
        .version = 1,
        .cmdline_paddr = (uint64_t)(uintptr_t)command_line,
        .rsdp_paddr = 0xf5ad0,
        .memmap_paddr = (uint64_t)(uintptr_t)map,
        .memmap_entries = entries,
    };
    for (uint32_t i = 0; i < entries; i++)
        map[i] = (struct hvm_memmap_table_entry){i * 0x1000, 0x1000, BOOT_MEMORY_RAM, 0};
}

TEST(boot_info_copies_what_pvh_says)
{
    start_with(2, "a=b c=d");
    map[1].type = BOOT_MEMORY_ACPI;
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(info.problem == NULL);
    CHECK(strcmp(info.command_line, "a=b c=d") == 0);
    CHECK_EQ(info.rsdp, 0xf5ad0);
    CHECK_EQ(info.memory_count, 2);
    CHECK_EQ(info.memory[1].address, 0x1000);
    CHECK_EQ(info.memory[1].bytes, 0x1000);
    CHECK_EQ(info.memory[1].kind, BOOT_MEMORY_ACPI);
}

TEST(boot_info_takes_a_missing_command_line_for_an_empty_one)
{
    start_with(1, NULL);
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(info.problem == NULL);
    CHECK(info.command_line[0] == '\0');
}

TEST(boot_info_says_what_it_cannot_use)
{
    pvh_translate(NULL, UINT64_MAX, &info);
    CHECK(strstr(info.problem, "PVH") != NULL);
    start_with(1, NULL);
    start.magic++;
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(strstr(info.problem, "PVH") != NULL);
    start_with(1, NULL);
    start.version = 0;
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(strstr(info.problem, "no memory map") != NULL);
    start_with(0, NULL);
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(strstr(info.problem, "no memory map") != NULL);
    start_with(1, NULL);
    start.memmap_paddr = 0;
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(strstr(info.problem, "no memory map") != NULL);
}

TEST(boot_info_bounds_the_memory_map)
{
    start_with(BOOT_MEMORY_MAX, NULL);
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(info.problem == NULL);
    CHECK_EQ(info.memory_count, BOOT_MEMORY_MAX);
    start_with(BOOT_MEMORY_MAX + 1, NULL);
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(strstr(info.problem, "64 entries") != NULL);
    CHECK_EQ(info.memory_count, 0);
}

TEST(boot_info_bounds_the_command_line)
{
    static char text[BOOT_COMMAND_LINE_BYTES_MAX + 1];

    memset(text, 'x', sizeof text - 1);
    text[BOOT_COMMAND_LINE_BYTES_MAX - 1] = '\0';
    start_with(1, text);
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(info.problem == NULL);
    CHECK_EQ(strlen(info.command_line), BOOT_COMMAND_LINE_BYTES_MAX - 1);

    text[BOOT_COMMAND_LINE_BYTES_MAX - 1] = 'x';
    start_with(1, text);
    pvh_translate(&start, UINT64_MAX, &info);
    CHECK(strstr(info.problem, "2,047") != NULL);
    CHECK_EQ(info.command_line[0], '\0');
}

/* Nothing is mapped there when these are read, and no page fault would be handled. */
TEST(boot_info_reads_nothing_above_what_is_mapped)
{
    const uint64_t end = 1ULL << 48, start_end = (uintptr_t)(&start + 1);
    const char *const text = (const char *)(uintptr_t)(end - 4);

    start_with(2, text + 4);
    pvh_translate(&start, end, &info);
    CHECK(strstr(info.problem, "command line is not below 4 GiB") != NULL);
    CHECK_EQ(info.command_line[0], '\0');
    start_with(2, NULL);
    start.cmdline_paddr = UINT64_MAX;
    pvh_translate(&start, end, &info);
    CHECK(strstr(info.problem, "command line is not below 4 GiB") != NULL);

    start_with(2, NULL);
    start.memmap_paddr = end - 2 * sizeof map[0] + 1;
    pvh_translate(&start, end, &info);
    CHECK(strstr(info.problem, "memory map is not below 4 GiB") != NULL);
    CHECK_EQ(info.memory_count, 0);
    start.memmap_paddr = UINT64_MAX - 7;
    pvh_translate(&start, end, &info);
    CHECK(strstr(info.problem, "memory map is not below 4 GiB") != NULL);

    start_with(1, NULL);
    pvh_translate(&start, start_end - 1, &info);
    CHECK(strstr(info.problem, "PVH") != NULL);
}

TEST(boot_info_reads_up_to_the_end_of_what_is_mapped)
{
    static struct {
        struct hvm_start_info start;
        struct hvm_memmap_table_entry map[2];
        char text[4];
    } memory = {.map = {{0, 0x1000, BOOT_MEMORY_RAM, 0}}, .text = "a=b"};

    start_with(1, memory.text);
    memory.start = start;
    memory.start.memmap_paddr = (uintptr_t)memory.map;
    pvh_translate(&memory.start, (uintptr_t)&memory.text[4], &info);
    CHECK(info.problem == NULL);
    CHECK(strcmp(info.command_line, "a=b") == 0);
    pvh_translate(&memory.start, (uintptr_t)&memory.text[3], &info);
    CHECK(strstr(info.problem, "command line is not below 4 GiB") != NULL);
    memory.start.cmdline_paddr = 0;
    pvh_translate(&memory.start, (uintptr_t)&memory.map[1], &info);
    CHECK(info.problem == NULL);
    CHECK_EQ(info.memory_count, 1);
    pvh_translate(&memory.start, (uintptr_t)&memory.map[1] - 1, &info);
    CHECK(strstr(info.problem, "memory map is not below 4 GiB") != NULL);
}

/* ---- ram_find() ---- */

#define MIB (1ULL << 20)

static const struct ram_range image = {1 * MIB, 2 * MIB};
static struct ram_range found[RAM_RANGES_MAX];

static void map_begin(void)
{
    memset(&info, 0, sizeof info);
}

static void map_add(uint64_t address, uint64_t bytes, uint32_t kind)
{
    info.memory[info.memory_count++] = (struct boot_memory){address, bytes, kind};
}

static bool range_is(size_t i, uint64_t from, uint64_t to)
{
    return found[i].start == from && found[i].end == to;
}

TEST(ram_leaves_out_the_first_mib_and_the_image)
{
    map_begin();
    map_add(0, 0x9fc00, BOOT_MEMORY_RAM);
    map_add(0x9fc00, 0x400, BOOT_MEMORY_RESERVED);
    map_add(1 * MIB, 15 * MIB, BOOT_MEMORY_RAM);
    CHECK_EQ(ram_find(&info, image, found), 1);
    CHECK(range_is(0, 2 * MIB, 16 * MIB));
}

TEST(ram_is_cut_around_an_image_in_its_middle)
{
    map_begin();
    map_add(0, 16 * MIB, BOOT_MEMORY_RAM);
    CHECK_EQ(ram_find(&info, (struct ram_range){4 * MIB, 6 * MIB}, found), 2);
    CHECK(range_is(0, 1 * MIB, 4 * MIB));
    CHECK(range_is(1, 6 * MIB, 16 * MIB));
}

TEST(ram_yields_to_whatever_else_claims_it_in_any_order)
{
    map_begin();
    map_add(7 * MIB + 1, 1, BOOT_MEMORY_ACPI); /* a whole page goes */
    map_add(0, 8 * MIB, BOOT_MEMORY_RAM);
    map_add(4 * MIB, 1 * MIB, BOOT_MEMORY_RESERVED);
    map_add(2 * MIB, 1 * MIB, 77); /* a kind nobody knows */
    CHECK_EQ(ram_find(&info, image, found), 3);

    uint64_t bytes = 0;

    for (size_t i = 0; i < 3; i++)
        bytes += found[i].end - found[i].start;
    CHECK_EQ(bytes, 4 * MIB - 4096);
}

TEST(ram_named_twice_counts_once)
{
    map_begin();
    map_add(2 * MIB, 4 * MIB, BOOT_MEMORY_RAM);
    map_add(2 * MIB, 4 * MIB, BOOT_MEMORY_RAM);
    map_add(3 * MIB, 5 * MIB, BOOT_MEMORY_RAM);

    const size_t count = ram_find(&info, image, found);
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += found[i].end - found[i].start;
    CHECK_EQ(bytes, 6 * MIB);
}

TEST(ram_shrinks_to_whole_pages)
{
    map_begin();
    map_add(2 * MIB + 1, 4096 * 3, BOOT_MEMORY_RAM);
    map_add(9 * MIB + 1, 4096, BOOT_MEMORY_RAM); /* holds no whole page */
    CHECK_EQ(ram_find(&info, image, found), 1);
    CHECK(range_is(0, 2 * MIB + 4096, 2 * MIB + 3 * 4096));
}

TEST(ram_survives_absurd_entries)
{
    map_begin();
    map_add(UINT64_MAX, UINT64_MAX, BOOT_MEMORY_RAM);
    map_add(UINT64_MAX - 10, 5, BOOT_MEMORY_RESERVED);
    map_add(3 * MIB, 0, BOOT_MEMORY_RAM);
    map_add(3 * MIB, 0, BOOT_MEMORY_RESERVED);
    map_add(4 * MIB, UINT64_MAX, BOOT_MEMORY_RAM); /* ends where addresses do */
    CHECK_EQ(ram_find(&info, image, found), 1);
    CHECK(range_is(0, 4 * MIB, RAM_ADDRESS_END));
    map_add(0, UINT64_MAX, BOOT_MEMORY_RESERVED);
    CHECK_EQ(ram_find(&info, image, found), 0);
}

TEST(ram_keeps_the_largest_pieces_when_there_are_too_many)
{
    map_begin();
    for (uint64_t i = 0; i < 40; i++)
        map_add((2 + i) * MIB, (i + 1) * 4096, BOOT_MEMORY_RAM);
    CHECK_EQ(ram_find(&info, image, found), RAM_RANGES_MAX);
    for (size_t i = 0; i < RAM_RANGES_MAX; i++)
        CHECK(found[i].end - found[i].start >= 9 * 4096);
    map_begin();
    for (uint64_t i = 0; i < 40; i++) /* and the largest first */
        map_add((2 + i) * MIB, (40 - i) * 4096, BOOT_MEMORY_RAM);
    CHECK_EQ(ram_find(&info, image, found), RAM_RANGES_MAX);
    for (size_t i = 0; i < RAM_RANGES_MAX; i++)
        CHECK(found[i].end - found[i].start >= 9 * 4096);
}

TEST(ram_pieces_never_overlap_a_claim_nor_each_other)
{
    uint64_t state = 1; /* any map will do */

    for (unsigned round = 0; round < 2000; round++) {
        map_begin();
        for (unsigned i = 0; i < 40; i++) {
            const uint64_t random = random_next(&state);
            map_add((random & 0x3ff) << 12, (random >> 20 & 0x7f) << 11 | (random >> 30 & 0xff),
                    1 + (random >> 40 & 1));
        }

        const size_t count = ram_find(&info, image, found);

        for (size_t i = 0; i < count; i++) {
            CHECK(found[i].start < found[i].end && found[i].start >= image.end);
            for (size_t j = 0; j < i; j++)
                CHECK(found[i].end <= found[j].start || found[j].end <= found[i].start);
            for (size_t j = 0; j < info.memory_count; j++) {
                const struct boot_memory *const m = &info.memory[j];

                CHECK(m->kind == BOOT_MEMORY_RAM || m->bytes == 0 || found[i].end <= m->address ||
                      m->address + m->bytes <= found[i].start);
            }
        }
    }
}

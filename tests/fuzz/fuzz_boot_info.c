/*
 * What the VMM hands over (boot/pvh.c), and what is made of its memory map (kernel/mem/ram.c),
 * under libFuzzer.
 *
 * The input: a byte of flags, the magic and version if they say so, the number of entries, the
 * entries, and what is left is the command line. Held to be true:
 *
 *   - nothing is read beyond the map's entries and the command line's NUL, nor written beyond the
 *     arrays;
 *   - either there is a problem, or everything was copied;
 *   - the ranges that are found are whole pages, disjoint, within what the map calls RAM, and meet
 *     nothing that anybody else lays a claim to. As far as there is room, no page is missing.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/pvh.h"
#include "kernel/mem/ram.h"
#include "tests/fuzz/input.h"

#define ENTRIES_MAX 70
#define MIB         (1ull << 20)

static const struct ram_range image = {1 * MIB, 2 * MIB};

static const uint8_t *input;
static size_t input_left;

static uint64_t take(size_t bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && input_left > 0; bytes--, input_left--)
        value = value << 8 | *input++;
    return value;
}

/* A page or so near one of the places where something ends, or anything. */
static uint64_t take_address(void)
{
    static const uint64_t places[] = {
        0, MIB, 2 * MIB, 16 * MIB, 1ull << 32, RAM_ADDRESS_END, 1ull << 63};
    const uint8_t how = (uint8_t)take(1);
    if (how < 7)
        return places[how] + take(2) * (RAM_PAGE_BYTES / 2) - 0x8000;
    if (how < 128)
        return take(2) * RAM_PAGE_BYTES;
    return take(8);
}

static struct hvm_memmap_table_entry *take_map(size_t entries)
{
    struct hvm_memmap_table_entry *const map = malloc(entries * sizeof *map);
    for (size_t i = 0; i < entries; i++) {
        map[i].addr = take_address();
        map[i].size = take_address();
        map[i].type = (uint32_t)take(1) % 5;
        map[i].reserved = 0;
    }
    return map;
}

/* The input's last bytes, as a string of exactly its size. */
static char *take_command_line(void)
{
    char *const text = malloc(input_left + 1);
    memcpy(text, input, input_left);
    text[input_left] = '\0';
    return text;
}

static bool meets(struct ram_range range, uint64_t start, uint64_t end)
{
    return range.start < end && start < range.end;
}

static uint64_t end_of(const struct boot_memory *entry)
{
    uint64_t end;
    return __builtin_add_overflow(entry->address, entry->bytes, &end) ? UINT64_MAX : end;
}

/* Whether the page is RAM by one entry alone, and nobody else's. */
static bool is_usable(const struct boot_info *info, uint64_t page)
{
    const struct ram_range range = {page, page + RAM_PAGE_BYTES};
    bool is_ram = false;
    if (page < MIB || meets(range, image.start, image.end) || range.end > RAM_ADDRESS_END)
        return false;
    for (size_t i = 0; i < info->memory_count; i++) {
        const struct boot_memory *const entry = &info->memory[i];
        if (entry->kind == BOOT_MEMORY_RAM)
            is_ram |= entry->address <= page && range.end <= end_of(entry);
        else if (entry->bytes > 0 && meets(range, entry->address, end_of(entry)))
            return false;
    }
    return is_ram;
}

/* Each entry makes two pieces more at most, the first MiB and the image one each. */
static bool is_room(const struct boot_info *info)
{
    return 2 * info->memory_count + 2 <= RAM_RANGES_MAX;
}

static bool is_found(const struct ram_range *ranges, size_t count, uint64_t page)
{
    for (size_t i = 0; i < count; i++)
        if (meets(ranges[i], page, page + RAM_PAGE_BYTES))
            return true;
    return false;
}

/* At both ends of each entry and range, and around them, found is what is usable. */
static void check_around(const struct boot_info *info, const struct ram_range *ranges, size_t count,
                         uint64_t address)
{
    for (uint64_t page = (address & ~(RAM_PAGE_BYTES - 1)) - RAM_PAGE_BYTES, i = 0; i < 3;
         i++, page += RAM_PAGE_BYTES) {
        if (page > UINT64_MAX - 2 * RAM_PAGE_BYTES)
            continue;
        const bool found = is_found(ranges, count, page);
        REQUIRE(!found || is_usable(info, page));
        REQUIRE(found || !is_room(info) || !is_usable(info, page));
    }
}

static void check_ranges(const struct boot_info *info, const struct ram_range *ranges, size_t count)
{
    REQUIRE(count <= RAM_RANGES_MAX);
    for (size_t i = 0; i < count; i++) {
        REQUIRE(ranges[i].start < ranges[i].end && ranges[i].end <= RAM_ADDRESS_END);
        REQUIRE(ranges[i].start % RAM_PAGE_BYTES == 0 && ranges[i].end % RAM_PAGE_BYTES == 0);
        for (size_t k = 0; k < i; k++)
            REQUIRE(!meets(ranges[i], ranges[k].start, ranges[k].end));
        check_around(info, ranges, count, ranges[i].start);
        check_around(info, ranges, count, ranges[i].end);
    }
    for (size_t i = 0; i < info->memory_count; i++) {
        check_around(info, ranges, count, info->memory[i].address);
        check_around(info, ranges, count, end_of(&info->memory[i]));
    }
}

static void check_copy(const struct hvm_start_info *start, const struct boot_info *info,
                       const struct hvm_memmap_table_entry *map, const char *text)
{
    REQUIRE(info->memory_count <= BOOT_MEMORY_MAX);
    REQUIRE(memchr(info->command_line, '\0', BOOT_COMMAND_LINE_BYTES_MAX) != NULL);
    if (info->problem != NULL)
        return;
    REQUIRE(start->magic == HVM_START_MAGIC && start->version >= 1);
    REQUIRE(info->memory_count == start->memmap_entries && info->memory_count > 0);
    REQUIRE(info->rsdp == start->rsdp_paddr);
    for (size_t i = 0; i < info->memory_count; i++)
        REQUIRE(info->memory[i].address == map[i].addr && info->memory[i].bytes == map[i].size &&
                info->memory[i].kind == map[i].type);
    REQUIRE(strcmp(info->command_line, start->cmdline_paddr != 0 ? text : "") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct boot_info info;
    struct ram_range *const ranges = malloc(RAM_RANGES_MAX * sizeof *ranges);
    input = data;
    input_left = size;
    const uint8_t how = (uint8_t)take(1);
    struct hvm_start_info start = {.magic = HVM_START_MAGIC, .version = 1, .rsdp_paddr = 0xf0000};
    if ((how & 1) != 0)
        start.magic = (uint32_t)take(4);
    if ((how & 2) != 0)
        start.version = (uint32_t)take(1);
    const size_t entries = take(1) % ENTRIES_MAX;
    struct hvm_memmap_table_entry *const map = take_map(entries);
    char *const text = take_command_line();
    start.memmap_paddr = (how & 4) != 0 ? 0 : (uintptr_t)map;
    start.memmap_entries = (uint32_t)entries;
    start.cmdline_paddr = (how & 8) != 0 ? 0 : (uintptr_t)text;

    memset(&info, 0xa5, sizeof info);
    pvh_translate(&start, UINT64_MAX, &info);
    check_copy(&start, &info, map, text);
    check_ranges(&info, ranges, ram_find(&info, image, ranges));
    free(text);
    free(map);
    free(ranges);
    return 0;
}

/*
 * The page tables, and memory given out.
 *
 *     0          - 1 MiB      not mapped: NULL plus any offset that a bug adds to it faults
 *     1 MiB      - image end  by the sections of boot/image.ld, pages of 4 KiB, guards not mapped
 *     the rest of RAM         RW-, pages of 2 MiB where they fit, of 4 KiB at odd edges
 *     devices                 RW-, uncached, when a driver asks for them
 *
 * Everything else, RAM or not, is not mapped. Tables come from a pool cut from RAM in
 * memory_init(), as many as the map needs at most and DEVICE_TABLES more, so that mapping a device
 * does not depend on what was taken before. It is cut from the lower end, beside the image: a host
 * clears memory when it is first touched, up to 2 MiB at once, and there it has done so.
 *
 * memory_take() cuts from the lower end of the smallest range of RAM that suffices: what is asked
 * for in bulk (users, connections) finds the large ones whole.
 */
#include "kernel/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "boot/boot_info.h"
#include "kernel/cpu.h"
#include "kernel/panic.h"
#include "kernel/ram.h"

/* Entries of page tables (SDM vol. 3, 4.5). */
#define PAGE_PRESENT  (1ULL << 0)
#define PAGE_WRITE    (1ULL << 1)
#define PAGE_UNCACHED (1ULL << 3 | 1ULL << 4) /* PWT and PCD: UC with the PAT as at reset */
#define PAGE_ACCESSED (1ULL << 5)
#define PAGE_DIRTY    (1ULL << 6)
#define PAGE_LARGE    (1ULL << 7)
#define PAGE_NX       (1ULL << 63)
#define PAGE_ADDRESS  0x000ffffffffff000ULL

/* Accessed and dirty from the start, so that the processor never writes to a table. */
#define FLAGS_COMMON  (PAGE_PRESENT | PAGE_ACCESSED | PAGE_DIRTY)
#define FLAGS_TEXT    (FLAGS_COMMON)
#define FLAGS_RODATA  (FLAGS_COMMON | PAGE_NX)
#define FLAGS_DATA    (FLAGS_COMMON | PAGE_WRITE | PAGE_NX)
#define FLAGS_DEVICE  (FLAGS_COMMON | PAGE_WRITE | PAGE_NX | PAGE_UNCACHED)

#define PAGE_BYTES    4096ULL
#define LARGE_BYTES   (2ULL << 20)
#define DEVICE_TABLES 16
#define BOOT_MAP_END  (1ULL << 32) /* what start.S has mapped: tables must lie below */

extern const uint8_t __image_start[], __image_end[];
extern const uint8_t __text_start[], __text_end[];
extern const uint8_t __rodata_start[], __rodata_end[];
extern const uint8_t __data_start[], __data_end[];
extern const uint8_t __stack_bottom[], __stack_top[];
extern const uint8_t __trap_stacks_start[], __trap_stacks_end[];

static struct ram_range ranges[RAM_RANGES_MAX]; /* what memory_take() may still give */
static size_t range_count;
static struct ram_range ram[RAM_RANGES_MAX]; /* the same before anything was taken */
static struct ram_range tables;              /* the pool of page tables: what is left of it */
static uint64_t *root;                       /* level 4 */

static uint64_t address_of(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* ---- page tables ---- */

static uint64_t *table_new(void)
{
    if (tables.start == tables.end)
        panic("memory: no page table left to map a device with");

    uint64_t *const table = (uint64_t *)(uintptr_t)tables.start;

    tables.start += PAGE_BYTES;
    memset(table, 0, PAGE_BYTES);
    return table;
}

/* The table that `entry` points to; made if there is none. */
static uint64_t *table_below(uint64_t *entry)
{
    if (*entry == 0)
        *entry = address_of(table_new()) | PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED;
    assert((*entry & PAGE_LARGE) == 0); /* or something is mapped twice */
    return (uint64_t *)(uintptr_t)(*entry & PAGE_ADDRESS);
}

static size_t table_index(uint64_t address, unsigned level)
{
    return address >> (12 + 9 * (level - 1)) & 511;
}

/* Maps whole pages. Mapping again what is mapped with the same flags changes nothing. */
static void map(uint64_t address, uint64_t end, uint64_t flags)
{
    assert(address % PAGE_BYTES == 0 && end % PAGE_BYTES == 0);
    while (address < end) {
        uint64_t *const level3 = table_below(&root[table_index(address, 4)]);
        uint64_t *const level2 = table_below(&level3[table_index(address, 3)]);
        uint64_t *entry = &level2[table_index(address, 2)];
        uint64_t value = (address & ~(LARGE_BYTES - 1)) | flags | PAGE_LARGE;
        uint64_t step = LARGE_BYTES - address % LARGE_BYTES;

        if (*entry == value) {
            address += step;
            continue;
        }
        if (address % LARGE_BYTES != 0 || end - address < LARGE_BYTES || *entry != 0) {
            entry = &table_below(entry)[table_index(address, 1)];
            value = address | flags;
            step = PAGE_BYTES;
        }
        assert(*entry == 0 || *entry == value);
        *entry = value;
        address += step;
    }
}

static void map_section(const uint8_t *start, const uint8_t *end, uint64_t flags)
{
    map(address_of(start), address_of(end), flags);
}

static void map_image(void)
{
    const uint64_t guard_bytes = PAGE_BYTES, stack_bytes = 2 * PAGE_BYTES;

    map_section(__text_start, __text_end, FLAGS_TEXT);
    map_section(__rodata_start, __rodata_end, FLAGS_RODATA);
    map_section(__data_start, __data_end, FLAGS_DATA);
    map_section(__stack_bottom, __stack_top, FLAGS_DATA);
    for (const uint8_t *trap_stack = __trap_stacks_start; trap_stack != __trap_stacks_end;
         trap_stack += guard_bytes + stack_bytes)
        map_section(trap_stack + guard_bytes, trap_stack + guard_bytes + stack_bytes, FLAGS_DATA);
}

/* ---- the pool of tables ---- */

/* The most tables that map() can need for a range, sharing none with another. */
static uint64_t tables_for(struct ram_range range)
{
    const uint64_t last = range.end - 1;
    const uint64_t level3 = (last >> 39) - (range.start >> 39) + 1;
    const uint64_t level2 = (last >> 30) - (range.start >> 30) + 1;
    const uint64_t level1 = 2; /* its odd edges; all between is large pages */

    return level3 + level2 + level1;
}

static void pool_init(struct ram_range image)
{
    uint64_t count =
        1 + DEVICE_TABLES + tables_for(image) + (image.end - image.start) / LARGE_BYTES;
    struct ram_range *best = NULL;

    for (size_t i = 0; i < range_count; i++) {
        count += tables_for(ranges[i]);
        if (ranges[i].end <= BOOT_MAP_END &&
            (best == NULL || ranges[i].end - ranges[i].start > best->end - best->start))
            best = &ranges[i];
    }
    if (best == NULL || best->end - best->start <= count * PAGE_BYTES)
        panic("memory: %lu KiB for page tables are wanted below 4 GiB, %lu KiB are there",
              (unsigned long)(count * PAGE_BYTES / 1024),
              (unsigned long)(best == NULL ? 0 : (best->end - best->start) / 1024));
    tables.start = best->start;
    best->start += count * PAGE_BYTES;
    tables.end = best->start;
}

void memory_init(const struct boot_info *info)
{
    const struct ram_range image = {address_of(__image_start), address_of(__image_end)};

    range_count = ram_find(info, image, ranges);
    for (size_t i = 0; i < range_count; i++)
        ram[i] = ranges[i];
    pool_init(image);

    root = table_new();
    map_image();
    for (size_t i = 0; i < range_count; i++)
        map(ram[i].start, ram[i].end, FLAGS_DATA); /* with the pool, which lies in one of them */
    cpu_write_cr3(address_of(root));
}

void memory_forget_translations(void)
{
    cpu_write_cr3(address_of(root));
}

/* ---- giving ---- */

/* How much of the range is left from its first address aligned to `align` on. */
static uint64_t room(const struct ram_range *range, uint64_t align)
{
    const uint64_t start = (range->start + align - 1) & ~(align - 1);

    return start < range->end ? range->end - start : 0;
}

static size_t largest_room(uint64_t align)
{
    uint64_t largest = 0;

    for (size_t i = 0; i < range_count; i++) {
        if (room(&ranges[i], align) > largest)
            largest = room(&ranges[i], align);
    }
    return largest;
}

void *memory_take_dirty(size_t bytes, size_t align, const char *what)
{
    struct ram_range *best = NULL;

    assert(align != 0 && (align & (align - 1)) == 0);
    if (align < 16)
        align = 16;
    for (size_t i = 0; i < range_count; i++) {
        if (room(&ranges[i], align) >= bytes &&
            (best == NULL || room(&ranges[i], 1) < room(best, 1)))
            best = &ranges[i];
    }
    if (best == NULL)
        panic("out of memory: %s wants %lu KiB, %lu KiB are left in one piece", what,
              (unsigned long)(bytes / 1024 + 1), (unsigned long)(largest_room(align) / 1024));

    void *const memory = (void *)(uintptr_t)((best->start + align - 1) & ~(align - 1));

    best->start = address_of(memory) + bytes;
    return memory;
}

void *memory_take(size_t bytes, size_t align, const char *what)
{
    void *const memory = memory_take_dirty(bytes, align, what);

    memset(memory, 0, bytes);
    return memory;
}

size_t memory_free_bytes(void)
{
    return largest_room(PAGE_BYTES);
}

size_t memory_ram_bytes(void)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < range_count; i++)
        bytes += ram[i].end - ram[i].start;
    return bytes;
}

/* Where physical addresses end, for this processor and for this file. */
static uint64_t address_end(void)
{
    const uint32_t leaf = 0x80000008; /* EAX, bits 0 to 7: how many bits they have */
    const unsigned bits = cpu_cpuid(0x80000000, 0).eax >= leaf ? cpu_cpuid(leaf, 0).eax & 0xff : 36;

    return bits < 46 ? 1ULL << bits : RAM_ADDRESS_END;
}

void *memory_map_device(uint64_t address, size_t bytes)
{
    const uint64_t start = address & ~(PAGE_BYTES - 1);
    const uint64_t reach = address_end();

    if (address == 0 || bytes == 0 || address >= reach || bytes > reach - address)
        panic("memory: a device at %#lx, %lu bytes long, is out of reach", (unsigned long)address,
              (unsigned long)bytes);

    const uint64_t end = (address + bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);

    if (start < address_of(__image_end) && end > address_of(__image_start))
        panic("memory: a device at %#lx lies in the image", (unsigned long)address);
    for (size_t i = 0; i < range_count; i++) {
        if (start < ram[i].end && end > ram[i].start)
            panic("memory: a device at %#lx lies in RAM", (unsigned long)address);
    }
    map(start, end, FLAGS_DEVICE);
    return (void *)(uintptr_t)address;
}

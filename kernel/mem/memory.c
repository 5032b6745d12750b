/*
 * What is mapped, and memory given out. Ring 0 makes the page tables (kernel/ring0/paging.h); this
 * file says of what: all RAM, and devices when a driver asks for them.
 *
 * The pages for the tables are cut from RAM in memory_init(), as many as the map needs at most and
 * DEVICE_TABLES more, so that mapping a device does not depend on what was taken before. They are
 * cut from the lower end, beside the image: a host clears memory when it is first touched, up to
 * 2 MiB at once, and there it has done so.
 *
 * memory_take() cuts from the lower end of the smallest range of RAM that suffices: what is asked
 * for in bulk (users, connections) finds the large ones whole.
 */
#include "kernel/mem/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "boot/boot_info.h"
#include "kernel/cpu/cpu.h"
#include "kernel/cpu/panic.h"
#include "kernel/mem/ram.h"
#include "kernel/ring0/ring0.h"

#define PAGE_BYTES    4096ULL
#define LARGE_BYTES   (2ULL << 20)
#define DEVICE_TABLES 16
#define BOOT_MAP_END  (1ULL << 32) /* what start.S has mapped: tables must lie below */

extern const uint8_t __image_start[], __image_end[];

static struct ram_range ranges[RAM_RANGES_MAX]; /* what memory_take() may still give */
static size_t range_count;
static bool is_emulated;                     /* by QEMU's TCG */
static struct ram_range ram[RAM_RANGES_MAX]; /* the same before anything was taken */

static uint64_t address_of(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* ---- page tables ---- */

/* The most tables that mapping can need for a range, sharing none with another. */
static uint64_t tables_for(struct ram_range range)
{
    const uint64_t last = range.end - 1;
    const uint64_t level3 = (last >> 39) - (range.start >> 39) + 1;
    const uint64_t level2 = (last >> 30) - (range.start >> 30) + 1;
    const uint64_t level1 = 2; /* its odd edges; all between is large pages */

    return level3 + level2 + level1;
}

/* Cuts them from RAM and gives them to ring 0. */
static void give_tables(struct ram_range image)
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

    const uint64_t start = best->start;

    best->start += count * PAGE_BYTES;
    if (!ring0_call(RING0_USE_TABLES, start, best->start))
        panic("memory: ring 0 refuses its page tables");
}

void memory_init(const struct boot_info *info)
{
    const struct ram_range image = {address_of(__image_start), address_of(__image_end)};
    char hypervisor[CPU_HYPERVISOR_BYTES];

    cpu_hypervisor_name(hypervisor);
    is_emulated = strcmp(hypervisor, "TCGTCGTCGTCG") == 0;
    range_count = ram_find(info, image, ranges);
    for (size_t i = 0; i < range_count; i++)
        ram[i] = ranges[i];
    give_tables(image);
    for (size_t i = 0; i < range_count; i++) {
        if (!ring0_call(RING0_MAP_RAM, ranges[i].start, ranges[i].end))
            panic("memory: ring 0 refuses to map RAM at %#lx", (unsigned long)ranges[i].start);
    }
}

void memory_flush_emulated_tlb(void)
{
    if (is_emulated)
        cpu_flush_translations();
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

size_t memory_left_bytes(void)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < range_count; i++)
        bytes += room(&ranges[i], PAGE_BYTES);
    return bytes;
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
    if (!ring0_call(RING0_MAP_DEVICE, start, end))
        panic("memory: no page table left to map a device at %#lx with", (unsigned long)address);
    return (void *)(uintptr_t)address;
}

/*
 * Memory over the page tables of ring 0, on the host: what kernel/mem/memory.c gives for tables
 * suffices for what it asks for, and what comes of it is what it says.
 */
#define VPAGING(name) vmemory_tables_##name
#define ROOM_START    0x6a001000ULL /* a table of level 2 for itself */

#include <setjmp.h>

#include "tests/unit/fake_paging.h"

#include "kernel/ring0/ring0.h"

#define cpu_cpuid(leaf, subleaf)        fake_cpuid(leaf, subleaf) /* not the structure */
#define cpu_hypervisor_name             fake_hypervisor_name
#define cpu_flush_translations          fake_flush_translations
#define ring0_call(call, first, second) fake_ring0_call(call, first, second) /* not the type */
#define address_of                      memory_address_of
#define panic                           vmemory_tables_panic
#define memory_init                     vmemory_tables_init
#define memory_take                     vmemory_tables_take
#define memory_take_dirty               vmemory_tables_take_dirty
#define memory_free_bytes               vmemory_tables_free_bytes
#define memory_left_bytes               vmemory_tables_left_bytes
#define memory_ram_bytes                vmemory_tables_ram_bytes
#define memory_map_device               vmemory_tables_map_device
#define memory_flush_emulated_tlb       vmemory_tables_forget_translations

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);
static void fake_hypervisor_name(char name[CPU_HYPERVISOR_BYTES]);
static void fake_flush_translations(void);
static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second);

#include "kernel/mem/memory.c"

#include "tests/unit/random.h"

static struct boot_info info;
static jmp_buf panicked;

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    return (struct cpu_cpuid){.eax = leaf == 0x80000000 ? 0x80000008 : 48};
}

static void fake_hypervisor_name(char name[CPU_HYPERVISOR_BYTES])
{
    name[0] = '\0';
}

static void fake_flush_translations(void)
{
    paging_flush();
}

static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second)
{
    return call == RING0_USE_TABLES ? paging_use_tables(first, second)
           : call == RING0_MAP_RAM  ? paging_map(first, second, PAGING_RAM)
                                    : paging_map(first, second, PAGING_DEVICE);
}

void vmemory_tables_panic(const char *format, ...)
{
    test_print("%s", format);
    longjmp(panicked, 1);
}

static void add_ram(uint64_t address, uint64_t bytes)
{
    info.memory[info.memory_count++] = (struct boot_memory){address, bytes, BOOT_MEMORY_RAM};
}

/* With the RAM in which the tables will be: from so many pages into the room on. */
static bool starts(uint64_t skipped_pages)
{
    if (!set_up())
        return false;
    lay_out(LARGE_BYTES - 8 * PAGE_BYTES, 0); /* it wants two tables */
    paging_init();
    memset(&info, 0, sizeof info);
    range_count = 0;
    add_ram(ROOM_START + skipped_pages * PAGE_BYTES, ROOM_BYTES - skipped_pages * PAGE_BYTES);
    return true;
}

static bool boots_with_ram(void)
{
    if (setjmp(panicked) != 0)
        return false;
    memory_init(&info);
    return true;
}

static bool maps_device(uint64_t address, size_t bytes)
{
    if (setjmp(panicked) != 0)
        return false;
    return memory_map_device(address, bytes) == (void *)(uintptr_t)address;
}

/* Each with tables of its own of all three levels. */
static bool maps_devices_far_apart(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const uint64_t address = (i + 50ULL) << 39 | 0x12345000;

        if (!maps_device(address, 0x1000) || rights_of(address) != (P | U | W | UNCACHED))
            return false;
    }
    return true;
}

static bool ram_is_mapped(void)
{
    for (size_t i = 0; i < range_count; i++) {
        const uint64_t start = ranges[i].start, end = ranges[i].end;

        if (rights_of(start) != (P | U | W) || rights_of(end - 1) != (P | U | W) ||
            rights_of(start + (end - start) / 2) != (P | U | W))
            return false;
    }
    return true;
}

TEST(memory_is_ring_3s_but_for_the_image_and_the_tables)
{
    CHECK(starts(0));
    CHECK(boots_with_ram());
    const uint64_t tables_end = ranges[0].start;
    CHECK(tables_end > ROOM_START && tables_end < ROOM_START + 64 * PAGE_BYTES);
    CHECK(all_are(ROOM_START, tables_end, P | W));
    CHECK(all_are(tables_end, ROOM_START + ROOM_BYTES, P | U | W));
    CHECK(rights_of(ROOM_START - 1) == 0 && rights_of(ROOM_START + ROOM_BYTES) == 0);
    CHECK(image_is_mapped(0, 32 * MIB, 0));
    const uint64_t cr3 = fake.cr3;
    memory_flush_emulated_tlb();
    CHECK_EQ(fake.cr3, cr3);
}

/* Wherever the tables lie: they are mapped, too, by one table or two. */
TEST(memory_has_tables_for_five_devices_far_apart)
{
    for (uint64_t skipped = 440; skipped < 520; skipped++) {
        CHECK(starts(skipped));
        CHECK(boots_with_ram());
        CHECK(maps_devices_far_apart(5));
        CHECK(ram_is_mapped());
    }
}

TEST(memory_has_tables_for_whatever_map_it_is_given)
{
    for (unsigned round = 0; round < 100; round++) {
        CHECK(starts(random_below(512)));
        for (uint64_t i = 1 + random_below(15); i > 0; i--) {
            const uint64_t where = i << 40 | (uint64_t)random_below(1u << 27) * PAGE_BYTES;
            add_ram(where, (1 + random_below(1u << 20)) * PAGE_BYTES);
        }
        for (unsigned i = random_below(8); i > 0; i--) /* below 4 GiB, and smaller */
            add_ram(300 * MIB + i * 150 * MIB + random_below(1024) * PAGE_BYTES,
                    (1 + random_below(1000)) * PAGE_BYTES);
        CHECK(boots_with_ram());
        CHECK(ram_is_mapped());
        CHECK(maps_devices_far_apart(5));
        CHECK(image_is_mapped(0, 32 * MIB, 0));
    }
}

/* As far apart as they have them: one after the other, the tables suffice for each. */
TEST(memory_maps_what_firecracker_and_cloud_hypervisor_have_where_they_have_it)
{
    CHECK(starts(0));
    CHECK(boots_with_ram());
    for (uint64_t n = 0; n < 19; n++)
        CHECK(maps_device(0xc0001000 + n * 0x1000, 0x1000));
    CHECK(maps_device(0xeec00000, 1 << 20));   /* with PCI: ECAM ... */
    CHECK(maps_device(256ULL << 30, 0x80000)); /* ... and BARs, */
    CHECK(maps_device((256ULL << 30) + 0x80000, 0x80000));
    CHECK(starts(0));
    CHECK(boots_with_ram());
    CHECK(maps_device(0xe8000000, 8 << 20)); /* ECAM of eight segments */
    for (uint64_t n = 1; n <= 8; n++)        /* BARs from the last address downwards */
        CHECK(maps_device((1ULL << 46) - (1ULL << 32) - n * 0x80000, 0x80000));
}

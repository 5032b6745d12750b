/*
 * Page tables and memory on the host: the source compiled into this file, over some RAM below
 * 4 GiB. What the processor would be given is tables in memory: they are walked as it would.
 */
#include <setjmp.h>

#include "kernel/cpu.h"

#define cpu_write_cr3              fake_write_cr3
#define cpu_cpuid(leaf, subleaf)   fake_cpuid(leaf, subleaf) /* not the structure */
#define panic                      vmemory_panic
#define memory_init                vmemory_init
#define memory_take                vmemory_take
#define memory_take_dirty          vmemory_take_dirty
#define memory_free_bytes          vmemory_free_bytes
#define memory_ram_bytes           vmemory_ram_bytes
#define memory_map_device          vmemory_map_device
#define memory_forget_translations vmemory_forget_translations

/* The linker's symbols: arrays that lie where pointers of ours say. */
#define __image_start       (*vmemory_image_start)
#define __image_end         (*vmemory_image_end)
#define __text_start        (*vmemory_text_start)
#define __text_end          (*vmemory_text_end)
#define __rodata_start      (*vmemory_rodata_start)
#define __rodata_end        (*vmemory_rodata_end)
#define __data_start        (*vmemory_data_start)
#define __data_end          (*vmemory_data_end)
#define __stack_bottom      (*vmemory_stack_bottom)
#define __stack_top         (*vmemory_stack_top)
#define __trap_stacks_start (*vmemory_trap_stacks_start)
#define __trap_stacks_end   (*vmemory_trap_stacks_end)

static void fake_write_cr3(uint64_t value);
static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);

#include "kernel/memory.c"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/test.h"

/* What entries may say (SDM vol. 3, 4.5): present, accessed, dirty, and ... */
#define R_X     0x61ULL
#define R__     (R_X | 1ULL << 63)
#define RW_     (R__ | 0x02)
#define RW_SLOW (RW_ | 0x18) /* not cached */

/* An image as boot/image.ld lays it out, at an address; nobody looks into it. */
#define IMAGE_PAGE(n) ((const uint8_t(*)[])(uintptr_t)(0x30000000 + (n)*PAGE_BYTES))

const uint8_t (*vmemory_image_start)[] = IMAGE_PAGE(0);
const uint8_t (*vmemory_text_start)[] = IMAGE_PAGE(0);
const uint8_t (*vmemory_text_end)[] = IMAGE_PAGE(2);
const uint8_t (*vmemory_rodata_start)[] = IMAGE_PAGE(2);
const uint8_t (*vmemory_rodata_end)[] = IMAGE_PAGE(3);
const uint8_t (*vmemory_data_start)[] = IMAGE_PAGE(3);
const uint8_t (*vmemory_data_end)[] = IMAGE_PAGE(6);
const uint8_t (*vmemory_stack_bottom)[] = IMAGE_PAGE(7);
const uint8_t (*vmemory_stack_top)[] = IMAGE_PAGE(9);
const uint8_t (*vmemory_trap_stacks_start)[] = IMAGE_PAGE(9);
const uint8_t (*vmemory_trap_stacks_end)[] = IMAGE_PAGE(15);
const uint8_t (*vmemory_image_end)[] = IMAGE_PAGE(15);

#define RAM_START 0x20001000u /* at an odd page */
#define RAM_BYTES (8u << 20)

static struct {
    uint64_t cr3;
    unsigned loads;        /* of CR3 */
    unsigned address_bits; /* 0: a processor that does not say */
    jmp_buf panicked;
    char said[160];
} fake;

static struct boot_info info;

static void fake_write_cr3(uint64_t value)
{
    fake.cr3 = value;
    fake.loads++;
}

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == 0x80000000)
        return (struct cpu_cpuid){.eax = fake.address_bits != 0 ? 0x80000008 : 0x80000004};
    return (struct cpu_cpuid){.eax = fake.address_bits | 48 << 8};
}

void vmemory_panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(fake.said, sizeof fake.said, format, args);
    va_end(args);
    longjmp(fake.panicked, 1);
}

/* The panic's message, or NULL if there was none. */
static const char *panic_of(void (*call)(void))
{
    if (setjmp(fake.panicked) != 0)
        return fake.said;
    call();
    return NULL;
}

static bool panics(void (*call)(void), const char *message)
{
    const char *const said = panic_of(call);
    return said != NULL && strncmp(said, message, strlen(message)) == 0;
}

static void boot(void)
{
    memory_init(&info);
}

static void add_ram(uint64_t address, uint64_t bytes)
{
    info.memory[info.memory_count++] = (struct boot_memory){address, bytes, BOOT_MEMORY_RAM};
}

static bool set_up(uint64_t ram_bytes)
{
    static void *mapped;

    if (mapped == NULL)
        mapped = mmap((void *)(uintptr_t)RAM_START, RAM_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (mapped != (void *)(uintptr_t)RAM_START)
        return false;
    memset(mapped, 0xa5, RAM_BYTES);
    memset(&fake, 0, sizeof fake);
    memset(&info, 0, sizeof info);
    range_count = 0;
    fake.address_bits = 40;
    add_ram(RAM_START, ram_bytes);
    return true;
}

/* The entry that maps an address, its own bits apart from the address; 0 for none. */
static uint64_t flags_of(uint64_t address)
{
    const uint64_t *table = (const uint64_t *)(uintptr_t)fake.cr3;

    for (unsigned level = 4;; level--) {
        const uint64_t entry = table[table_index(address, level)];
        const uint64_t page = level == 2 ? LARGE_BYTES : PAGE_BYTES;
        if (entry == 0)
            return 0;
        if (level == 1 || (entry & PAGE_LARGE) != 0) {
            const bool same = (entry & PAGE_ADDRESS & ~(page - 1)) == (address & ~(page - 1));
            return same ? entry & ~(PAGE_ADDRESS & ~(page - 1)) & ~PAGE_LARGE : UINT64_MAX;
        }
        table = (const uint64_t *)(uintptr_t)(entry & PAGE_ADDRESS);
    }
}

static bool all_are(uint64_t address, uint64_t end, uint64_t flags)
{
    for (; address < end; address += PAGE_BYTES)
        if (flags_of(address) != flags)
            return false;
    return true;
}

static bool section_is(const uint8_t *start, const uint8_t *end, uint64_t flags)
{
    return start < end && all_are(address_of(start), address_of(end), flags);
}

TEST(memory_is_mapped_by_what_it_is_for)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    CHECK(section_is(__text_start, __text_end, R_X));
    CHECK(section_is(__rodata_start, __rodata_end, R__));
    CHECK(section_is(__data_start, __data_end, RW_));
    CHECK(section_is(__data_end, __stack_bottom, 0)); /* the guard */
    CHECK(section_is(__stack_bottom, __stack_top, RW_));
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *const trap_stack = __trap_stacks_start + i * 3 * PAGE_BYTES;
        CHECK(section_is(trap_stack, trap_stack + PAGE_BYTES, 0));
        CHECK(section_is(trap_stack + PAGE_BYTES, trap_stack + 3 * PAGE_BYTES, RW_));
    }
    CHECK_EQ(flags_of(address_of(__image_end)), 0);
    CHECK_EQ(flags_of(address_of(__image_start) - PAGE_BYTES), 0);
    CHECK(all_are(RAM_START, RAM_START + RAM_BYTES, RW_));
    CHECK_EQ(flags_of(RAM_START - PAGE_BYTES), 0);
    CHECK_EQ(flags_of(RAM_START + RAM_BYTES), 0);
    CHECK_EQ(flags_of(0), 0);
    CHECK_EQ(memory_ram_bytes(), RAM_BYTES);
    CHECK(memory_free_bytes() < RAM_BYTES && memory_free_bytes() > RAM_BYTES - 64 * PAGE_BYTES);
}

TEST(memory_too_small_for_its_page_tables_is_a_message)
{
    CHECK(set_up(8 * PAGE_BYTES));
    CHECK(panics(boot, "memory: "));
    CHECK(strstr(fake.said, "for page tables are wanted below 4 GiB, 32 KiB are there") != NULL);
    CHECK(set_up(RAM_BYTES));
    info.memory_count = 0;
    add_ram(1ULL << 33, RAM_BYTES); /* out of the boot map's reach */
    CHECK(panics(boot, "memory: "));
    CHECK(strstr(fake.said, " 0 KiB are there") != NULL);
}

TEST(memory_has_its_page_tables_at_the_start_of_the_largest_range_below_4_gib)
{
    CHECK(set_up(RAM_BYTES));
    info.memory_count = 0;
    add_ram(RAM_START, 4 * PAGE_BYTES);
    add_ram(RAM_START + (2 << 20), 4 << 20);
    add_ram(RAM_START + (7 << 20), 16 * PAGE_BYTES);
    add_ram(1ULL << 33, 8 << 20);
    CHECK(panic_of(boot) == NULL);
    CHECK_EQ(fake.cr3, RAM_START + (2 << 20));
}

TEST(memory_forgets_translations_by_loading_the_same_tables)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    const uint64_t cr3 = fake.cr3;
    const unsigned before = fake.loads;
    memory_forget_translations();
    CHECK_EQ(fake.loads, before + 1);
    CHECK_EQ(fake.cr3, cr3);
}

/* ---- giving ---- */

static size_t wanted;
static void *taken;

static void take(void)
{
    taken = memory_take_dirty(wanted, 1, "the moon");
}

TEST(memory_is_cut_from_the_smallest_range_that_suffices)
{
    CHECK(set_up(RAM_BYTES));
    info.memory_count = 0;
    add_ram(RAM_START, 4 << 20);
    add_ram(RAM_START + (5 << 20), 4 * PAGE_BYTES);
    add_ram(RAM_START + (6 << 20), 16 * PAGE_BYTES);
    CHECK(panic_of(boot) == NULL);
    const uint8_t *const small = memory_take(1, 1, "a byte");
    CHECK_EQ(address_of(small), RAM_START + (5 << 20));
    const uint8_t *const next = memory_take(1, 16, "a byte");
    CHECK_EQ(address_of(next), RAM_START + (5 << 20) + 16);
    const uint8_t *const page = memory_take(PAGE_BYTES, PAGE_BYTES, "a page");
    CHECK_EQ(address_of(page), RAM_START + (5 << 20) + PAGE_BYTES);
    /* Two pages are left there, of which three do not fit, and none at such an alignment. */
    const uint8_t *const more = memory_take(3 * PAGE_BYTES, 1, "three pages");
    CHECK_EQ(address_of(more), RAM_START + (6 << 20));
    const uint8_t *const aligned = memory_take(1, 1 << 20, "an odd one");
    CHECK_EQ(address_of(aligned) % (1 << 20), 0);
    CHECK(address_of(aligned) < RAM_START + (4 << 20));
    wanted = memory_free_bytes() + PAGE_BYTES;
    CHECK(panics(take, "out of memory: the moon wants "));
    wanted -= PAGE_BYTES;
    CHECK(panic_of(take) == NULL && taken != NULL);
}

TEST(memory_is_cleared_to_the_byte)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    for (size_t bytes = 1; bytes < 300; bytes += 13) {
        const uint8_t *const memory = memory_take(bytes, 1, "some");
        for (size_t i = 0; i < bytes; i++)
            CHECK_EQ(memory[i], 0);
        CHECK_EQ(memory[bytes], 0xa5);
    }
    CHECK_EQ(*(uint8_t *)memory_take_dirty(1, 1, "dirty"), 0xa5);
}

/* ---- devices ---- */

static struct {
    uint64_t address;
    size_t bytes;
} device;

static void map_device(void)
{
    CHECK(memory_map_device(device.address, device.bytes) == (void *)(uintptr_t)device.address);
}

static const char *mapping(uint64_t address, size_t bytes)
{
    device.address = address;
    device.bytes = bytes;
    return panic_of(map_device);
}

TEST(memory_maps_devices_uncached)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    CHECK(mapping(0xfee00010, 16) == NULL);
    CHECK(all_are(0xfee00000, 0xfee01000, RW_SLOW));
    CHECK_EQ(flags_of(0xfee01000), 0);
    /* More of it, pages of 2 MiB among them, around what is mapped; then all of it again. */
    CHECK(mapping(0xfec00000, 0x600000) == NULL);
    const uint64_t left = tables.start;
    CHECK(mapping(0xfec00000, 0x600000) == NULL);
    CHECK_EQ(tables.start, left);
    CHECK(all_are(0xfec00000, 0xff200000, RW_SLOW));
    CHECK_EQ(flags_of(0xfebff000), 0);
    CHECK_EQ(flags_of(0xff200000), 0);
}

TEST(memory_maps_no_device_where_none_can_be)
{
    static const char reach[] = "is out of reach";

    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    CHECK(mapping(0, 16) != NULL && strstr(fake.said, reach) != NULL);
    CHECK(mapping(0xfee00000, 0) != NULL && strstr(fake.said, reach) != NULL);
    CHECK(mapping((1ULL << 40) - 16, 16) == NULL);
    CHECK(mapping((1ULL << 40) - 16, 17) != NULL && strstr(fake.said, reach) != NULL);
    CHECK(mapping(1ULL << 40, 1) != NULL && strstr(fake.said, reach) != NULL);
    CHECK(mapping(0xfee00000, SIZE_MAX) != NULL && strstr(fake.said, reach) != NULL);
    fake.address_bits = 0; /* does not say: 36 */
    CHECK(mapping(1ULL << 36, 1) != NULL && strstr(fake.said, reach) != NULL);
    fake.address_bits = 52;
    CHECK(mapping(RAM_ADDRESS_END, 1) != NULL && strstr(fake.said, reach) != NULL);
    CHECK(mapping(RAM_START + RAM_BYTES - 1, 1) != NULL);
    CHECK(strstr(fake.said, "lies in RAM") != NULL);
    CHECK(mapping(RAM_START - 1, 2) != NULL && strstr(fake.said, "lies in RAM") != NULL);
    CHECK(mapping(RAM_START + RAM_BYTES, 1) == NULL && mapping(RAM_START - 1, 1) == NULL);
}

TEST(memory_maps_no_device_into_the_image)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    CHECK(mapping(address_of(__data_end) - 1, 1) != NULL);
    CHECK(strstr(fake.said, "lies in the image") != NULL);
    CHECK(mapping(address_of(__image_end), 1) == NULL);
    CHECK(mapping(address_of(__image_start) - 1, 1) == NULL);
}

TEST(memory_says_when_no_page_table_is_left)
{
    unsigned far_apart = 0;

    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    while (far_apart < 100 && mapping((3ULL + far_apart) << 33 | 0x1000, 1) == NULL)
        far_apart++;
    CHECK(far_apart >= 5 && far_apart < 100);
    CHECK(strcmp(fake.said, "memory: no page table left to map a device with") == 0);
}

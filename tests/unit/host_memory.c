/*
 * Memory on the host: the source compiled into this file, over some RAM below 4 GiB and a ring 0
 * that writes down what it was asked to map, and may refuse.
 */
#include <setjmp.h>

#include "kernel/cpu/cpu.h"
#include "kernel/ring0/ring0.h"

#define cpu_cpuid(leaf, subleaf)        fake_cpuid(leaf, subleaf) /* not the structure */
#define cpu_hypervisor_name             fake_hypervisor_name
#define cpu_flush_translations          fake_flush_translations
#define ring0_call(call, first, second) fake_ring0_call(call, first, second) /* not the type */
#define panic                           vmemory_panic
#define memory_init                     vmemory_init
#define memory_take                     vmemory_take
#define memory_take_dirty               vmemory_take_dirty
#define memory_free_bytes               vmemory_free_bytes
#define memory_left_bytes               vmemory_left_bytes
#define memory_ram_bytes                vmemory_ram_bytes
#define memory_map_device               vmemory_map_device
#define memory_flush_emulated_tlb       vmemory_forget_translations

/* The linker's symbols: arrays that lie where pointers of ours say. */
#define __image_start (*vmemory_image_start)
#define __image_end   (*vmemory_image_end)

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);
static void fake_hypervisor_name(char name[CPU_HYPERVISOR_BYTES]);
static void fake_flush_translations(void);
static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second);

#include "kernel/mem/memory.c"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/test.h"

/* Nobody looks into the image. */
#define IMAGE_START 0x30000000ULL
#define IMAGE_END   (IMAGE_START + 15 * PAGE_BYTES)

const uint8_t (*vmemory_image_start)[] = (const uint8_t (*)[])(uintptr_t)IMAGE_START;
const uint8_t (*vmemory_image_end)[] = (const uint8_t (*)[])(uintptr_t)IMAGE_END;

#define RAM_START 0x20001000u /* at an odd page */
#define RAM_BYTES (8u << 20)
#define CALLS_MAX 16

static struct {
    struct {
        enum ring0_call call;
        uint64_t start, end;
    } calls[CALLS_MAX];
    unsigned count;
    enum ring0_call refused; /* 0: none */
    const char *hypervisor;
    unsigned flushes;
    unsigned address_bits; /* 0: a processor that does not say */
    jmp_buf panicked;
    char said[160];
} fake;

static struct boot_info info;

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == 0x80000000)
        return (struct cpu_cpuid){.eax = fake.address_bits != 0 ? 0x80000008 : 0x80000004};
    return (struct cpu_cpuid){.eax = fake.address_bits | 48 << 8};
}

static void fake_hypervisor_name(char name[CPU_HYPERVISOR_BYTES])
{
    (void)snprintf(name, CPU_HYPERVISOR_BYTES, "%s", fake.hypervisor);
}

static void fake_flush_translations(void)
{
    fake.flushes++;
}

static bool fake_ring0_call(enum ring0_call call, uint64_t first, uint64_t second)
{
    if (fake.count < CALLS_MAX) {
        fake.calls[fake.count].call = call;
        fake.calls[fake.count].start = first;
        fake.calls[fake.count].end = second;
    }
    fake.count++;
    return call != fake.refused;
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
    fake.hypervisor = "TCGTCGTCGTCG";
    fake.address_bits = 40;
    add_ram(RAM_START, ram_bytes);
    return true;
}

static bool was_asked(unsigned index, enum ring0_call call, uint64_t start, uint64_t end)
{
    return index < fake.count && fake.calls[index].call == call &&
           fake.calls[index].start == start && fake.calls[index].end == end;
}

/* ---- what is mapped ---- */

/* The tables first: nothing can be mapped without. */
TEST(memory_gives_ring_0_its_tables_and_has_all_other_ram_mapped)
{
    CHECK(set_up(RAM_BYTES));
    add_ram(1ULL << 33, 1ULL << 32);
    CHECK(panic_of(boot) == NULL);
    CHECK_EQ(fake.count, 3);
    const uint64_t tables_end = fake.calls[0].end;
    CHECK(was_asked(0, RING0_USE_TABLES, RAM_START, tables_end));
    CHECK(tables_end > RAM_START && tables_end % PAGE_BYTES == 0);
    CHECK(was_asked(1, RING0_MAP_RAM, tables_end, RAM_START + RAM_BYTES));
    CHECK(was_asked(2, RING0_MAP_RAM, 1ULL << 33, 3ULL << 32));
    CHECK_EQ(memory_ram_bytes(), RAM_BYTES + (1ULL << 32));
    CHECK_EQ(memory_free_bytes(), 1ULL << 32);
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
    CHECK_EQ(fake.count, 0);
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
    CHECK(was_asked(0, RING0_USE_TABLES, RAM_START + (2 << 20), fake.calls[0].end));
}

TEST(memory_stops_the_machine_when_ring_0_refuses)
{
    CHECK(set_up(RAM_BYTES));
    fake.refused = RING0_USE_TABLES;
    CHECK(panics(boot, "memory: ring 0 refuses its page tables"));
    CHECK_EQ(fake.count, 1);
    CHECK(set_up(RAM_BYTES));
    fake.refused = RING0_MAP_RAM;
    CHECK(panics(boot, "memory: ring 0 refuses to map RAM at 0x200"));
}

TEST(memory_forgets_translations_where_an_emulator_keeps_them)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    CHECK_EQ(fake.flushes, 0);
    memory_flush_emulated_tlb();
    CHECK_EQ(fake.flushes, 1);
    CHECK(set_up(RAM_BYTES));
    fake.hypervisor = "KVMKVMKVM";
    CHECK(panic_of(boot) == NULL);
    memory_flush_emulated_tlb();
    CHECK_EQ(fake.flushes, 0);
    CHECK(set_up(RAM_BYTES));
    fake.hypervisor = "";
    CHECK(panic_of(boot) == NULL);
    memory_flush_emulated_tlb();
    CHECK_EQ(fake.flushes, 0);
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

TEST(memory_is_left_in_all_pieces_together)
{
    CHECK(set_up(RAM_BYTES));
    info.memory_count = 0;
    add_ram(RAM_START, 4 << 20);
    add_ram(RAM_START + (5 << 20), 4 * PAGE_BYTES);
    add_ram(1ULL << 33, 1 << 20);
    CHECK(panic_of(boot) == NULL);
    const size_t beside = 4 * PAGE_BYTES + (1 << 20), whole = memory_free_bytes() + beside;
    CHECK_EQ(memory_left_bytes(), whole);
    const uint8_t *const byte = memory_take_dirty(1, 1, "a byte"); /* a page is no longer whole */
    CHECK_EQ(address_of(byte), RAM_START + (5 << 20));
    CHECK_EQ(memory_left_bytes(), whole - PAGE_BYTES);
    wanted = memory_free_bytes();
    CHECK(panic_of(take) == NULL && taken != NULL);
    CHECK_EQ(memory_left_bytes(), beside - PAGE_BYTES);
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

/* Whole pages; the address is the same. */
TEST(memory_has_devices_mapped)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    fake.count = 0;
    CHECK(mapping(0xfee00010, 16) == NULL);
    CHECK(mapping(0xfee00ff0, 0x11) == NULL);
    CHECK(mapping(0xfec00000, 0x600000) == NULL);
    CHECK_EQ(fake.count, 3);
    CHECK(was_asked(0, RING0_MAP_DEVICE, 0xfee00000, 0xfee01000));
    CHECK(was_asked(1, RING0_MAP_DEVICE, 0xfee00000, 0xfee02000));
    CHECK(was_asked(2, RING0_MAP_DEVICE, 0xfec00000, 0xff200000));
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
    CHECK(mapping(IMAGE_END - 1, 1) != NULL);
    CHECK(strstr(fake.said, "lies in the image") != NULL);
    CHECK(mapping(IMAGE_START - 1, 2) != NULL);
    CHECK(strstr(fake.said, "lies in the image") != NULL);
    CHECK(mapping(IMAGE_END, 1) == NULL);
    CHECK(mapping(IMAGE_START - 1, 1) == NULL);
}

TEST(memory_says_when_a_device_cannot_be_mapped)
{
    CHECK(set_up(RAM_BYTES));
    CHECK(panic_of(boot) == NULL);
    fake.refused = RING0_MAP_DEVICE;
    CHECK(mapping(0xfee00000, 16) != NULL);
    CHECK(strncmp(fake.said, "memory: no page table left to map a device at 0xfee00000", 56) == 0);
}

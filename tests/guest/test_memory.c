/* The memory that the kernel hands out, and the devices that it maps, are what it says. */
#include "kernel/mem/memory.h"
#include "tests/guest/probe.h"
#include "tests/test.h"

extern uint8_t __text_start[], __stack_guard[], __image_end[];

TEST(memory_is_zeroed_aligned_and_given_once)
{
    static const size_t aligns[] = {1, 16, 64, 4096, 65536};
    const uint8_t *previous_end = NULL;

    for (size_t i = 0; i < sizeof aligns / sizeof aligns[0]; i++) {
        const size_t bytes = 1000 + i;
        uint8_t *const memory = memory_take(bytes, aligns[i], "a test");

        CHECK_EQ(at(memory) % aligns[i], 0);
        CHECK(memory >= __image_end);
        CHECK(memory >= previous_end);
        for (size_t j = 0; j < bytes; j++)
            CHECK_EQ(memory[j], 0);
        memset(memory, 0xff, bytes);
        previous_end = memory + bytes;
    }
}

TEST(memory_is_zeroed_even_where_it_was_not)
{
    static const size_t bytes = 65536 + 77;
    uint8_t *const before = memory_take_dirty(4096, 4096, "a test");

    /* Dirty what has not been given yet; it is what comes next. */
    memset(before + 4096, 0xff, 2 * bytes);
    __asm__ volatile("" : : "r"(before) : "memory"); /* to the compiler it is out of bounds */

    const uint8_t *const memory = memory_take(bytes, 4096, "a test");

    CHECK(memory == before + 4096);
    for (size_t i = 0; i < bytes; i++)
        CHECK_EQ(memory[i], 0);
    CHECK_EQ(memory[bytes], 0xff);
}

TEST(memory_tells_what_it_can_still_give)
{
    const size_t before = memory_free_bytes();

    CHECK(before > 1 << 20);
    CHECK(before <= memory_ram_bytes());

    uint8_t *const memory = memory_take(8192, 4096, "a test");

    memory[8191] = 1;
    CHECK(memory_free_bytes() <= before);
    CHECK(memory_free_bytes() + 8192 + 4096 >= before);
}

static void take_too_much(void *argument)
{
    write_byte(memory_take(*(const size_t *)argument, 4096, "the moon"));
}

TEST(memory_says_who_wanted_too_much)
{
    size_t bytes = memory_free_bytes() + 1;

    CHECK(panics(take_too_much, &bytes, "out of memory: the moon wants "));
    bytes = SIZE_MAX;
    CHECK(panics(take_too_much, &bytes, "the moon"));
}

/* The I/O APIC; a test of virtio may have mapped it. Behind it is nothing, as a rule. */
#define IO_APIC              0xfec00000ULL
#define IO_APIC_WINDOW_BYTES 0x10
#define BEHIND_IT            0xfec20000ULL

static void map_device(void *argument)
{
    (void)memory_map_device(*(const uint64_t *)argument, 16);
}

TEST(memory_maps_devices_on_request)
{
    uint8_t *const apic = (uint8_t *)(uintptr_t)IO_APIC;
    uint8_t *const behind = (uint8_t *)(uintptr_t)BEHIND_IT;

    CHECK(faults(read_byte, behind, 0));
    CHECK(memory_map_device(BEHIND_IT, 0x400) == behind);
    CHECK(!trap_probe(read_byte, behind, &trap));
    CHECK(memory_map_device(IO_APIC, 0x400) == apic);
    CHECK(memory_map_device(IO_APIC + 0x10, 4) == apic + 0x10);

    *(volatile uint32_t *)apic = 1; /* the register of its version: 0x11 or 0x20 */
    const uint32_t version = *(volatile uint32_t *)(apic + IO_APIC_WINDOW_BYTES);

    CHECK((version & 0xff) >= 0x11 && (version & 0xff) <= 0x20);
    CHECK(faults(execute, apic, TRAP_FAULT_PRESENT | TRAP_FAULT_FETCH));
    CHECK(faults(read_byte, apic + 4096, 0));
}

TEST(memory_maps_devices_far_above_ram_and_in_large_pages)
{
    const uint64_t high = 1ULL << 39; /* a table of each level is missing there */

    (void)memory_map_device(high, 4 << 20);
    CHECK(!trap_probe(read_byte, (void *)(uintptr_t)(high + (4 << 20) - 1), &trap));
    CHECK(faults(read_byte, (void *)(uintptr_t)(high + (4 << 20)), 0));
    (void)memory_map_device(high + 0x1000, 16); /* lies in a page mapped already */
}

TEST(memory_refuses_devices_where_none_can_be)
{
    uint64_t address = at(memory_take(16, 16, "a test"));

    CHECK(panics(map_device, &address, "lies in RAM"));
    address = at(__text_start);
    CHECK(panics(map_device, &address, "lies in the image"));
    address = at(__stack_guard);
    CHECK(panics(map_device, &address, "lies in the image"));
    address = 0;
    CHECK(panics(map_device, &address, "out of reach"));
    address = 1ULL << 46;
    CHECK(panics(map_device, &address, "out of reach"));
    address = UINT64_MAX - 8;
    CHECK(panics(map_device, &address, "out of reach"));
}

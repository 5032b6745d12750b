/*
 * The machine itself: what must fault does, at the right place and for the right reason; what the
 * kernel hands out is what it says.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel/clock.h"
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/entropy.h"
#include "kernel/memory.h"
#include "kernel/panic.h"
#include "kernel/rtc.h"
#include "kernel/start.h"
#include "kernel/trap.h"
#include "tests/test.h"

extern const uint8_t trap_stubs[], __text_end[];
extern uint8_t __text_start[], __rodata_start[], __stack_guard[], __stack_bottom[];
extern uint8_t __trap_stacks_start[], __image_end[];
extern const uint8_t __data_start[], __data_end[];
extern uintptr_t __stack_chk_guard;

static struct trap_info trap;

static uint64_t at(const volatile void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static void write_byte(void *address)
{
    *(volatile uint8_t *)address = 0x90;
}

static void read_byte(void *address)
{
    (void)*(volatile uint8_t *)address;
}

static void execute(void *address)
{
    ((void (*)(void))(uintptr_t)address)();
}

/* True if touching `address` by `touch` is a page fault there, with this error code. */
static bool faults(void (*touch)(void *), void *address, uint64_t error_code)
{
    return trap_probe(touch, address, &trap) && trap.vector == TRAP_PAGE_FAULT &&
           trap.address == at(address) && trap.error_code == error_code;
}

static bool panics(void (*fn)(void *), void *argument, const char *text)
{
    return trap_probe(fn, argument, &trap) && trap.vector == TRAP_PANIC &&
           strstr(trap.panic, text) != NULL;
}

/* ---- page protections ---- */

TEST(machine_faults_on_a_write_to_text)
{
    const uint8_t before = __text_start[64];

    CHECK(faults(write_byte, __text_start + 64, TRAP_FAULT_PRESENT | TRAP_FAULT_WRITE));
    CHECK_EQ(__text_start[64], before);
}

TEST(machine_faults_on_a_write_to_constants)
{
    CHECK(faults(write_byte, __rodata_start, TRAP_FAULT_PRESENT | TRAP_FAULT_WRITE));
    CHECK(faults(write_byte, (void *)(uintptr_t) "literal", TRAP_FAULT_PRESENT | TRAP_FAULT_WRITE));
}

TEST(machine_faults_on_execution_of_data)
{
    static uint8_t data[16] = {0xc3};
    uint8_t stack[16] = {0xc3};

    __asm__ volatile("" : : "r"(stack) : "memory");
    CHECK(faults(execute, data, TRAP_FAULT_PRESENT | TRAP_FAULT_FETCH));
    CHECK_EQ(trap.rip, at(data));
    CHECK(faults(execute, stack, TRAP_FAULT_PRESENT | TRAP_FAULT_FETCH));
    CHECK(faults(execute, __rodata_start, TRAP_FAULT_PRESENT | TRAP_FAULT_FETCH));
}

TEST(machine_faults_on_execution_of_memory_taken)
{
    uint8_t *const memory = memory_take(16, 16, "a test");

    memory[0] = 0xc3;
    CHECK(faults(execute, memory, TRAP_FAULT_PRESENT | TRAP_FAULT_FETCH));
}

TEST(machine_faults_around_the_null_pointer)
{
    static const uint64_t offsets[] = {0, 8, 4095, 4096, 0x7c00, 0xb8000, 0xfffff};

    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        uint8_t *volatile null = NULL;

        CHECK(faults(read_byte, null + offsets[i], 0));
        CHECK(faults(write_byte, null + offsets[i], TRAP_FAULT_WRITE));
    }
    CHECK(faults(execute, NULL, TRAP_FAULT_FETCH));
}

TEST(machine_has_a_guard_page_under_each_stack)
{
    const size_t page = 4096, stride = 3 * page;

    for (size_t offset = 0; offset < page; offset += page - 1)
        CHECK(faults(write_byte, __stack_guard + offset, TRAP_FAULT_WRITE));
    CHECK(!trap_probe(read_byte, __stack_bottom, &trap));
    for (uint8_t *guard = __trap_stacks_start; guard != __image_end; guard += stride) {
        CHECK(faults(write_byte, guard, TRAP_FAULT_WRITE));
        CHECK(faults(write_byte, guard + page - 1, TRAP_FAULT_WRITE));
        CHECK(!trap_probe(read_byte, guard + page, &trap));
        CHECK(!trap_probe(read_byte, guard + stride - 1, &trap));
    }
}

TEST(machine_maps_nothing_where_there_is_no_memory)
{
    CHECK(faults(read_byte, (void *)(uintptr_t)0xfffff000, 0)); /* the BIOS */
    CHECK(faults(read_byte, (void *)(uintptr_t)(1ULL << 45), 0));
}

/* ---- the stack ---- */

__attribute__((noinline, noclone)) static unsigned recurse(volatile unsigned *depth)
{
    volatile unsigned here = ++*depth;

    return *depth == 0 ? 0 : recurse(depth) + here;
}

static void overflow_stack(void *argument)
{
    (void)recurse(argument);
}

TEST(machine_catches_a_stack_overflow_in_the_guard_page)
{
    unsigned depth = 0;

    CHECK(trap_probe(overflow_stack, &depth, &trap));
    CHECK_EQ(trap.vector, TRAP_PAGE_FAULT);
    CHECK(trap.address >= at(__stack_guard) && trap.address < at(__stack_bottom));
    CHECK(depth > 500);
}

__attribute__((noinline, noclone)) static void smash_stack(void *argument)
{
    char buffer[16];
    volatile char *const out = buffer;
    const size_t len = *(const size_t *)argument;

    for (size_t i = 0; i < len; i++)
        out[i] = 'x';
    __asm__ volatile("" : : "r"(buffer) : "memory");
}

TEST(machine_catches_a_smashed_stack_frame)
{
    size_t len = 16;

    CHECK(!trap_probe(smash_stack, &len, &trap));
    len = 48;
    CHECK(panics(smash_stack, &len, "stack frame was overwritten"));
}

TEST(machine_has_a_random_canary_that_ends_strings)
{
    CHECK(__stack_chk_guard > 0xffff);
    CHECK_EQ(__stack_chk_guard & 0xff, 0);
}

/* ---- exceptions ---- */

static void divide(void *argument)
{
    volatile int *const zero = argument;

    __asm__ volatile("idivl %0" : : "m"(*zero), "a"(1), "d"(0) : "cc");
}

static void invalid_opcode(void *argument)
{
    (void)argument;
    __asm__ volatile("ud2");
}

static void breakpoint(void *argument)
{
    (void)argument;
    __asm__ volatile("int3");
}

static void nmi(void *argument)
{
    (void)argument;
    __asm__ volatile("int $2");
}

static void stray_interrupt(void *argument)
{
    (void)argument;
    __asm__ volatile("int $0x80");
}

/* With no gate for page faults, one of them becomes a double fault. */
static void double_fault(void *argument)
{
    const struct cpu_table_pointer *const idt = argument;
    const struct cpu_table_pointer cut = {TRAP_PAGE_FAULT * 16 - 1, idt->base};

    cpu_load_idt(&cut);
    read_byte(NULL);
}

TEST(machine_names_every_exception_provoked)
{
    int zero = 0;

    CHECK(trap_probe(divide, &zero, &trap));
    CHECK_EQ(trap.vector, TRAP_DIVIDE);
    CHECK(trap_probe(invalid_opcode, NULL, &trap));
    CHECK_EQ(trap.vector, TRAP_INVALID_OPCODE);
    CHECK_EQ(((const uint8_t *)(uintptr_t)trap.rip)[1], 0x0b); /* UD2 is 0F 0B */
    CHECK(trap_probe(breakpoint, NULL, &trap));
    CHECK_EQ(trap.vector, TRAP_BREAKPOINT);
    CHECK(trap_probe(nmi, NULL, &trap));
    CHECK_EQ(trap.vector, TRAP_NMI);
    CHECK(trap_probe(stray_interrupt, NULL, &trap));
    CHECK_EQ(trap.vector, TRAP_GENERAL_PROTECTION);
    CHECK((trap.error_code & 2) != 0);                                    /* it names the IDT */
    CHECK(trap_probe(read_byte, (void *)(uintptr_t)(1ULL << 63), &trap)); /* not canonical */
    CHECK_EQ(trap.vector, TRAP_GENERAL_PROTECTION);
}

TEST(machine_catches_a_double_fault)
{
    struct cpu_table_pointer idt;

    __asm__ volatile("sidt %0" : "=m"(idt));

    const bool trapped = trap_probe(double_fault, &idt, &trap);

    cpu_load_idt(&idt);
    CHECK(trapped);
    CHECK_EQ(trap.vector, TRAP_DOUBLE_FAULT);
    CHECK_EQ(trap.error_code, 0);
    CHECK(trap.rip >= at(__text_start) && trap.rip < at(__text_end));
    CHECK(faults(read_byte, NULL, 0));
}

static void fail_assertion(void *argument)
{
    assert(argument != NULL);
}

static void call_abort(void *argument)
{
    (void)argument;
    abort();
}

/* No request for an interrupt is left pending for the emulator to look after. */
TEST(machine_masks_all_interrupts)
{
    CHECK(cpu_in8(0x21) == 0xff);
    CHECK(cpu_in8(0xa1) == 0xff);
}

TEST(machine_expects_error_codes_where_the_processor_gives_them)
{
    static const uint8_t with_code[] = {8, 10, 11, 12, 13, 14, 17, 21, 29, 30}; /* SDM, APM */
    static const uint8_t push_zero[] = {0x6a, 0x00};

    for (uint8_t vector = 0; vector < TRAP_VECTORS; vector++) {
        const bool has_code = memchr(with_code, vector, sizeof with_code) != NULL;
        const uint8_t *const stub = trap_stubs + 16 * vector;

        if (!has_code)
            CHECK(memcmp(stub, push_zero, sizeof push_zero) == 0);
        CHECK_EQ(stub[has_code ? 0 : 2], 0x6a);
        CHECK_EQ(stub[has_code ? 1 : 3], vector);
    }
}

TEST(machine_panics_on_a_failed_assertion)
{
    CHECK(panics(fail_assertion, NULL, "assertion failed: argument != NULL"));
    CHECK(panics(call_abort, NULL, "abort()"));
    CHECK(!trap_probe(fail_assertion, &trap, &trap));
}

/* ---- memory ---- */

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

#define LOCAL_APIC               0xfee00000ULL
#define LOCAL_APIC_VERSION_BYTES 0x30

static void map_device(void *argument)
{
    (void)memory_map_device(*(const uint64_t *)argument, 16);
}

TEST(memory_maps_devices_on_request)
{
    uint8_t *const apic = (uint8_t *)(uintptr_t)LOCAL_APIC;

    CHECK(faults(read_byte, apic, 0));
    CHECK(memory_map_device(LOCAL_APIC, 0x400) == apic);
    CHECK(memory_map_device(LOCAL_APIC + 0x10, 4) == apic + 0x10);

    const uint32_t version = *(volatile uint32_t *)(apic + LOCAL_APIC_VERSION_BYTES);

    CHECK((version & 0xf0) == 0x10); /* SDM vol. 3, 11.4.8: an integrated APIC */
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

/* ---- time ---- */

TEST(clock_never_goes_back)
{
    uint64_t last = clock_ns();

    for (unsigned i = 0; i < 100000; i++) {
        const uint64_t now = clock_ns();

        CHECK(now >= last);
        last = now;
    }
}

TEST(clock_counts_from_the_first_instruction)
{
    CHECK(clock_ns() > 0);
    CHECK(clock_ns() < 60 * CLOCK_NS_PER_S);
}

/* The RTC's next change of second; false without an RTC. */
static bool next_second(uint64_t *at_ns)
{
    const uint64_t give_up_ns = clock_ns() + 3 * CLOCK_NS_PER_S;
    int64_t first, now;

    if (!rtc_read(0, &first))
        return false;
    do {
        if (clock_ns() > give_up_ns || !rtc_read(0, &now))
            return false;
    } while (now == first);
    *at_ns = clock_ns();
    return true;
}

/* One of several: a change may be seen late, when the host has other things to do. */
static bool a_second_is_a_second(void)
{
    const uint64_t tolerance_ns = 50 * CLOCK_NS_PER_MS;
    uint64_t last_ns, now_ns;

    if (!next_second(&last_ns))
        return false;
    for (unsigned i = 0; i < 20; i++, last_ns = now_ns) {
        if (!next_second(&now_ns))
            return false;
        if (now_ns - last_ns > CLOCK_NS_PER_S - tolerance_ns &&
            now_ns - last_ns < CLOCK_NS_PER_S + tolerance_ns)
            return true;
    }
    return false;
}

TEST(clock_agrees_with_the_rtc)
{
    int64_t before_s, after_s;
    uint64_t before_ns, passed_s;

    if (!clock_wall(&before_s)) {
        test_print("clock_agrees_with_the_rtc: this machine has no RTC, nothing was compared");
        return;
    }
    CHECK(before_s > 1700000000);
    before_ns = clock_ns();
    CHECK(a_second_is_a_second());
    CHECK(clock_wall(&after_s));
    passed_s = (clock_ns() - before_ns) / CLOCK_NS_PER_S;
    CHECK(after_s >= before_s + 1 && after_s <= before_s + (int64_t)passed_s + 2);
}

/* ---- entropy ---- */

TEST(entropy_fills_every_byte_and_never_twice_the_same)
{
    uint8_t bytes[3][200], seen[200] = {0};

    for (unsigned i = 0; i < 100; i++) {
        memset(bytes[i % 3], 0, sizeof bytes[0]);
        entropy_fill(bytes[i % 3], sizeof bytes[0]);
        for (unsigned j = 0; j < sizeof seen; j++)
            seen[j] |= bytes[i % 3][j];
        CHECK(i == 0 || memcmp(bytes[i % 3], bytes[(i + 2) % 3], sizeof bytes[0]) != 0);
    }
    for (unsigned j = 0; j < sizeof seen; j++)
        CHECK_EQ(seen[j], 0xff);
}

TEST(entropy_writes_no_more_than_asked)
{
    uint8_t bytes[64];

    for (size_t len = 0; len <= sizeof bytes; len++) {
        memset(bytes, 0, sizeof bytes);
        entropy_fill(bytes, len);
        for (size_t i = len; i < sizeof bytes; i++)
            CHECK_EQ(bytes[i], 0);
    }
}

TEST(entropy_has_balanced_bits)
{
    unsigned ones = 0;

    for (unsigned i = 0; i < 1024; i++)
        ones += (unsigned)__builtin_popcount(entropy_u32());
    /* 32,768 bits: the standard deviation is 90; nine of them. */
    CHECK(ones > 16384 - 815 && ones < 16384 + 815);
}

static bool source_says_no(void *bytes, size_t len)
{
    memset(bytes, 1, len);
    return false;
}

static bool source_is_stuck(void *bytes, size_t len)
{
    memset(bytes, 0xff, len);
    return true;
}

TEST(entropy_is_not_taken_in_by_bad_sources)
{
    const uint32_t before = entropy_u32();

    CHECK(!entropy_add_source("a broken source", source_says_no));
    CHECK(!entropy_add_source("a stuck source", source_is_stuck));
    CHECK(entropy_u32() != before || entropy_u32() != before);
}

TEST(entropy_answers_the_c_library)
{
    uint8_t bytes[257];

    CHECK_EQ(getentropy(bytes, 256), 0);
    CHECK_EQ(getentropy(bytes, 257), -1);
}

/* ---- the rest of what C takes for granted ---- */

static bool constructed;

__attribute__((constructor)) static void construct(void)
{
    constructed = true;
}

TEST(machine_runs_constructors)
{
    CHECK(constructed);
}

TEST(machine_rounds_doubles_to_nearest)
{
    volatile double tenth = 0.1, fifth = 0.2, zero = 0.0;

    CHECK(tenth + fifth == 0.30000000000000004);
    CHECK(1.0 / zero > 1e308); /* masked: no exception */
    CHECK(sqrt(fifth * fifth) == fifth);
}

TEST(machine_formats_with_the_c_library)
{
    char text[64];

    CHECK_EQ(snprintf(text, sizeof text, "%lu %lld %5d|%-4s|%#lx", 18446744073709551615UL,
                      -9223372036854775807LL, 42, "ab", 0xabcUL),
             20 + 1 + 20 + 1 + 5 + 1 + 4 + 1 + 5);
    CHECK(strcmp(text, "18446744073709551615 -9223372036854775807    42|ab  |0xabc") == 0);
}

TEST(machine_knows_its_command_line)
{
    CHECK(kernel_command_line() == kernel_boot_info()->command_line);
    CHECK(kernel_boot_info()->problem == NULL);
    CHECK(kernel_boot_info()->memory_count > 0);
}

/*
 * The machine itself: what must fault does, at the right place and for the right reason; what C
 * takes for granted is there.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/cpu/cpu.h"
#include "kernel/cpu/panic.h"
#include "kernel/cpu/trap.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/start.h"
#include "kernel/ring0/ring0.h"
#include "tests/guest/probe.h"
#include "tests/test.h"

extern uint8_t __ring0_text_start[], __ring0_text_end[], __ring0_const_start[], __ring0_const_end[];
extern uint8_t __ring0_data_start[], __ring0_data_end[], __ring0_stacks_start[];
extern uint8_t __ring0_stacks_end[];
extern uint8_t __text_start[], __rodata_start[], __stack_guard[], __stack_bottom[];
extern uint8_t __trap_stack_guard[], __trap_stack_bottom[], __trap_stack_top[], __image_end[];
extern uintptr_t __stack_chk_guard;

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
    const size_t page = 4096;

    for (size_t offset = 0; offset < page; offset += page - 1)
        CHECK(faults(write_byte, __stack_guard + offset, TRAP_FAULT_WRITE));
    CHECK(!trap_probe(read_byte, __stack_bottom, &trap));
    for (size_t offset = 0; offset < page; offset += page - 1)
        CHECK(faults(write_byte, __trap_stack_guard + offset, TRAP_FAULT_WRITE));
    CHECK(!trap_probe(read_byte, __trap_stack_bottom, &trap));
    CHECK(!trap_probe(read_byte, __trap_stack_top - 1, &trap));
}

TEST(machine_maps_nothing_where_there_is_no_memory)
{
    CHECK(faults(read_byte, (void *)(uintptr_t)0xfffff000, 0)); /* the BIOS */
    CHECK(faults(read_byte, (void *)(uintptr_t)(1ULL << 45), 0));
}

/* ---- ring 0 ---- */

/* At every page of it, and at its last byte. */
static bool is_ring0s(uint8_t *start, const uint8_t *end)
{
    for (uint8_t *at = start; at < end; at += 4096) {
        if (!faults(read_byte, at, TRAP_FAULT_PRESENT) ||
            !faults(write_byte, at, TRAP_FAULT_PRESENT | TRAP_FAULT_WRITE) ||
            !faults(execute, at + 4095, TRAP_FAULT_PRESENT | TRAP_FAULT_FETCH))
            return false;
    }
    return start < end;
}

TEST(machine_keeps_what_is_ring_0s_from_ring_3)
{
    CHECK(is_ring0s(__ring0_text_start, __ring0_text_end));
    CHECK(is_ring0s(__ring0_const_start, __ring0_const_end)); /* IDT, GDT, TSS */
    CHECK(is_ring0s(__ring0_data_start, __ring0_data_end));
    for (uint8_t *guard = __ring0_stacks_start; guard < __ring0_stacks_end; guard += 8192) {
        CHECK(faults(write_byte, guard, TRAP_FAULT_WRITE));
        CHECK(is_ring0s(guard + 4096, guard + 8192));
    }
    CHECK(is_ring0s(__image_end, __image_end + 4096)); /* the page tables: kernel/mem/memory.c */
}

static void clear_interrupts(void *argument)
{
    (void)argument;
    __asm__ volatile("cli");
}

static void set_interrupts(void *argument)
{
    (void)argument;
    __asm__ volatile("sti");
}

static void write_cr0(void *argument)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"((uint64_t)(uintptr_t)argument));
}

static void write_unlisted_msr(void *argument)
{
    cpu_write_msr((uint32_t)(uintptr_t)argument, 0);
}

static void read_msr(void *argument)
{
    __asm__ volatile("rdmsr" : : "c"((uint32_t)(uintptr_t)argument) : "rax", "rdx");
}

static void read_port(void *argument)
{
    (void)cpu_in8((uint16_t)(uintptr_t)argument);
}

static void write_port(void *argument)
{
    cpu_out8((uint16_t)(uintptr_t)argument, 0);
}

static void load_idt(void *argument)
{
    uint8_t pointer[10] = {0};

    (void)argument;
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static bool is_refused(void (*fn)(void *), uintptr_t argument)
{
    return trap_probe(fn, (void *)argument, &trap) && trap.vector == TRAP_GENERAL_PROTECTION &&
           trap.error_code == 0;
}

TEST(machine_refuses_ring_3_what_is_privileged)
{
    const uintptr_t efer = 0xc0000080, post_port = 0x80, above_com1 = 0x400;
    const uintptr_t keyboard_data = 0x60, keyboard_command = 0x64; /* the A20 gate, a reset */
    const uintptr_t rtc_index = 0x70, rtc_data = 0x71;

    CHECK(is_refused(clear_interrupts, 0));
    CHECK(is_refused(set_interrupts, 0));
    CHECK(is_refused(write_cr0, 0));
    CHECK(is_refused(write_unlisted_msr, efer));
    CHECK(is_refused(read_msr, efer));
    CHECK(is_refused(read_port, post_port));
    CHECK(is_refused(read_port, above_com1));
    CHECK(is_refused(read_port, rtc_index));
    CHECK(is_refused(write_port, rtc_data));
    CHECK(is_refused(write_port, keyboard_data));
    CHECK(is_refused(write_port, keyboard_command));
    CHECK(is_refused(load_idt, 0));
}

TEST(machine_refuses_ring_3_to_map_what_is_ring_0s)
{
    CHECK(!ring0_call(RING0_MAP_RAM, at(__ring0_data_start), at(__ring0_data_end)));
    CHECK(!ring0_call(RING0_MAP_RAM, at(__image_end), at(__image_end) + 4096));
    CHECK(!ring0_call(RING0_MAP_DEVICE, at(__ring0_text_start), at(__ring0_text_end)));
    CHECK(!ring0_call(RING0_USE_TABLES, 64 << 20, 65 << 20)); /* a second time */
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

static void interrupt(void *argument)
{
    (void)argument;
    __asm__ volatile("int $2");
}

static void stray_interrupt(void *argument)
{
    (void)argument;
    __asm__ volatile("int $0x80");
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
    /* kvm_pvm makes an invalid opcode of either. */
    CHECK(trap_probe(interrupt, NULL, &trap));
    CHECK(trap.vector == TRAP_GENERAL_PROTECTION || trap.vector == TRAP_INVALID_OPCODE);
    CHECK(trap_probe(stray_interrupt, NULL, &trap));
    CHECK(trap.vector == TRAP_GENERAL_PROTECTION || trap.vector == TRAP_INVALID_OPCODE);
    CHECK(trap_probe(read_byte, (void *)(uintptr_t)(1ULL << 63), &trap)); /* not canonical */
    CHECK_EQ(trap.vector, TRAP_GENERAL_PROTECTION);
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

TEST(machine_panics_on_a_failed_assertion)
{
    CHECK(panics(fail_assertion, NULL, "assertion failed: argument != NULL"));
    CHECK(panics(call_abort, NULL, "abort()"));
    CHECK(!trap_probe(fail_assertion, &trap, &trap));
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

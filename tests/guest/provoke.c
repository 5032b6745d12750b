/*
 * `provoke=NAME` on the test image's command line breaks the machine for real, before any test: so
 * that the console shows what a trap prints, and the exit status that it failed. scripts can hold
 * each of them; the tests in test_machine.c survive the same by trap_probe().
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/cpu/cpu.h"
#include "kernel/cpu/panic.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/log.h"
#include "kernel/plat/power.h"
#include "kernel/plat/start.h"

extern uint8_t __ring0_text_start[], __ring0_const_start[], __text_start[], __image_end[];

static void read_null(void)
{
    int *volatile null = NULL;

    (void)*(volatile int *)null;
}

static void write_text(void)
{
    *(volatile uint8_t *)__text_start = 0;
}

/* What only ring 0 may touch or do. */

static void write_page_table(void)
{
    *(volatile uint64_t *)__image_end = 0; /* the first page for tables: kernel/mem/memory.c */
}

static void write_ring0_text(void)
{
    *(volatile uint8_t *)__ring0_text_start = 0;
}

static void write_idt(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idt;

    __asm__ volatile("sidt %0" : "=m"(idt)); /* without UMIP ring 3 may ask where it is */
    *(volatile uint64_t *)(uintptr_t)idt.base = 0;
}

static void jump_into_ring0(void)
{
    ((void (*)(void))(uintptr_t)__ring0_text_start)();
}

static void clear_interrupts(void)
{
    __asm__ volatile("cli");
}

static void write_msr(void)
{
    const uint32_t efer = 0xc0000080;

    cpu_write_msr(efer, 0);
}

static void write_cr0(void)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(0UL));
}

static void read_unlisted_port(void)
{
    const uint16_t post = 0x80;

    (void)cpu_in8(post);
}

/* What the list has for the boot alone. */

static void map_after_boot(void)
{
    kernel_boot_is_over();
    (void)memory_map_device(0xfee00000, 16);
}

static void configure_pci_after_boot(void)
{
    kernel_boot_is_over();
    (void)cpu_in32(0xcf8);
}

/* Would let the next write to port 0x60 take a bit from every physical address. */
static void open_a20_gate(void)
{
    const uint16_t keyboard_command = 0x64;
    const uint8_t write_output_port = 0xd1;

    kernel_boot_is_over();
    cpu_out8(keyboard_command, write_output_port);
}

static void execute_data(void)
{
    static uint8_t code[1] = {0xc3};

    ((void (*)(void))(uintptr_t)code)();
}

__attribute__((noinline, noclone)) static int recurse(volatile int depth)
{
    return depth < 0 ? 0 : recurse(depth + 1) + depth;
}

static void overflow_stack(void)
{
    (void)recurse(0);
}

__attribute__((noinline, noclone)) static void smash_stack(void)
{
    char buffer[8];

    for (volatile unsigned i = 0; i < 64; i++)
        ((volatile char *)buffer)[i] = 'x';
    __asm__ volatile("" : : "r"(buffer) : "memory");
}

static void invalid_opcode(void)
{
    __asm__ volatile("ud2");
}

static void divide(void)
{
    __asm__ volatile("idivl %0" : : "r"(0), "a"(1), "d"(0) : "cc");
}

static void trap_on_a_lost_stack(void)
{
    __asm__ volatile("mov %0, %%rsp\n\tpush %%rax" : : "r"(0x10UL));
}

static void fail_assertion(void)
{
    assert(kernel_command_line() == NULL);
}

static void take_too_much(void)
{
    memset(memory_take(memory_free_bytes() + 1, 4096, "provoke=memory"), 1, 1);
}

static void leave(void)
{
    power_off(POWER_STATUS_GOOD);
}

static void leave_failing(void)
{
    exit(3);
}

__attribute__((constructor)) static void provoke(void)
{
    static const struct {
        const char *word;
        void (*fn)(void);
    } ways[] = {
        {"provoke=null", read_null},
        {"provoke=text", write_text},
        {"provoke=execute", execute_data},
        {"provoke=overflow", overflow_stack},
        {"provoke=canary", smash_stack},
        {"provoke=opcode", invalid_opcode},
        {"provoke=divide", divide},
        {"provoke=stack", trap_on_a_lost_stack},
        {"provoke=assert", fail_assertion},
        {"provoke=abort", abort},
        {"provoke=memory", take_too_much},
        {"provoke=off", leave},
        {"provoke=exit", leave_failing},
        {"provoke=page-table", write_page_table},
        {"provoke=ring0-text", write_ring0_text},
        {"provoke=idt", write_idt},
        {"provoke=ring0-jump", jump_into_ring0},
        {"provoke=cli", clear_interrupts},
        {"provoke=wrmsr", write_msr},
        {"provoke=cr0", write_cr0},
        {"provoke=port", read_unlisted_port},
        {"provoke=map-late", map_after_boot},
        {"provoke=a20", open_a20_gate},
        {"provoke=pci-late", configure_pci_after_boot},
    };
    const char *const given = strstr(kernel_command_line(), "provoke=");

    if (strstr(kernel_command_line(), "after-boot=stop") != NULL) /* scripts/machine.bash */
        leave();
    if (given == NULL)
        return;

    const size_t len = strcspn(given, " ");

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (strlen(ways[i].word) == len && strncmp(given, ways[i].word, len) == 0) {
            log_info("test", "%s", ways[i].word);
            ways[i].fn();
            log_error("test", "%s was survived", ways[i].word);
            power_off(POWER_STATUS_GOOD); /* which is the failure here */
        }
    }
    panic("provoke: no such way");
}

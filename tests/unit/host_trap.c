/*
 * What is behind the interrupt descriptor table, on the host: the source compiled into this file.
 * The table is read as the processor would, and traps are frames made here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "kernel/cpu.h"

#define cpu_out8                fake_out8
#define cpu_load_gdt            fake_load_gdt
#define cpu_load_idt            fake_load_idt
#define cpu_load_task           fake_load_task
#define cpu_read_cr2            fake_read_cr2
#define panic_backtrace         vtrap_panic_backtrace
#define power_off               vtrap_power_off
#define trap_init               vtrap_init
#define trap_handle             vtrap_handle
#define trap_probe              vtrap_probe
#define trap_probe_call         vtrap_probe_call
#define trap_probe_resume       vtrap_probe_resume
#define trap_probe_caught_panic vtrap_probe_caught_panic

/* What trap_entry.S and the linker have: arrays that lie where pointers of ours say. */
#define trap_stubs          (*vtrap_stubs)
#define __stack_guard       (*vtrap_stack_guard)
#define __stack_bottom      (*vtrap_stack_bottom)
#define __trap_stacks_start (*vtrap_trap_stacks_start)

static void fake_out8(uint16_t port, uint8_t value);
static void fake_load_gdt(const struct cpu_table_pointer *pointer);
static void fake_load_idt(const struct cpu_table_pointer *pointer);
static void fake_load_task(uint16_t selector);
static uint64_t fake_read_cr2(void);
static void fake_printf(const char *format, ...);

#include "kernel/panic.h"
#include "tests/test.h"

#define printf fake_printf /* behind the attributes that name it */

#include "kernel/trap.c"

/* Nobody looks into them. */
#define STUBS       0x123456789ab0ULL
#define GUARD       0x30007000ULL
#define TRAP_STACKS 0x30009000ULL

const uint8_t (*vtrap_stubs)[] = (const uint8_t (*)[])(uintptr_t)STUBS;
const uint8_t (*vtrap_stack_guard)[] = (const uint8_t (*)[])(uintptr_t)GUARD;
const uint8_t (*vtrap_stack_bottom)[] = (const uint8_t (*)[])(uintptr_t)(GUARD + PAGE_BYTES);
uint8_t (*vtrap_trap_stacks_start)[] = (uint8_t(*)[])(uintptr_t)TRAP_STACKS;

static struct {
    uint8_t masks[2]; /* of the 8259s */
    struct cpu_table_pointer gdt, idt;
    uint16_t task;
    uint64_t cr2;
    char said[2048];
    bool traps; /* while something is printed */
    uint64_t backtrace_from;
    int status;
    jmp_buf off, probe;
} fake;

static void fake_out8(uint16_t port, uint8_t value)
{
    if (port == PIC_MASK || port == PIC_SECOND_MASK)
        fake.masks[port == PIC_SECOND_MASK] = value;
}

static void fake_load_gdt(const struct cpu_table_pointer *pointer)
{
    fake.gdt = *pointer;
}

static void fake_load_idt(const struct cpu_table_pointer *pointer)
{
    fake.idt = *pointer;
}

static void fake_load_task(uint16_t selector)
{
    fake.task = selector;
}

static uint64_t fake_read_cr2(void)
{
    return fake.cr2;
}

static void fake_printf(const char *format, ...)
{
    const size_t len = strlen(fake.said);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(fake.said + len, sizeof fake.said - len, format, args);
    va_end(args);
    if (fake.traps) {
        fake.traps = false;
        trap_handle(&(const struct trap_frame){.vector = TRAP_GENERAL_PROTECTION, .rip = 0x999});
    }
}

void vtrap_panic_backtrace(uint64_t stack)
{
    fake.backtrace_from = stack;
}

void vtrap_power_off(int status)
{
    fake.status = status;
    longjmp(fake.off, 1);
}

bool vtrap_probe_call(void (*fn)(void *), void *arg)
{
    if (setjmp(fake.probe) != 0)
        return true;
    fn(arg);
    return false;
}

void vtrap_probe_resume(void)
{
    longjmp(fake.probe, 1);
}

static void set_up(void)
{
    memset(&fake, 0, sizeof fake);
    probe = NULL;
    handling = false;
}

/* ---- the tables ---- */

TEST(trap_gates_lead_to_the_stubs_on_stacks_of_their_own)
{
    set_up();
    trap_init();
    CHECK_EQ(fake.idt.base, (uint64_t)(uintptr_t)idt);
    CHECK_EQ(fake.idt.limit, TRAP_VECTORS * 16 - 1);
    for (unsigned i = 0; i < TRAP_VECTORS; i++) {
        const uint64_t offset = idt[i].offset_low | (uint64_t)idt[i].offset_middle << 16 |
                                (uint64_t)idt[i].offset_high << 32;
        CHECK_EQ(offset, STUBS + 16 * i);
        CHECK_EQ(idt[i].selector, 0x08);
        CHECK_EQ(idt[i].type, 0x8e);
        CHECK_EQ(idt[i].reserved, 0);
        CHECK_EQ(idt[i].ist, i == TRAP_NMI || i == TRAP_MACHINE_CHECK ? 2
                             : i == TRAP_DOUBLE_FAULT                 ? 3
                                                                      : 1);
    }
    for (unsigned i = 0; i < 3; i++) /* a guard page and two of stack, each */
        CHECK_EQ(tss.ist[i], TRAP_STACKS + (i + 1) * 3 * PAGE_BYTES);
}

TEST(trap_segments_are_flat_and_name_the_task)
{
    set_up();
    trap_init();
    CHECK_EQ(fake.gdt.base, (uint64_t)(uintptr_t)gdt);
    CHECK_EQ(fake.gdt.limit, sizeof gdt - 1);
    CHECK_EQ(gdt[0], 0);
    CHECK_EQ(gdt[1] >> 40 & 0xff, 0x9b); /* present, code; and long mode */
    CHECK_EQ(gdt[1] >> 53 & 3, 1);
    CHECK_EQ(gdt[2] >> 40 & 0xff, 0x93); /* present, data, writable */
    CHECK_EQ(fake.task, 3 * 8);
    const uint64_t base = (gdt[3] >> 16 & 0xffffff) | gdt[3] >> 56 << 24 | gdt[4] << 32;
    CHECK_EQ(base, (uint64_t)(uintptr_t)&tss);
    CHECK_EQ(gdt[3] & 0xffff, sizeof tss - 1);
    CHECK_EQ(gdt[3] >> 40 & 0xff, 0x89); /* present, an available task */
    CHECK_EQ(tss.io_map_base, sizeof tss);
}

TEST(trap_lets_no_interrupt_through)
{
    set_up();
    trap_init();
    CHECK(fake.masks[0] == 0xff && fake.masks[1] == 0xff);
}

/* ---- what is said of a trap ---- */

static void trap(uint64_t vector, uint64_t error_code, uint64_t cr2)
{
    const struct trap_frame frame = {.vector = vector,
                                     .error_code = error_code,
                                     .rip = 0x101010,
                                     .rsp = 0x5004,
                                     .rax = 0xaaaa,
                                     .ss = 0x10};

    set_up();
    fake.cr2 = cr2;
    if (setjmp(fake.off) == 0)
        trap_handle(&frame);
}

static bool says(const char *text)
{
    return strstr(fake.said, text) != NULL;
}

TEST(trap_says_what_it_was_and_ends_the_machine_with_failure)
{
    trap(TRAP_INVALID_OPCODE, 0, 0x666);
    CHECK(says("trap: invalid opcode (vector 6, error code 0) at 0x101010\n  rax "));
    CHECK(says("  rax 000000000000aaaa  rbx 0000000000000000  rcx "));
    CHECK(says("  rdx 0000000000000000\n  rsi "));
    CHECK(says("  rip 0000000000101010  flg 0000000000000000  cs  0000000000000000  ss  "));
    CHECK(says("  ss  0000000000000010\n"));
    CHECK_EQ(fake.backtrace_from, 0x5000); /* whole words only */
    CHECK_EQ(fake.status, POWER_STATUS_FAILED);
}

TEST(trap_names_every_vector)
{
    static const unsigned reserved[] = {15, 22, 27, 31, 32, UINT32_MAX};

    trap(TRAP_DIVIDE, 0, 0);
    CHECK(says("trap: divide error (vector 0,"));
    trap(TRAP_MACHINE_CHECK, 0, 0);
    CHECK(says("trap: machine check (vector 18,"));
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        trap(reserved[i], 0, 0);
        CHECK(says("trap: reserved exception (vector "));
    }
}

TEST(trap_of_a_page_says_what_was_done_to_it)
{
    trap(TRAP_PAGE_FAULT, 0, 0x10);
    CHECK(says("trap: page fault (vector 14, error code 0) at 0x101010\n"
               "  read of 0x10, which is not mapped\n"));
    trap(TRAP_PAGE_FAULT, TRAP_FAULT_WRITE | TRAP_FAULT_PRESENT, 0x10);
    CHECK(says("error code 0x3) at 0x101010\n  write of 0x10, which is protected against it\n"));
    trap(TRAP_PAGE_FAULT, TRAP_FAULT_FETCH, 0x10);
    CHECK(says("  execution of 0x10, which is not mapped\n"));
    trap(TRAP_GENERAL_PROTECTION, 0, 0x10);
    CHECK(!says(" of 0x10"));
}

TEST(trap_in_the_guard_page_is_a_stack_overflow)
{
    for (uint64_t at = GUARD; at < GUARD + PAGE_BYTES; at += PAGE_BYTES - 1) {
        trap(TRAP_PAGE_FAULT, TRAP_FAULT_WRITE, at);
        CHECK(says("trap: stack overflow (vector 14, error code 0x2) at 0x101010\n  write of "));
        CHECK_EQ(fake.backtrace_from, GUARD + PAGE_BYTES);
    }
    trap(TRAP_PAGE_FAULT, TRAP_FAULT_WRITE, GUARD - 1);
    CHECK(says("trap: page fault "));
    trap(TRAP_PAGE_FAULT, TRAP_FAULT_WRITE, GUARD + PAGE_BYTES);
    CHECK(says("trap: page fault "));
    trap(TRAP_DOUBLE_FAULT, 0, GUARD); /* what was touched before is not its matter */
    CHECK(says("trap: double fault "));
    CHECK_EQ(fake.backtrace_from, 0x5000);
}

TEST(trap_within_a_trap_is_a_line_and_the_end)
{
    const struct trap_frame frame = {.vector = TRAP_DIVIDE, .rip = 0x777};

    set_up();
    fake.traps = true;
    if (setjmp(fake.off) == 0)
        trap_handle(&frame);
    CHECK(strcmp(fake.said, "trap: divide error (vector 0, error code 0) at 0x777\n"
                            "trap: general protection at 0x999 while handling a trap\n") == 0);
    CHECK_EQ(fake.backtrace_from, 0);
    CHECK_EQ(fake.status, POWER_STATUS_FAILED);
}

/* ---- probes ---- */

static void fault(void *frame)
{
    trap_handle(frame);
}

static void return_at_once(void *argument)
{
    *(bool *)argument = true;
}

static void panic_of(void *text)
{
    trap_probe_caught_panic(text);
}

TEST(trap_probe_survives_a_trap_and_knows_it)
{
    struct trap_frame frame = {.vector = TRAP_PAGE_FAULT, .error_code = 2, .rip = 0x42};
    struct trap_info info;

    set_up();
    fake.cr2 = 0x1000;
    CHECK(trap_probe(fault, &frame, &info));
    CHECK_EQ(info.vector, TRAP_PAGE_FAULT);
    CHECK_EQ(info.error_code, 2);
    CHECK_EQ(info.rip, 0x42);
    CHECK_EQ(info.address, 0x1000);
    frame.vector = TRAP_DIVIDE;
    CHECK(trap_probe(fault, &frame, &info));
    CHECK_EQ(info.vector, TRAP_DIVIDE);
    CHECK_EQ(info.address, 0);
    CHECK_EQ(fake.said[0], '\0');
    trap(TRAP_DIVIDE, 0, 0); /* and the next trap is none of a probe */
    CHECK(says("trap: divide error"));
}

TEST(trap_probe_of_what_does_not_trap_is_false)
{
    struct trap_info info;
    bool called = false;

    set_up();
    memset(&info, 0xff, sizeof info);
    CHECK(!trap_probe(return_at_once, &called, &info));
    CHECK(called);
    CHECK_EQ(info.vector, 0);
    CHECK(probe == NULL);
}

TEST(trap_probe_survives_a_panic_and_keeps_what_it_said)
{
    char many[TRAP_PANIC_BYTES_MAX + 50];
    struct trap_info info;

    set_up();
    memset(many, 'x', sizeof many);
    many[sizeof many - 1] = '\0';
    trap_probe_caught_panic("nobody probes: this returns");
    CHECK(trap_probe(panic_of, (void *)(uintptr_t) "why", &info));
    CHECK_EQ(info.vector, TRAP_PANIC);
    CHECK(strcmp(info.panic, "why") == 0);
    CHECK(trap_probe(panic_of, many, &info));
    CHECK_EQ(strlen(info.panic), TRAP_PANIC_BYTES_MAX - 1);
}

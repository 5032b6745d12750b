/*
 * What is said of a trap, on the host: the source compiled into this file. Traps are frames made
 * here, and code of ours is what trapped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#define panic_backtrace         vtrap_panic_backtrace
#define power_off               vtrap_power_off
#define trap_handle             vtrap_handle
#define trap_probe              vtrap_probe
#define trap_probe_call         vtrap_probe_call
#define trap_probe_resume       vtrap_probe_resume
#define trap_probe_caught_panic vtrap_probe_caught_panic

/* The linker's symbols: arrays that lie where pointers of ours say. */
#define __text_start   (*vtrap_text_start)
#define __text_end     (*vtrap_text_end)
#define __stack_guard  (*vtrap_stack_guard)
#define __stack_bottom (*vtrap_stack_bottom)

static void fake_printf(const char *format, ...);

#include "kernel/cpu/panic.h"
#include "tests/test.h"

#define printf fake_printf /* behind the attributes that name it */

#include "kernel/cpu/trap.c"

#define PAGE_BYTES 4096
#define TEXT_BYTES 32
#define GUARD      0x30007000ULL /* nobody looks into it */

static uint8_t instructions[TEXT_BYTES];

const uint8_t (*vtrap_text_start)[] = (const uint8_t (*)[])instructions;
const uint8_t (*vtrap_text_end)[] = (const uint8_t (*)[])(instructions + TEXT_BYTES);
const uint8_t (*vtrap_stack_guard)[] = (const uint8_t (*)[])(uintptr_t)GUARD;
const uint8_t (*vtrap_stack_bottom)[] = (const uint8_t (*)[])(uintptr_t)(GUARD + PAGE_BYTES);

static struct {
    char said[2048];
    bool traps; /* while something is printed */
    uint64_t backtrace_from;
    int status;
    jmp_buf off, probe;
} fake;

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

/* ---- what is said of a trap ---- */

static void tell_of(const struct trap_frame *frame)
{
    set_up();
    if (setjmp(fake.off) == 0)
        trap_handle(frame);
}

static void trap(uint64_t vector, uint64_t error_code, uint64_t cr2)
{
    const struct trap_frame frame = {.vector = vector,
                                     .error_code = error_code,
                                     .rip = 0x101010,
                                     .rsp = 0x5004,
                                     .rax = 0xaaaa,
                                     .ss = 0x10,
                                     .cr2 = cr2};

    tell_of(&frame);
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

/* ---- what ring 0 has refused ---- */

/* Traps at so many bytes of code, the last of the text or not. */
static void refuse(const uint8_t *code, size_t bytes, size_t behind)
{
    uint8_t *const at = instructions + TEXT_BYTES - behind - bytes;
    const struct trap_frame frame = {.vector = TRAP_GENERAL_PROTECTION,
                                     .rip = (uint64_t)(uintptr_t)at,
                                     .rdx = 0xcf8,
                                     .rcx = 0x1b};

    memset(instructions, 0x90, sizeof instructions);
    memcpy(at, code, bytes);
    tell_of(&frame);
}

static bool says_refused(const char *name)
{
    char line[128];

    (void)snprintf(line, sizeof line,
                   "\n  %s, which ring 0 does not do for ring 3 (rdx 0xcf8, rcx 0x1b)\n  rax ",
                   name);
    return says(line);
}

TEST(trap_names_the_instruction_that_ring_0_does_not_do)
{
    static const struct {
        uint8_t code[3];
        const char *name;
    } rows[] = {
        {{0x6c}, "INS"},
        {{0xf3, 0x6d}, "INS"},
        {{0x6e}, "OUTS"},
        {{0xf2, 0x6f}, "OUTS"},
        {{0xe4, 0x80}, "IN"},
        {{0x66, 0xe5, 0x80}, "IN"},
        {{0xe6, 0x80}, "OUT"},
        {{0xe7, 0x80}, "OUT"},
        {{0xec}, "IN"},
        {{0x66, 0xed}, "IN"},
        {{0xee}, "OUT"},
        {{0x66, 0xef}, "OUT"},
        {{0xf4}, "HLT"},
        {{0xfa}, "CLI"},
        {{0xfb}, "STI"},
        {{0x0f, 0x00, 0xd8}, "a descriptor table's instruction"},
        {{0x0f, 0x01, 0x18}, "a descriptor table's instruction"},
        {{0x0f, 0x06}, "CLTS"},
        {{0x0f, 0x08}, "INVD"},
        {{0x0f, 0x09}, "WBINVD"},
        {{0x0f, 0x20, 0xc0}, "MOV from a control register"},
        {{0x0f, 0x21, 0xc0}, "MOV from a debug register"},
        {{0x0f, 0x22, 0xc0}, "MOV to a control register"},
        {{0x0f, 0x23, 0xc0}, "MOV to a debug register"},
        {{0x0f, 0x30}, "WRMSR"},
        {{0x0f, 0x32}, "RDMSR"},
        {{0x66, 0x0f, 0x30}, "WRMSR"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refuse(rows[i].code, 3, 0);
        CHECK(says_refused(rows[i].name));
        CHECK_EQ(fake.status, POWER_STATUS_FAILED);
    }
}

/* General protection has other reasons, too. */
TEST(trap_names_no_instruction_that_any_ring_may_execute)
{
    unsigned named[2] = {0, 0};

    for (unsigned two = 0; two < 2; two++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            const uint8_t code[3] = {two ? 0x0f : (uint8_t)opcode, (uint8_t)opcode, 0};
            refuse(code, 3, 0);
            named[two] += says("which ring 0 does not do");
        }
    }
    CHECK_EQ(named[0], 4 + 8 + 3); /* strings, IN and OUT; HLT, CLI, STI */
    CHECK_EQ(named[1], 2 + 3 + 4 + 2);
}

TEST(trap_looks_at_no_code_outside_of_the_text)
{
    static const uint8_t hlt[] = {0xf4, 0x90, 0x90};
    struct trap_frame frame = {.vector = TRAP_GENERAL_PROTECTION};

    refuse(hlt, 3, 0);
    CHECK(says_refused("HLT"));
    refuse(hlt, 3, TEXT_BYTES - 3);
    CHECK(says_refused("HLT"));
    refuse(hlt, 2, 0); /* its end may lie behind the text */
    CHECK(!says("which ring 0 does not do"));
    const uint64_t start = (uint64_t)(uintptr_t)instructions;
    const uint64_t outside[] = {start - 1, start + TEXT_BYTES, 0, UINT64_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        frame.rip = outside[i];
        tell_of(&frame);
        CHECK(says("trap: general protection") && !says("which ring 0 does not do"));
    }
}

TEST(trap_of_another_kind_is_no_refusal)
{
    struct trap_frame frame = {.vector = TRAP_INVALID_OPCODE,
                               .rip = (uint64_t)(uintptr_t)instructions};

    memset(instructions, 0xf4, sizeof instructions);
    tell_of(&frame);
    CHECK(says("trap: invalid opcode") && !says("which ring 0 does not do"));
    frame.vector = TRAP_GENERAL_PROTECTION;
    frame.error_code = 0x1a; /* a selector's, or of an INT */
    tell_of(&frame);
    CHECK(says("trap: general protection") && !says("which ring 0 does not do"));
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
    struct trap_frame frame = {
        .vector = TRAP_PAGE_FAULT, .error_code = 2, .rip = 0x42, .cr2 = 0x1000};
    struct trap_info info;

    set_up();
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

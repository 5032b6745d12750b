/*
 * What is said of a trap. Ring 0 has left its frame on the trap stack, a stack of its own: that of
 * the code that trapped may be what is broken.
 */
#include "kernel/cpu/trap.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "kernel/cpu/panic.h"
#include "kernel/plat/power.h"
#include "kernel/ring0/ring0.h"

#define PRIVILEGED_BYTES_MAX 3 /* of an instruction that privileged_name() looks at */

extern const uint8_t __text_start[], __text_end[];
extern const uint8_t __stack_guard[], __stack_bottom[];

bool trap_probe_call(void (*fn)(void *), void *arg);
__attribute__((noreturn)) void trap_probe_resume(void);

static struct trap_info *volatile probe; /* not NULL while trap_probe() runs */
static bool handling;

static const char *trap_name(uint64_t vector)
{
    static const char *const names[TRAP_VECTORS] = {"divide error",
                                                    "debug",
                                                    "NMI",
                                                    "breakpoint",
                                                    "overflow",
                                                    "bound range",
                                                    "invalid opcode",
                                                    "device not available",
                                                    "double fault",
                                                    "coprocessor segment overrun",
                                                    "invalid TSS",
                                                    "segment not present",
                                                    "stack fault",
                                                    "general protection",
                                                    "page fault",
                                                    NULL,
                                                    "x87 floating point",
                                                    "alignment check",
                                                    "machine check",
                                                    "SIMD floating point",
                                                    "virtualization",
                                                    "control protection",
                                                    NULL,
                                                    NULL,
                                                    NULL,
                                                    NULL,
                                                    NULL,
                                                    NULL,
                                                    "hypervisor injection",
                                                    "VMM communication",
                                                    "security",
                                                    NULL};

    return vector < TRAP_VECTORS && names[vector] != NULL ? names[vector] : "reserved exception";
}

static bool is_stack_overflow(uint64_t vector, uint64_t address)
{
    return vector == TRAP_PAGE_FAULT && address >= (uint64_t)(uintptr_t)__stack_guard &&
           address < (uint64_t)(uintptr_t)__stack_bottom;
}

static void print_page_fault(uint64_t error_code, uint64_t address)
{
    printf("  %s of %#lx, which is %s\n",
           error_code & TRAP_FAULT_FETCH   ? "execution"
           : error_code & TRAP_FAULT_WRITE ? "write"
                                           : "read",
           (unsigned long)address,
           error_code & TRAP_FAULT_PRESENT ? "protected against it" : "not mapped");
}

/* What ring 3 may not execute (SDM vol. 3, 5.9), and ring 0 has not done in its stead. */
static const char *privileged_name(const uint8_t *code)
{
    static const struct {
        uint8_t first, last; /* opcodes */
        const char *name;
    } one_byte[] = {{0x6c, 0x6d, "INS"}, {0x6e, 0x6f, "OUTS"}, {0xe4, 0xe5, "IN"},
                    {0xe6, 0xe7, "OUT"}, {0xec, 0xed, "IN"},   {0xee, 0xef, "OUT"},
                    {0xf4, 0xf4, "HLT"}, {0xfa, 0xfa, "CLI"},  {0xfb, 0xfb, "STI"}},
      two_bytes[] = {{0x00, 0x01, "a descriptor table's instruction"},
                     {0x06, 0x06, "CLTS"},
                     {0x08, 0x08, "INVD"},
                     {0x09, 0x09, "WBINVD"},
                     {0x20, 0x20, "MOV from a control register"},
                     {0x21, 0x21, "MOV from a debug register"},
                     {0x22, 0x22, "MOV to a control register"},
                     {0x23, 0x23, "MOV to a debug register"},
                     {0x30, 0x30, "WRMSR"},
                     {0x32, 0x32, "RDMSR"}};
    const size_t prefix = code[0] == 0x66 || code[0] == 0xf2 || code[0] == 0xf3 ? 1 : 0;
    const bool is_two = code[prefix] == 0x0f;
    const uint8_t opcode = code[prefix + (is_two ? 1 : 0)];
    const size_t count =
        is_two ? sizeof two_bytes / sizeof two_bytes[0] : sizeof one_byte / sizeof one_byte[0];

    for (size_t i = 0; i < count; i++) {
        if (is_two && opcode >= two_bytes[i].first && opcode <= two_bytes[i].last)
            return two_bytes[i].name;
        if (!is_two && opcode >= one_byte[i].first && opcode <= one_byte[i].last)
            return one_byte[i].name;
    }
    return NULL;
}

static void print_refusal(const struct trap_frame *frame)
{
    const uint64_t start = (uint64_t)(uintptr_t)__text_start;
    const uint64_t end = (uint64_t)(uintptr_t)__text_end;
    const char *name;

    if (frame->vector != TRAP_GENERAL_PROTECTION || frame->error_code != 0 || frame->rip < start ||
        frame->rip > end - PRIVILEGED_BYTES_MAX)
        return;
    name = privileged_name((const uint8_t *)(uintptr_t)frame->rip);
    if (name != NULL)
        printf("  %s, which ring 0 does not do for ring 3 (rdx %#lx, rcx %#lx)\n", name,
               (unsigned long)frame->rdx, (unsigned long)frame->rcx);
}

static void print_registers(const struct trap_frame *f)
{
    const struct {
        const char *name;
        uint64_t value;
    } registers[] = {
        {"rax", f->rax}, {"rbx", f->rbx}, {"rcx", f->rcx},    {"rdx", f->rdx}, {"rsi", f->rsi},
        {"rdi", f->rdi}, {"rbp", f->rbp}, {"rsp", f->rsp},    {"r8 ", f->r8},  {"r9 ", f->r9},
        {"r10", f->r10}, {"r11", f->r11}, {"r12", f->r12},    {"r13", f->r13}, {"r14", f->r14},
        {"r15", f->r15}, {"rip", f->rip}, {"flg", f->rflags}, {"cs ", f->cs},  {"ss ", f->ss},
    };

    for (size_t i = 0; i < sizeof registers / sizeof registers[0]; i++)
        printf("  %s %016lx%s", registers[i].name, (unsigned long)registers[i].value,
               i % 4 == 3 ? "\n" : "");
}

__attribute__((used)) void trap_handle(const struct trap_frame *frame)
{
    const uint64_t address = frame->vector == TRAP_PAGE_FAULT ? frame->cr2 : 0;

    if (probe != NULL) {
        probe->vector = (unsigned)frame->vector;
        probe->error_code = frame->error_code;
        probe->rip = frame->rip;
        probe->address = address;
        trap_probe_resume();
    }
    if (handling) {
        printf("trap: %s at %#lx while handling a trap\n", trap_name(frame->vector),
               (unsigned long)frame->rip);
        power_off(POWER_STATUS_FAILED);
    }
    handling = true;

    printf("trap: %s (vector %lu, error code %#lx) at %#lx\n",
           is_stack_overflow(frame->vector, address) ? "stack overflow" : trap_name(frame->vector),
           (unsigned long)frame->vector, (unsigned long)frame->error_code,
           (unsigned long)frame->rip);
    if (frame->vector == TRAP_PAGE_FAULT)
        print_page_fault(frame->error_code, address);
    print_refusal(frame);
    print_registers(frame);
    /* After a stack overflow the pointer is in the guard page: look from the lowest page up. */
    panic_backtrace(is_stack_overflow(frame->vector, address) ? (uint64_t)(uintptr_t)__stack_bottom
                                                              : frame->rsp & ~7ULL);
    power_off(POWER_STATUS_FAILED);
}

bool trap_probe(void (*fn)(void *arg), void *arg, struct trap_info *info)
{
    memset(info, 0, sizeof *info);
    probe = info;

    const bool trapped = trap_probe_call(fn, arg);

    probe = NULL;
    return trapped;
}

void trap_probe_caught_panic(const char *text)
{
    if (probe == NULL)
        return;
    probe->vector = TRAP_PANIC;
    strncpy(probe->panic, text, sizeof probe->panic - 1);
    trap_probe_resume();
}

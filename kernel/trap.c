/*
 * The interrupt descriptor table and what happens behind it.
 *
 * Every handler runs on a stack of its own (IST): the stack of the faulting code may be what is
 * broken, and a stack overflow is a page fault that could not be delivered on it. Three such
 * stacks: one for NMI and machine check, which come at any time; one for double faults, which
 * happen while another exception is being delivered; one for all others. Each lies above a guard
 * page.
 */
#include "kernel/trap.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "kernel/cpu.h"
#include "kernel/panic.h"
#include "kernel/power.h"

/* What trap_entry.S leaves on the stack; the processor's own part is SDM vol. 3, 6.14.2. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(sizeof(struct trap_frame) == 22 * 8, "trap_entry.S counts on it");

/* SDM vol. 3, 6.14.1: a gate of the IDT in long mode. */
struct trap_gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist; /* 1 to 7 */
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

_Static_assert(sizeof(struct trap_gate) == 16, "SDM vol. 3, 6.14.1");

/* SDM vol. 3, 7.7: the task state segment in long mode; only its stack pointers matter. */
struct trap_tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7]; /* IST 1 is ist[0] */
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));

_Static_assert(sizeof(struct trap_tss) == 104, "SDM vol. 3, 7.7");

enum { CODE_SELECTOR = 0x08, TSS_SELECTOR = 0x18 }; /* the first as in boot/start.S */
enum { GATE_INTERRUPT = 0x8e, TSS_AVAILABLE = 0x89 };
enum { IST_OTHERS = 1, IST_ASYNCHRONOUS = 2, IST_DOUBLE_FAULT = 3, IST_COUNT = 3 };
/* The 8259s' operation command words 1, where there are such. */
enum { PIC_MASK = 0x21, PIC_SECOND_MASK = 0xa1, PIC_MASK_ALL = 0xff };
enum { STUB_BYTES = 16, PAGE_BYTES = 4096, STACK_STRIDE_BYTES = 3 * PAGE_BYTES };

extern const uint8_t trap_stubs[];
extern const uint8_t __stack_guard[], __stack_bottom[];
extern uint8_t __trap_stacks_start[]; /* three times: guard page, two pages of stack */

bool trap_probe_call(void (*fn)(void *), void *arg);
__attribute__((noreturn)) void trap_probe_resume(void);
__attribute__((noreturn, used)) void trap_handle(const struct trap_frame *frame);

static struct trap_gate idt[TRAP_VECTORS];
static struct trap_tss tss;
static uint64_t gdt[5];
static struct trap_info *volatile probe; /* not NULL while trap_probe() runs */
static bool handling;

static void gdt_init(void)
{
    const struct cpu_table_pointer pointer = {sizeof gdt - 1, (uint64_t)(uintptr_t)gdt};
    const uint64_t base = (uint64_t)(uintptr_t)&tss;

    for (unsigned i = 0; i < IST_COUNT; i++)
        tss.ist[i] = (uint64_t)(uintptr_t)__trap_stacks_start + (i + 1) * STACK_STRIDE_BYTES;
    tss.io_map_base = sizeof tss;

    gdt[1] = 0x00af9b000000ffff; /* code, 64-bit */
    gdt[2] = 0x00cf93000000ffff; /* data */
    gdt[3] = (sizeof tss - 1) | (base & 0xffffff) << 16 | (uint64_t)TSS_AVAILABLE << 40 |
             (base >> 24 & 0xff) << 56;
    gdt[4] = base >> 32;
    cpu_load_gdt(&pointer); /* the selectors in use mean the same in it */
    cpu_load_task(TSS_SELECTOR);
}

/*
 * Nothing here is driven by interrupts, and the firmware leaves its timer running. A request that
 * nobody ever takes stays pending, and QEMU's emulator looks after it, behind its global lock, each
 * time that it looks up what to run next: a fifth of the time a request takes there.
 */
static void mask_interrupts(void)
{
    cpu_out8(PIC_MASK, PIC_MASK_ALL);
    cpu_out8(PIC_SECOND_MASK, PIC_MASK_ALL);
}

void trap_init(void)
{
    const struct cpu_table_pointer pointer = {sizeof idt - 1, (uint64_t)(uintptr_t)idt};

    mask_interrupts();
    gdt_init();
    for (unsigned i = 0; i < TRAP_VECTORS; i++) {
        const uint64_t stub = (uint64_t)(uintptr_t)trap_stubs + i * STUB_BYTES;

        idt[i].offset_low = (uint16_t)stub;
        idt[i].offset_middle = (uint16_t)(stub >> 16);
        idt[i].offset_high = (uint32_t)(stub >> 32);
        idt[i].selector = CODE_SELECTOR;
        idt[i].type = GATE_INTERRUPT;
        idt[i].ist = IST_OTHERS;
    }
    idt[TRAP_NMI].ist = IST_ASYNCHRONOUS;
    idt[TRAP_MACHINE_CHECK].ist = IST_ASYNCHRONOUS;
    idt[TRAP_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
    cpu_load_idt(&pointer);
}

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

void trap_handle(const struct trap_frame *frame)
{
    const uint64_t address = frame->vector == TRAP_PAGE_FAULT ? cpu_read_cr2() : 0;

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

/*
 * The processor's tables, made once by ring0_init() and read-only from then on, and the way of a
 * trap to ring 3.
 *
 * Exceptions come from ring 3, onto a stack that the TSS names; NMI and machine check come at any
 * time, and a double fault while another exception is being delivered: they have stacks of their
 * own (IST). Each stack lies above a guard page. An interrupt comes while ring 0 halts, on the
 * stack that it halts on.
 */
#include <stddef.h>
#include <stdint.h>

#include "kernel/cpu/trap.h"
#include "kernel/ring0/apic.h"
#include "kernel/ring0/gate.h"
#include "kernel/ring0/paging.h"
#include "kernel/ring0/privileged.h"
#include "kernel/ring0/ring0.h"
#include "kernel/ring0/setup.h"

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
struct task_state {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7]; /* IST 1 is ist[0] */
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base; /* beyond the segment's limit: there is none, every port faults */
} __attribute__((packed));

_Static_assert(sizeof(struct task_state) == 104, "SDM vol. 3, 7.7");

/* boot/start.S runs with the first two, in a table of its own, and leaves for the next two. */
enum {
    RING0_CODE = 0x08,
    RING0_DATA = 0x10,
    RING3_DATA = 0x18 | 3,
    RING3_CODE = 0x20 | 3,
    TASK = 0x28,
};
enum { GATE_RING0 = 0x8e, GATE_RING3 = 0xee, TASK_AVAILABLE = 0x89 };
enum { IST_NONE = 0, IST_ASYNCHRONOUS = 1, IST_DOUBLE_FAULT = 2 };
enum { STUB_BYTES = 16, PAGE_BYTES = 4096, STACK_STRIDE_BYTES = 2 * PAGE_BYTES };
enum { RFLAGS_ALWAYS_ONE = 2 };
enum { NESTED_MAX = 3 };
enum { GDT_ENTRIES = 7 };

#define NOT_CANONICAL (1ULL << 63)

/* Read-only when ring0_init() is done. */
#define CONSTANT_AFTER_INIT __attribute__((section(".ring0.const")))

extern const uint8_t trap_stubs[], interrupt_stub[];
extern const uint8_t __ring0_stacks_start[]; /* three times: guard page, a page of stack */
extern const uint8_t __trap_stack_guard[];
extern uint8_t __trap_stack_top[];

static CONSTANT_AFTER_INIT struct trap_gate idt[APIC_VECTORS_END] = {0};
static CONSTANT_AFTER_INIT struct task_state task = {0};
static CONSTANT_AFTER_INIT uint64_t gdt[GDT_ENTRIES] = {0};

static unsigned nested; /* traps of ring 3's trap handler, or of ring 0, one after the other */

static uint64_t address_of(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static void gdt_init(void)
{
    const struct table_pointer pointer = {sizeof gdt - 1, address_of(gdt)};
    const uint64_t base = address_of(&task), stacks = address_of(__ring0_stacks_start);

    task.rsp[0] = stacks + STACK_STRIDE_BYTES;
    task.ist[IST_ASYNCHRONOUS - 1] = stacks + 2 * STACK_STRIDE_BYTES;
    task.ist[IST_DOUBLE_FAULT - 1] = stacks + 3 * STACK_STRIDE_BYTES;
    task.io_map_base = sizeof task;

    /* Accessed from the start: the processor does not write to the table. */
    gdt[RING0_CODE / 8] = 0x00af9b000000ffff;
    gdt[RING0_DATA / 8] = 0x00cf93000000ffff;
    gdt[RING3_DATA / 8] = 0x00cff3000000ffff;
    gdt[RING3_CODE / 8] = 0x00affb000000ffff;
    gdt[TASK / 8] = (sizeof task - 1) | (base & 0xffffff) << 16 | (uint64_t)TASK_AVAILABLE << 40 |
                    (base >> 24 & 0xff) << 56;
    gdt[TASK / 8 + 1] = base >> 32;
    load_gdt(&pointer); /* the selectors in use mean the same in it */
    load_task(TASK);
    load_ldt(0); /* at reset it is the first 64 KiB of memory */
}

static void set_gate(unsigned vector, uint64_t stub)
{
    idt[vector].offset_low = (uint16_t)stub;
    idt[vector].offset_middle = (uint16_t)(stub >> 16);
    idt[vector].offset_high = (uint32_t)(stub >> 32);
    idt[vector].selector = RING0_CODE;
    idt[vector].type = vector == TRAP_BREAKPOINT ? GATE_RING3 : GATE_RING0;
    idt[vector].ist = IST_NONE;
}

static void idt_init(void)
{
    const struct table_pointer pointer = {sizeof idt - 1, address_of(idt)};

    for (unsigned i = 0; i < TRAP_VECTORS; i++)
        set_gate(i, address_of(trap_stubs) + i * STUB_BYTES);
    for (unsigned i = APIC_VECTORS; i < APIC_VECTORS_END; i++)
        set_gate(i, address_of(interrupt_stub));
    idt[TRAP_NMI].ist = IST_ASYNCHRONOUS;
    idt[TRAP_MACHINE_CHECK].ist = IST_ASYNCHRONOUS;
    idt[TRAP_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
    load_idt(&pointer);
}

/* Ring 0 executes no page of ring 3's, where the processor can hold it to that. */
static void forbid_execution_of_ring3(void)
{
    const uint32_t leaf = 7, smep_bit = 1u << 7;

    if (cpu_has_leaf(leaf) && (cpu_cpuid(leaf, 0).ebx & smep_bit) != 0)
        write_cr4(read_cr4() | CR4_SMEP);
}

void ring0_init(void)
{
    gdt_init();
    idt_init();
    paging_init();
    forbid_execution_of_ring3();
}

void setup_reset(void)
{
    enum { KEYBOARD = 0x64, PULSE_RESET = 0xfe };
    const struct table_pointer no_idt = {0, 0};

    cpu_out8(KEYBOARD, PULSE_RESET);
    load_idt(&no_idt);
    for (;;) /* a general protection fault that cannot be delivered; kvm_pvm has no INT3 here */
        (void)*(const volatile uint8_t *)NOT_CANONICAL;
}

static __attribute__((noreturn)) void give_up(void)
{
    enum { DEBUG_EXIT = 0xf4, EXIT_FAILED = 0x11 };

    cpu_out32(DEBUG_EXIT, EXIT_FAILED);
    setup_reset();
}

static bool is_ring3(const struct trap_frame *frame)
{
    return (frame->cs & RING0_PRIVILEGE_MASK) != 0;
}

/*
 * Leaves the frame on ring 3's trap stack and goes on in trap_handle(), as if that had been called.
 * If it traps itself it begins again, with the new frame; it gives up if that goes on.
 */
static void hand_over(struct trap_frame *frame)
{
    struct trap_frame *const copy =
        (struct trap_frame *)(address_of(__trap_stack_top) - sizeof *frame - 8);
    const bool from_handler =
        frame->rsp >= address_of(__trap_stack_guard) && frame->rsp <= address_of(__trap_stack_top);

    nested = from_handler || !is_ring3(frame) ? nested + 1 : 0;
    if (nested > NESTED_MAX)
        give_up();
    copy_words(copy, frame, sizeof *frame / 8);
    frame->rdi = address_of(copy);
    frame->rip = (uint64_t)(uintptr_t)trap_handle;
    frame->rsp = address_of(copy) - 8; /* aligned as behind a call */
    frame->rflags = RFLAGS_ALWAYS_ONE;
    frame->cs = RING3_CODE;
    frame->ss = RING3_DATA;
}

void ring0_trap(struct trap_frame *frame)
{
    if (is_ring3(frame) && frame->vector == TRAP_GENERAL_PROTECTION && frame->error_code == 0 &&
        gate_serve(frame))
        return;
    hand_over(frame);
}

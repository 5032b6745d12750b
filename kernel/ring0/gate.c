#include "kernel/ring0/gate.h"

#include "kernel/ring0/apic.h"
#include "kernel/ring0/paging.h"
#include "kernel/ring0/privileged.h"
#include "kernel/ring0/ring0.h"
#include "kernel/ring0/setup.h"

extern const uint8_t __text_start[], __text_end[];
extern const uint8_t __data_start[], __data_end[];

/* ---- the list ---- */

enum { IN = 1, OUT = 2 };

struct port_range {
    uint16_t first, last;
    uint8_t ways;    /* IN, OUT or both */
    bool after_boot; /* may be used when the boot is over, too */
};

/*
 * No more than the drivers need. The 8042, for one, would let whoever may write to it mask a bit of
 * every physical address, those of page tables too (the A20 gate).
 */
static const struct port_range listed[] = {
    {0x21, 0x21, IN | OUT, false}, /* the 8259s' masks */
    {0xa1, 0xa1, IN | OUT, false},
    {0x40, 0x43, IN | OUT, false},   /* the 8254: the clock is measured by it */
    {0xcf8, 0xcff, IN | OUT, false}, /* PCI configuration */
    {0x60, 0x60, IN, true},          /* the 8042: Ctrl-Alt-Del */
    {0x64, 0x64, IN, true},
    {0x70, 0x70, OUT, true}, /* the RTC: which register; it is not set */
    {0x71, 0x71, IN, true},
    {0xf4, 0xf7, OUT, true},        /* QEMU's isa-debug-exit */
    {0x3f8, 0x3ff, IN | OUT, true}, /* the console, COM1 */
};

#define LISTED_COUNT (sizeof listed / sizeof listed[0])

/* What ACPI's tables name: RING0_ALLOW_PORTS. */
#define ALLOWED_MAX 8
static struct port_range allowed[ALLOWED_MAX];
static size_t allowed_count;

/* kvmclock: where KVM is to write the time (Linux, Documentation/virt/kvm/x86/msr.rst). */
enum {
    MSR_KVM_SYSTEM_TIME = 0x4b564d01,
    MSR_KVM_FLAG = 1, /* in the address: switched on */
    MSR_KVM_BYTES_MAX = 32,
};

#define OUT_STRING_BYTES_MAX 16 /* a 16550's FIFO */

static bool sealed;

static bool range_covers(const struct port_range *range, uint32_t first, uint32_t last, uint8_t way)
{
    return first >= range->first && last <= range->last && (range->ways & way) != 0 &&
           (!sealed || range->after_boot);
}

static bool may_use(uint16_t port, unsigned width, uint8_t way)
{
    const uint32_t last = port + width - 1u;

    for (size_t i = 0; i < LISTED_COUNT; i++) {
        if (range_covers(&listed[i], port, last, way))
            return true;
    }
    for (size_t i = 0; i < allowed_count; i++) {
        if (range_covers(&allowed[i], port, last, way))
            return true;
    }
    return false;
}

static bool allow_ports(uint64_t first, uint64_t count, bool after_boot)
{
    if (allowed_count == ALLOWED_MAX || first > UINT16_MAX || count == 0 ||
        count > UINT16_MAX + 1u - first)
        return false;
    allowed[allowed_count++] =
        (struct port_range){(uint16_t)first, (uint16_t)(first + count - 1), IN | OUT, after_boot};
    return true;
}

/* From now on the list is the one for after the boot. */
static void gate_seal(void)
{
    sealed = true;
}

/* True if `bytes` bytes at the address are variables of ring 3's in the image. */
static bool is_ring3_data(uint64_t address, uint64_t bytes)
{
    const uint64_t start = (uint64_t)(uintptr_t)__data_start;
    const uint64_t end = (uint64_t)(uintptr_t)__data_end;

    return address >= start && address <= end && bytes <= end - address;
}

_Static_assert(RING0_CPUID == CPU_RING0_CPUID, "kernel/cpu/cpu.h calls it");

/* ---- what an instruction is (SDM vol. 2) ---- */

bool gate_decode(const uint8_t *code, size_t bytes, struct gate_instruction *instruction)
{
    enum { OPERAND_SIZE = 0x66, REP = 0xf3, TWO_BYTES = 0x0f };
    const size_t prefix = bytes > 0 && (code[0] == OPERAND_SIZE || code[0] == REP) ? 1 : 0;

    if (bytes < prefix + 1)
        return false;

    const uint8_t opcode = code[prefix];

    *instruction = (struct gate_instruction){.bytes = (unsigned)prefix + 1, .width = 1};
    if (prefix != 0 && code[0] == REP) {
        instruction->operation = GATE_OUT_STRING;
        instruction->port_is_in_dx = true;
        return opcode == 0x6e;
    }
    if ((opcode & 0xf4) == 0xe4) { /* E4 to E7: port in the instruction; EC to EF: in DX */
        instruction->operation = (opcode & 2) != 0 ? GATE_OUT : GATE_IN;
        instruction->port_is_in_dx = (opcode & 8) != 0;
        if ((opcode & 1) != 0)
            instruction->width = prefix != 0 ? 2 : 4;
        else if (prefix != 0)
            return false;
        if (instruction->port_is_in_dx)
            return true;
        if (bytes < prefix + 2)
            return false;
        instruction->port = code[prefix + 1];
        instruction->bytes++;
        return true;
    }
    if (prefix != 0)
        return false;
    if (opcode == 0xf4) {
        instruction->operation = GATE_HALT;
        return true;
    }
    if (opcode == TWO_BYTES && bytes >= 2 && code[1] == 0x30) {
        instruction->operation = GATE_WRITE_MSR;
        instruction->bytes = 2;
        return true;
    }
    if (opcode == TWO_BYTES && bytes >= 3 && code[1] == 0x22 && code[2] == 0xd8) {
        instruction->operation = GATE_FLUSH;
        instruction->bytes = 3;
        return true;
    }
    return false;
}

/* ---- doing it ---- */

static void in(uint16_t port, unsigned width, struct trap_frame *frame)
{
    if (width == 1)
        frame->rax = (frame->rax & ~0xffULL) | cpu_in8(port);
    else if (width == 2)
        frame->rax = (frame->rax & ~0xffffULL) | cpu_in16(port);
    else
        frame->rax = cpu_in32(port);
}

static void out(uint16_t port, unsigned width, uint64_t value)
{
    if (width == 1)
        cpu_out8(port, (uint8_t)value);
    else if (width == 2)
        cpu_out16(port, (uint16_t)value);
    else
        cpu_out32(port, (uint32_t)value);
}

static bool out_string(uint16_t port, struct trap_frame *frame)
{
    const uint64_t address = frame->rsi, count = frame->rcx;

    if (count > OUT_STRING_BYTES_MAX || !is_ring3_data(address, count))
        return false;
    cpu_out8_string(port, (const void *)(uintptr_t)address, count);
    frame->rsi += count;
    frame->rcx = 0;
    return true;
}

static bool port_operation(const struct gate_instruction *instruction, struct trap_frame *frame)
{
    const uint16_t port = instruction->port_is_in_dx ? (uint16_t)frame->rdx : instruction->port;

    if (!may_use(port, instruction->width, instruction->operation == GATE_IN ? IN : OUT))
        return false;
    if (instruction->operation == GATE_OUT_STRING)
        return out_string(port, frame);
    if (instruction->operation == GATE_IN)
        in(port, instruction->width, frame);
    else
        out(port, instruction->width, frame->rax);
    return true;
}

static bool write_kvmclock(uint64_t value)
{
    const uint64_t address = value & ~(uint64_t)MSR_KVM_FLAG;

    if (!is_ring3_data(address, MSR_KVM_BYTES_MAX))
        return false;
    cpu_write_msr(MSR_KVM_SYSTEM_TIME, value);
    return true;
}

static void answer_cpuid(uint32_t leaf, struct trap_frame *frame)
{
    const struct cpu_cpuid r = cpu_cpuid(leaf, 0);

    frame->rax = r.eax;
    frame->rbx = r.ebx;
    frame->rcx = r.ecx;
    frame->rdx = r.edx;
}

static bool sleep(struct trap_frame *frame)
{
    if (!apic_sleep(frame->rdi))
        return false;
    frame->rax = true;
    return true;
}

/* False: no such call, or one that ended with the boot. */
static bool call(struct trap_frame *frame)
{
    const uint64_t first = frame->rdi, second = frame->rsi;

    if ((uint32_t)frame->rcx == RING0_RESET)
        setup_reset();
    if ((uint32_t)frame->rcx == RING0_SLEEP)
        return sleep(frame);
    if (sealed)
        return false;
    switch ((uint32_t)frame->rcx) {
    case MSR_KVM_SYSTEM_TIME:
        return write_kvmclock((uint32_t)frame->rax | (uint64_t)(uint32_t)frame->rdx << 32);
    case RING0_USE_TABLES:
        frame->rax = paging_use_tables(first, second);
        return true;
    case RING0_MAP_RAM:
        frame->rax = paging_map(first, second, PAGING_RAM);
        return true;
    case RING0_MAP_DEVICE:
        frame->rax = paging_map(first, second, PAGING_DEVICE);
        return true;
    case RING0_ALLOW_PORTS:
        frame->rax = allow_ports(first, second, true);
        return true;
    case RING0_ALLOW_BOOT_PORTS:
        frame->rax = allow_ports(first, second, false);
        return true;
    case RING0_START_APIC:
        frame->rax = apic_start();
        return true;
    case RING0_TIMER_COUNT:
        return apic_timer_count(&frame->rax);
    case RING0_CPUID:
        answer_cpuid((uint32_t)first, frame);
        return true;
    case RING0_SEAL:
        paging_seal();
        gate_seal();
        frame->rax = true;
        return true;
    default:
        return false;
    }
}

bool gate_serve(struct trap_frame *frame)
{
    const uint64_t start = (uint64_t)(uintptr_t)__text_start;
    const uint64_t end = (uint64_t)(uintptr_t)__text_end;
    struct gate_instruction instruction;

    if (frame->rip < start || frame->rip >= end ||
        !gate_decode((const uint8_t *)(uintptr_t)frame->rip, end - frame->rip, &instruction))
        return false;
    switch (instruction.operation) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case GATE_IN:
    case GATE_OUT:
    case GATE_OUT_STRING:
        if (!port_operation(&instruction, frame))
            return false;
        break;
    case GATE_WRITE_MSR:
        if (!call(frame))
            return false;
        break;
    case GATE_FLUSH:
        paging_flush();
        break;
    case GATE_HALT:
        cpu_halt();
        break;
    }
    frame->rip += instruction.bytes;
    return true;
}

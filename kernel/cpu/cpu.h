/*
 * The instructions that C has no words for. For kernel/ only.
 *
 * In ring 3 the processor refuses IN, OUT, HLT and MOV CR3, and ring 0 does them in its stead, as
 * far as kernel/ring0/gate.c lists them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint8_t cpu_in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint16_t cpu_in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint32_t cpu_in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline void cpu_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void cpu_out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void cpu_out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

/* `count` bytes to the same port. In ring 3: up to 16, of a variable of the image. */
static inline void cpu_out8_string(uint16_t port, const void *bytes, uint64_t count)
{
    __asm__ volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}

static inline uint64_t cpu_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

#define CPU_RING0_CPUID 0x74616c10u /* RING0_CPUID of kernel/ring0/ring0.h */

struct cpu_cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpu_cpuid cpu_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpu_cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

/* True when the basic range of CPUID has this leaf. */
static inline bool cpu_has_leaf(uint32_t leaf)
{
    return cpu_cpuid(0, 0).eax >= leaf;
}

#define CPU_LEAF_HYPERVISOR 0x40000000u

/* The leaf as the VMM has it. In ring 3 CPUID may be the bare processor's: kvm_pvm sees none. */
static inline struct cpu_cpuid cpu_vmm_cpuid(uint32_t leaf)
{
    const uint32_t call = CPU_RING0_CPUID;
    struct cpu_cpuid r = {.eax = 0, .ecx = call, .edx = 0};
    __asm__ volatile("wrmsr"
                     : "+a"(r.eax), "=b"(r.ebx), "+c"(r.ecx), "+d"(r.edx)
                     : "D"((uint64_t)leaf));
    return r;
}

/* The highest leaf of the hypervisor's range; 0 when there is no hypervisor that says so. */
static inline uint32_t cpu_hypervisor_leaf_max(void)
{
    const uint32_t hypervisor_bit = 1u << 31;

    if ((cpu_vmm_cpuid(1).ecx & hypervisor_bit) == 0)
        return 0;
    return cpu_vmm_cpuid(CPU_LEAF_HYPERVISOR).eax;
}

#define CPU_HYPERVISOR_BYTES 13 /* with a NUL */

/* The hypervisor's signature (EBX, ECX, EDX of its first leaf) as a string; "" without one. */
static inline void cpu_hypervisor_name(char name[CPU_HYPERVISOR_BYTES])
{
    struct cpu_cpuid r = {0, 0, 0, 0};

    if (cpu_hypervisor_leaf_max() != 0)
        r = cpu_vmm_cpuid(CPU_LEAF_HYPERVISOR);
    memcpy(name, &r.ebx, 4);
    memcpy(name + 4, &r.ecx, 4);
    memcpy(name + 8, &r.edx, 4);
    name[12] = '\0';
}

/* One word from RDRAND or RDSEED; false when none is ready. CPUID must have promised them. */
static inline bool cpu_rdrand(uint64_t *value)
{
    bool ok;
    __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(ok));
    return ok;
}

static inline bool cpu_rdseed(uint64_t *value)
{
    bool ok;
    __asm__ volatile("rdseed %0" : "=r"(*value), "=@ccc"(ok));
    return ok;
}

/* In a loop that waits: lets the hypervisor, and a hyperthread, do something else. */
static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline void cpu_halt(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

static inline void cpu_write_msr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

/* Forgets every cached translation of addresses. */
static inline void cpu_flush_translations(void)
{
    __asm__ volatile("mov %0, %%cr3" : : "a"(0UL) : "memory"); /* the gate: whatever RAX says */
}

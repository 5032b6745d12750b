/*
 * The instructions that C has no words for. For kernel/ only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

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

static inline uint64_t cpu_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

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

/* The highest leaf of the hypervisor's range; 0 when there is no hypervisor that says so. */
static inline uint32_t cpu_hypervisor_leaf_max(void)
{
    const uint32_t hypervisor_bit = 1u << 31;

    if ((cpu_cpuid(1, 0).ecx & hypervisor_bit) == 0)
        return 0;
    return cpu_cpuid(CPU_LEAF_HYPERVISOR, 0).eax;
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

static inline uint64_t cpu_read_cr2(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

/* Switches to other page tables; forgets every cached translation. */
static inline void cpu_write_cr3(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

/* What LGDT, LIDT and their like read. */
struct cpu_table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static inline void cpu_load_gdt(const struct cpu_table_pointer *pointer)
{
    __asm__ volatile("lgdt %0" : : "m"(*pointer));
}

static inline void cpu_load_idt(const struct cpu_table_pointer *pointer)
{
    __asm__ volatile("lidt %0" : : "m"(*pointer));
}

static inline void cpu_load_task(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector));
}

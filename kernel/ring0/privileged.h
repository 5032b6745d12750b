/* The instructions of ring 0 that C has no words for. For this folder only. */
#pragma once

#include <stdint.h>

#include "kernel/cpu/cpu.h"

#define CR0_WP   (1ULL << 16)
#define CR4_SMEP (1ULL << 20)

/* What LGDT and LIDT read. */
struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static inline void load_gdt(const struct table_pointer *pointer)
{
    __asm__ volatile("lgdt %0" : : "m"(*pointer));
}

static inline void load_idt(const struct table_pointer *pointer)
{
    __asm__ volatile("lidt %0" : : "m"(*pointer));
}

static inline void load_ldt(uint16_t selector)
{
    __asm__ volatile("lldt %0" : : "r"(selector));
}

static inline void load_task(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector));
}

static inline uint64_t read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static inline void write_cr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static inline uint64_t read_cr4(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static inline void write_cr4(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

static inline uint64_t read_msr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline uint32_t read_device(uint64_t address)
{
    return *(const volatile uint32_t *)(uintptr_t)address;
}

static inline void write_device(uint64_t address, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)address = value;
}

/*
 * Halts until an interrupt comes; does not halt if one is pending already, for STI takes effect
 * behind the HLT. Interrupts are possible nowhere else, and the first that comes ends that (see
 * interrupt_stub in entry.S).
 */
static inline void halt_until_interrupt(void)
{
    __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}

/* Switches to these page tables; forgets every cached translation. */
static inline void write_cr3(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static inline void copy_words(void *to, const void *from, uint64_t count)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static inline void clear_words(void *to, uint64_t count)
{
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(0) : "memory");
}

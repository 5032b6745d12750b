/*
 * What the machine is told when it is handed over: the door between boot/ and kernel/.
 *
 *     start.S    the entry point: 32-bit protected mode to C in long mode
 *     enter.c    from there to kernel_start()
 *     pvh.c      the VMM's hvm_start_info into the struct below
 *     image.ld   where everything lies
 *
 * Whatever the VMM wrote is copied here before any memory is handed out, so its structures need no
 * protection. The exception is ACPI: kernel_start() reads the tables before memory_init().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Kinds of memory map entries; the values are PVH's, and those of the BIOS call E820. */
enum boot_memory_kind {
    BOOT_MEMORY_RAM = 1,
    BOOT_MEMORY_RESERVED = 2,
    BOOT_MEMORY_ACPI = 3,
    /* everything else is treated as reserved */
};

struct boot_memory {
    uint64_t address, bytes;
    uint32_t kind;
};

#define BOOT_MEMORY_MAX             64
#define BOOT_COMMAND_LINE_BYTES_MAX 2048 /* with its NUL */

struct boot_info {
    uint64_t entry_tsc;  /* the time stamp counter at the first instruction of the image */
    uint64_t rsdp;       /* physical address of ACPI's root pointer; 0: the VMM named none */
    const char *problem; /* NULL, or why what the VMM handed over cannot be used: a sentence */
    size_t memory_count; /* entries in `memory`, in the VMM's order; may overlap */
    struct boot_memory memory[BOOT_MEMORY_MAX];
    char command_line[BOOT_COMMAND_LINE_BYTES_MAX]; /* a string, possibly empty */
};

/* The other side of the door, in kernel/plat/start.c. Interrupts are off and stay so. */
__attribute__((noreturn)) void kernel_start(const struct boot_info *info);

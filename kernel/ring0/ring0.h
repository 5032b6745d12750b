/*
 * Ring 0: the small part of the machine that everything else runs without.
 *
 *     boot/start.S   the first instructions, and the way into ring 3
 *     setup.c        GDT, TSS, IDT; traps that ring 3 is told of
 *     entry.S        where the processor enters on an exception
 *     gate.c         what ring 3 may have done for it: the allow-list
 *     apic.c         sleep: the local APIC, whose interrupts end it
 *     paging.c       page tables
 *
 * All C outside of this folder runs in ring 3: parser, lwIP, drivers, and the printing of panics.
 * Ring 3 cannot write page tables, MSRs, control registers or ring 0's memory, and no port that is
 * not listed in gate.c. (A device can: descriptors carry physical addresses. See SECURITY.md.)
 *
 * The gate is a fault. Ring 3 executes a privileged instruction; the processor raises #GP; gate.c
 * decodes the instruction, does it if it is on the list, and goes on behind it. An instruction that
 * is not on the list is a trap like any other: the machine reports it and stops.
 *
 * Calls that no instruction stands for are WRMSR with an MSR number that no processor has (below).
 * Arguments are in RDI and RSI; RAX is not 0 when it has been done. All but RING0_RESET and
 * RING0_SLEEP end with RING0_SEAL: after that they are traps.
 *
 * Ring 0's C is compiled for general registers alone, with interrupts off, and calls nothing
 * outside of this folder: scripts/check-ring0 disassembles the image and refuses anything else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What entry.S leaves on the stack; the processor's own part is SDM vol. 3, 6.14.2. */
struct trap_frame {
    uint64_t cr2; /* of a page fault: the address; else whatever the register holds */
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(sizeof(struct trap_frame) == 23 * 8, "entry.S counts on it");

#define RING0_PRIVILEGE_MASK 3 /* of a selector: 0 in ring 0, 3 in ring 3 */

/* MSR numbers of calls. */
enum ring0_call {
    /* RDI to RSI: pages below 4 GiB, outside of the image, that become page tables. Ends the map of
       the first 4 GiB that the boot began with: from here on only what is asked for is mapped. */
    RING0_USE_TABLES = 0x74616c00,
    /* Maps whole pages, RDI to RSI, one to one: RAM, or (uncached) device registers. Refused: what
       lies below 1 MiB, overlaps the image or the tables, or is mapped otherwise, and want of
       tables; pages before the one that was refused stay mapped. */
    RING0_MAP_RAM,
    RING0_MAP_DEVICE,
    /* Adds RDI to RDI + RSI - 1 to the ports that may be used, or (the second) that may be used
       during the boot: those that only ACPI's tables name. */
    RING0_ALLOW_PORTS,
    RING0_ALLOW_BOOT_PORTS,
    /* Sets the local APIC up for RING0_SLEEP, and starts its timer. RAX: 0 where there is none that
       can be used; else RING0_APIC_STARTED, perhaps RING0_APIC_DEADLINE, and the APIC's id from bit
       32 on: devices interrupt it with vector RING0_WAKE_VECTOR. */
    RING0_START_APIC,
    /* How far the timer has counted down from 2^32 - 1 since; not with RING0_APIC_DEADLINE. */
    RING0_TIMER_COUNT,
    /* The boot is over: nothing can be mapped or allowed any more, ports that only the boot uses
       leave the list, page tables become read-only. */
    RING0_SEAL,
    /* CPUID of leaf EDI, into EAX, EBX, ECX and EDX. */
    RING0_CPUID = 0x74616c10,
    /* Resets the machine by a triple fault. Does not return. */
    RING0_RESET,
    /* Halts until a device interrupts, or the timer: with RING0_APIC_DEADLINE when the TSC is at
       RDI, else when it has counted down from EDI. 0 is no timer. Returns at once when there has
       been an interrupt since the last sleep. A trap before RING0_START_APIC. */
    RING0_SLEEP,
};

enum { RING0_APIC_STARTED = 1, RING0_APIC_DEADLINE = 2, RING0_APIC_ID_SHIFT = 32 };
enum { RING0_WAKE_VECTOR = 0xf0 };

/* In ring 3. What is in RAX then. */
static inline uint64_t ring0_ask(enum ring0_call call, uint64_t first, uint64_t second)
{
    uint64_t answer;

    __asm__ volatile("wrmsr"
                     : "=a"(answer)
                     : "c"(call), "D"(first), "S"(second), "a"(0), "d"(0)
                     : "memory");
    return answer;
}

/* False: refused. */
static inline bool ring0_call(enum ring0_call call, uint64_t first, uint64_t second)
{
    return ring0_ask(call, first, second) != 0;
}

/* Where ring 3 is told of a trap, in kernel/cpu/trap.c. On the trap stack; whatever ran is over. */
__attribute__((noreturn)) void trap_handle(const struct trap_frame *frame);

/*
 * The local APIC (SDM vol. 3, chapter 11), for one purpose: interrupts that end a halt.
 *
 * They are possible only during the HLT of apic_sleep(). For the rest of the time the task priority
 * holds them back: what comes then stays pending in the APIC, and ends the next halt at once. (One
 * that the processor knew of and did not take would cost QEMU's emulator a fifth of each request:
 * see kernel/cpu/pic.c.)
 *
 * Only vectors of the highest priority get through in a halt, and each leads to the same two
 * instructions. So a device that sends another vector, that of an exception say, is not heard at
 * all, and one that sends very many ends as many halts.
 *
 * Ring 3 has no access to the registers: they are MSRs where the processor has an x2APIC, else they
 * lie in a page of ring 0's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* That can be heard: priority class 15. RING0_WAKE_VECTOR is one. */
enum { APIC_VECTORS = 0xf0, APIC_VECTORS_END = 0x100 };

/* The three calls: see RING0_START_APIC and the following in ring0.h. False: it is a trap. */
uint64_t apic_start(void);
__attribute__((warn_unused_result)) bool apic_timer_count(uint64_t *count);
__attribute__((warn_unused_result)) bool apic_sleep(uint64_t timer);

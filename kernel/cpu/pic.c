#include "kernel/cpu/pic.h"

#include "kernel/cpu/cpu.h"

/* Operation command words 1. */
enum { FIRST_MASK = 0x21, SECOND_MASK = 0xa1, MASK_ALL = 0xff };

/*
 * What interrupts here goes through the local APIC (kernel/ring0/apic.h), and the firmware leaves
 * its timer running. A request that nobody ever takes stays pending, and QEMU's emulator looks
 * after it, behind its global lock, each time that it looks up what to run next: a fifth of the
 * time a request takes there.
 */
void pic_mask_all(void)
{
    cpu_out8(FIRST_MASK, MASK_ALL);
    cpu_out8(SECOND_MASK, MASK_ALL);
}

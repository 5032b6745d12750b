/*
 * The ways off, tried in turn: QEMU's isa-debug-exit, ACPI S5, the keyboard controller's reset
 * line, a triple fault, HLT for ever.
 */
#pragma once

#define POWER_STATUS_GOOD   0
#define POWER_STATUS_FAILED 1

/*
 * With `-device isa-debug-exit,iobase=0xf4,iosize=0x04` QEMU leaves with (value << 1) | 1, which
 * can never be its own 0 or 1 here:
 *     33  the machine was switched off with status 0
 *     35  with any other: main() said so, a panic, a trap
 * Without the device the write goes nowhere and QEMU leaves with 0 whatever the status was.
 */
#define POWER_EXIT_GOOD   0x10
#define POWER_EXIT_FAILED 0x11

/* Maps what power_off() needs of ACPI, so that nothing can fail then. After memory_init(). */
void power_init(void);

__attribute__((noreturn)) void power_off(int status);

/*
 * The power button: somebody outside asks for an orderly stop.
 *
 *     ACPI's, a fixed feature (ACPI 6.5, 4.8.2.2.1)
 *         QEMU's pc and q35: QMP system_powerdown, `virsh shutdown`
 *     Ctrl-Alt-Del at a keyboard controller, on machines that have no such button
 *         Firecracker: SendCtrlAltDel
 *
 * A button that is a device of its own, behind a register that only AML knows (QEMU's microvm with
 * ACPI, Cloud Hypervisor), is not seen.
 */
#pragma once

#include <stdbool.h>

/* Switches ACPI's events on, if need be; waits for that, but not for long. Called once. */
void button_init(void);

/*
 * True if it was pressed since the last call. An access to a device, hence a VM exit: call it a few
 * times a second.
 */
bool button_pressed(void);

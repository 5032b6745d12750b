#include "kernel/cpu/ports.h"

#include "kernel/cpu/panic.h"
#include "kernel/ring0/ring0.h"

void ports_allow(uint64_t first, unsigned count, enum ports_until until)
{
    const enum ring0_call call =
        until == PORTS_AFTER_BOOT ? RING0_ALLOW_PORTS : RING0_ALLOW_BOOT_PORTS;

    if (first != 0 && !ring0_call(call, first, count))
        panic("ports: ring 0 refuses %#lx, which the ACPI tables name", (unsigned long)first);
}

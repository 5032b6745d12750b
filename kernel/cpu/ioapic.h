/* The I/O APIC, by which devices interrupt that have a line, not messages (82093AA datasheet). */
#pragma once

#include <stdbool.h>

/*
 * From now on that line, each time it rises, ends a sleep (kernel/plat/sleep.h), which MUST be
 * possible. During the boot. May be called again later for a line that was routed. False: there is
 * no I/O APIC where every PC has it, or it has no such line.
 */
__attribute__((warn_unused_result)) bool ioapic_route(unsigned line);

/*
 * Ports of the machine that only ACPI's tables name. Those that every PC has at the same place
 * stand in the list of kernel/ring0/gate.c; these are added to it here.
 */
#pragma once

#include <stdint.h>

enum ports_until { PORTS_DURING_BOOT, PORTS_AFTER_BOOT };

/*
 * From now on cpu_in*() and cpu_out*() may use the `count` ports from `first` on, during the boot
 * only or after it, too. Nothing if `first` is 0: ACPI's "there is none". During the boot only.
 * Panics when ring 0 refuses: the address is none of a port, or eight such ranges are listed.
 */
void ports_allow(uint64_t first, unsigned count, enum ports_until until);

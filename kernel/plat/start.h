/*
 * The kernel as the program sees it: it has run before main() is called, and is there when main()
 * returns. The value returned is the machine's exit status (power.h): 0 is good.
 */
#pragma once

#include "boot/boot_info.h"

int main(void);

/* The command line as the VMM gave it; a string, possibly empty; stays valid. */
const char *kernel_command_line(void);

/*
 * Ends the boot, before the first byte from the network is looked at: from now on no device can be
 * mapped, no MSR written, and no port used that only the boot needs (kernel/ring0/ring0.h).
 */
void kernel_boot_is_over(void);

/* What the VMM handed over, for those who want to look at it. */
const struct boot_info *kernel_boot_info(void);

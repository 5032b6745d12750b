/*
 * The kernel as the program sees it: it has run before main() is called, and is there when main()
 * returns. The value returned is the machine's exit status (power.h): 0 is good.
 */
#pragma once

#include "boot/boot_info.h"

int main(void);

/* The command line as the VMM gave it; a string, possibly empty; stays valid. */
const char *kernel_command_line(void);

/* What the VMM handed over, for those who want to look at it. */
const struct boot_info *kernel_boot_info(void);

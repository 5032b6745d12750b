/*
 * The end of the machine when it cannot go on: a message on the console, a backtrace, power_off()
 * with failure. libc's assert() and abort() end here too.
 */
#pragma once

#include <stdint.h>

__attribute__((noreturn, cold, format(printf, 1, 2))) void panic(const char *format, ...);

/*
 * Prints the return addresses found on the stack from `stack` up, for addr2line. Frames have no
 * pointers here (they cost instructions on the hot path): every word that points behind a call
 * instruction is taken for one, so a stale one may be among them.
 */
void panic_backtrace(uint64_t stack);

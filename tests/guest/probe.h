/*
 * What must not be touched, touched, and what came of it: for tests that survive a trap or a panic.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kernel/cpu/trap.h"

static struct trap_info trap; /* of the last that was caught */

static inline uint64_t at(const volatile void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static inline void write_byte(void *address)
{
    *(volatile uint8_t *)address = 0x90;
}

static inline void read_byte(void *address)
{
    (void)*(volatile uint8_t *)address;
}

static inline void execute(void *address)
{
    ((void (*)(void))(uintptr_t)address)();
}

/* True if touching `address` by `touch` is a page fault of ring 3's there, with this error code. */
static inline bool faults(void (*touch)(void *), void *address, uint64_t error_code)
{
    return trap_probe(touch, address, &trap) && trap.vector == TRAP_PAGE_FAULT &&
           trap.address == at(address) && trap.error_code == (error_code | TRAP_FAULT_USER);
}

/* True if fn(argument) panics, and says `text` among other things. */
static inline bool panics(void (*fn)(void *), void *argument, const char *text)
{
    return trap_probe(fn, argument, &trap) && trap.vector == TRAP_PANIC &&
           strstr(trap.panic, text) != NULL;
}

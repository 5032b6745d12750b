#include "kernel/cpu/panic.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "kernel/cpu/trap.h"
#include "kernel/plat/console.h"
#include "kernel/plat/power.h"

#define BACKTRACE_WORDS_MAX   1024 /* of stack looked at */
#define BACKTRACE_ENTRIES_MAX 24

extern const uint8_t __text_start[], __text_end[];
extern const uint8_t __stack_bottom[], __stack_top[];
extern const uint8_t __trap_stack_bottom[], __trap_stack_top[];

static bool panicking;

static uint64_t address_of(const uint8_t *symbol)
{
    return (uint64_t)(uintptr_t)symbol;
}

/* True if the instruction before `address` is a near call: E8 rel32, or FF /2 of 2 to 7 bytes. */
static bool follows_call(uint64_t address)
{
    if (address < address_of(__text_start) + 8 || address >= address_of(__text_end))
        return false;

    const uint8_t *const end = (const uint8_t *)(uintptr_t)address;

    if (end[-5] == 0xe8)
        return true;
    for (int bytes = 2; bytes <= 7; bytes++) {
        if (end[-bytes] == 0xff && (end[-bytes + 1] & 0x38) == 0x10)
            return true;
    }
    return false;
}

/* Where the stack that holds `stack` ends; 0 if it is none of ours. */
static uint64_t stack_end(uint64_t stack)
{
    if (stack >= address_of(__stack_bottom) && stack < address_of(__stack_top))
        return address_of(__stack_top);
    if (stack >= address_of(__trap_stack_bottom) && stack < address_of(__trap_stack_top))
        return address_of(__trap_stack_top);
    return 0;
}

void panic_backtrace(uint64_t stack)
{
    const uint64_t end = stack_end(stack);
    unsigned entries = 0;

    if (end == 0 || stack % 8 != 0) {
        printf("  no backtrace: the stack pointer is outside of the stacks\n");
        return;
    }
    printf("  backtrace:");
    for (unsigned i = 0; i < BACKTRACE_WORDS_MAX && entries < BACKTRACE_ENTRIES_MAX; i++) {
        if (stack + 8 * i >= end)
            break;

        const uint64_t word = ((const uint64_t *)(uintptr_t)stack)[i];

        if (follows_call(word)) {
            printf(" %#lx", (unsigned long)word);
            entries++;
        }
    }
    printf("\n");
}

void panic(const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    trap_probe_caught_panic(text);
    if (panicking) /* while saying why: nothing below can be trusted any more */
        power_off(POWER_STATUS_FAILED);
    panicking = true;

    printf("panic: %s\n", text);
    panic_backtrace((uint64_t)(uintptr_t)__builtin_frame_address(0) & ~7ULL);
    power_off(POWER_STATUS_FAILED);
}

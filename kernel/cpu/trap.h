/*
 * Exceptions of the processor, but for those by which ring 3 calls ring 0 (kernel/ring0/ring0.h).
 * Of each of the 32 the console says what happened, with the registers and a backtrace, and the
 * machine ends with failure. None is expected: interrupts do not come here, and page faults are
 * always errors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum trap_vector {
    TRAP_DIVIDE = 0,
    TRAP_NMI = 2,
    TRAP_BREAKPOINT = 3,
    TRAP_INVALID_OPCODE = 6,
    TRAP_DOUBLE_FAULT = 8,
    TRAP_GENERAL_PROTECTION = 13,
    TRAP_PAGE_FAULT = 14,
    TRAP_MACHINE_CHECK = 18,
    TRAP_VECTORS = 32,
    TRAP_PANIC = 256, /* no vector: panic() was called; in trap_info only */
};

/* Error code of TRAP_PAGE_FAULT. */
enum {
    TRAP_FAULT_PRESENT = 1,
    TRAP_FAULT_WRITE = 2,
    TRAP_FAULT_USER = 4, /* in ring 3 */
    TRAP_FAULT_FETCH = 16,
};

/* ---- for tests ---- */

#define TRAP_PANIC_BYTES_MAX 160

struct trap_info {
    unsigned vector;
    uint64_t error_code;
    uint64_t rip;
    uint64_t address; /* of TRAP_PAGE_FAULT: what was touched */
    char panic[TRAP_PANIC_BYTES_MAX];
};

/*
 * Calls fn(arg) and survives the first trap or panic in it: true, and what it was in *info. False
 * if fn returned. What fn held (stack frames, half-done work) is abandoned as by longjmp(). Does
 * not nest.
 */
__attribute__((warn_unused_result)) bool trap_probe(void (*fn)(void *arg), void *arg,
                                                    struct trap_info *info);

/* For panic(): does not return if a probe is under way. */
void trap_probe_caught_panic(const char *text);

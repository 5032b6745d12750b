/*
 * The gate on the host, over code of ours in a page between two that nobody can read, and a machine
 * that notes what would have been done to it.
 *
 * The source is compiled into the file that includes this one, every name that the linker sees
 * prefixed by VGATE(): so its statics can be looked at, and several files can do so.
 */
#pragma once

#include <setjmp.h>

#include "kernel/ring0/privileged.h"
#include "kernel/ring0/ring0.h"

#define cpu_in8                  fake_in8
#define cpu_in16                 fake_in16
#define cpu_in32                 fake_in32
#define cpu_out8                 fake_out8
#define cpu_out16                fake_out16
#define cpu_out32                fake_out32
#define cpu_halt                 fake_halt
#define cpu_write_msr            fake_write_msr
#define cpu_cpuid(leaf, subleaf) fake_cpuid(leaf, subleaf) /* not the structure */
#define cpu_out8_string          fake_out8_string
#define setup_reset              VGATE(setup_reset)
#define paging_use_tables        VGATE(paging_use_tables)
#define paging_map               VGATE(paging_map)
#define paging_seal              VGATE(paging_seal)
#define paging_flush             VGATE(paging_flush)
#define apic_start               VGATE(apic_start)
#define apic_timer_count         VGATE(apic_timer_count)
#define apic_sleep               VGATE(apic_sleep)
#define gate_decode              VGATE(decode)
#define gate_serve               VGATE(serve)
#define gate_seal                VGATE(seal)

/* The linker's symbols: arrays that lie where pointers of ours say. */
#define __text_start (*VGATE(text_start))
#define __text_end   (*VGATE(text_end))
#define __data_start (*VGATE(data_start))
#define __data_end   (*VGATE(data_end))

static uint8_t fake_in8(uint16_t port);
static uint16_t fake_in16(uint16_t port);
static uint32_t fake_in32(uint16_t port);
static void fake_out8(uint16_t port, uint8_t value);
static void fake_out16(uint16_t port, uint16_t value);
static void fake_out32(uint16_t port, uint32_t value);
static void fake_halt(void);
static void fake_write_msr(uint32_t msr, uint64_t value);
static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);
static void fake_out8_string(uint16_t port, const void *address, uint64_t count);

#include "kernel/ring0/gate.c"

#include <string.h>
#include <sys/mman.h>

#include "tests/test.h"

#define PAGE_BYTES 4096
#define DATA_BYTES 256

static _Alignas(64) uint8_t data[DATA_BYTES];
static uint8_t *code; /* the page that is ring 3's text */

const uint8_t (*VGATE(text_start))[], (*VGATE(text_end))[];
const uint8_t (*VGATE(data_start))[] = (const uint8_t (*)[])data;
const uint8_t (*VGATE(data_end))[] = (const uint8_t (*)[])(data + DATA_BYTES);

enum action {
    NOTHING,
    PORT_IN,
    PORT_OUT,
    OUT_STRING,
    HALT,
    WRITE_MSR,
    CPUID,
    RESET,
    USE_TABLES,
    MAP,
    SEAL,
    FLUSH,
    START_APIC,
    TIMER_COUNT,
    SLEEP,
};

/* So many things were done; the last of them. */
static struct {
    unsigned count;
    enum action what;
    unsigned width;
    uint64_t first, second; /* port and value; start and end; register and value */
    enum paging_kind kind;
} done;

static bool paging_refuses, apic_is_started;
static jmp_buf after_reset; /* where the machine is that comes of it */

static void note(enum action what, unsigned width, uint64_t first, uint64_t second)
{
    done.count++;
    done.what = what;
    done.width = width;
    done.first = first;
    done.second = second;
}

static uint8_t fake_in8(uint16_t port)
{
    note(PORT_IN, 1, port, 0);
    return 0x81;
}

static uint16_t fake_in16(uint16_t port)
{
    note(PORT_IN, 2, port, 0);
    return 0x8281;
}

static uint32_t fake_in32(uint16_t port)
{
    note(PORT_IN, 4, port, 0);
    return 0x84838281;
}

static void fake_out8(uint16_t port, uint8_t value)
{
    note(PORT_OUT, 1, port, value);
}

static void fake_out16(uint16_t port, uint16_t value)
{
    note(PORT_OUT, 2, port, value);
}

static void fake_out32(uint16_t port, uint32_t value)
{
    note(PORT_OUT, 4, port, value);
}

static void fake_halt(void)
{
    note(HALT, 0, 0, 0);
}

static void fake_write_msr(uint32_t msr, uint64_t value)
{
    note(WRITE_MSR, 0, msr, value);
}

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    note(CPUID, 0, leaf, subleaf);
    return (struct cpu_cpuid){0xa0000001, 0xb0000002, 0xc0000003, 0xd0000004};
}

static void fake_out8_string(uint16_t port, const void *bytes, uint64_t count)
{
    note(OUT_STRING, (unsigned)count, port, (uintptr_t)bytes);
}

void VGATE(setup_reset)(void)
{
    note(RESET, 0, 0, 0);
    longjmp(after_reset, 1);
}

bool VGATE(paging_use_tables)(uint64_t start, uint64_t end)
{
    note(USE_TABLES, 0, start, end);
    return !paging_refuses;
}

bool VGATE(paging_map)(uint64_t start, uint64_t end, enum paging_kind kind)
{
    note(MAP, 0, start, end);
    done.kind = kind;
    return !paging_refuses;
}

void VGATE(paging_seal)(void)
{
    note(SEAL, 0, 0, 0);
}

void VGATE(paging_flush)(void)
{
    note(FLUSH, 0, 0, 0);
}

uint64_t VGATE(apic_start)(void)
{
    note(START_APIC, 0, 0, 0);
    return 0x500000003;
}

bool VGATE(apic_timer_count)(uint64_t *count)
{
    if (!apic_is_started)
        return false;
    note(TIMER_COUNT, 0, 0, 0);
    *count = 0x1234;
    return true;
}

bool VGATE(apic_sleep)(uint64_t timer)
{
    if (!apic_is_started)
        return false;
    note(SLEEP, 0, timer, 0);
    return true;
}

static inline bool set_up(void)
{
    static uint8_t *pages;

    if (pages == NULL) {
        pages = mmap(NULL, 3 * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED ||
            mprotect(pages + PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
            return false;
    }
    code = pages + PAGE_BYTES;
    VGATE(text_start) = (const uint8_t(*)[])code;
    VGATE(text_end) = (const uint8_t(*)[])(code + PAGE_BYTES);
    memset(code, 0xcc, PAGE_BYTES);
    memset(&done, 0, sizeof done);
    sealed = paging_refuses = apic_is_started = false;
    allowed_count = 0;
    return true;
}

/*
 * Serves the instruction, which is the last of ring 3's text. False when it is refused: nothing was
 * done then, and the trap will be told of as it came.
 */
static inline bool serves(const char *bytes, size_t count, struct trap_frame *frame)
{
    uint8_t *const at = code + PAGE_BYTES - count;
    const unsigned done_before = done.count;

    memcpy(at, bytes, count);
    frame->rip = (uint64_t)(uintptr_t)at;

    const struct trap_frame before = *frame;

    if (gate_serve(frame)) {
        if (frame->rip != before.rip + count)
            test_fail(__FILE__, __LINE__, "it is stepped over");
        return true;
    }
    if (done.count != done_before || memcmp(frame, &before, sizeof before) != 0)
        test_fail(__FILE__, __LINE__, "nothing is done");
    return false;
}

#define SERVES(bytes, frame) serves(bytes, sizeof(bytes) - 1, frame)

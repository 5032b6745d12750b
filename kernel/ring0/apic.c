#include "kernel/ring0/apic.h"

#include "kernel/ring0/paging.h"
#include "kernel/ring0/privileged.h"
#include "kernel/ring0/ring0.h"

/* Registers by their number: MSR 0x800 + n of an x2APIC, else 16 bytes each in memory. */
enum reg {
    REG_ID = 0x02,
    REG_TASK_PRIORITY = 0x08,
    REG_END_OF_INTERRUPT = 0x0b,
    REG_SPURIOUS = 0x0f,
    REG_TIMER = 0x32,
    REG_LINT0 = 0x35,
    REG_COUNT_START = 0x38,
    REG_COUNT = 0x39,
    REG_DIVIDE = 0x3e,
};

enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };
enum { REG_BYTES = 16 };

#define BASE_ENABLED           (1ULL << 11)
#define BASE_X2APIC            (1ULL << 10)
#define BASE_ADDRESS           0x000ffffffffff000ULL
#define APIC_ADDRESS           0xfee00000ULL /* at reset, and nobody moves it */

#define CPUID_EDX_APIC         (1u << 9)
#define CPUID_ECX_X2APIC       (1u << 21)
#define CPUID_ECX_TSC_DEADLINE (1u << 24)

#define SPURIOUS_VECTOR        0xffu
#define SPURIOUS_APIC_ENABLED  (1u << 8)
#define LINE_MASKED            (1u << 16)
#define TIMER_DEADLINE         (2u << 17) /* else it counts down once */
#define DIVIDE_BY_1            0xbu
#define PRIORITY_AWAKE         0xffu /* nothing gets through */
#define PRIORITY_ASLEEP        0xefu /* what is below class 15 does not */

_Static_assert((int)RING0_WAKE_VECTOR >= APIC_VECTORS && SPURIOUS_VECTOR < APIC_VECTORS_END,
               "they are heard, and have a gate");

static bool started, is_x2apic, has_deadline;

static uint32_t read_register(enum reg reg)
{
    return is_x2apic ? (uint32_t)read_msr(MSR_X2APIC + reg)
                     : read_device(APIC_ADDRESS + REG_BYTES * reg);
}

static __attribute__((noinline)) void write_register(enum reg reg, uint32_t value)
{
    if (is_x2apic)
        cpu_write_msr(MSR_X2APIC + reg, value);
    else
        write_device(APIC_ADDRESS + REG_BYTES * reg, value);
}

/* False: there is none at its place, or ring 3 has mapped it. */
static bool reach(void)
{
    const struct cpu_cpuid features = cpu_cpuid(1, 0);

    if ((features.edx & CPUID_EDX_APIC) == 0)
        return false;

    const uint64_t base = read_msr(MSR_APIC_BASE);

    if ((base & BASE_ADDRESS) != APIC_ADDRESS)
        return false;
    is_x2apic = (features.ecx & CPUID_ECX_X2APIC) != 0;
    has_deadline = (features.ecx & CPUID_ECX_TSC_DEADLINE) != 0;
    if (!is_x2apic && !paging_map_own_device(APIC_ADDRESS))
        return false;
    cpu_write_msr(MSR_APIC_BASE, base | BASE_ENABLED); /* one bit after the other: 11.12.5 */
    if (is_x2apic)
        cpu_write_msr(MSR_APIC_BASE, base | BASE_ENABLED | BASE_X2APIC);
    return true;
}

uint64_t apic_start(void)
{
    if (started || !reach())
        return 0;
    write_register(REG_SPURIOUS, SPURIOUS_APIC_ENABLED | SPURIOUS_VECTOR);
    write_register(REG_TASK_PRIORITY, PRIORITY_AWAKE);
    write_register(REG_LINT0, LINE_MASKED); /* the 8259s'; LINT1 is the NMI's */
    write_register(REG_TIMER, RING0_WAKE_VECTOR | (has_deadline ? TIMER_DEADLINE : 0));
    if (!has_deadline) {
        write_register(REG_DIVIDE, DIVIDE_BY_1);
        write_register(REG_COUNT_START, UINT32_MAX);
    }
    started = true;

    const uint32_t id = read_register(REG_ID);

    return RING0_APIC_STARTED | (has_deadline ? RING0_APIC_DEADLINE : 0) |
           (uint64_t)(is_x2apic ? id : id >> 24) << RING0_APIC_ID_SHIFT;
}

bool apic_timer_count(uint64_t *count)
{
    if (!started || has_deadline)
        return false;
    *count = UINT32_MAX - read_register(REG_COUNT);
    return true;
}

bool apic_sleep(uint64_t timer)
{
    if (!started)
        return false;
    if (has_deadline)
        cpu_write_msr(MSR_TSC_DEADLINE, timer);
    else
        write_register(REG_COUNT_START, (uint32_t)timer);
    write_register(REG_TASK_PRIORITY, PRIORITY_ASLEEP);
    halt_until_interrupt();
    write_register(REG_END_OF_INTERRUPT, 0);
    write_register(REG_TASK_PRIORITY, PRIORITY_AWAKE);
    return true;
}

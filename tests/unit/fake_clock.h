/*
 * The clock on the host, over a machine whose TSC and timers are counted by this one. Every
 * instruction that leaves the machine takes a while.
 *
 * The source is compiled into the file that includes this one, every name that the linker sees
 * prefixed by VCLOCK(): so its statics can be looked at, and several files can do so.
 */
#pragma once

#include <setjmp.h>

#include "kernel/cpu/cpu.h"

#define cpu_tsc                  fake_tsc
#define cpu_in8                  fake_in8
#define cpu_in32                 fake_in32
#define cpu_out8                 fake_out8
#define cpu_cpuid(leaf, subleaf) fake_cpuid(leaf, subleaf) /* not the structure */
#define cpu_has_leaf             fake_has_leaf
#define cpu_hypervisor_leaf_max  fake_hypervisor_leaf_max
#define cpu_vmm_cpuid            fake_vmm_cpuid
#define acpi_get_facts           VCLOCK(acpi_get_facts)
#define kvmclock_init            VCLOCK(kvmclock_init)
#define kvmclock_ns              VCLOCK(kvmclock_ns)
#define kvmclock_tsc_hz          VCLOCK(kvmclock_tsc_hz)
#define ports_allow              VCLOCK(ports_allow)
#define rtc_read                 VCLOCK(rtc_read)
#define log_line                 VCLOCK(log_line)
#define panic                    VCLOCK(panic)
#define clock_init               VCLOCK(clock_init)
#define clock_prepare            VCLOCK(clock_prepare)
#define clock_settle             VCLOCK(clock_settle)
#define clock_ns                 VCLOCK(clock_ns)
#define clock_wall               VCLOCK(clock_wall)
#define clock_tsc_cycles         VCLOCK(clock_tsc_cycles)
#define clock_follow_rtc         VCLOCK(clock_follow_rtc)

static uint64_t fake_tsc(void);
static uint8_t fake_in8(uint16_t port);
static uint32_t fake_in32(uint16_t port);
static void fake_out8(uint16_t port, uint8_t value);
static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);
static bool fake_has_leaf(uint32_t leaf);
static uint32_t fake_hypervisor_leaf_max(void);
static struct cpu_cpuid fake_vmm_cpuid(uint32_t leaf);

#include "kernel/time/clock.c"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

#define HZ      2600000000ULL
#define PM_PORT 0x608
/* What clock.h promises. */
#define AT_FIRST_PPM 20000u
#define SETTLED_PPM  1000u

static struct {
    uint64_t tsc;
    uint64_t exit_cycles;
    uint32_t leaf_max, hypervisor_leaf_max;
    struct cpu_cpuid tsc_leaf, hypervisor_leaf;
    struct acpi_facts acpi;
    uint64_t kvmclock_hz; /* 0: there is none */
    int64_t kvmclock_ns;  /* what it says when this machine's TSC is 0 */
    uint64_t allowed_port;
    bool pit_works;
    bool pm_timer_works;
    bool pm_timer_falters; /* moves on for one read after each eight, and back again */
    unsigned pm_timer_reads;
    bool tsc_stands_still;
    unsigned sleeps; /* in so many attempts the hypervisor takes 100 ms while the PIT is read */
    unsigned slept;
    uint64_t pit_started;
    uint8_t pit_command;
    uint16_t pit_latched;
    bool pit_high_next;
    unsigned pit_starts;
    unsigned exits; /* instructions that left the machine */
    jmp_buf panicked;
    char said[160];
} fake;

static uint64_t fake_tsc(void)
{
    fake.tsc += 20;
    return fake.tsc_stands_still ? 1000000 : fake.tsc;
}

/* Ticks of a counter since cycle `from`. */
static uint64_t ticks(uint64_t from, uint32_t hz)
{
    return (uint64_t)((unsigned __int128)(fake.tsc - from) * hz / HZ);
}

static void leave(void)
{
    fake.exits++;
    fake.tsc += fake.exit_cycles;
}

static uint32_t fake_in32(uint16_t port)
{
    leave();
    if (port != PM_PORT || port != fake.allowed_port || !fake.pm_timer_works)
        return UINT32_MAX;
    if (fake.pm_timer_falters)
        return ++fake.pm_timer_reads % (READINGS + 1) == 0 ? ACPI_PM_TIMER_HZ : 0;
    /* It wraps a millisecond after the start. */
    const uint32_t count = (uint32_t)(ticks(0, ACPI_PM_TIMER_HZ) - 5000);
    return fake.acpi.pm_timer_32bit ? count : count & 0xffffff;
}

static void fake_out8(uint16_t port, uint8_t value)
{
    leave();
    if (port == PIT_COMMAND) {
        fake.pit_command = value;
        fake.pit_high_next = false;
        if (value == PIT_LOAD_CHANNEL_0)
            fake.pit_starts++;
        else if (value == PIT_LATCH_COUNT_0)
            fake.pit_latched = (uint16_t)(0xffff - ticks(fake.pit_started, PIT_HZ));
    } else if (port == PIT_CHANNEL_0) {
        fake.pit_started = fake.tsc;
    }
}

static uint8_t fake_in8(uint16_t port)
{
    leave();
    if (port != PIT_CHANNEL_0 || !fake.pit_works)
        return 0xff;
    if (fake.slept < fake.sleeps && fake.slept < fake.pit_starts && !fake.pit_high_next &&
        ticks(fake.pit_started, 1000) > 0) {
        fake.slept = fake.pit_starts;
        fake.tsc += HZ / 10;
    }
    if (fake.pit_command == PIT_LATCH_STATUS_0)
        return ticks(fake.pit_started, PIT_HZ) > 0xffff ? PIT_STATUS_OUTPUT : 0;
    fake.pit_high_next = !fake.pit_high_next;
    return (uint8_t)(fake.pit_high_next ? fake.pit_latched : fake.pit_latched >> 8);
}

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    return leaf == CPUID_LEAF_TSC && subleaf == 0 ? fake.tsc_leaf : (struct cpu_cpuid){.eax = 1};
}

static struct cpu_cpuid fake_vmm_cpuid(uint32_t leaf)
{
    return leaf == CPUID_LEAF_HYPERVISOR_TSC ? fake.hypervisor_leaf : (struct cpu_cpuid){.eax = 1};
}

static bool fake_has_leaf(uint32_t leaf)
{
    return fake.leaf_max >= leaf;
}

static uint32_t fake_hypervisor_leaf_max(void)
{
    return fake.hypervisor_leaf_max;
}

const struct acpi_facts *VCLOCK(acpi_get_facts)(void)
{
    return &fake.acpi;
}

bool VCLOCK(kvmclock_init)(void)
{
    return fake.kvmclock_hz != 0;
}

uint64_t VCLOCK(kvmclock_ns)(void)
{
    return (uint64_t)fake.kvmclock_ns + fake_tsc() * 10 / (HZ / 100000000);
}

uint64_t VCLOCK(kvmclock_tsc_hz)(void)
{
    return fake.kvmclock_hz;
}

void VCLOCK(ports_allow)(uint64_t first, unsigned count, enum ports_until until)
{
    if (count == 4 && until == PORTS_DURING_BOOT)
        fake.allowed_port = first;
}

/* There is none: host_clock_date.c. */
bool VCLOCK(rtc_read)(uint8_t century_register, int64_t *unix_s)
{
    (void)century_register;
    (void)unix_s;
    return false;
}

void VCLOCK(log_line)(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list args;

    (void)level;
    (void)subsystem;
    va_start(args, format);
    (void)vsnprintf(fake.said, sizeof fake.said, format, args);
    va_end(args);
}

void VCLOCK(panic)(const char *format, ...)
{
    (void)snprintf(fake.said, sizeof fake.said, "%.100s", format);
    longjmp(fake.panicked, 1);
}

/* A machine with nothing to tell the time by. */
static inline void set_up(void)
{
    memset(&fake, 0, sizeof fake);
    fake.tsc = 1000000;
    fake.exit_cycles = 5000;
    clock_base_tsc = clock_base_ns = clock_scale = clock_last_tsc = clock_last_ns = 0;
    pm_timer_first = pit_first = (struct reading){0, 0, 0};
    pm_timer_begun = pit_begun = kvmclock_works = kvmclock_is_used = false;
}

static inline void set_up_pm_timer(void)
{
    set_up();
    fake.acpi.pm_timer_port = PM_PORT;
    fake.pm_timer_works = true;
}

static inline void set_up_pit(void)
{
    set_up();
    fake.pit_works = true;
}

/* A boot of so many cycles before the clock starts, and as many until it settles; all of it if not
   `to_first` only. False when it panics. */
static inline bool boots(uint64_t cycles, bool to_first)
{
    if (setjmp(fake.panicked) != 0)
        return false;
    const uint64_t entry_tsc = fake.tsc;
    clock_prepare();
    fake.tsc += cycles;
    clock_init(entry_tsc);
    if (to_first)
        return true;
    fake.tsc += cycles;
    clock_settle();
    return true;
}

/* One whose own code takes no time. */
static inline bool calibrates(void)
{
    return boots(0, false);
}

/* How far the clock goes in a second, in ppm of it. */
static inline uint64_t error_ppm(void)
{
    const uint64_t before = clock_ns();
    fake.tsc += HZ;
    const uint64_t passed = clock_ns() - before;
    const uint64_t error =
        passed > CLOCK_NS_PER_S ? passed - CLOCK_NS_PER_S : CLOCK_NS_PER_S - passed;
    return error / 1000;
}

static inline bool was_by(const char *source)
{
    return strstr(fake.said, source) != NULL;
}

/*
 * Calibration. Where CPUID does not name the TSC's frequency, it is measured against a counter
 * whose frequency is known. Both are read in a row, TSC before and after: the counter's value
 * belongs to some point between the two, so the distance of the two is the error of that reading,
 * however long an exit to the hypervisor takes. Of several readings the narrowest counts; a second
 * such reading follows later, and the window between them grows until the error is small enough in
 * proportion.
 *
 * It takes some milliseconds to get there, as long as the rest of the boot. So the first reading is
 * made as early as can be, and a second one soon after, for a frequency that is good enough for the
 * boot itself; the one that counts closes the window when the boot is over (clock_settle()), and
 * nobody has waited for it. There clock_ns() goes on from what it had come to, at another rate.
 */
#include "kernel/time/clock.h"

#include "kernel/cpu/cpu.h"
#include "kernel/cpu/panic.h"
#include "kernel/cpu/ports.h"
#include "kernel/plat/acpi.h"
#include "kernel/plat/log.h"
#include "kernel/time/kvmclock.h"
#include "kernel/time/rtc.h"

#define CPUID_LEAF_TSC            0x15u
#define CPUID_LEAF_HYPERVISOR_TSC 0x40000010u /* VMware's; EAX: kHz */

#define HZ_MIN                    100000000ULL /* a TSC slower or faster than this was misread */
#define HZ_MAX                    100000000000ULL
#define ERROR_AT_FIRST_PPM        20000u /* until clock_settle() */
#define ERROR_WANTED_PPM          1000u
#define WINDOW_STEPS_PER_S        4000u /* the window grows by a quarter of a millisecond */
#define WINDOW_STEPS_MAX          40u
#define READINGS                  8u
#define READS_MAX                 100000u /* in a step: at 0.2 µs and more, far longer than it */
#define ATTEMPTS_MAX              4u
#define RTC_LOOK_NS               CLOCK_NS_PER_S
#define RTC_RETRY_NS              (600 * CLOCK_NS_PER_S)

/* ---- counters of known frequency ---- */

struct counter {
    uint32_t hz;
    uint32_t mask;
    uint32_t (*read)(void); /* counts up, modulo mask + 1 */
};

static uint32_t pm_timer_read(void)
{
    return cpu_in32(acpi_get_facts()->pm_timer_port);
}

/*
 * The 8254's channel 0: channel 2 has its gate and output behind a port that microvm lacks. Its
 * interrupt line rises once, with nobody listening.
 */
enum {
    PIT_CHANNEL_0 = 0x40,
    PIT_COMMAND = 0x43,
    PIT_LOAD_CHANNEL_0 = 0x30, /* low byte, then high byte; mode 0: output rises at zero */
    PIT_LATCH_COUNT_0 = 0x00,
    PIT_LATCH_STATUS_0 = 0xe2,
    PIT_STATUS_OUTPUT = 0x80,
    PIT_HZ = 1193182,
};

static void pit_start(void)
{
    cpu_out8(PIT_COMMAND, PIT_LOAD_CHANNEL_0);
    cpu_out8(PIT_CHANNEL_0, 0xff);
    cpu_out8(PIT_CHANNEL_0, 0xff);
}

static uint32_t pit_read(void)
{
    cpu_out8(PIT_COMMAND, PIT_LATCH_COUNT_0);

    const uint32_t low = cpu_in8(PIT_CHANNEL_0);

    return ~(low | (uint32_t)cpu_in8(PIT_CHANNEL_0) << 8) & 0xffff; /* it counts down */
}

static bool pit_has_wrapped(void)
{
    cpu_out8(PIT_COMMAND, PIT_LATCH_STATUS_0);
    return (cpu_in8(PIT_CHANNEL_0) & PIT_STATUS_OUTPUT) != 0;
}

/* ---- measuring ---- */

struct reading {
    uint64_t tsc;   /* middle */
    uint64_t width; /* TSC cycles that the reading took */
    uint32_t count;
};

static struct reading read_narrowest(const struct counter *counter)
{
    struct reading best = {0, UINT64_MAX, 0};

    for (unsigned i = 0; i < READINGS; i++) {
        const uint64_t before = cpu_tsc();
        const uint32_t count = counter->read();
        const uint64_t width = cpu_tsc() - before;

        if (width < best.width)
            best = (struct reading){before + width / 2, width, count};
    }
    return best;
}

struct measurement {
    uint64_t hz; /* 0: none */
    uint64_t error_ppm;
};

static struct measurement compare(const struct counter *counter, const struct reading *first,
                                  const struct reading *last)
{
    const uint64_t ticks = (last->count - first->count) & counter->mask;
    const uint64_t cycles = last->tsc - first->tsc;
    struct measurement m = {0, UINT64_MAX};

    if (ticks == 0 || cycles == 0)
        return m;

    const uint64_t error = (first->width + last->width) / 2 + cycles / ticks;

    m.hz = (uint64_t)((unsigned __int128)cycles * counter->hz / ticks);
    m.error_ppm = error * 1000000 / cycles;
    return m;
}

/* Waits a step of the window; false if the counter does not move. */
static bool wait_step(const struct counter *counter, uint32_t from)
{
    for (unsigned i = 0; i < READS_MAX; i++) {
        if (((counter->read() - from) & counter->mask) >= counter->hz / WINDOW_STEPS_PER_S)
            return true;
    }
    return false;
}

/* Waits only if the window is too short for an error of no more than `error_ppm_max`. */
static struct measurement measure(const struct counter *counter, const struct reading *first,
                                  uint64_t error_ppm_max)
{
    struct reading last = read_narrowest(counter);
    struct measurement m = compare(counter, first, &last);

    for (unsigned i = 0; i < WINDOW_STEPS_MAX && m.error_ppm > error_ppm_max; i++) {
        if (!wait_step(counter, last.count))
            return (struct measurement){0, UINT64_MAX};
        last = read_narrowest(counter);
        m = compare(counter, first, &last);
    }
    return m;
}

static bool kvmclock_works, kvmclock_is_used; /* since clock_prepare(), since clock_init() */

static bool hz_is_plausible(uint64_t hz)
{
    return hz >= HZ_MIN && hz <= HZ_MAX;
}

static struct counter pm_timer(void)
{
    const uint32_t mask = acpi_get_facts()->pm_timer_32bit ? 0xffffffff : 0xffffff;

    return (struct counter){ACPI_PM_TIMER_HZ, mask, pm_timer_read};
}

static const struct counter pit = {PIT_HZ, 0xffff, pit_read};

/* Where their windows begin, if they have begun; one that turns out not to work has not. */
static struct reading pm_timer_first, pit_first;
static bool pm_timer_begun, pit_begun;

static void pm_timer_begin(void)
{
    const struct counter counter = pm_timer();

    pm_timer_first = read_narrowest(&counter);
    pm_timer_begun = true;
}

static void pit_begin(void)
{
    pit_start();
    pit_first = read_narrowest(&pit);
    pit_begun = true;
}

static struct measurement measure_by_pm_timer(uint64_t error_ppm_max)
{
    const struct counter counter = pm_timer();

    if (!pm_timer_begun)
        return (struct measurement){0, UINT64_MAX};
    /* The host stopped us since: 24 bits go round in 4.69 s, no fewer cycles than these. */
    if (cpu_tsc() - pm_timer_first.tsc > 4 * HZ_MIN)
        pm_timer_begin();
    return measure(&counter, &pm_timer_first, error_ppm_max);
}

static struct measurement measure_by_pit(uint64_t error_ppm_max)
{
    /* It goes round in 55 ms, and the hypervisor may let us sleep as long: then once more. */
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        if (!pit_begun)
            pit_begin();

        const struct measurement m = measure(&pit, &pit_first, error_ppm_max);

        if (m.hz == 0 || !pit_has_wrapped())
            return m;
        pit_begun = false;
    }
    return (struct measurement){0, UINT64_MAX};
}

static uint64_t hz_by_name(const char **source)
{
    if (kvmclock_works) {
        *source = "kvmclock";
        return kvmclock_tsc_hz();
    }
    if (cpu_has_leaf(CPUID_LEAF_TSC)) {
        const struct cpu_cpuid r = cpu_cpuid(CPUID_LEAF_TSC, 0);

        *source = "CPUID 0x15"; /* crystal's frequency times EBX / EAX */
        if (r.eax != 0 && r.ebx != 0 && r.ecx != 0)
            return (uint64_t)r.ecx * r.ebx / r.eax;
    }
    if (cpu_hypervisor_leaf_max() >= CPUID_LEAF_HYPERVISOR_TSC) {
        *source = "CPUID 0x40000010";
        return (uint64_t)cpu_vmm_cpuid(CPUID_LEAF_HYPERVISOR_TSC).eax * 1000;
    }
    return 0;
}

static struct measurement named; /* by kvmclock or CPUID; hz is 0 if it names none that can be */
static const char *clock_source;

/* The frequency by the first of all sources that works, which it names in clock_source. */
static struct measurement find_hz(uint64_t error_ppm_max)
{
    struct measurement m = named;

    if (m.hz != 0)
        return m;
    clock_source = "the ACPI timer";
    m = measure_by_pm_timer(error_ppm_max);
    if (!hz_is_plausible(m.hz)) {
        pm_timer_begun = false;
        clock_source = "the PIT";
        m = measure_by_pit(error_ppm_max);
    }
    if (!hz_is_plausible(m.hz))
        panic("no clock: neither CPUID 0x15 nor 0x40000010 names the TSC's frequency, and there is "
              "no working ACPI timer or PIT to measure it by");
    return m;
}

/* ---- the clock ---- */

static uint64_t clock_base_tsc;
static uint64_t clock_base_ns;  /* clock_ns() at that; with kvmclock, when its own was 0 */
static uint64_t clock_scale;    /* nanoseconds a cycle, times 2^32 */
static uint64_t clock_last_tsc; /* what clock_ns() has read last */
static uint64_t clock_last_ns;  /* what it has told last, by kvmclock */

static bool wall_known;
static int64_t wall_s;       /* what the RTC said ... */
static uint64_t wall_at_ns;  /* ... at this clock_ns() */
static uint64_t wall_due_ns; /* when it is looked at again */

static inline uint64_t ns_at(uint64_t tsc)
{
    const uint64_t cycles = tsc - clock_base_tsc;

    return clock_base_ns + (uint64_t)((unsigned __int128)cycles * clock_scale >> 32);
}

/*
 * The TSC has stepped back: the machine runs on another host, or on a processor whose TSC is
 * behind. The clock goes on from the last time that it told. To wait for the TSC to catch up would
 * be simpler, but after a migration that may take days.
 */
__attribute__((cold, noinline)) static void go_on_from(uint64_t tsc)
{
    clock_base_ns = ns_at(clock_last_tsc);
    clock_base_tsc = tsc;
}

/* Between processors, or at a migration, KVM's clock too may be a little behind what it was. */
static uint64_t kvmclock_ns_onwards(void)
{
    const uint64_t now_ns = clock_base_ns + kvmclock_ns();

    if ((int64_t)(now_ns - clock_last_ns) > 0)
        clock_last_ns = now_ns;
    return clock_last_ns;
}

uint64_t clock_ns(void)
{
    if (kvmclock_is_used)
        return kvmclock_ns_onwards();

    const uint64_t tsc = cpu_tsc();

    if (tsc < clock_last_tsc)
        go_on_from(tsc);
    clock_last_tsc = tsc;
    return ns_at(tsc);
}

/* From `tsc` on, when it is `ns`. */
static void set_hz(uint64_t hz, uint64_t tsc, uint64_t ns)
{
    clock_base_tsc = clock_last_tsc = tsc;
    clock_base_ns = ns;
    clock_scale = (CLOCK_NS_PER_S << 32) / hz;
}

uint64_t clock_tsc_cycles(uint64_t ns)
{
    return (ns << 32) / clock_scale;
}

static void wall_read(uint64_t now_ns)
{
    int64_t unix_s;

    if (!rtc_read(acpi_get_facts()->century_register, &unix_s)) {
        wall_due_ns = now_ns + RTC_RETRY_NS;
        return;
    }
    wall_known = true;
    wall_s = unix_s;
    wall_at_ns = now_ns;
    wall_due_ns = now_ns + RTC_LOOK_NS;
}

static int64_t wall_at(uint64_t now_ns)
{
    return wall_s + (int64_t)((now_ns - wall_at_ns) / CLOCK_NS_PER_S);
}

bool clock_wall(int64_t *unix_s)
{
    if (!wall_known)
        return false;
    *unix_s = wall_at(clock_ns());
    return true;
}

void clock_follow_rtc(void)
{
    const uint64_t now_ns = clock_ns();

    if (now_ns < wall_due_ns)
        return;
    wall_due_ns = now_ns + RTC_LOOK_NS;
    if (!wall_known || !rtc_may_show(wall_at(now_ns)))
        wall_read(now_ns);
}

void clock_prepare(void)
{
    kvmclock_works = kvmclock_init() && hz_is_plausible(kvmclock_tsc_hz());
    named = (struct measurement){hz_by_name(&clock_source), 0};
    if (hz_is_plausible(named.hz))
        return;
    named.hz = 0;
    if (acpi_get_facts()->pm_timer_port != 0) {
        ports_allow(acpi_get_facts()->pm_timer_port, sizeof(uint32_t), PORTS_DURING_BOOT);
        pm_timer_begin();
    } else {
        pit_begin();
    }
}

void clock_init(uint64_t entry_tsc)
{
    set_hz(find_hz(ERROR_AT_FIRST_PPM).hz, entry_tsc, 0);
    if (kvmclock_works)
        clock_base_ns = ns_at(cpu_tsc()) - kvmclock_ns();
    kvmclock_is_used = kvmclock_works;
    wall_read(clock_ns());
}

void clock_settle(void)
{
    const struct measurement m = find_hz(ERROR_WANTED_PPM);
    const uint64_t now_ns = clock_ns();

    if (!kvmclock_is_used)
        set_hz(m.hz, clock_last_tsc, now_ns);
    log_info("clock", "TSC at %lu.%03lu MHz by %s, +-%lu ppm%s", (unsigned long)(m.hz / 1000000),
             (unsigned long)(m.hz / 1000 % 1000), clock_source, (unsigned long)m.error_ppm,
             wall_known ? "" : "; the date is not known: no RTC tells a plausible one");
}

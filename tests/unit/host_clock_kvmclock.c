/* The clock where KVM keeps one, on the host. */
#define VCLOCK(name) vclock_kvmclock_##name

#include "tests/unit/fake_clock.h"

static void set_up_kvmclock(void)
{
    set_up();
    fake.kvmclock_hz = HZ;
    fake.kvmclock_ns = 987654321000;
}

TEST(clock_goes_by_kvmclock_where_there_is_one)
{
    set_up_kvmclock();
    fake.leaf_max = CPUID_LEAF_TSC; /* whatever else there is */
    fake.tsc_leaf = (struct cpu_cpuid){.eax = 2, .ebx = 100, .ecx = 25000000};
    fake.acpi.pm_timer_port = PM_PORT;
    CHECK(calibrates());
    CHECK(was_by("2600.000 MHz by kvmclock, +-0 ppm; the date is not known"));
    CHECK_EQ(error_ppm(), 0);
    CHECK_EQ(fake.exits, 0);
    CHECK_EQ(fake.allowed_port, 0);
}

/* Whatever KVM's clock says then: it began with the host, or with another one. */
TEST(clock_by_kvmclock_counts_from_the_first_instruction_too)
{
    static const int64_t zeros[] = {987654321000, 0, -300000};

    for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
        set_up_kvmclock();
        fake.kvmclock_ns = zeros[i];
        const uint64_t entry_tsc = fake.tsc;
        CHECK(boots(HZ / 100, false));
        const uint64_t passed_ns = (fake.tsc - entry_tsc) * 10 / (HZ / 100000000);
        const uint64_t now_ns = clock_ns();
        CHECK(now_ns >= passed_ns && now_ns < passed_ns + 1000);
    }
}

/* A line of the log in between is told no time: it must not be what the clock goes on from. */
TEST(clock_by_kvmclock_is_0_until_it_starts_and_counts_from_there_whoever_asks_before)
{
    set_up_kvmclock();
    const uint64_t entry_tsc = fake.tsc;
    CHECK_EQ(clock_ns(), 0);
    clock_prepare();
    for (unsigned i = 0; i < 3; i++) {
        fake.tsc += HZ / 1000;
        CHECK_EQ(clock_ns(), 0);
    }
    clock_init(entry_tsc);
    for (unsigned i = 0; i < 3; i++) {
        const uint64_t passed_ns = (fake.tsc - entry_tsc) * 10 / (HZ / 100000000);
        const uint64_t now_ns = clock_ns();
        CHECK(now_ns >= passed_ns && now_ns < passed_ns + 1000);
        fake.tsc += HZ;
    }
}

/* The machine was stopped, or is on another host: its TSC says nothing, KVM's page does. */
TEST(clock_by_kvmclock_follows_it_when_the_tsc_jumps)
{
    set_up_kvmclock();
    CHECK(calibrates());
    const uint64_t before_ns = clock_ns();
    fake.tsc += 1000 * HZ;
    fake.kvmclock_ns -= 990 * (int64_t)CLOCK_NS_PER_S;
    const uint64_t passed_ns = clock_ns() - before_ns;
    CHECK(passed_ns >= 10 * CLOCK_NS_PER_S && passed_ns < 10 * CLOCK_NS_PER_S + 1000);
}

/* A page that is a little behind what the last one said. */
TEST(clock_by_kvmclock_does_not_go_back_either)
{
    set_up_kvmclock();
    CHECK(calibrates());
    const uint64_t before_ns = clock_ns();
    fake.kvmclock_ns -= 5000;
    CHECK_EQ(clock_ns(), before_ns);
    fake.kvmclock_ns += 6000;
    CHECK(clock_ns() > before_ns);
}

/* Its page names what no processor has. */
TEST(clock_measures_where_kvmclock_names_no_frequency_that_can_be)
{
    set_up_pm_timer();
    fake.kvmclock_hz = 1;
    CHECK(calibrates());
    CHECK(was_by("by the ACPI timer"));
    CHECK(error_ppm() <= SETTLED_PPM);
}

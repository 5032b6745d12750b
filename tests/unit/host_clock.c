/* How fast the TSC is, on the host. */
#define VCLOCK(name) vclock_##name

#include "tests/unit/fake_clock.h"

TEST(clock_believes_what_cpuid_names)
{
    set_up();
    fake.leaf_max = CPUID_LEAF_TSC;
    fake.tsc_leaf = (struct cpu_cpuid){.eax = 2, .ebx = 208, .ecx = 25000000};
    CHECK_EQ(clock_ns(), 0);
    CHECK(calibrates());
    CHECK(was_by("2600.000 MHz by CPUID 0x15, +-0 ppm; the date is not known"));
    CHECK_EQ(error_ppm(), 0);
    CHECK_EQ(fake.exits, 0); /* nothing is measured */

    set_up();
    fake.hypervisor_leaf_max = CPUID_LEAF_HYPERVISOR_TSC;
    fake.hypervisor_leaf.eax = HZ / 1000;
    CHECK(calibrates());
    CHECK(was_by("by CPUID 0x40000010"));
    CHECK_EQ(error_ppm(), 0);
}

/* Each member of the leaf may be zero: not enumerated. */
TEST(clock_asks_the_next_when_a_leaf_says_nothing)
{
    static const struct cpu_cpuid leaves[] = {
        {.eax = 0, .ebx = 208, .ecx = 25000000},
        {.eax = 2, .ebx = 0, .ecx = 25000000},
        {.eax = 2, .ebx = 208, .ecx = 0},
    };
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        set_up();
        fake.leaf_max = CPUID_LEAF_TSC;
        fake.tsc_leaf = leaves[i];
        fake.hypervisor_leaf_max = CPUID_LEAF_HYPERVISOR_TSC;
        fake.hypervisor_leaf.eax = HZ / 1000;
        CHECK(calibrates());
        CHECK(was_by("by CPUID 0x40000010"));
    }
}

TEST(clock_measures_by_the_acpi_timer_across_its_wrap)
{
    for (unsigned bits = 24; bits <= 32; bits += 8) {
        set_up();
        fake.acpi.pm_timer_port = PM_PORT;
        fake.acpi.pm_timer_32bit = bits == 32;
        fake.pm_timer_works = true;
        CHECK(calibrates());
        CHECK(was_by("by the ACPI timer"));
        CHECK(error_ppm() <= SETTLED_PPM);
        CHECK_EQ(fake.pit_starts, 0);
    }
}

/* 24 bits go round in 4.69 s: what was read before that says nothing. */
TEST(clock_reads_the_acpi_timer_anew_after_a_stop)
{
    for (unsigned tenths = 0; tenths < 120; tenths++) {
        set_up_pm_timer();
        CHECK(boots(tenths * HZ / 10, false));
        CHECK(was_by("by the ACPI timer"));
        CHECK(error_ppm() <= SETTLED_PPM);
    }
}

/* And 16 bits of the PIT in 55 ms, before either of the two that end a window, or both. */
TEST(clock_starts_the_pit_anew_after_a_stop)
{
    for (unsigned ms = 0; ms < 240; ms++) {
        set_up_pit();
        CHECK(boots(ms * HZ / 1000, true));
        CHECK(error_ppm() <= AT_FIRST_PPM);

        set_up_pit();
        CHECK(boots(ms * HZ / 1000, false));
        CHECK(was_by("by the PIT"));
        CHECK(error_ppm() <= SETTLED_PPM);
        CHECK_EQ(fake.pit_starts, ms < 28 ? 1 : ms < 55 ? 2 : 3);
    }
}

/* The boot is the window, if it is as long as an emulator takes. */
TEST(clock_makes_nobody_wait_for_its_measurement)
{
    for (unsigned by_pit = 0; by_pit < 2; by_pit++) {
        if (by_pit != 0)
            set_up_pit();
        else
            set_up_pm_timer();
        fake.exit_cycles = HZ / 1000000;
        const uint64_t boot = HZ / 1000 * 4, before = fake.tsc;
        CHECK(boots(boot, false));
        CHECK_EQ(fake.pit_starts, by_pit);
        CHECK(fake.tsc - before - 2 * boot < HZ / 10000);
        CHECK(error_ppm() <= SETTLED_PPM);
    }
}

/* And says so when it is settled, not before. */
TEST(clock_is_good_enough_for_the_boot_at_first)
{
    for (unsigned us = 0; us < 1000; us++) {
        set_up_pm_timer();
        fake.exit_cycles = 100; /* what is wrong is where the timer's ticks lie */
        CHECK(boots(us * HZ / 1000000, true));
        CHECK(error_ppm() <= AT_FIRST_PPM);
        CHECK_EQ(fake.said[0], 0);
        set_up_pit();
        fake.exit_cycles = 100;
        CHECK(boots(us * HZ / 1000000, true));
        CHECK(error_ppm() <= AT_FIRST_PPM);
        CHECK_EQ(fake.said[0], 0);
    }
}

TEST(clock_counts_from_the_first_instruction_at_first)
{
    set_up_pm_timer();
    const uint64_t entry_tsc = fake.tsc;
    CHECK(boots(HZ / 100, true));
    const uint64_t passed_ns = (fake.tsc - entry_tsc) * 10 / (HZ / 100000000);
    const uint64_t now_ns = clock_ns();
    CHECK(now_ns >= passed_ns - passed_ns / 50 && now_ns <= passed_ns + passed_ns / 50);
}

/* It was too fast or too slow until then: it goes on from where it was, for a deadline is near. */
TEST(clock_neither_jumps_nor_goes_back_when_it_settles)
{
    for (uint64_t hz = HZ - HZ / 50; hz <= HZ + HZ / 50; hz += HZ / 100) {
        set_up_pm_timer();
        fake.exit_cycles = HZ / 1000000;
        CHECK(boots(HZ / 100, true));
        set_hz(hz, clock_base_tsc, 0);
        fake.tsc += HZ / 100;
        const uint64_t before_ns = clock_ns(), before = fake.tsc;
        clock_settle();
        const uint64_t after_ns = clock_ns();
        const uint64_t passed_ns = (fake.tsc - before) * 5 / (HZ / 200000000);
        CHECK(after_ns >= before_ns + passed_ns - passed_ns / 40 - 2);
        CHECK(after_ns <= before_ns + passed_ns + passed_ns / 40 + 2);
        CHECK(error_ppm() <= SETTLED_PPM);
    }
}

/* How far it goes while the TSC steps back, so many times; UINT64_MAX if it goes back, too. */
static uint64_t passed_in_steps_back(unsigned steps, uint64_t cycles)
{
    const uint64_t first_ns = clock_ns();
    uint64_t last_ns = first_ns;
    for (unsigned i = 0; i < steps; i++) {
        fake.tsc -= cycles;
        const uint64_t now_ns = clock_ns();
        if (now_ns < last_ns)
            return UINT64_MAX;
        last_ns = now_ns;
    }
    return last_ns - first_ns;
}

/* By little between processors, by a lot on another host: time does not wait for the TSC. */
/* By little between processors, by a lot on another host: time does not wait for the TSC. */
TEST(clock_does_not_go_back_when_the_tsc_does)
{
    set_up_pm_timer();
    CHECK(calibrates());
    CHECK(passed_in_steps_back(12, HZ / 1000000) <= 12 * 20);
    CHECK(passed_in_steps_back(1, 1) <= 20);
    fake.tsc += 1000 * HZ;
    CHECK(passed_in_steps_back(1, fake.tsc) <= 20);
    CHECK(error_ppm() <= SETTLED_PPM);
}

/* Also to before the first instruction. */
TEST(clock_does_not_go_back_when_the_tsc_does_before_it_settles)
{
    set_up_pm_timer();
    fake.tsc = HZ;
    CHECK(boots(HZ / 100, true));
    const uint64_t before_ns = clock_ns();
    fake.tsc = HZ / 2;
    clock_settle();
    CHECK(clock_ns() >= before_ns);
    CHECK(clock_ns() < before_ns + CLOCK_NS_PER_S);
    CHECK(error_ppm() <= SETTLED_PPM);
}

/* And says how sure it is. */
TEST(clock_settles_for_less_where_each_look_at_a_timer_is_slow)
{
    set_up();
    fake.exit_cycles = HZ / 1000;
    fake.acpi.pm_timer_port = PM_PORT;
    fake.pm_timer_works = true;
    CHECK(calibrates());
    CHECK(was_by("by the ACPI timer, +-2"));
    CHECK(error_ppm() < 3000);
}

/* Also where CPUID names what no processor has. */
TEST(clock_measures_by_the_pit_where_the_acpi_timer_stands_still)
{
    set_up();
    fake.acpi.pm_timer_port = PM_PORT;
    fake.hypervisor_leaf_max = CPUID_LEAF_HYPERVISOR_TSC;
    fake.hypervisor_leaf.eax = UINT32_MAX;
    fake.pit_works = true;
    CHECK(calibrates());
    CHECK(was_by("by the PIT"));
    CHECK(error_ppm() <= SETTLED_PPM);
    CHECK_EQ(fake.pit_starts, 1);
}

/* No tick has passed, whatever was waited for. */
TEST(clock_measures_by_the_pit_where_the_acpi_timer_goes_back)
{
    set_up();
    fake.acpi.pm_timer_port = PM_PORT;
    fake.pm_timer_works = fake.pm_timer_falters = true;
    fake.pit_works = true;
    CHECK(calibrates());
    CHECK(was_by("by the PIT"));
    CHECK(error_ppm() <= SETTLED_PPM);
}

TEST(clock_measures_again_when_the_pit_went_round_meanwhile)
{
    set_up();
    fake.pit_works = true;
    fake.sleeps = ATTEMPTS_MAX - 1;
    CHECK(calibrates());
    CHECK_EQ(fake.pit_starts, ATTEMPTS_MAX);
    CHECK(error_ppm() <= SETTLED_PPM);
    /* But not for ever. */
    set_up();
    fake.pit_works = true;
    fake.sleeps = UINT32_MAX;
    CHECK(!calibrates());
    CHECK_EQ(fake.pit_starts, ATTEMPTS_MAX);
}

/* The one that it was measured by at first. */
TEST(clock_measures_by_the_pit_where_the_acpi_timer_has_stopped)
{
    set_up_pm_timer();
    CHECK(boots(HZ / 1000, true));
    fake.pm_timer_works = false;
    fake.pit_works = true;
    clock_settle();
    CHECK(was_by("by the PIT"));
    CHECK(error_ppm() <= SETTLED_PPM);
}

TEST(clock_without_any_counter_stops_the_machine)
{
    set_up();
    CHECK(!calibrates());
    CHECK(was_by("no clock"));
    CHECK(fake.tsc < 60 * HZ); /* a bounded wait */
    set_up();
    fake.hypervisor_leaf_max = CPUID_LEAF_HYPERVISOR_TSC;
    fake.hypervisor_leaf.eax = 99999; /* kHz */
    CHECK(!calibrates());
}

TEST(clock_of_a_tsc_that_stands_still_stops_the_machine)
{
    set_up();
    fake.acpi.pm_timer_port = PM_PORT;
    fake.pm_timer_works = fake.pit_works = true;
    fake.tsc_stands_still = true;
    CHECK(!calibrates());
    CHECK(was_by("no clock"));
    CHECK_EQ(fake.pit_starts, 1);
}

TEST(clock_tells_how_many_cycles_a_time_is)
{
    set_up();
    fake.leaf_max = CPUID_LEAF_TSC;
    fake.tsc_leaf = (struct cpu_cpuid){.eax = 2, .ebx = 208, .ecx = 25000000};
    CHECK(calibrates());
    CHECK_EQ(clock_tsc_cycles(0), 0);
    CHECK(clock_tsc_cycles(1000) >= 2600 && clock_tsc_cycles(1000) <= 2601);
    CHECK(clock_tsc_cycles(4000000000) / 1000 >= 10400000 &&
          clock_tsc_cycles(4000000000) / 1000 <= 10400010);
}

/*
 * The date on the host: kernel/time/clock.c compiled into this file, over a TSC that CPUID tells
 * the frequency of, and an RTC of ours.
 */
#include "kernel/cpu/cpu.h"

#define cpu_tsc                  fake_tsc
#define cpu_cpuid(leaf, subleaf) fake_cpuid(leaf, subleaf) /* not the structure */
#define cpu_has_leaf             fake_has_leaf
#define cpu_hypervisor_leaf_max  fake_hypervisor_leaf_max
#define cpu_vmm_cpuid(leaf)      fake_cpuid(leaf, 0)
#define kvmclock_init            vdate_kvmclock_init
#define acpi_get_facts           vdate_acpi_get_facts
#define ports_allow              vdate_ports_allow
#define rtc_read                 vdate_rtc_read
#define rtc_may_show             vdate_rtc_may_show
#define log_line                 vdate_log_line
#define panic                    vdate_panic
#define clock_init               vdate_init
#define clock_prepare            vdate_prepare
#define clock_settle             vdate_settle
#define clock_ns                 vdate_ns
#define clock_wall               vdate_wall
#define clock_follow_rtc         vdate_follow_rtc

static uint64_t fake_tsc(void);
static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);
static bool fake_has_leaf(uint32_t leaf);
static uint32_t fake_hypervisor_leaf_max(void);

#include "kernel/time/clock.c"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

#define HZ 2600000000ULL

static struct {
    uint64_t tsc;
    int64_t rtc_s; /* -1: none, or none that can be read */
    unsigned rtc_reads, rtc_looks;
    char said[160];
} fake;

static uint64_t fake_tsc(void)
{
    return fake.tsc;
}

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)leaf;
    (void)subleaf;
    return (struct cpu_cpuid){.eax = HZ / 1000};
}

static bool fake_has_leaf(uint32_t leaf)
{
    (void)leaf;
    return false;
}

static uint32_t fake_hypervisor_leaf_max(void)
{
    return CPUID_LEAF_HYPERVISOR_TSC;
}

bool vdate_kvmclock_init(void)
{
    return false;
}

const struct acpi_facts *vdate_acpi_get_facts(void)
{
    static const struct acpi_facts facts = {.century_register = 0x32};
    return &facts;
}

/* No timer is needed: the frequency is named. */
void vdate_ports_allow(uint64_t first, unsigned count, enum ports_until until)
{
    (void)first;
    (void)count;
    (void)until;
    __builtin_trap();
}

bool vdate_rtc_read(uint8_t century_register, int64_t *unix_s)
{
    fake.rtc_reads++;
    if (fake.rtc_s < 0 || century_register != 0x32)
        return false;
    *unix_s = fake.rtc_s;
    return true;
}

bool vdate_rtc_may_show(int64_t unix_s)
{
    fake.rtc_looks++;
    return unix_s >= fake.rtc_s - 1 && unix_s <= fake.rtc_s + 1;
}

void vdate_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list args;

    (void)level;
    (void)subsystem;
    va_start(args, format);
    (void)vsnprintf(fake.said, sizeof fake.said, format, args);
    va_end(args);
}

_Noreturn void vdate_panic(const char *format, ...)
{
    (void)format;
    abort();
}

static void boot(int64_t rtc_s)
{
    memset(&fake, 0, sizeof fake);
    fake.tsc = 1000000;
    fake.rtc_s = rtc_s;
    wall_known = false;
    clock_prepare();
    clock_init(fake.tsc);
    clock_settle();
}

/* What clock_wall() says after so many seconds of a loop that follows the RTC. */
static int64_t wall_after(unsigned seconds)
{
    int64_t unix_s = -1;
    for (unsigned i = 0; i < 10 * seconds; i++) {
        fake.tsc += HZ / 10;
        if (i % 10 == 9 && fake.rtc_s >= 0)
            fake.rtc_s++;
        clock_follow_rtc();
    }
    return clock_wall(&unix_s) ? unix_s : -1;
}

TEST(clock_claims_no_date_until_an_rtc_tells_one)
{
    int64_t unix_s = 5;
    boot(-1);
    CHECK(strstr(fake.said, "the date is not known") != NULL);
    CHECK(!clock_wall(&unix_s));
    CHECK_EQ(unix_s, 5);
    fake.rtc_s = 1700000000; /* it is set later: looked for every ten minutes */
    CHECK_EQ(wall_after(590), -1);
    CHECK_EQ(fake.rtc_reads, 1);
    CHECK(wall_after(20) > 1700000600);
}

TEST(clock_looks_at_the_rtc_once_a_second_and_reads_it_no_more_while_they_agree)
{
    boot(1700000000);
    CHECK(strstr(fake.said, "the date") == NULL);
    CHECK_EQ(fake.rtc_reads, 1);
    CHECK_EQ(wall_after(0), 1700000000);
    const int64_t told_s = wall_after(1000);
    CHECK(told_s >= 1700000999 && told_s <= 1700001000);
    CHECK_EQ(fake.rtc_reads, 1);
    CHECK(fake.rtc_looks >= 900 && fake.rtc_looks <= 1000);
}

/* Stopped for so long, restored from long ago, set to something else. */
TEST(clock_finds_out_that_the_rtc_is_elsewhere)
{
    static const int64_t off_s[] = {2, 12, 3600, 1000000, -2, -12, -3600, -1000000};
    for (unsigned i = 0; i < sizeof off_s / sizeof off_s[0]; i++) {
        boot(1700000000);
        (void)wall_after(100);
        fake.rtc_s += off_s[i];
        const int64_t told_s = wall_after(3);
        CHECK(told_s >= fake.rtc_s - 1 && told_s <= fake.rtc_s + 1);
        CHECK_EQ(fake.rtc_reads, 2);
    }
}

TEST(clock_goes_on_without_an_rtc_that_can_be_read_no_more)
{
    boot(1700000000);
    fake.rtc_s = -1;
    const int64_t told_s = wall_after(590);
    CHECK(told_s >= 1700000589 && told_s <= 1700000590);
    CHECK_EQ(fake.rtc_reads, 2);
    CHECK_EQ(fake.rtc_looks, 1);
    /* It is tried again after ten minutes. */
    fake.rtc_s = 1800000000;
    CHECK(wall_after(20) >= 1800000018);
    CHECK_EQ(fake.rtc_reads, 3);
}

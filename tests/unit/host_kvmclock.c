/*
 * KVM's clock on the host: the source compiled into this file, over a hypervisor that keeps its
 * page up to date, or does not.
 */
#include "kernel/cpu/cpu.h"

#define cpu_hypervisor_name     fake_hypervisor_name
#define cpu_hypervisor_leaf_max fake_hypervisor_leaf_max
#define cpu_vmm_cpuid           fake_vmm_cpuid
#define cpu_write_msr           fake_write_msr
#define cpu_tsc                 fake_tsc
#define kvmclock_init           vkvmclock_init
#define kvmclock_ns             vkvmclock_ns
#define kvmclock_tsc_hz         vkvmclock_tsc_hz

static void fake_hypervisor_name(char name[CPU_HYPERVISOR_BYTES]);
static uint32_t fake_hypervisor_leaf_max(void);
static struct cpu_cpuid fake_vmm_cpuid(uint32_t leaf);
static void fake_write_msr(uint32_t msr, uint64_t value);
static uint64_t fake_tsc(void);

#include "kernel/time/kvmclock.c"

#include "tests/test.h"

#define HALF (1u << 31) /* of a nanosecond a cycle: 2 GHz, without a shift */

static struct {
    const char *hypervisor;
    uint32_t leaf_max, features;
    unsigned msr_writes;
    uint32_t msr;
    uint64_t msr_value;
    struct time_info written; /* by KVM, when it is told where */
    uint64_t tsc;
    unsigned updates; /* so many times KVM writes while the page is read */
} fake;

static void fake_hypervisor_name(char name[CPU_HYPERVISOR_BYTES])
{
    strcpy(name, fake.hypervisor);
}

static uint32_t fake_hypervisor_leaf_max(void)
{
    return fake.leaf_max;
}

static struct cpu_cpuid fake_vmm_cpuid(uint32_t leaf)
{
    return (struct cpu_cpuid){.eax = leaf == 0x40000001 ? fake.features : UINT32_MAX};
}

static void fake_write_msr(uint32_t msr, uint64_t value)
{
    fake.msr_writes++;
    fake.msr = msr;
    fake.msr_value = value;
    page = fake.written;
}

static uint64_t fake_tsc(void)
{
    if (fake.updates > 0) {
        fake.updates--;
        page.version += 2;
        page.tsc_timestamp += 1000000;
        page.system_time += 7;
    }
    return fake.tsc;
}

static void set_up(void)
{
    memset(&fake, 0, sizeof fake);
    page = (struct time_info){.version = 0};
    fake.hypervisor = "KVMKVMKVM";
    fake.leaf_max = 0x40000001;
    fake.features = 1u << 3;
    fake.written = (struct time_info){.version = 2, .tsc_to_system_mul = HALF};
}

TEST(kvmclock_is_asked_for_where_kvm_offers_it)
{
    set_up();
    CHECK(kvmclock_init());
    CHECK_EQ(fake.msr_writes, 1);
    CHECK_EQ(fake.msr, 0x4b564d01);
    CHECK_EQ(fake.msr_value, (uint64_t)(uintptr_t)&page | 1);
    CHECK_EQ((uint64_t)(uintptr_t)&page % 32, 0); /* in one page, wherever */
}

/* The MSR is none there: to write to it would be a fault. */
TEST(kvmclock_is_let_alone_where_it_is_not_offered)
{
    static const char *const others[] = {"", "TCGTCGTCGTCG", "VMwareVMware", "KVMKVMKV"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        set_up();
        fake.hypervisor = others[i];
        CHECK(!kvmclock_init());
        CHECK_EQ(fake.msr_writes, 0);
    }
    set_up();
    fake.leaf_max = 0x40000000;
    CHECK(!kvmclock_init());
    CHECK_EQ(fake.msr_writes, 0);
    set_up();
    fake.features = ~(1u << 3); /* the old MSRs (bit 0) among what it has */
    CHECK(!kvmclock_init());
    CHECK_EQ(fake.msr_writes, 0);
}

TEST(kvmclock_that_kvm_writes_nothing_to_is_none)
{
    set_up();
    fake.written.version = 0;
    CHECK(!kvmclock_init());
    set_up();
    fake.written.tsc_to_system_mul = 0;
    CHECK(!kvmclock_init());
}

TEST(kvmclock_goes_on_from_what_the_page_says)
{
    static const struct {
        int8_t shift;
        uint32_t mul;
        uint64_t cycles, ns;
    } rows[] = {
        {0, HALF, 0, 0},
        {0, HALF, 2000000000, 1000000000},
        {-1, HALF, 2000000000, 500000000},
        {-31, HALF, 1ULL << 62, 1ULL << 30},
        {1, HALF, 2000000000, 2000000000},
        {4, HALF, 100, 800},
        {0, UINT32_MAX, 1ULL << 32, UINT32_MAX},
        {0, HALF, (1ULL << 63) - 2, (1ULL << 62) - 1}, /* the product has more than 64 bits */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_up();
        fake.written.tsc_shift = rows[i].shift;
        fake.written.tsc_to_system_mul = rows[i].mul;
        fake.written.tsc_timestamp = 123456789;
        fake.written.system_time = 5000000000;
        CHECK(kvmclock_init());
        fake.tsc = 123456789 + rows[i].cycles;
        CHECK_EQ(kvmclock_ns(), 5000000000 + rows[i].ns);
    }
}

/* Between processors it may be a little behind: that is not hundreds of years ahead. */
TEST(kvmclock_stands_still_while_the_tsc_is_behind_the_pages)
{
    static const uint64_t behind[] = {1, 2, 1000, 5000000000, 1ULL << 63};

    for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++) {
        for (int8_t shift = -2; shift <= 2; shift++) {
            set_up();
            fake.written.tsc_shift = shift;
            fake.written.tsc_timestamp = 4000000000;
            fake.written.system_time = 5000000000;
            CHECK(kvmclock_init());
            fake.tsc = 4000000000 - behind[i]; /* across 0, too */
            CHECK_EQ(kvmclock_ns(), 5000000000);
            fake.tsc = 4000000000;
            CHECK_EQ(kvmclock_ns(), 5000000000);
        }
    }
}

/* As after a stop, or on another host. */
TEST(kvmclock_believes_the_page_as_it_is_now)
{
    set_up();
    CHECK(kvmclock_init());
    fake.tsc = 2000;
    CHECK_EQ(kvmclock_ns(), 1000);
    page = (struct time_info){.version = 6,
                              .tsc_timestamp = 1ULL << 40,
                              .system_time = 1001,
                              .tsc_to_system_mul = HALF,
                              .tsc_shift = 1};
    fake.tsc = (1ULL << 40) + 10;
    CHECK_EQ(kvmclock_ns(), 1011);
}

TEST(kvmclock_reads_again_what_kvm_has_written_meanwhile)
{
    for (unsigned updates = 0; updates < 4; updates++) {
        set_up();
        CHECK(kvmclock_init());
        fake.tsc = 10000000;
        fake.updates = updates;
        CHECK_EQ(kvmclock_ns(), 5000000 - updates * 500000 + updates * 7);
    }
}

TEST(kvmclock_knows_how_fast_the_tsc_is)
{
    static const struct {
        int8_t shift;
        uint32_t mul;
        uint64_t hz;
    } rows[] = {
        {0, HALF, 2000000000},       {-1, HALF, 4000000000},       {1, HALF, 1000000000},
        {3, HALF, 250000000},        {-1, 2863311531, 3000000000}, /* 3 GHz */
        {0, UINT32_MAX, 1000000000}, {-4, 1u << 31, 32000000000},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_up();
        fake.written.tsc_shift = rows[i].shift;
        fake.written.tsc_to_system_mul = rows[i].mul;
        CHECK(kvmclock_init());
        const uint64_t hz = kvmclock_tsc_hz();
        CHECK(hz >= rows[i].hz - 2 && hz <= rows[i].hz + 2);
    }
}

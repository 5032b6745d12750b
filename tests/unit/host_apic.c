/*
 * The local APIC on the host: the source compiled into this file, over registers that note what was
 * written to them. What an interrupt does then, the guest's tests see.
 */
#include "kernel/ring0/privileged.h"

#define cpu_cpuid(leaf, subleaf) fake_cpuid(leaf, subleaf) /* not the structure */
#define cpu_write_msr            fake_write_msr
#define read_msr                 fake_read_msr
#define read_device              fake_read_device
#define write_device             fake_write_device
#define halt_until_interrupt     fake_halt_until_interrupt
#define paging_map_own_device    vapic_paging_map_own_device
#define apic_start               vapic_start
#define apic_timer_count         vapic_timer_count
#define apic_sleep               vapic_sleep

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf);
static void fake_write_msr(uint32_t msr, uint64_t value);
static uint64_t fake_read_msr(uint32_t msr);
static uint32_t fake_read_device(uint64_t address);
static void fake_write_device(uint64_t address, uint32_t value);
static void fake_halt_until_interrupt(void);

#include "kernel/ring0/apic.c"

#include "tests/test.h"

enum { WRITES_MAX = 16, HALT = -1 };

static struct {
    uint32_t ecx, edx;
    uint64_t base;
    bool is_mappable;
    uint64_t mapped;
    unsigned maps;
    uint32_t id, count;
    /* In order. To a register: its number; to another MSR: that; HALT. */
    struct {
        int64_t where;
        uint64_t value;
    } writes[WRITES_MAX];
    unsigned count_of_writes;
} fake;

static void note(int64_t where, uint64_t value)
{
    if (fake.count_of_writes < WRITES_MAX) {
        fake.writes[fake.count_of_writes].where = where;
        fake.writes[fake.count_of_writes].value = value;
    }
    fake.count_of_writes++;
}

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    const bool is_1 = leaf == 1 && subleaf == 0;

    return (struct cpu_cpuid){.ecx = is_1 ? fake.ecx : 0, .edx = is_1 ? fake.edx : 0};
}

static void fake_write_msr(uint32_t msr, uint64_t value)
{
    if (msr == MSR_APIC_BASE)
        fake.base = value;
    /* Registers are MSRs of an x2APIC that is on. */
    note(msr >= 0x800 && msr < 0x840 && (fake.base & 0xc00) == 0xc00 ? msr - 0x800 : msr, value);
}

static uint64_t fake_read_msr(uint32_t msr)
{
    return msr == MSR_APIC_BASE ? fake.base : msr == MSR_X2APIC + REG_ID ? fake.id : 0;
}

static uint32_t fake_read_device(uint64_t address)
{
    return address == 0xfee00020 ? fake.id : address == 0xfee00390 ? fake.count : 0;
}

static void fake_write_device(uint64_t address, uint32_t value)
{
    note(address % 16 == 0 && fake.mapped == 0xfee00000 ? (int64_t)(address - fake.mapped) / 16
                                                        : (int64_t)address,
         value);
}

static void fake_halt_until_interrupt(void)
{
    note(HALT, 0);
}

bool vapic_paging_map_own_device(uint64_t address)
{
    fake.maps++;
    fake.mapped = fake.is_mappable ? address : 0;
    return fake.is_mappable;
}

static bool was_written(unsigned index, int64_t where, uint64_t value)
{
    return index < fake.count_of_writes && fake.writes[index].where == where &&
           fake.writes[index].value == value;
}

/* QEMU's emulator has neither x2APIC nor deadline, KVM both. */
static void set_up(bool x2apic, bool deadline)
{
    memset(&fake, 0, sizeof fake);
    fake.edx = 1u << 9;
    fake.ecx = (x2apic ? 1u << 21 : 0) | (deadline ? 1u << 24 : 0);
    fake.base = 0xfee00900;
    fake.is_mappable = true;
    fake.id = x2apic ? 7 : 7u << 24;
    started = is_x2apic = has_deadline = false;
}

static const uint32_t AWAKE = 0xff, ASLEEP = 0xef; /* task priorities */

TEST(apic_starts_with_registers_in_memory_and_a_counter)
{
    set_up(false, false);
    CHECK_EQ(apic_start(), 0x700000001);
    CHECK(fake.maps == 1 && fake.mapped == 0xfee00000);
    CHECK(was_written(0, 0x1b, 0xfee00900));
    CHECK(was_written(1, REG_SPURIOUS, 0x1ff));
    CHECK(was_written(2, REG_TASK_PRIORITY, AWAKE));
    CHECK(was_written(3, REG_LINT0, 0x10000));
    CHECK(was_written(4, REG_TIMER, 0xf0));
    CHECK(was_written(5, REG_DIVIDE, 0xb));
    CHECK(was_written(6, REG_COUNT_START, UINT32_MAX));
    CHECK_EQ(fake.count_of_writes, 7);
}

TEST(apic_starts_with_registers_that_are_msrs_and_a_deadline)
{
    set_up(true, true);
    fake.base = 0xfee00100; /* off */
    CHECK_EQ(apic_start(), 0x700000003);
    CHECK_EQ(fake.maps, 0);
    CHECK(was_written(0, 0x1b, 0xfee00900)); /* from off to x2APIC in one step is a fault */
    CHECK(was_written(1, 0x1b, 0xfee00d00));
    CHECK(was_written(2, REG_SPURIOUS, 0x1ff));
    CHECK(was_written(3, REG_TASK_PRIORITY, AWAKE));
    CHECK(was_written(4, REG_LINT0, 0x10000));
    CHECK(was_written(5, REG_TIMER, 0x400f0));
    CHECK_EQ(fake.count_of_writes, 6);
}

TEST(apic_does_not_start_where_there_is_none_at_its_place_or_ring_3_has_it)
{
    for (unsigned fault = 0; fault < 3; fault++) {
        uint64_t count;

        set_up(false, true);
        if (fault == 0)
            fake.edx = 0;
        else if (fault == 1)
            fake.base = 0xfed00900;
        else
            fake.is_mappable = false;
        CHECK_EQ(apic_start(), 0);
        CHECK_EQ(fake.count_of_writes, 0);
        CHECK(!apic_sleep(1));
        CHECK(!apic_timer_count(&count));
    }
}

TEST(apic_starts_once)
{
    set_up(true, false);
    CHECK_EQ(apic_start(), 0x700000001);
    CHECK_EQ(apic_start(), 0);
    CHECK(apic_sleep(1));
}

TEST(apic_tells_how_far_the_counter_has_come)
{
    uint64_t count = 5;

    set_up(false, false);
    (void)apic_start();
    fake.count = UINT32_MAX - 0x1234;
    CHECK(apic_timer_count(&count));
    CHECK_EQ(count, 0x1234);
    set_up(true, true);
    (void)apic_start();
    CHECK(!apic_timer_count(&count)); /* it has none */
}

/* Nothing gets through but between these two, and what got through is ended. */
static bool halts_between(unsigned first)
{
    return was_written(first, REG_TASK_PRIORITY, ASLEEP) && was_written(first + 1, HALT, 0) &&
           was_written(first + 2, REG_END_OF_INTERRUPT, 0) &&
           was_written(first + 3, REG_TASK_PRIORITY, AWAKE) && fake.count_of_writes == first + 4;
}

TEST(apic_sleeps_with_the_timer_set_first)
{
    for (unsigned x2apic = 0; x2apic < 2; x2apic++) {
        set_up(x2apic != 0, false);
        (void)apic_start();
        fake.count_of_writes = 0;
        CHECK(apic_sleep(0x500001234));
        CHECK(was_written(0, REG_COUNT_START, 0x1234));
        CHECK(halts_between(1));
        set_up(x2apic != 0, true);
        (void)apic_start();
        fake.count_of_writes = 0;
        CHECK(apic_sleep(0x500001234));
        CHECK(was_written(0, 0x6e0, 0x500001234));
        CHECK(halts_between(1));
    }
}

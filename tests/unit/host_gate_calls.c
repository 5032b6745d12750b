/* The calls of ring 0 on the host: what gets through the gate by WRMSR. */
#define VGATE(name) vgate_calls_##name

#include "tests/unit/fake_gate.h"
#include "tests/unit/random.h"

/* WRMSR; what ring 0 answered in RAX. -1: it is a trap. */
static int64_t call_of(uint64_t number, uint64_t first, uint64_t second)
{
    struct trap_frame frame = {.rcx = number, .rdi = first, .rsi = second, .rax = 0xdead};

    return SERVES("\x0f\x30", &frame) ? (int64_t)frame.rax : -1;
}

/* Of a port that is read and written, or neither. */
static bool is_open(uint16_t port, unsigned width)
{
    const bool is_read = may_use(port, width, IN);

    if (is_read != may_use(port, width, OUT))
        test_fail(__FILE__, __LINE__, "it is open both ways");
    return is_read;
}

TEST(gate_passes_calls_on_with_their_arguments_and_answers)
{
    CHECK(set_up());
    for (unsigned refuses = 0; refuses < 2; refuses++) {
        paging_refuses = refuses != 0;
        CHECK_EQ(call_of(RING0_USE_TABLES, 0x1000, 0x5000), !paging_refuses);
        CHECK(done.what == USE_TABLES && done.first == 0x1000 && done.second == 0x5000);
        CHECK_EQ(call_of(RING0_MAP_RAM, 0x6000, 1ULL << 40), !paging_refuses);
        CHECK(done.what == MAP && done.kind == PAGING_RAM);
        CHECK(done.first == 0x6000 && done.second == 1ULL << 40);
        CHECK_EQ(call_of(RING0_MAP_DEVICE, 0x7000, 0x8000), !paging_refuses);
        CHECK(done.what == MAP && done.kind == PAGING_DEVICE);
    }
    paging_refuses = false;
    CHECK_EQ(call_of(0xffffffff00000000 | RING0_MAP_RAM, 1, 2), 1); /* the number is in ECX */
}

TEST(gate_starts_the_apic_and_tells_its_timers_count_during_the_boot)
{
    CHECK(set_up());
    CHECK_EQ(call_of(RING0_TIMER_COUNT, 0, 0), -1);
    CHECK_EQ(call_of(RING0_START_APIC, 1, 2), 0x500000003);
    CHECK_EQ(done.what, START_APIC);
    apic_is_started = true;
    CHECK_EQ(call_of(RING0_TIMER_COUNT, 1, 2), 0x1234);
    CHECK_EQ(done.what, TIMER_COUNT);
    gate_seal();
    CHECK_EQ(call_of(RING0_START_APIC, 0, 0), -1);
    CHECK_EQ(call_of(RING0_TIMER_COUNT, 0, 0), -1);
}

TEST(gate_sleeps_before_and_after_the_end_of_the_boot_where_the_apic_was_started)
{
    CHECK(set_up());
    for (unsigned i = 0; i < 2; i++) {
        apic_is_started = false;
        CHECK_EQ(call_of(RING0_SLEEP, 1, 2), -1);
        apic_is_started = true;
        CHECK_EQ(call_of(RING0_SLEEP, 1ULL << 40, 2), 1);
        CHECK(done.what == SLEEP && done.first == 1ULL << 40);
        gate_seal();
    }
}

TEST(gate_does_no_call_when_the_boot_is_over_but_the_reset)
{
    CHECK(set_up());
    CHECK_EQ(call_of(RING0_SEAL, 0, 0), 1);
    CHECK_EQ(done.what, SEAL);
    CHECK_EQ(done.count, 1);
    CHECK(!is_open(0xcf8, 4) && is_open(0x3f8, 1));
    for (uint32_t number = RING0_USE_TABLES - 16; number < RING0_RESET; number++)
        CHECK_EQ(call_of(number, 1, 1), -1);
}

TEST(gate_answers_cpuid_in_the_four_registers)
{
    struct trap_frame frame = {.rcx = RING0_CPUID, .rdi = 0x940000001, .rax = ~0ULL, .rbx = ~0ULL};

    CHECK(set_up());
    CHECK(SERVES("\x0f\x30", &frame));
    CHECK(done.what == CPUID && done.first == 0x40000001 && done.second == 0);
    CHECK_EQ(frame.rax, 0xa0000001);
    CHECK_EQ(frame.rbx, 0xb0000002);
    CHECK_EQ(frame.rcx, 0xc0000003);
    CHECK_EQ(frame.rdx, 0xd0000004);
}

static bool resets(void)
{
    if (setjmp(after_reset) == 0) {
        (void)call_of(RING0_RESET, 0, 0);
        return false;
    }
    return done.what == RESET;
}

TEST(gate_resets_before_and_after_the_end_of_the_boot)
{
    CHECK(set_up());
    CHECK(resets());
    gate_seal();
    CHECK(resets());
    CHECK_EQ(done.count, 2);
}

/* ---- MSRs ---- */

static bool writes(uint32_t msr, uint64_t value)
{
    /* The processor takes ECX, EDX and EAX. */
    struct trap_frame frame = {.rcx = 0x1234567800000000 | msr,
                               .rax = 0x8765432100000000 | (uint32_t)value,
                               .rdx = 0x9999999900000000 | value >> 32};

    return SERVES("\x0f\x30", &frame) && done.what == WRITE_MSR && done.first == msr &&
           done.second == value;
}

TEST(gate_has_kvm_write_the_time_into_ring_3s_data_and_nowhere_else)
{
    const uint64_t start = (uint64_t)(uintptr_t)data, end = start + DATA_BYTES;
    const uint32_t msr = MSR_KVM_SYSTEM_TIME;

    CHECK(set_up());
    for (unsigned on = 0; on < 2; on++) {
        CHECK(writes(msr, start | on));
        CHECK(writes(msr, (end - 32) | on));
        CHECK(!writes(msr, (start - 2) | on));
        CHECK(!writes(msr, (end - 30) | on));
        CHECK(!writes(msr, end | on));
        CHECK(!writes(msr, (uint64_t)(uintptr_t)code | on));
        CHECK(!writes(msr, on));
        CHECK(!writes(msr, (UINT64_MAX - 1) | on));
        CHECK(!writes(msr, (start + (1ULL << 48)) | on));
    }
    gate_seal();
    CHECK(!writes(msr, start));
}

TEST(gate_writes_no_other_msr)
{
    static const uint32_t others[] = {
        0x10,       0x11,       0x12,       0x1b,       0x174,      0x176,      0x277,
        0x1d9,      0x6e0,      0x80b,      0x4b564cff, 0x4b564d00, 0x4b564d02, 0x4b564d03,
        0x4b564d04, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000100, 0xc0000101, 0xc0000102};

    CHECK(set_up());
    for (unsigned on = 0; on < 2; on++) {
        const uint64_t value = (uint64_t)(uintptr_t)data | on;

        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            CHECK(!writes(others[i], value));
        for (uint32_t msr = 0; msr < 0x20000; msr++)
            CHECK(!writes(msr, value) && !writes(0xc0000000 + msr, value));
        for (unsigned i = 0; i < 100000; i++) {
            const uint32_t msr = (uint32_t)random_next(&random_state);
            if (msr >> 8 != MSR_KVM_SYSTEM_TIME >> 8 && msr >> 8 != RING0_USE_TABLES >> 8)
                CHECK(!writes(msr, value));
        }
        for (uint32_t number = RING0_USE_TABLES - 256; number < RING0_USE_TABLES + 256; number++)
            CHECK((number >= RING0_USE_TABLES && number <= RING0_SEAL) ||
                  (number >= RING0_CPUID && number <= RING0_SLEEP) || call_of(number, 1, 1) == -1);
    }
}

/* ---- ports that ACPI names ---- */

TEST(gate_allows_more_ports_until_the_boot_is_over_or_for_good)
{
    CHECK(set_up());
    CHECK(!is_open(0x600, 1) && !is_open(0x608, 4));
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0x600, 2), 1);
    CHECK_EQ(call_of(RING0_ALLOW_BOOT_PORTS, 0x608, 4), 1);
    for (unsigned i = 0; i < 2; i++) {
        CHECK(is_open(0x600, 1) && is_open(0x601, 1) && is_open(0x600, 2));
        CHECK(!is_open(0x5ff, 1) && !is_open(0x5ff, 2) && !is_open(0x601, 2) && !is_open(0x602, 1));
        CHECK(!is_open(0x600, 4) && !is_open(0x607, 1) && !is_open(0x60c, 1) && !is_open(0x609, 4));
        CHECK_EQ(is_open(0x608, 4), !sealed);
        CHECK_EQ(is_open(0x60b, 1), !sealed);
        gate_seal();
    }
}

TEST(gate_allows_no_ports_that_are_none)
{
    CHECK(set_up());
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0x600, 0), 0);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0, 65537), 0);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0xffff, 2), 0);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0x10000, 1), 0);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0x10600, 2), 0); /* not cut to 16 bits */
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0x600, 0x100000002), 0);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, UINT64_MAX, 1), 0);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 1, UINT64_MAX), 0);
    CHECK_EQ(allowed_count, 0);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0xffff, 1), 1);
    CHECK(is_open(0xffff, 1) && !is_open(0xffff, 2) && !is_open(0xfffe, 2) && !is_open(0, 1));
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0, 65536), 1);
    CHECK(is_open(0, 1) && is_open(0x5ff, 2) && is_open(0xfffc, 4) && !is_open(0xfffd, 4));
}

TEST(gate_allows_eight_ranges_of_ports)
{
    CHECK(set_up());
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0x1000 + i, 1), 1);
    CHECK_EQ(call_of(RING0_ALLOW_PORTS, 0x1008, 1), 0);
    CHECK_EQ(call_of(RING0_ALLOW_BOOT_PORTS, 0x1008, 1), 0);
    CHECK(is_open(0x1000, 1) && is_open(0x1007, 1) && !is_open(0x1008, 1));
    CHECK(!is_open(0x1000, 2)); /* two ranges are not one */
}

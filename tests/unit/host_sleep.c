/* Sleep on the host: the source compiled into this file, over a ring 0 that notes its calls. */
#include "kernel/cpu/cpu.h"
#include "kernel/ring0/ring0.h"

#define ring0_ask(call, first, second)  fake_ring0(call, first) /* not the type */
#define ring0_call(call, first, second) (fake_ring0(call, first) != 0)
#define cpu_tsc                         fake_tsc
#define cpu_pause                       fake_pause
#define clock_ns                        vsleep_clock_ns
#define clock_tsc_cycles                vsleep_clock_tsc_cycles
#define log_line                        vsleep_log_line
#define sleep_init                      vsleep_init
#define sleep_is_possible               vsleep_is_possible
#define sleep_message                   vsleep_message
#define sleep_settle                    vsleep_settle
#define sleep_for                       vsleep_for

static uint64_t fake_ring0(enum ring0_call call, uint64_t first);
static uint64_t fake_tsc(void);
static void fake_pause(void);

#include "kernel/plat/sleep.c"

#include "tests/test.h"

static struct {
    uint64_t started; /* what RING0_START_APIC answers */
    uint64_t now_ns, counts;
    uint64_t timer; /* of the last sleep */
    unsigned sleeps, pauses, warnings;
} fake;

static uint64_t fake_ring0(enum ring0_call call, uint64_t first)
{
    if (call == RING0_START_APIC)
        return fake.started;
    if (call == RING0_TIMER_COUNT)
        return fake.counts;
    fake.timer = first;
    fake.sleeps += call == RING0_SLEEP;
    return 1;
}

static uint64_t fake_tsc(void)
{
    return 5000000000;
}

static void fake_pause(void)
{
    fake.pauses++;
    fake.now_ns += 10000;
}

uint64_t vsleep_clock_ns(void)
{
    return fake.now_ns;
}

uint64_t vsleep_clock_tsc_cycles(uint64_t ns)
{
    return 3 * ns;
}

void vsleep_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)subsystem;
    (void)format;
    fake.warnings += level == LOG_WARN;
}

static void set_up(uint64_t started)
{
    memset(&fake, 0, sizeof fake);
    memset(&sleep, 0, sizeof sleep);
    fake.started = started;
    fake.now_ns = 1000;
}

TEST(sleep_is_impossible_without_an_apic_or_beyond_what_a_message_reaches)
{
    static const uint64_t answers[] = {0, RING0_APIC_STARTED | 255ULL << 32,
                                       RING0_APIC_STARTED | 256ULL << 32};

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        set_up(answers[i]);
        CHECK(!sleep_init());
        CHECK(!sleep_is_possible());
        CHECK_EQ(fake.warnings, 1);
    }
}

TEST(sleep_tells_the_message_that_ends_it)
{
    set_up(RING0_APIC_STARTED | 254ULL << 32);
    CHECK(!sleep_is_possible());
    CHECK(sleep_init());
    CHECK(sleep_is_possible());
    CHECK_EQ(sleep_message().address, 0xfeefe000);
    CHECK_EQ(sleep_message().data, RING0_WAKE_VECTOR);
    CHECK_EQ(sleep_message().apic_id, 254);
    CHECK_EQ(fake.warnings, 0);
}

TEST(sleep_ends_at_the_tscs_deadline_where_there_is_one)
{
    set_up(RING0_APIC_STARTED | RING0_APIC_DEADLINE);
    CHECK(sleep_init());
    sleep_settle();
    CHECK_EQ(fake.pauses, 0);
    sleep_for(1000);
    CHECK_EQ(fake.timer, 5000003000);
    sleep_for(UINT64_MAX); /* no longer than is promised */
    CHECK_EQ(fake.timer, 5000000000 + 3 * (uint64_t)SLEEP_NS_MAX);
    CHECK_EQ(fake.sleeps, 2);
}

TEST(sleep_measures_the_counter_against_the_clock)
{
    set_up(RING0_APIC_STARTED);
    CHECK(sleep_init());
    fake.now_ns += 5000000;
    fake.counts = 10000000; /* two each ns */
    sleep_settle();
    CHECK_EQ(fake.pauses, 0);
    sleep_for(1000);
    CHECK_EQ(fake.timer, 2001);
    sleep_for(UINT64_MAX);
    CHECK_EQ(fake.timer, 2 * (uint64_t)SLEEP_NS_MAX + 1);
    sleep_for(0);
    CHECK_EQ(fake.timer, 1); /* 0 would be no timer */
}

TEST(sleep_waits_until_there_is_something_to_measure)
{
    set_up(RING0_APIC_STARTED);
    CHECK(sleep_init());
    fake.now_ns += 150000;
    sleep_settle();
    CHECK_EQ(fake.pauses, 5);
}

/* A host that stopped the machine: the counter stands at its end. A counter that races. */
TEST(sleep_is_bounded_whatever_the_counter_says)
{
    set_up(RING0_APIC_STARTED);
    CHECK(sleep_init());
    fake.now_ns += 200000;
    fake.counts = UINT32_MAX;
    sleep_settle();
    sleep_for(SLEEP_NS_MAX);
    CHECK_EQ(fake.timer, UINT32_MAX);
    fake.counts = 0;
    sleep_settle();
    sleep_for(SLEEP_NS_MAX);
    CHECK_EQ(fake.timer, 1);
}

/* Sleep on the real local APIC: that its timer ends it, and that nothing else of it is ring 3's. */
#include "kernel/plat/sleep.h"

#include "kernel/ring0/ring0.h"
#include "kernel/time/clock.h"
#include "kernel/time/rtc.h"
#include "tests/guest/probe.h"
#include "tests/test.h"

static bool can_sleep(void)
{
    static bool is_settled;

    if (!sleep_is_possible() && !sleep_init())
        return false;
    if (!is_settled)
        sleep_settle();
    is_settled = true;
    return true;
}

/* Returns in how many sleeps. */
static unsigned sleep_until(uint64_t end_ns)
{
    unsigned sleeps = 0;

    for (uint64_t now_ns; (now_ns = clock_ns()) < end_ns; sleeps++)
        sleep_for(end_ns - now_ns);
    return sleeps;
}

/* Without a timer the first would not end; if it did not halt there would be tens of thousands. */
TEST(sleep_is_ended_by_the_timer)
{
    CHECK(can_sleep());
    const unsigned sleeps = sleep_until(clock_ns() + 200 * CLOCK_NS_PER_MS);
    CHECK(sleeps >= 1 && sleeps < 2000);
}

TEST(sleep_leaves_the_clock_right)
{
    int64_t before_s, after_s;

    if (!rtc_read(0, &before_s)) {
        test_print("sleep_leaves_the_clock_right: this machine has no RTC, nothing was compared");
        return;
    }
    CHECK(can_sleep());
    const uint64_t before_ns = clock_ns();
    (void)sleep_until(before_ns + 2 * CLOCK_NS_PER_S);
    CHECK(rtc_read(0, &after_s));
    const int64_t passed_s = (int64_t)((clock_ns() - before_ns) / CLOCK_NS_PER_S);
    CHECK(after_s - before_s >= passed_s - 1 && after_s - before_s <= passed_s + 1);
}

/* Not mapped with an x2APIC, for nothing is there. */
TEST(sleep_keeps_the_local_apic_from_ring_3)
{
    static const uint64_t offsets[] = {0x20, 0x80, 0x300, 0x380};

    CHECK(can_sleep());
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        void *const address = (void *)(uintptr_t)(0xfee00000 + offsets[i]);
        CHECK(trap_probe(read_byte, address, &trap) && trap.vector == TRAP_PAGE_FAULT);
        CHECK(trap_probe(write_byte, address, &trap) && trap.vector == TRAP_PAGE_FAULT);
    }
    CHECK_EQ(ring0_ask(RING0_START_APIC, 0, 0), 0); /* a second time */
}

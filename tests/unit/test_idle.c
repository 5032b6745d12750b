/* When to sleep, and in which order: over a machine whose events come at any point of it. */
#include "app/idle.h"
#include "tests/test.h"

#define US 1000u

/* A device with one event at most, which comes at a step of the way to sleep. */
enum step { NEVER, BEFORE_ARM, BEFORE_LOOK, BEFORE_SLEEP, IN_SLEEP };

static struct {
    enum step comes;
    bool has_interrupts;
    bool armed, is_there, interrupt;
    bool is_lost; /* it slept although there was something, and nothing to end it */
    unsigned arms, disarms, sleeps;
    uint64_t now_ns, slept_ns;
} device;

static void reach(enum step step)
{
    if (device.comes != step)
        return;
    device.is_there = true;
    device.interrupt = device.armed;
}

static bool arm(void)
{
    reach(BEFORE_ARM);
    if (!device.has_interrupts)
        return false;
    device.arms++;
    device.armed = true;
    reach(BEFORE_LOOK);
    return true;
}

static bool is_quiet(void)
{
    return !device.is_there;
}

static bool is_always_quiet(void)
{
    return true;
}

static void sleep_so_long(uint64_t ns)
{
    reach(BEFORE_SLEEP);
    device.is_lost = device.is_there && !device.interrupt;
    if (!device.interrupt)
        reach(IN_SLEEP);
    device.sleeps++;
    device.slept_ns = ns;
    device.now_ns += 5;
}

static void disarm(void)
{
    device.disarms++;
    device.armed = false;
}

static uint64_t now_ns(void)
{
    return device.now_ns;
}

static const struct idle_machine machine = {arm, is_quiet, sleep_so_long, disarm, now_ns};

static void set_up(const struct idle_machine *with)
{
    memset(&device, 0, sizeof device);
    device.has_interrupts = true;
    idle_init(with);
}

/* Long after the last work. */
static bool sleeps(void)
{
    device.now_ns = 10000 * US;
    return idle_turn(device.now_ns, 0, UINT64_MAX);
}

/* ---- the order ---- */

TEST(idle_loses_no_event_whenever_it_comes)
{
    for (enum step step = NEVER; step <= IN_SLEEP; step++) {
        const bool is_seen_before = step == BEFORE_ARM || step == BEFORE_LOOK;

        set_up(&machine);
        device.comes = step;
        CHECK_EQ(sleeps(), !is_seen_before);
        CHECK(!device.is_lost);
        CHECK_EQ(device.sleeps, is_seen_before ? 0 : 1);
        CHECK_EQ(idle_sleeps(), device.sleeps);
        CHECK(!device.armed && device.arms == 1 && device.disarms == 1);
    }
}

/* What the test above is worth: a machine that does not look once more loses one. */
TEST(idle_would_lose_an_event_without_the_last_look)
{
    struct idle_machine blind = machine;

    blind.is_quiet = is_always_quiet;
    set_up(&blind);
    device.comes = BEFORE_ARM;
    CHECK(sleeps());
    CHECK(device.is_lost);
}

TEST(idle_never_sleeps_on_devices_without_interrupts)
{
    set_up(&machine);
    device.has_interrupts = false;
    CHECK(!sleeps());
    CHECK(device.sleeps == 0 && device.disarms == 0);
}

TEST(idle_sleeps_no_longer_than_until_something_is_due)
{
    set_up(&machine);
    CHECK(idle_turn(10000 * US, 0, 10001 * US));
    CHECK_EQ(device.slept_ns, US);
    CHECK(!idle_turn(10000 * US, 0, 10000 * US));
    CHECK(!idle_turn(10000 * US, 0, 0));
    CHECK_EQ(device.sleeps, 1);
}

/* ---- how long to poll ---- */

/* Work was over at worked_ns: the first of its turns that sleeps, in steps of 10 us after that. */
static uint64_t polls_for(uint64_t worked_ns)
{
    for (uint64_t ns = 0; ns <= 1000 * US; ns += 10 * US) {
        device.now_ns = worked_ns + ns;
        if (idle_turn(device.now_ns, worked_ns, UINT64_MAX))
            return ns;
    }
    return UINT64_MAX;
}

/* Work comes `pause_ns` after the last was over, and takes a while. Returns the end of it. */
static uint64_t work_after(uint64_t worked_ns, uint64_t pause_ns)
{
    (void)idle_turn(worked_ns + pause_ns, worked_ns, 0);
    return worked_ns + pause_ns + 30 * US;
}

TEST(idle_polls_at_first_for_as_long_as_it_ever_does)
{
    set_up(&machine);
    CHECK_EQ(polls_for(1000000 * US), IDLE_POLL_NS_MAX);
}

TEST(idle_polls_less_after_each_long_pause_down_to_not_at_all)
{
    static const uint64_t expected[] = {100 * US, 50 * US, 0, 0};
    uint64_t worked_ns = 1000 * US;

    set_up(&machine);
    (void)idle_turn(worked_ns, worked_ns, 0);
    for (unsigned i = 0; i < 4; i++) {
        worked_ns = work_after(worked_ns, 300 * US);
        CHECK_EQ(polls_for(worked_ns), expected[i]);
    }
}

TEST(idle_polls_longer_when_work_comes_soon_after_it_has_stopped_to)
{
    static const uint64_t expected[] = {50 * US, 100 * US, 200 * US, 200 * US};
    uint64_t worked_ns = 1000 * US;

    set_up(&machine);
    (void)idle_turn(worked_ns, worked_ns, 0);
    for (unsigned i = 0; i < 4; i++)
        worked_ns = work_after(worked_ns, 300 * US);
    for (unsigned i = 0; i < 4; i++) {
        worked_ns = work_after(worked_ns, 190 * US);
        CHECK_EQ(polls_for(worked_ns), expected[i]);
    }
}

TEST(idle_polls_as_long_as_before_when_that_was_long_enough)
{
    uint64_t worked_ns = 1000 * US;

    set_up(&machine);
    (void)idle_turn(worked_ns, worked_ns, 0);
    worked_ns = work_after(worked_ns, 300 * US);
    for (unsigned i = 0; i < 4; i++)
        worked_ns = work_after(worked_ns, 90 * US);
    CHECK_EQ(polls_for(worked_ns), 100 * US);
}

/* A sleep is part of the pause. */
TEST(idle_reckons_a_sleep_to_the_pause)
{
    set_up(&machine);
    (void)idle_turn(1000 * US, 1000 * US, 0);
    device.now_ns = 1200 * US - 5; /* when it wakes up */
    CHECK(idle_turn(1200 * US, 1000 * US, UINT64_MAX));
    CHECK_EQ(polls_for(2000 * US), 200 * US); /* exactly so long is not over it */
    device.now_ns = 2301 * US;
    CHECK(idle_turn(2200 * US, 2000 * US, UINT64_MAX));
    CHECK_EQ(polls_for(3000 * US), 100 * US);
}

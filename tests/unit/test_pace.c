#include "app/pace.h"

#include "tests/test.h"

#define MS     1000000ULL
#define SECOND (1000 * MS)
#define IDLE   (10 * MS)

static struct pace pace;

/* Looks taken in a second, asked every `step_ns`, with work before each n-th call (0: never). */
static unsigned looks_in_a_second(uint64_t start_ns, uint64_t step_ns, unsigned work_every)
{
    unsigned looks = 0, call = 0;

    for (uint64_t at_ns = 0; at_ns < SECOND; at_ns += step_ns, call++) {
        const bool worked = work_every != 0 && call % work_every == 0;
        looks += pace_is_due(&pace, worked, start_ns + at_ns);
    }
    return looks;
}

TEST(without_work_a_device_is_looked_at_at_the_idle_pace_however_often_one_asks)
{
    pace = (struct pace){.idle_ns = IDLE};
    CHECK_EQ(looks_in_a_second(SECOND, MS, 0), 100);
    CHECK_EQ(looks_in_a_second(2 * SECOND, IDLE, 0), 100);
    CHECK_EQ(looks_in_a_second(3 * SECOND, 2 * IDLE, 0), 50);
}

TEST(under_load_a_device_is_looked_at_once_a_second)
{
    pace = (struct pace){.idle_ns = IDLE};
    for (unsigned second = 1; second < 100; second++) {
        const unsigned looks = looks_in_a_second(second * SECOND, IDLE, 1);
        CHECK_EQ(looks, 1);
    }
}

/* Work in every tenth of the idle intervals: in the nine others nobody waits. */
TEST(a_light_load_leaves_the_intervals_without_work_to_looks)
{
    pace = (struct pace){.idle_ns = IDLE};
    (void)pace_is_due(&pace, false, SECOND - IDLE);
    CHECK_EQ(looks_in_a_second(SECOND, IDLE, 10), 90);
}

TEST(work_counts_though_the_last_call_of_an_interval_saw_none)
{
    pace = (struct pace){.idle_ns = IDLE};
    CHECK(pace_is_due(&pace, false, SECOND));
    CHECK(!pace_is_due(&pace, true, SECOND + 1));
    CHECK(!pace_is_due(&pace, false, SECOND + IDLE));
    CHECK(pace_is_due(&pace, false, SECOND + 2 * IDLE));
}

/* Whatever the work is like, and however far apart the calls are. */
TEST(a_look_is_never_late_by_more_than_an_interval_and_a_call)
{
    for (uint64_t step_ns = MS; step_ns < 50 * MS; step_ns += MS) {
        for (unsigned work_every = 1; work_every < 4; work_every++) {
            uint64_t now_ns = SECOND, looked_ns = SECOND;
            pace = (struct pace){.idle_ns = IDLE};
            (void)pace_is_due(&pace, false, now_ns);
            for (unsigned call = 0; call < 300; call++) {
                now_ns += step_ns;
                if (!pace_is_due(&pace, call % work_every == 0, now_ns))
                    continue;
                CHECK(now_ns - looked_ns <= PACE_BUSY_NS + IDLE + step_ns);
                looked_ns = now_ns;
            }
            CHECK(now_ns - looked_ns <= PACE_BUSY_NS + IDLE + step_ns);
        }
    }
}

TEST(after_a_pause_of_the_machine_the_next_call_is_due)
{
    pace = (struct pace){.idle_ns = IDLE};
    CHECK(pace_is_due(&pace, true, SECOND));
    CHECK(pace_is_due(&pace, true, 3600 * SECOND));
    CHECK(!pace_is_due(&pace, true, 3600 * SECOND + IDLE));
}

#include "app/shortage.h"

#include "tests/test.h"

#define QUIET SHORTAGE_QUIET_NS

static struct shortage shortage;

static void start(void)
{
    shortage = (struct shortage){0};
}

TEST(a_shortage_begins_with_the_first_who_goes_without_and_ends_when_nobody_did_for_a_while)
{
    start();
    CHECK_EQ(shortage_look(&shortage, 0, 5), SHORTAGE_SAME);
    CHECK_EQ(shortage_look(&shortage, 0, 5 + 3 * QUIET), SHORTAGE_SAME);
    const uint64_t begun = 6 + 3 * QUIET;
    CHECK_EQ(shortage_look(&shortage, 1, begun), SHORTAGE_BEGAN);
    CHECK_EQ(shortage_look(&shortage, 1, begun + 1), SHORTAGE_SAME);
    CHECK_EQ(shortage_look(&shortage, 40, begun + 2), SHORTAGE_SAME);
    CHECK_EQ(shortage_look(&shortage, 40, begun + 1 + QUIET), SHORTAGE_SAME);
    CHECK_EQ(shortage_look(&shortage, 40, begun + 2 + QUIET), SHORTAGE_ENDED);
    CHECK_EQ(shortage_extent(&shortage), 40);
    CHECK_EQ(shortage_look(&shortage, 40, begun + 3 + QUIET), SHORTAGE_SAME);
    CHECK_EQ(shortage_look(&shortage, 40, begun + 9 * QUIET), SHORTAGE_SAME);
}

TEST(a_shortage_that_comes_back_is_told_again_and_counted_anew)
{
    start();
    CHECK_EQ(shortage_look(&shortage, 7, 0), SHORTAGE_BEGAN);
    CHECK_EQ(shortage_look(&shortage, 7, QUIET), SHORTAGE_ENDED);
    CHECK_EQ(shortage_extent(&shortage), 7);
    CHECK_EQ(shortage_look(&shortage, 9, QUIET + 1), SHORTAGE_BEGAN);
    CHECK_EQ(shortage_extent(&shortage), 2);
    CHECK_EQ(shortage_look(&shortage, 10, QUIET + 2), SHORTAGE_SAME);
    CHECK_EQ(shortage_look(&shortage, 10, 2 * QUIET + 2), SHORTAGE_ENDED);
    CHECK_EQ(shortage_extent(&shortage), 3);
}

/* Looked at ten times a second for an hour, whatever the pace: two lines in ten seconds at most. */
TEST(a_shortage_that_flaps_is_not_told_all_the_time)
{
    for (unsigned pace = 1; pace < 250; pace++) {
        unsigned told = 0;
        start();
        for (unsigned look = 0; look < 36000; look++)
            told +=
                shortage_look(&shortage, look / pace, look * (uint64_t)100000000) != SHORTAGE_SAME;
        CHECK(told <= 2 * 360);
        if (pace < 100)
            CHECK_EQ(told, 1);
    }
}

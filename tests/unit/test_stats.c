#include "app/aggregate/stats.h"

#include <float.h>
#include <stdalign.h>

#include "tests/test.h"

static alignas(64) uint8_t memory[64 << 10];
static struct stats stats;

static void start(uint64_t users_max)
{
    const struct siphash_key key = {1, 2};
    stats_init(&stats, users_init(memory, sizeof memory, users_max, &key));
}

static bool add(const char *user_id, double value)
{
    const struct event event = {
        .user_id = (const uint8_t *)user_id, .user_id_len = strlen(user_id), .value = value};
    return stats_add(&stats, &event);
}

static bool prints(const char *expected)
{
    char text[STATS_TEXT_BYTES_MAX];
    const size_t len = stats_print(&stats, text);
    const bool same = len == strlen(expected) && memcmp(text, expected, len) == 0;
    if (!same)
        test_print("got %.*s", (int)len, text);
    return same;
}

TEST(stats_of_nothing_are_zeros)
{
    start(10);
    CHECK(prints("{\"totalRequests\":0,\"uniqueUsers\":0,\"sum\":0.0,\"avg\":0.0}"));
}

TEST(stats_count_events_users_and_sum)
{
    start(10);
    CHECK(add("user_1", 42.5));
    CHECK(add("user_2", 1));
    CHECK(add("user_1", -0.25));
    CHECK(
        prints("{\"totalRequests\":3,\"uniqueUsers\":2,\"sum\":43.25,\"avg\":14.416666666666666}"));
}

TEST(stats_print_the_challenges_result)
{
    start(10);
    for (unsigned i = 0; i < 100000; i++)
        CHECK(add("user", i % 1000));
    CHECK(prints("{\"totalRequests\":100000,\"uniqueUsers\":1,\"sum\":49950000.0,\"avg\":499.5}"));
}

TEST(stats_stay_finite)
{
    start(10);
    CHECK(add("a", DBL_MAX));
    CHECK(add("a", DBL_MAX));
    CHECK(prints("{\"totalRequests\":2,\"uniqueUsers\":1,\"sum\":1.7976931348623157e+308,"
                 "\"avg\":1.7976931348623157e+308}"));
    CHECK(add("a", -DBL_MAX));
    CHECK(add("a", -DBL_MAX));
    CHECK(add("b", 0.5));
    CHECK(prints("{\"totalRequests\":5,\"uniqueUsers\":2,\"sum\":0.5,\"avg\":0.1}"));
}

TEST(stats_count_nothing_of_an_event_that_finds_no_room)
{
    start(2);
    CHECK(add("a", 1));
    CHECK(add("b", 2));
    CHECK(!add("c", 4));
    CHECK(add("a", 8));
    CHECK(
        prints("{\"totalRequests\":3,\"uniqueUsers\":2,\"sum\":11.0,\"avg\":3.6666666666666665}"));
}

TEST(stats_text_fits_at_its_longest)
{
    start(2);
    CHECK(add("a", -DBL_MIN * 1.2345678901234567));
    stats.count = UINT64_MAX;
    char text[STATS_TEXT_BYTES_MAX];
    CHECK(stats_print(&stats, text) + 24 < sizeof text); /* 24: users, were there as many */
}

TEST(stats_print_a_snapshot_as_what_it_is_of)
{
    start(10);
    CHECK(add("user_1", 42.5));
    CHECK(add("user_2", 1));
    const struct stats_snapshot snapshot = {stats.count, users_count(stats.users), stats.sum};
    char text[STATS_TEXT_BYTES_MAX], later[STATS_TEXT_BYTES_MAX];
    const size_t len = stats_print(&stats, text);
    CHECK(add("user_3", 1));
    CHECK_EQ(stats_print_snapshot(&snapshot, later), len);
    CHECK(memcmp(text, later, len) == 0);
}

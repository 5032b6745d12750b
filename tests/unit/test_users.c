#include "app/aggregate/users.h"

#include <stdalign.h>

#include "tests/test.h"

/* As much as the challenge's 75,000 users need with ids of 10 bytes, and some more. */
#define ARENA_BYTES (3u << 20)

static alignas(64) uint8_t memory[ARENA_BYTES];
static const struct siphash_key key = {0x0123456789abcdef, 0xfedcba9876543210};

static struct users *make(size_t bytes, uint64_t users_max)
{
    memset(memory, 0xa5, sizeof memory); /* users_init() MUST NOT need zeros */
    return users_init(memory, bytes, users_max, &key);
}

/* An id of `len` bytes (at least 4) that differs for each number below 2^32, zeros among them. */
static const uint8_t *id_of(uint32_t number, size_t len)
{
    static uint8_t id[USERS_ID_BYTES_MAX];
    memset(id, 'x', sizeof id);
    for (unsigned i = 0; i < 4; i++)
        id[len - 1 - i] = (uint8_t)(number >> 8 * i);
    return id;
}

static bool all_known(struct users *users, uint32_t count, size_t len)
{
    for (uint32_t i = 0; i < count; i++)
        if (users_insert(users, id_of(i, len), len) != USERS_KNOWN)
            return false;
    return true;
}

/* Returns how many of that length fitted. */
static uint32_t insert_until_full(struct users *users, size_t len)
{
    uint32_t count = 0;
    while (users_insert(users, id_of(count, len), len) == USERS_ADDED)
        count++;
    return count;
}

/* Nothing was written behind the memory given. */
static void check_behind(size_t bytes)
{
    for (size_t i = 0; i < 64; i++)
        CHECK_EQ(memory[bytes + i], 0xa5);
}

TEST(users_tell_known_from_new)
{
    struct users *const users = make(sizeof memory, 10);
    CHECK_EQ(users_insert(users, (const uint8_t *)"user_42", 7), USERS_ADDED);
    CHECK_EQ(users_insert(users, (const uint8_t *)"user_42", 7), USERS_KNOWN);
    CHECK_EQ(users_insert(users, (const uint8_t *)"user_43", 7), USERS_ADDED);
    CHECK_EQ(users_count(users), 2);
    CHECK_EQ(users_limit(users), 10);
}

TEST(users_compare_whole_ids_byte_for_byte)
{
    static const char text[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    struct users *const users = make(sizeof memory, 10000);
    uint64_t count = 0;
    for (size_t len = 1; len < sizeof text; len++) {
        uint8_t id[sizeof text];
        memcpy(id, text, len);
        CHECK_EQ(users_insert(users, id, len), USERS_ADDED); /* a prefix is another id */
        for (size_t at = 0; at < len; at++) {
            id[at] ^= 0x20;
            CHECK_EQ(users_insert(users, id, len), USERS_ADDED);
            CHECK_EQ(users_insert(users, id, len), USERS_KNOWN);
            id[at] ^= 0x20;
        }
        count += 1 + len;
        CHECK_EQ(users_insert(users, id, len), USERS_KNOWN);
    }
    CHECK_EQ(users_count(users), count);
}

/* Found by search for this file's key: equal in all 32 bits that a slot holds. */
TEST(users_with_the_same_hash_are_told_apart)
{
    static const struct {
        const char *one, *other;
    } pairs[] = {
        {"user_055255", "user_005538"},
        {"p0409", "p040915517"},
        /* of every length that is compared in another way, differing early and late */
        {"user5on", "user1wg"},
        {"ZEf_end", "q1;_end"},
        {"nn31", "tn30"},
        {"sCI", "sT="},
    };
    struct users *const users = make(sizeof memory, 20);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const uint8_t *const one = (const uint8_t *)pairs[i].one;
        const uint8_t *const other = (const uint8_t *)pairs[i].other;
        const size_t one_len = strlen(pairs[i].one), other_len = strlen(pairs[i].other);
        CHECK((uint32_t)siphash13(&key, one, one_len) ==
              (uint32_t)siphash13(&key, other, other_len));
        CHECK_EQ(users_insert(users, other, other_len), USERS_ADDED);
        CHECK_EQ(users_insert(users, one, one_len), USERS_ADDED);
        CHECK_EQ(users_insert(users, other, other_len), USERS_KNOWN);
        CHECK_EQ(users_insert(users, one, one_len), USERS_KNOWN);
    }
    CHECK_EQ(users_count(users), 2 * sizeof pairs / sizeof pairs[0]);
}

TEST(users_may_hold_zeros_and_be_1024_bytes_long)
{
    static const uint8_t zeros[USERS_ID_BYTES_MAX];
    struct users *const users = make(sizeof memory, USERS_ID_BYTES_MAX);
    for (size_t len = 1; len <= USERS_ID_BYTES_MAX; len++)
        CHECK_EQ(users_insert(users, zeros, len), USERS_ADDED);
    for (size_t len = 1; len <= USERS_ID_BYTES_MAX; len++)
        CHECK_EQ(users_insert(users, zeros, len), USERS_KNOWN);
    CHECK_EQ(users_count(users), USERS_ID_BYTES_MAX);
}

/* The challenge's: every user there is looked for at every size that the table goes through. */
TEST(users_stay_known_at_every_stage_of_growth)
{
    const uint32_t users_max = 75000;
    const size_t len = 10;
    CHECK(users_memory_bytes(users_max, len) <= sizeof memory);
    struct users *const users = make(users_memory_bytes(users_max, len), users_max);
    uint32_t random = 1;
    for (uint32_t i = 0; i < users_max; i++) {
        CHECK_EQ(users_insert(users, id_of(i, len), len), USERS_ADDED);
        CHECK_EQ(users_count(users), i + 1);
        for (unsigned probe = 0; probe < 4; probe++) {
            random = random * 1664525u + 1013904223u;
            CHECK_EQ(users_insert(users, id_of(random % (i + 1), len), len), USERS_KNOWN);
        }
        if (i % 5000 == 0)
            CHECK(all_known(users, i + 1, len));
    }
    CHECK(all_known(users, users_max, len));
    CHECK_EQ(users_count(users), users_max);
}

TEST(users_memory_holds_what_was_promised_and_the_next_is_full)
{
    static const struct {
        uint32_t users_max;
        size_t id_bytes;
    } cases[] = {
        {1, 4},      {1, 1024},  {2, 7},       {639, 4},    {640, 4},    {641, 4},
        {1279, 12},  {1280, 12}, {1281, 12},   {2560, 30},  {2561, 30},  {5120, 100},
        {10240, 64}, {10241, 9}, {1000, 1024}, {40960, 16}, {40961, 16}, {75000, 10},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        const uint32_t users_max = cases[n].users_max;
        const size_t len = cases[n].id_bytes;
        const size_t bytes = users_memory_bytes(users_max, len);
        CHECK(bytes <= sizeof memory - 64);
        struct users *const users = make(bytes, users_max);
        for (uint32_t i = 0; i < users_max; i++) {
            CHECK_EQ(users_insert(users, id_of(i, len), len), USERS_ADDED);
            CHECK(users_memory_used(users) <= users_memory_limit(users));
        }
        CHECK_EQ(users_insert(users, id_of(users_max, len), len), USERS_FULL);
        CHECK_EQ(users_count(users), users_max);
        CHECK_EQ(users_memory_limit(users), bytes);
        CHECK(all_known(users, users_max, len));
        check_behind(bytes);
    }
}

/* The promise is about the average, in whatever order short and long ids come. */
TEST(users_memory_holds_long_ids_that_come_first)
{
    const uint32_t users_max = 8000;
    const size_t bytes = users_memory_bytes(users_max, 104);
    struct users *const users = make(bytes, users_max);
    for (uint32_t i = 0; i < users_max; i++) {
        const size_t len = i < users_max / 2 ? 204 : 4;
        CHECK_EQ(users_insert(users, id_of(i, len), len), USERS_ADDED);
    }
    CHECK_EQ(users_count(users), users_max);
}

TEST(users_take_no_more_memory_than_offsets_reach)
{
    const uint64_t arena = 1ull << 32, table = 1ull << 29; /* slots that hold USERS_MAX ids */
    struct users *const users = make((size_t)64 << 30, USERS_MAX); /* only its start is touched */
    CHECK_EQ(users_memory_limit(users), arena + table * 12);
}

/* Half as much again as was promised: the last table's region lies behind the ids. */
TEST(users_have_the_last_table_s_memory_when_it_has_been_moved)
{
    const uint32_t users_max = 20000;
    const size_t bytes = users_memory_bytes(users_max, 10);
    struct users *const users = make(bytes, users_max);
    for (uint32_t i = 0; i < users_max; i++)
        CHECK_EQ(users_insert(users, id_of(i, 16), 16), USERS_ADDED);
    CHECK(all_known(users, users_max, 16));
    check_behind(bytes);
}

TEST(users_full_of_memory_still_know_those_they_have)
{
    const size_t bytes = users_memory_bytes(20000, 10);
    struct users *const users = make(bytes, 20000);
    const uint32_t count = insert_until_full(users, 300);
    CHECK(count > 0 && count < 20000);
    CHECK_EQ(users_count(users), count);
    CHECK_EQ(users_insert(users, id_of(count, 300), 300), USERS_FULL);
    CHECK_EQ(users_insert(users, id_of(count, 4), 4), USERS_ADDED); /* a short one still fits */
    CHECK(all_known(users, count, 300));
    CHECK(users_memory_used(users) <= bytes);
    check_behind(bytes);
}

/* All memory is used, to the last byte that holds an id, and none behind it. */
TEST(users_fill_their_memory_exactly)
{
    const size_t bytes = users_memory_bytes(600, 10);
    struct users *const users = make(bytes, 640);
    uint32_t number = 0;
    for (size_t len = 500; len >= 4; len--)
        while (users_insert(users, id_of(number, len), len) == USERS_ADDED)
            number++;
    CHECK(users_memory_used(users) <= bytes);
    /* An id of 4 bytes takes 6. */
    CHECK(users_memory_used(users) > bytes - 6);
}

TEST(users_noted_are_in_the_set_whatever_is_asked_of_it)
{
    struct users *const users = make(sizeof memory, 10000);
    size_t used = users_memory_used(users);
    for (uint32_t i = 0; i < 100; i++) {
        const size_t len = 4 + i % 20; /* some are looked up at once, some later */
        CHECK(users_note(users, id_of(i, len), len));
        CHECK(users_note(users, id_of(i, len), len));
        if (i % 7 == 0)
            CHECK_EQ(users_count(users), i + 1);
        used += 2 + len;
        if (i % 11 == 0)
            CHECK_EQ(users_memory_used(users), used);
        if (i % 13 == 0)
            CHECK_EQ(users_insert(users, id_of(i, len), len), USERS_KNOWN);
    }
    CHECK_EQ(users_count(users), 100);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(users_insert(users, id_of(i, 4 + i % 20), 4 + i % 20), USERS_KNOWN);
}

/* With a table of any size and at any stage of growth; nobody asks meanwhile, so all is late. */
TEST(users_noted_fill_the_set_and_the_next_is_refused)
{
    static const uint32_t cases[] = {1,   15,  16,   17,   18,   639,   640,
                                     641, 656, 1279, 1281, 2561, 40961, 75000};
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        const uint32_t users_max = cases[n];
        const size_t len = n % 2 == 0 ? 8 : 16;
        const size_t bytes = users_memory_bytes(users_max, len);
        CHECK(bytes <= sizeof memory - 64);
        struct users *const users = make(bytes, users_max);
        for (uint32_t i = 0; i < users_max; i++) {
            CHECK(users_note(users, id_of(i, len), len));
            CHECK(users_note(users, id_of(i / 2, len), len));
        }
        CHECK(!users_note(users, id_of(users_max, len), len));
        CHECK(users_note(users, id_of(users_max - 1, len), len));
        CHECK_EQ(users_count(users), users_max);
        CHECK(all_known(users, users_max, len));
        check_behind(bytes);
    }
}

/* However many were noted before, all new: notes end at the very id that there is no room for. */
static void check_last_noted(size_t bytes, uint32_t users_max, uint32_t fit)
{
    const size_t len = 16;
    for (uint32_t inserted = 0; inserted < 17; inserted++) {
        struct users *const users = make(bytes, users_max);
        uint32_t count = 0;
        for (; count < inserted; count++)
            CHECK_EQ(users_insert(users, id_of(count, len), len), USERS_ADDED);
        while (users_note(users, id_of(count, len), len))
            count++;
        CHECK_EQ(count, fit);
        CHECK_EQ(users_count(users), fit);
        CHECK(all_known(users, fit, len));
        check_behind(bytes);
    }
}

TEST(users_are_noted_up_to_the_last_that_may_be_there)
{
    check_last_noted(users_memory_bytes(700, 16) + 1024, 700, 700);
}

TEST(users_are_noted_up_to_the_last_that_there_is_memory_for)
{
    const size_t bytes = users_memory_bytes(2000, 4);
    struct users *const users = make(bytes, 2000);
    const uint32_t fit = insert_until_full(users, 16);
    CHECK(fit < 2000);
    check_last_noted(bytes, 2000, fit);
}

TEST(users_max_within_is_the_inverse_of_memory_bytes)
{
    CHECK_EQ(users_max_within(0, 16), 0);
    CHECK_EQ(users_max_within(users_memory_bytes(1, 16) - 1, 16), 0);
    static const uint64_t counts[] = {1, 2, 640, 641, 75000, 10000000, 100000000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const size_t bytes = users_memory_bytes(counts[i], 16);
        const uint64_t fits = users_max_within(bytes, 16);
        CHECK(fits >= counts[i]);
        CHECK(users_memory_bytes(fits, 16) <= bytes);
        CHECK(users_memory_bytes(fits + 1, 16) > bytes);
    }
    CHECK_EQ(users_max_within((size_t)1 << 40, 1), USERS_MAX);
    /* 4 GiB of ids are the most. */
    CHECK(users_memory_bytes(4000000, 1024) < SIZE_MAX);
    CHECK(users_memory_bytes(5000000, 1024) == SIZE_MAX);
}

TEST(users_take_few_bytes_each)
{
    CHECK(users_memory_bytes(10000000, 12) / 10000000 <= 34);
    CHECK(users_memory_bytes(75000, 10) / 75000 <= 33);
}

TEST(users_arena_holds_the_ids_in_the_order_of_their_arrival)
{
    struct users *const users = make(sizeof memory, 75000);
    CHECK_EQ(users_arena(users).len, 0);
    const uint8_t *const bytes = users_arena(users).bytes;
    /* Tables change on the way; the last id is noted only. */
    for (uint32_t i = 0; i < 20001; i++)
        CHECK(users_note(users, id_of(i / 2, 8 + i / 2 % 9), 8 + i / 2 % 9));
    const struct users_arena arena = users_arena(users);
    CHECK(arena.bytes == bytes);
    size_t at = 0;
    for (uint32_t i = 0; i < 10001; i++) {
        const size_t len = 8 + i % 9;
        CHECK_EQ(arena.bytes[at] | arena.bytes[at + 1] << 8, len);
        CHECK(memcmp(arena.bytes + at + 2, id_of(i, len), len) == 0);
        at += 2 + len;
    }
    CHECK_EQ(arena.len, at);
    CHECK_EQ(users_count(users), 10001);
}

TEST(users_arena_may_be_limited)
{
    static const uint64_t limits[] = {0, 11, 12, 100, 120000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct users *const users = make(sizeof memory, 75000);
        users_limit_arena(users, limits[i]);
        CHECK_EQ(insert_until_full(users, 10), limits[i] / 12);
        CHECK(!users_note(users, id_of(75000, 10), 10));
        CHECK_EQ(users_arena(users).len, limits[i] / 12 * 12);
        CHECK(all_known(users, (uint32_t)(limits[i] / 12), 10));
    }
    /* No limit, where memory is the lesser: the same as without. */
    const size_t bytes = users_memory_bytes(2000, 4);
    const uint32_t fit = insert_until_full(make(bytes, 2000), 16);
    struct users *const users = make(bytes, 2000);
    users_limit_arena(users, (uint64_t)1 << 40);
    CHECK_EQ(insert_until_full(users, 16), fit);
}

/* The arena is given the region of the last table when that has been moved. */
TEST(users_arena_stays_limited_when_tables_change)
{
    struct users *const users = make(users_memory_bytes(2000, 16), 2000);
    users_limit_arena(users, 1900 * 12);
    CHECK_EQ(insert_until_full(users, 10), 1900);
}

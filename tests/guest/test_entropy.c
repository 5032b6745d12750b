/* Random numbers from what this machine has for a source. */
#include <unistd.h>

#include "kernel/plat/entropy.h"
#include "tests/test.h"

TEST(entropy_fills_every_byte_and_never_twice_the_same)
{
    uint8_t bytes[3][200], seen[200] = {0};

    for (unsigned i = 0; i < 100; i++) {
        memset(bytes[i % 3], 0, sizeof bytes[0]);
        entropy_fill(bytes[i % 3], sizeof bytes[0]);
        for (unsigned j = 0; j < sizeof seen; j++)
            seen[j] |= bytes[i % 3][j];
        CHECK(i == 0 || memcmp(bytes[i % 3], bytes[(i + 2) % 3], sizeof bytes[0]) != 0);
    }
    for (unsigned j = 0; j < sizeof seen; j++)
        CHECK_EQ(seen[j], 0xff);
}

TEST(entropy_writes_no_more_than_asked)
{
    uint8_t bytes[64];

    for (size_t len = 0; len <= sizeof bytes; len++) {
        memset(bytes, 0, sizeof bytes);
        entropy_fill(bytes, len);
        for (size_t i = len; i < sizeof bytes; i++)
            CHECK_EQ(bytes[i], 0);
    }
}

TEST(entropy_has_balanced_bits)
{
    unsigned ones = 0;

    for (unsigned i = 0; i < 1024; i++)
        ones += (unsigned)__builtin_popcount(entropy_u32());
    /* 32,768 bits: the standard deviation is 90; nine of them. */
    CHECK(ones > 16384 - 815 && ones < 16384 + 815);
}

static bool source_says_no(void *bytes, size_t len)
{
    memset(bytes, 1, len);
    return false;
}

static bool source_is_stuck(void *bytes, size_t len)
{
    memset(bytes, 0xff, len);
    return true;
}

TEST(entropy_is_not_taken_in_by_bad_sources)
{
    const uint32_t before = entropy_u32();

    CHECK(!entropy_add_source("a broken source", source_says_no));
    CHECK(!entropy_add_source("a stuck source", source_is_stuck));
    CHECK(entropy_u32() != before || entropy_u32() != before);
}

TEST(entropy_answers_the_c_library)
{
    uint8_t bytes[257];

    CHECK_EQ(getentropy(bytes, 256), 0);
    CHECK_EQ(getentropy(bytes, 257), -1);
}

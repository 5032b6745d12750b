#include "kernel/lib/bytes.h"

#include "tests/test.h"

#define LEN_MAX 100

/* Each lies at the end of its memory, for the sanitizer. */
static uint8_t left[LEN_MAX], right[LEN_MAX];

TEST(bytes_are_equal_when_each_of_them_is)
{
    for (size_t i = 0; i < LEN_MAX; i++)
        left[i] = right[i] = (uint8_t)(i * 7 + 1);
    for (size_t len = 0; len <= LEN_MAX; len++)
        CHECK(bytes_equal(left + LEN_MAX - len, right + LEN_MAX - len, len));
}

TEST(bytes_differ_wherever_one_of_them_does)
{
    for (size_t i = 0; i < LEN_MAX; i++)
        left[i] = right[i] = (uint8_t)(i * 7 + 1);
    for (size_t len = 1; len <= LEN_MAX; len++) {
        for (size_t at = LEN_MAX - len; at < LEN_MAX; at++) {
            right[at] ^= 0x10;
            CHECK(!bytes_equal(left + LEN_MAX - len, right + LEN_MAX - len, len));
            right[at] ^= 0x10;
        }
    }
}

TEST(bytes_are_loaded_with_the_first_lowest)
{
    static const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    CHECK_EQ(bytes_load16(bytes), 0x0201);
    CHECK_EQ(bytes_load32(bytes), 0x04030201);
    CHECK(bytes_load64(bytes) == 0x0807060504030201);
}

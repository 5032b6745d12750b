#include "app/store/crc32c.h"

#include "tests/test.h"
#include "tests/unit/random.h"

TEST(crc32c_has_the_values_of_rfc_3720)
{
    uint8_t bytes[32] = {0};
    CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283);
    CHECK_EQ(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    CHECK_EQ(crc32c(0, bytes, 32), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    CHECK_EQ(crc32c(0, bytes, 32), 0x46dd794e);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    CHECK_EQ(crc32c(0, bytes, 32), 0x113fdb5c);
    CHECK_EQ(crc32c(0, "", 0), 0);
}

TEST(crc32c_goes_on_from_any_byte)
{
    uint8_t bytes[61];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random_below(256);
    const uint32_t whole = crc32c(0, bytes, sizeof bytes);
    for (unsigned i = 0; i <= sizeof bytes; i++)
        CHECK_EQ(crc32c(crc32c(0, bytes, i), bytes + i, sizeof bytes - i), whole);
}

/* By the polynomial, a bit at a time. */
static uint32_t crc32c_plainly(const uint8_t *bytes, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
    }
    return ~crc;
}

/* Runs of zeros take another way, wherever they begin and end. */
TEST(crc32c_of_runs_of_zeros_is_the_polynomials)
{
    static uint8_t bytes[400];
    for (unsigned len = 0; len < 200; len++)
        for (unsigned at = 0; at < 20; at++) {
            for (unsigned i = 0; i < sizeof bytes; i++)
                bytes[i] = (uint8_t)(1 + random_below(255));
            memset(bytes + at, 0, len);
            const size_t end = at + len + random_below(80);
            if (crc32c(0, bytes, end) != crc32c_plainly(bytes, end)) {
                test_print("%u zeros at %u, %u in all", len, at, (unsigned)end);
                CHECK(false);
            }
        }
}

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

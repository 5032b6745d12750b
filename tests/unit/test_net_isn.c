#include "net/tcp/isn.h"
#include "tests/test.h"

/* Of the reference implementation: key 00 01 .. 0f, message 00 01 .. (n - 1). */
TEST(isn_hash_is_siphash_2_4)
{
    static const struct {
        unsigned len;
        uint64_t hash;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31},  {1, 0x74f839c593dc67fd},  {2, 0x0d6c8009d9a94f5a},
        {3, 0x85676696d7fb7e2d},  {7, 0xab0200f58b01d137},  {8, 0x93f5f5799a932462},
        {12, 0x751e8fbc860ee5fb}, {15, 0xa129ca6149be45e5},
    };
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    uint8_t message[16];
    for (unsigned i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        CHECK(isn_hash(key, message, vectors[i].len) == vectors[i].hash);
    CHECK(isn_hash_15(key, 0x0706050403020100, 0x000e0d0c0b0a0908) == 0xa129ca6149be45e5);
}

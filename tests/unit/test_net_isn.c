#include "net/tcp/isn.h"
#include "tests/test.h"

/* Of the reference implementation: key 00 01 .. 0f, message 00 01 .. 0b. */
TEST(isn_hash_is_siphash_2_4)
{
    const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    const uint8_t tuple[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    CHECK(isn_hash(&key, tuple, sizeof tuple) == 0x751e8fbc860ee5fb);
}

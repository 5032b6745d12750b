/* kernel/plat/chacha.c against RFC 8439, appendix A.1. */
#include "kernel/plat/chacha.h"
#include "tests/test.h"

TEST(chacha_gives_the_published_blocks)
{
    /* Test vectors 1 and 2: key and nonce zero, counter 0 and 1; their first eight bytes. */
    static const uint8_t first[] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90};
    static const uint8_t second[] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a};
    /* Test vector 3: the key's last byte 1, counter 1. */
    static const uint8_t third[] = {0x3a, 0xeb, 0x52, 0x24, 0xec, 0xf8, 0x49, 0x92};
    struct chacha_state state;
    uint8_t key[32] = {0}, block[64];

    chacha_init(&state, key);
    chacha_block(&state, block);
    CHECK(memcmp(block, first, sizeof first) == 0);
    chacha_block(&state, block);
    CHECK(memcmp(block, second, sizeof second) == 0);
    key[31] = 1;
    chacha_init(&state, key);
    chacha_block(&state, block);
    chacha_block(&state, block);
    CHECK(memcmp(block, third, sizeof third) == 0);
}

#include "kernel/lib/siphash.h"
#include "tests/test.h"

#define LENGTHS 32

/* Key 00 01 ... 0f, messages 00 01 ... of growing length: as published with SipHash-2-4. */
static const struct siphash_key counting_key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

static const uint64_t siphash24_expected[LENGTHS] = {
    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
    0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
    0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
    0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794, 0x4bc1b3f0968dd39c, 0xbb6dc91da77961bd,
    0xbed65cf21aa2ee98, 0xd0f2cbb02e3b67c7, 0x93536795e3a33e88, 0xa80c038ccd5ccec8,
    0xb8ad50c6f649af94, 0xbce192de8a85b8ea, 0x17d835b85bbb15f3, 0x2f2e6163076bcfad,
    0xde4daaaca71dc9a5, 0xa6a2506687956571, 0xad87a3535c49ef28, 0x32d892fad841c342,
};

static const uint64_t siphash13_expected[LENGTHS] = {
    0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb,
    0xcf75576088d38328, 0xdef9d52f49533b67, 0xc50d2b50c59f22a7, 0xd3927d989bb11140,
    0x369095118d299a8e, 0x25a48eb36c063de4, 0x79de85ee92ff097f, 0x70c118c1f94dc352,
    0x78a384b157b4d9a2, 0x306f760c1229ffa7, 0x605aa111c0f95d34, 0xd320d86d2a519956,
    0xcc4fdd1a7d908b66, 0x9cf2689063dbd80c, 0x8ffc389cb473e63e, 0xf21f9de58d297d1c,
    0xc0dc2f46a6cce040, 0xb992abfe2b45f844, 0x7ffe7b9ba320872e, 0x525a0e7fdae6c123,
    0xf464aeb267349c8c, 0x45cd5928705b0979, 0x3a3e35e3ca9913a5, 0xa91dc74e4ade3b35,
    0xfb0bed02ef6cd00d, 0x88d93cb44ab1e1f4, 0x540f11d643c5e663, 0x2370dd1f8c21d1bc,
};

static const uint8_t *counting_bytes(void)
{
    static uint8_t bytes[64];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    return bytes;
}

static void check_vectors(void)
{
    for (size_t len = 0; len < LENGTHS; len++) {
        CHECK(siphash24(&counting_key, counting_bytes(), len) == siphash24_expected[len]);
        CHECK(siphash13(&counting_key, counting_bytes(), len) == siphash13_expected[len]);
    }
}

/* As this processor rotates, and as one without RORX does. */
TEST(siphash_gives_the_published_vectors)
{
    const bool by_rorx = siphash_by_rorx;
    check_vectors();
    siphash_by_rorx = false;
    check_vectors();
    siphash_by_rorx = by_rorx;
}

TEST(siphash13_gives_the_reference_vectors)
{
    /* The reference code's answers under the key 0, as OCaml's test suite has them. */
    const struct siphash_key zero = {0, 0};
    CHECK(siphash13(&zero, "", 0) == 0xd1fba762150c532c);
    CHECK(siphash13(&zero, "\0", 1) == 0x68a914128e01e473);
}

TEST(siphash13_does_not_depend_on_alignment)
{
    static uint8_t buffer[64 + 8];
    for (size_t shift = 0; shift < 8; shift++) {
        memcpy(buffer + shift, counting_bytes(), 64);
        for (size_t len = 0; len < LENGTHS; len++)
            CHECK(siphash13(&counting_key, buffer + shift, len) == siphash13_expected[len]);
    }
}

TEST(siphash13_depends_on_every_bit_of_key_and_message)
{
    uint8_t message[16];
    memcpy(message, counting_bytes(), sizeof message);
    const uint64_t before = siphash13(&counting_key, message, sizeof message);
    for (unsigned bit = 0; bit < 128; bit++) {
        message[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(siphash13(&counting_key, message, sizeof message) != before);
        message[bit / 8] ^= (uint8_t)(1u << bit % 8);

        struct siphash_key key = counting_key;
        if (bit < 64)
            key.k0 ^= 1ull << bit;
        else
            key.k1 ^= 1ull << (bit - 64);
        CHECK(siphash13(&key, message, sizeof message) != before);
    }
}

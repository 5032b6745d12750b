#include "app/text/bignum.h"

#include <math.h>

#include "tests/test.h"

static void pow5(struct bignum *number, unsigned power)
{
    bignum_set(number, 1);
    bignum_multiply_pow5(number, power);
}

TEST(bignum_divides_what_it_multiplied)
{
    struct bignum number, expected;
    pow5(&expected, 500);
    pow5(&number, 530);
    for (unsigned i = 0; i < 29; i++)
        CHECK_EQ(bignum_divide_small(&number, 5), 0);
    bignum_multiply_add(&number, 1, 4);
    CHECK_EQ(bignum_divide_small(&number, 5), 4);
    CHECK_EQ(bignum_compare(&number, &expected), 0);
}

TEST(bignum_compares_by_length_then_by_limbs)
{
    struct bignum small, large;
    bignum_set(&small, UINT64_MAX);
    bignum_set(&large, 1);
    bignum_shift_left(&large, 64);
    CHECK(bignum_compare(&small, &large) < 0 && bignum_compare(&large, &small) > 0);
    bignum_multiply_add(&small, 1, 1); /* carries into a new limb */
    CHECK_EQ(bignum_compare(&small, &large), 0);
    bignum_multiply_add(&large, 1, 1);
    CHECK(bignum_compare(&small, &large) < 0 && bignum_compare(&large, &small) > 0);
    CHECK_EQ(bignum_bits(&large), 65);
    bignum_multiply_add(&large, 0, 0);
    CHECK(bignum_is_zero(&large) && bignum_bits(&large) == 0);
    bignum_shift_left(&large, 100);
    CHECK(bignum_is_zero(&large));
}

TEST(bignum_adds_numbers_of_any_lengths)
{
    struct bignum left, right;
    bignum_set(&left, 1);
    pow5(&right, 300);
    bignum_shift_left(&right, 7);
    bignum_add(&left, &right); /* the longer to the shorter */
    CHECK_EQ(bignum_divide_small(&left, 128), 1);
    bignum_set(&right, 1);
    pow5(&left, 0);
    bignum_shift_left(&left, 128);
    CHECK_EQ(bignum_divide_small(&left, 3), 1); /* ...5555, twice */
    bignum_multiply_add(&left, 3, 0);           /* ...ffff, twice */
    bignum_add(&left, &right);
    CHECK_EQ(left.count, 3);
    CHECK_EQ(bignum_bits(&left), 129);
}

/* quotient * divisor + remainder, for the quotients at the ends and remainders at theirs. */
TEST(bignum_divide_step_is_exact_at_the_edges)
{
    static const uint32_t quotients[] = {0, 1, 2, 9, 10, UINT32_MAX - 1, UINT32_MAX};
    static const uint64_t tops[] = {(uint64_t)1 << 63, ((uint64_t)1 << 63) + 1, UINT64_MAX};
    for (unsigned i = 0; i < sizeof quotients / sizeof quotients[0]; i++) {
        for (unsigned j = 0; j < 2 * sizeof tops / sizeof tops[0]; j++) {
            struct bignum divisor = {2, {j % 2 != 0 ? UINT64_MAX : 0, tops[j / 2]}};
            struct bignum exact = divisor, largest = divisor, less_one, one;
            bignum_set(&one, 1);
            bignum_multiply_add(&exact, quotients[i], 0);
            CHECK_EQ(bignum_divide_step(&exact, &divisor), quotients[i]);
            CHECK(bignum_is_zero(&exact));
            bignum_multiply_add(&largest, quotients[i], 0);
            less_one = divisor;
            if (less_one.limb[0] != 0) {
                less_one.limb[0]--;
            } else {
                less_one.limb[0] = UINT64_MAX;
                less_one.limb[1]--;
            }
            bignum_add(&largest, &less_one);
            CHECK_EQ(bignum_divide_step(&largest, &divisor), quotients[i]);
            CHECK_EQ(bignum_compare(&largest, &less_one), 0);
            bignum_add(&largest, &one);
            CHECK_EQ(bignum_divide_step(&largest, &divisor), 1);
        }
    }
}

TEST(bignum_to_double_sees_every_limb)
{
    struct bignum number;
    for (unsigned low = 0; low < 200; low++) { /* 2^300 + 2^247, a tie, and a bit far below it */
        bignum_set(&number, 1);
        bignum_shift_left(&number, 53);
        bignum_multiply_add(&number, 1, 1);
        bignum_shift_left(&number, 247 - low);
        CHECK(bignum_to_double(&number, (int)low, false) == 0x1p300);
        CHECK(bignum_to_double(&number, (int)low, true) == 0x1.0000000000001p300);
        bignum_multiply_add(&number, 1, 1);
        CHECK(bignum_to_double(&number, (int)low, false) == 0x1.0000000000001p300);
    }
}

TEST(bignum_to_double_rounds_at_both_ends_of_the_range)
{
    const uint64_t one = (uint64_t)1 << 63, ones = UINT64_MAX;
    CHECK(bignum_word_to_double(one, -1074 - 63, false) == 0x1p-1074);
    CHECK(bignum_word_to_double(one, -1075 - 63, false) == 0.0); /* a tie, to even */
    CHECK(bignum_word_to_double(one, -1075 - 63, true) == 0x1p-1074);
    CHECK(bignum_word_to_double(ones, -1075 - 63, false) == 0x1p-1074);
    CHECK(bignum_word_to_double(ones, -1076 - 63, true) == 0.0);
    CHECK(bignum_word_to_double(ones, -1023 - 63, false) == 0x1p-1022); /* carries into normal */
    CHECK(bignum_word_to_double(ones, 1023 - 63, false) == (double)INFINITY);
    CHECK(bignum_word_to_double(one, 1024 - 63, false) == (double)INFINITY);
    CHECK(bignum_word_to_double(one, 1023 - 63, false) == 0x1p1023);
}

#include "app/aggregate/sum.h"

#include <float.h>

#include "tests/test.h"
#include "tests/unit/number_text.h"

static struct sum sum;

static void add_all(const double *values, unsigned count)
{
    sum_clear(&sum);
    for (unsigned i = 0; i < count; i++)
        sum_add(&sum, values[i]);
}

#define SUM_OF(...)                                                                                \
    (add_all((const double[]){__VA_ARGS__},                                                        \
             sizeof((const double[]){__VA_ARGS__}) / sizeof(double)),                              \
     sum_value(&sum))

TEST(sum_of_nothing_is_positive_zero)
{
    sum_clear(&sum);
    CHECK_EQ(number_bits(sum_value(&sum)), 0);
    CHECK_EQ(number_bits(sum_average(&sum, 0)), 0);
    CHECK_EQ(number_bits(sum_average(&sum, 7)), 0);
    CHECK_EQ(number_bits(SUM_OF(-0.0, -0.0)), 0);
    CHECK_EQ(number_bits(SUM_OF(1.5, -1.5)), 0);
}

TEST(sum_of_the_challenge_is_exact)
{
    sum_clear(&sum);
    for (unsigned i = 0; i < 100000; i++)
        sum_add(&sum, i % 1000);
    CHECK(sum_value(&sum) == 49950000.0);
    CHECK(sum_average(&sum, 100000) == 499.5);
}

TEST(sum_is_rounded_once)
{
    CHECK(SUM_OF(0.1, 0.2, 0.3) == 0.6); /* doubles give 0.6000000000000001 */
    CHECK(SUM_OF(1e16, 1.0, 1.0) == 1e16 + 2);
    CHECK(SUM_OF(1e308, 1.0, -1e308) == 1.0);
    CHECK(SUM_OF(0x1p53, 1.0) == 0x1p53); /* ties to even, down and up */
    CHECK(SUM_OF(0x1p53, 2.0, 1.0) == 0x1p53 + 4);
    CHECK(SUM_OF(0x1p53, 1.0, 0x1p-1074) == 0x1p53 + 2);
    CHECK(SUM_OF(-0x1p53, -1.0, -0x1p-1074) == -0x1p53 - 2);
    CHECK(SUM_OF(0x1p53, 1.0, -0x1p-1074) == 0x1p53);
}

TEST(sum_reaches_the_smallest_doubles)
{
    CHECK(SUM_OF(0x1p-1074, 0x1p-1074) == 0x1p-1073);
    CHECK(SUM_OF(DBL_MIN, -0x1p-1074) == DBL_MIN - 0x1p-1074);
    CHECK(SUM_OF(DBL_MIN - 0x1p-1074, 0x1p-1074) == DBL_MIN);
    CHECK(SUM_OF(1.0, -0x1p-1074, -1.0) == -0x1p-1074);
}

TEST(sum_beyond_the_largest_double_is_that_one)
{
    CHECK(SUM_OF(DBL_MAX, DBL_MAX) == DBL_MAX);
    CHECK(sum_average(&sum, 2) == DBL_MAX);
    CHECK(SUM_OF(-DBL_MAX, -DBL_MAX, -DBL_MAX) == -DBL_MAX);
    CHECK(sum_average(&sum, 3) == -DBL_MAX);
    CHECK(sum_average(&sum, 1) == -DBL_MAX);
    CHECK(SUM_OF(DBL_MAX, 0x1p969) == DBL_MAX); /* less than half of the last place */
    CHECK(SUM_OF(DBL_MAX, DBL_MAX, -DBL_MAX, 1.0) == DBL_MAX); /* and comes back */
}

TEST(sum_is_exact_in_any_order)
{
    enum { COUNT = 3000 };
    static double values[COUNT];
    uint64_t random = 1;
    for (unsigned i = 0; i < COUNT; i++) { /* any finite double */
        const uint64_t bits = random_next(&random);
        values[i] =
            number_from_bits((bits >> 52 & 0x7ff) == 0x7ff ? bits ^ (uint64_t)1 << 62 : bits);
    }
    add_all(values, COUNT);
    const double value = sum_value(&sum), average = sum_average(&sum, COUNT);
    for (unsigned i = COUNT - 1; i > 0; i--) {
        const unsigned other = (unsigned)(random_next(&random) % (i + 1));
        const double swapped = values[i];
        values[i] = values[other];
        values[other] = swapped;
    }
    add_all(values, COUNT);
    CHECK_EQ(number_bits(sum_value(&sum)), number_bits(value));
    CHECK_EQ(number_bits(sum_average(&sum, COUNT)), number_bits(average));
    for (unsigned i = 0; i < COUNT; i++) /* and all of it can be taken away again */
        sum_add(&sum, -values[i]);
    CHECK_EQ(number_bits(sum_value(&sum)), 0);
}

TEST(sum_takes_whole_numbers_as_the_doubles_that_they_are)
{
    static const int64_t values[] = {0,       1,          345,         (1 << 13) - 1,
                                     1 << 13, 0xffffffff, 0x100000000, (INT64_C(1) << 53) - 1};
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct sum of_doubles;
        sum_clear(&of_doubles);
        sum_clear(&sum);
        sum_add(&of_doubles, -0x1.8p-60); /* to be seen if anything was lost */
        sum_add(&sum, -0x1.8p-60);
        for (unsigned j = 0; j < 2500; j++) { /* a carry is due after 1,000 */
            sum_add(&of_doubles, (double)values[i]);
            sum_add_whole(&sum, values[i]);
        }
        CHECK_EQ(number_bits(sum_value(&sum)), number_bits(sum_value(&of_doubles)));
        CHECK_EQ(number_bits(sum_average(&sum, 3)), number_bits(sum_average(&of_doubles, 3)));
        for (unsigned j = 0; j < 2500; j++)
            sum_add(&sum, -(double)values[i]);
        CHECK(sum_value(&sum) == -0x1.8p-60);
    }
}

/* Far more than a chunk holds between carries, of those that change a chunk most, both ways. */
TEST(sum_carries_before_a_chunk_overflows)
{
    static const double extremes[] = {0x1.fffffffffffffp31, 0x1.fffffffffffffp20,
                                      0x1.fffffffffffffp0, 0x1.fffffffffffffp-20};
    for (unsigned i = 0; i < sizeof extremes / sizeof extremes[0]; i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            sum_clear(&sum);
            for (unsigned j = 0; j < 1 << 13; j++)
                sum_add(&sum, sign * extremes[i]);
            CHECK(sum_value(&sum) == sign * extremes[i] * 0x1p13);
            CHECK(sum_average(&sum, 1 << 13) == sign * extremes[i]);
        }
    }
}

TEST(sum_average_is_rounded_once)
{
    CHECK(SUM_OF(1.0) == 1.0 && sum_average(&sum, 3) == 1.0 / 3.0);
    CHECK(SUM_OF(0x1p-1074) == 0x1p-1074 && sum_average(&sum, 2) == 0.0); /* a tie, to even */
    CHECK(SUM_OF(0x1p-1074, 0x1p-1073) > 0 && sum_average(&sum, 2) == 0x1p-1073);
    CHECK(sum_average(&sum, 5) == 0x1p-1074); /* 0.6 of it */
    CHECK_EQ(number_bits(SUM_OF(-0x1p-1074)) >> 63, 1);
    CHECK_EQ(number_bits(sum_average(&sum, UINT64_MAX)), 0);
    /* Above a tie by 2^-64 of the smallest double: only the remainder of the division tells. */
    CHECK(SUM_OF(0x1p-1012, 0x1p-1074) > 0);
    CHECK(sum_average(&sum, ((uint64_t)1 << 63) + 1) == 0x1p-1074);
    /* 2^54 + 3 is no double; of the nearest one, 2^54 + 4, the third is the next double up. */
    CHECK(SUM_OF(0x1p54, 2.0, 1.0) == 0x1p54 + 4 && sum_average(&sum, 3) == 0x1.5555555555556p52);
    CHECK(sum_value(&sum) / 3 == 0x1.5555555555557p52);
}

static uint8_t encoded[SUM_ENCODED_BYTES_MAX];

TEST(sum_comes_back_from_its_encoding_to_the_last_bit)
{
    static const double values[] = {0.0,     1.5,      -1.5,      0x1p-1074, -0x1p-1074, DBL_MAX,
                                    DBL_MIN, -DBL_MAX, 0x1p-1043, 345.0,     -0.1,       1e300};
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        for (unsigned j = 0; j < sizeof values / sizeof values[0]; j++) {
            (void)SUM_OF(values[i], values[j], values[i]);
            const size_t len = sum_encode(&sum, encoded);
            struct sum decoded;
            CHECK(sum_decode(&decoded, encoded, len));
            CHECK_EQ(number_bits(sum_value(&decoded)), number_bits(sum_value(&sum)));
            CHECK_EQ(number_bits(sum_average(&decoded, 7)), number_bits(sum_average(&sum, 7)));
            sum_add(&decoded, -values[i]); /* and goes on from there */
            sum_add(&decoded, -values[j]);
            sum_add(&decoded, -values[i]);
            CHECK_EQ(sum_encode(&decoded, encoded), 2);
        }
    }
}

TEST(sum_has_one_encoding_however_it_came_about)
{
    uint8_t other[SUM_ENCODED_BYTES_MAX];
    (void)SUM_OF(1e200, -0x1p-1074, 3.0, -1e200);
    const size_t len = sum_encode(&sum, encoded);
    (void)SUM_OF(3.0, -0x1p-1074);
    CHECK_EQ(sum_encode(&sum, other), len);
    CHECK(memcmp(encoded, other, len) == 0);

    sum_clear(&sum); /* every word in use */
    sum.chunk[SUM_CHUNKS - 1] = INT64_MAX;
    for (unsigned i = 0; i + 1 < SUM_CHUNKS; i++)
        sum.chunk[i] = UINT32_MAX;
    CHECK_EQ(sum_encode(&sum, encoded), SUM_ENCODED_BYTES_MAX);
    struct sum decoded;
    CHECK(sum_decode(&decoded, encoded, SUM_ENCODED_BYTES_MAX));
    CHECK(memcmp(decoded.chunk, sum.chunk, sizeof sum.chunk) == 0);
}

TEST(sum_refuses_what_is_no_encoding)
{
    struct sum decoded;
    static const struct {
        uint8_t bytes[12];
        uint8_t len;
        bool good;
    } cases[] = {
        {{0, 0}, 2, true},
        {{0, 0}, 1, false},
        {{1, 0}, 2, false}, /* no negative zero */
        {{2, 1, 5, 1, 0, 0, 0}, 7, false},
        {{1, 1, 5, 1, 0, 0, 0}, 7, true},
        {{0, 1, 5, 1, 0, 0, 0}, 6, false},
        {{0, 1, 5, 1, 0, 0, 0, 0}, 8, false},
        {{0, 1, 5, 0, 0, 0, 0}, 7, false}, /* words of 0 are left out */
        {{0, 2, 5, 1, 0, 0, 0, 5, 1, 0, 0, 0}, 12, false},
        {{0, 2, 5, 1, 0, 0, 0, 4, 1, 0, 0, 0}, 12, false},
        {{0, 1, SUM_WORDS, 1, 0, 0, 0}, 7, false},
        {{0, 1, SUM_WORDS - 1, 0xff, 0xff, 0xff, 0x7f}, 7, true},
        {{0, 1, SUM_WORDS - 1, 0, 0, 0, 0x80}, 7, false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_EQ(sum_decode(&decoded, cases[i].bytes, cases[i].len), cases[i].good);
}

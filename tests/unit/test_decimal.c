#include "app/text/decimal.h"

#include <float.h>
#include <math.h>

#include "tests/test.h"
#include "tests/unit/number_text.h"

struct pair {
    const char *text;
    uint64_t bits;
};

/* Ties, near ties, both ends of the range, and cases known to have broken other readers. */
static const struct pair read_cases[] = {
    {"0", 0x0000000000000000},
    {"-0", 0x8000000000000000},
    {"-0.0e-5", 0x8000000000000000},
    {"1", 0x3ff0000000000000},
    {"0.1", 0x3fb999999999999a},
    {"42.5", 0x4045400000000000},
    {"499.5", 0x407f380000000000},
    {"1e22", 0x4480f0cf064dd592},
    {"1e23", 0x44b52d02c7e14af6},
    {"-1e23", 0xc4b52d02c7e14af6},
    {"9007199254740991", 0x433fffffffffffff},
    {"9007199254740992", 0x4340000000000000},
    {"9007199254740993", 0x4340000000000000},
    {"9007199254740993.0000000000000000000000000001", 0x4340000000000001},
    {"9007199254740995", 0x4340000000000002},
    {"18014398509481985", 0x4350000000000000},
    {"9223372036854775807", 0x43e0000000000000},
    {"18446744073709551615", 0x43f0000000000000},
    {"18446744073709551616", 0x43f0000000000000},
    {"99999999999999999999", 0x4415af1d78b58c40},
    {"0.12345678901234567", 0x3fbf9add3746f65e},
    {"0.30000000000000004", 0x3fd3333333333334},
    {"1.00000000000000011102230246251565404236316680908203124", 0x3ff0000000000000},
    {"1.00000000000000011102230246251565404236316680908203125", 0x3ff0000000000000},
    {"1.00000000000000011102230246251565404236316680908203126", 0x3ff0000000000001},
    {"1.00000000000000033306690738754696212708950042724609375", 0x3ff0000000000002},
    {"7.2057594037927933e16", 0x4370000000000000},
    {"6.9294956446009195e15", 0x43389e56ee5e7a58},
    {"8.533e+68", 0x4e3fa69165a8eea2},
    {"4.1006e-184", 0x19dbe0d1c7ea60c9},
    {"9.998e+307", 0x7fe1cc0a350ca87b},
    {"9.9538452227e-280", 0x0602117ae45cde43},
    {"6.47660115e-260", 0x0a1fdd9e333badad},
    {"7.4e+47", 0x49e033d7eca0adef},
    {"5.92e+48", 0x4a1033d7eca0adef},
    {"7.35e+66", 0x4dd172b70eababa9},
    {"8.32116e+55", 0x4b8b2628393e02cd},
    {"5e-324", 0x0000000000000001},
    {"4.9406564584124654e-324", 0x0000000000000001},
    {"2.4703282292062327e-324", 0x0000000000000000},
    {"2.4703282292062328e-324", 0x0000000000000001},
    {"2.4703282292062327208299e-324", 0x0000000000000000},
    {"7.4109846876186981626485318930233205854758970392148714663837852375101326090531312779"
     "794975454245398856969484704316857659638998506553390969459816219401617281718945106978"
     "546710679176872575177347315553307795408549809608457500958111373034747658096871009590"
     "975442271004757307809711118935784838675653998783503015228055934046593739791790738723"
     "868299395818481660169122019456499931289798411362062484498678713572180352209017023903"
     "285791732520220528974020802906854021606612375549983402671300035812486479041385743401"
     "875520901590172592547146296175134159774938718574737870961645638908718119841271673056"
     "017045493004705269590165763776884908267986972573366521765567941072508764337560846003"
     "984904972149117463085539556354188641513168478436313080237596295773983001708984375e-3"
     "24",
     0x0000000000000002},
    {"2.2250738585072011e-308", 0x000fffffffffffff},
    {"2.2250738585072012e-308", 0x0010000000000000},
    {"2.2250738585072014e-308", 0x0010000000000000},
    {"2.2250738585072011360574097967091319759348195463516456480234261097248222220210769455"
     "165295239081350879141491589130396211068700864386945946455276572074078206217433799881"
     "410632673292535522868813721490129811224514518898490572223072852551331557550159143974"
     "76397983411801999323962548289e-308",
     0x000fffffffffffff},
    {"1.7976931348623157e308", 0x7fefffffffffffff},
    {"1.7976931348623158e308", 0x7fefffffffffffff},
    {"1.797693134862315807e308", 0x7fefffffffffffff},
    {"1.7976931348623158079e308", 0x7fefffffffffffff},
    {"1.7976931348623159e308", 0x7ff0000000000000},
    {"1e308", 0x7fe1ccf385ebc8a0},
    {"1e309", 0x7ff0000000000000},
    {"-1e309", 0xfff0000000000000},
    {"1e-323", 0x0000000000000002},
    {"1e-324", 0x0000000000000000},
    {"1e99999999999999999999", 0x7ff0000000000000},
    {"-1e-99999999999999999999", 0x8000000000000000},
    {"0e99999999999999999999", 0x0000000000000000},
    {"0.000000000000000000000000000000000000000000000000000000000000123e60", 0x3fbf7ced916872b0},
    {"123000000000000000000000000000000000000000000000e-45", 0x405ec00000000000},
    {"1e27", 0x4589d971e4fe8402},
    {"1e-27", 0x3a53ce9a36f23c10},
    {"18446744073709551615e27", 0x4989d971e4fe8402},
    {"18446744073709551615e-27", 0x3e53ce9a36f23c10},
    {"9007199254740993e-28", 0x3d6fb0f6be50601a},
    {"12345678901234567e-5", 0x423cbe991a14587e},
};

static const struct pair print_cases[] = {
    {"0.0", 0x0000000000000000},
    {"-0.0", 0x8000000000000000},
    {"1.0", 0x3ff0000000000000},
    {"-1.0", 0xbff0000000000000},
    {"42.5", 0x4045400000000000},
    {"499.5", 0x407f380000000000},
    {"499500000.0", 0x41bdc5c3e0000000},
    {"0.1", 0x3fb999999999999a},
    {"0.30000000000000004", 0x3fd3333333333334},
    {"0.3333333333333333", 0x3fd5555555555555},
    {"100.0", 0x4059000000000000},
    {"1000000000000000.0", 0x430c6bf526340000},
    {"9007199254740992.0", 0x4340000000000000},
    {"1e+16", 0x4341c37937e08000},
    {"9999999999999998.0", 0x4341c37937e07fff},
    {"1e+21", 0x444b1ae4d6e2ef50},
    {"1e+22", 0x4480f0cf064dd592},
    {"1e+23", 0x44b52d02c7e14af6},
    {"1.2345678901234568e+17", 0x437b69b4ba630f35},
    {"0.0001", 0x3f1a36e2eb1c432d},
    {"0.00012345678901234567", 0x3f202e85be180b74},
    {"1e-05", 0x3ee4f8b588e368f1},
    {"1.5e-05", 0x3eef75104d551d69},
    {"-2.5e-07", 0xbe90c6f7a0b5ed8d},
    {"5e-324", 0x0000000000000001},
    {"1.5e-323", 0x0000000000000003},
    {"2.2250738585072014e-308", 0x0010000000000000},
    {"2.225073858507201e-308", 0x000fffffffffffff},
    {"1.7976931348623157e+308", 0x7fefffffffffffff},
    {"-1.7976931348623157e+308", 0xffefffffffffffff},
    {"5.684341886080802e-14", 0x3d30000000000000},
    {"1.152921504606847e+18", 0x43b0000000000000},
    {"6.189700196426902e+26", 0x4580000000000000},
    {"9.5367431640625e-07", 0x3eb0000000000000},
    {"8.98846567431158e+307", 0x7fe0000000000000},
    {"5.316911983139664e+36", 0x4790000000000000},
    {"1125899906842624.2", 0x4310000000000001}, /* ....25: as near to .3, ties to even */
    {"1125899906842624.8", 0x4310000000000003}, /* ....75 */
    {"4.35", 0x4011666666666666},
    {"5e+22", 0x44a52d02c7e14af6},
    {"1.8014398509481984e+16", 0x4350000000000000},
    {"3.6028797018963976e+16", 0x4360000000000001},
    {"1e+100", 0x54b249ad2594c37d},
    {"6.62607015e-34", 0x390b860bde023111},
    {"1.2345e+20", 0x441ac4da03bc47e4},
    {"9.109e-31", 0x39b279a9c8073d8b},
};

TEST(decimal_reads_the_nearest_double)
{
    for (unsigned i = 0; i < sizeof read_cases / sizeof read_cases[0]; i++) {
        const uint64_t bits = number_bits(number_read(read_cases[i].text));
        if (bits != read_cases[i].bits)
            test_print("%s", read_cases[i].text);
        CHECK_EQ(bits, read_cases[i].bits);
    }
}

TEST(decimal_prints_the_shortest_text)
{
    for (unsigned i = 0; i < sizeof print_cases / sizeof print_cases[0]; i++) {
        char text[DECIMAL_TEXT_BYTES_MAX];
        const size_t len = decimal_print(number_from_bits(print_cases[i].bits), text);
        if (strcmp(text, print_cases[i].text) != 0)
            test_print("%s, not %s", text, print_cases[i].text);
        CHECK(strcmp(text, print_cases[i].text) == 0);
        CHECK_EQ(len, strlen(text));
    }
}

TEST(decimal_print_reads_back)
{
    uint64_t random = 88172645463325252;
    for (unsigned i = 0; i < 2000; i++) {
        const uint64_t bits = random_next(&random);
        const double value = number_from_bits(bits);
        if (!isfinite(value))
            continue;
        char text[DECIMAL_TEXT_BYTES_MAX];
        const size_t len = decimal_print(value, text);
        CHECK(len < sizeof text && text[len] == '\0');
        CHECK_EQ(number_bits(number_read(text)), bits);
    }
}

/* The digits of a number of any length, by schoolbook arithmetic: 0.d0d1... * 10^point. */
struct digits {
    int point;
    unsigned count;
    uint8_t digit[1200];
};

static void digits_of(struct digits *number, uint64_t value)
{
    uint8_t reversed[20];
    unsigned count = 0;
    for (; value != 0; value /= 10)
        reversed[count++] = (uint8_t)(value % 10);
    for (unsigned i = 0; i < count; i++)
        number->digit[i] = reversed[count - 1 - i];
    number->count = count;
    number->point = (int)count;
}

static void digits_double(struct digits *number)
{
    unsigned carry = 0;
    for (unsigned i = number->count; i-- > 0;) {
        const unsigned doubled = number->digit[i] * 2u + carry;
        number->digit[i] = (uint8_t)(doubled % 10);
        carry = doubled / 10;
    }
    if (carry == 0)
        return;
    memmove(number->digit + 1, number->digit, number->count++);
    number->digit[0] = 1;
    number->point++;
}

static void digits_halve(struct digits *number)
{
    unsigned rest = 0;
    for (unsigned i = 0; i < number->count; i++) {
        const unsigned digit = rest * 10 + number->digit[i];
        number->digit[i] = (uint8_t)(digit / 2);
        rest = digit % 2;
    }
    if (rest != 0)
        number->digit[number->count++] = 5;
    if (number->digit[0] == 0) {
        memmove(number->digit, number->digit + 1, --number->count);
        number->point--;
    }
}

/* significand * 2^exponent */
static void digits_scaled(struct digits *number, uint64_t significand, int exponent)
{
    digits_of(number, significand);
    for (; exponent > 0; exponent--)
        digits_double(number);
    for (; exponent < 0; exponent++)
        digits_halve(number);
}

/* What the digits read as, with `zeros` more and then `last`. */
static double digits_read(const struct digits *number, unsigned zeros, unsigned last)
{
    struct decimal decimal;
    decimal_begin(&decimal);
    for (unsigned i = 0; i < number->count; i++)
        decimal_add_fraction_digit(&decimal, number->digit[i]);
    for (unsigned i = 0; i < zeros; i++)
        decimal_add_fraction_digit(&decimal, 0);
    decimal_add_fraction_digit(&decimal, last);
    decimal.exponent_negative = number->point < 0;
    const unsigned point = (unsigned)(number->point < 0 ? -number->point : number->point);
    for (unsigned unit = 100; unit > 0; unit /= 10)
        decimal_add_exponent_digit(&decimal, point / unit % 10);
    return decimal_to_double(&decimal);
}

/* Exactly half way between the double of these bits and the next; a hair above; a hair below. */
static bool tie_is_read_right(uint64_t bits)
{
    static struct digits tie;
    const uint64_t leading = (uint64_t)1 << 52, biased = bits >> 52;
    const uint64_t significand = (bits & (leading - 1)) | (biased != 0 ? leading : 0);
    digits_scaled(&tie, 2 * significand + 1, (int)(biased != 0 ? biased : 1) - 1075 - 1);
    const uint64_t even = bits + (bits & 1);
    bool right = number_bits(digits_read(&tie, 0, 0)) == even;
    right &= number_bits(digits_read(&tie, 1000, 0)) == even;
    right &= number_bits(digits_read(&tie, 1, 1)) == bits + 1;
    right &= number_bits(digits_read(&tie, 1000, 1)) == bits + 1;
    if (tie.digit[tie.count - 1]-- == 0)
        return false; /* not a case that this can make */
    right &= number_bits(digits_read(&tie, 0, 0)) == bits;
    right &= number_bits(digits_read(&tie, 1000, 1)) == bits;
    return right;
}

TEST(decimal_ties_go_to_even_however_long_they_are)
{
    static const uint64_t cases[] = {
        0x0000000000000000, 0x0000000000000001, 0x000fffffffffffff, /* 767 digits and more */
        0x0010000000000000, 0x001fffffffffffff, 0x0020000000000000, 0x1234567890abcdef,
        0x3fe0000000000000, 0x3fefffffffffffff, 0x3ff0000000000000, 0x3ff0000000000001,
        0x4340000000000000, 0x434fffffffffffff, 0x5678123490abcdef, 0x7feffffffffffffe,
        0x7fefffffffffffff, /* above it is infinity */
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK(tie_is_read_right(cases[i]));
}

TEST(decimal_exponent_may_undo_any_number_of_zeros)
{
    struct decimal decimal;
    decimal_begin(&decimal);
    for (unsigned i = 0; i < 60000; i++)
        decimal_add_fraction_digit(&decimal, 0);
    decimal_add_fraction_digit(&decimal, 5);
    for (const char *digit = "60001"; *digit != '\0'; digit++)
        decimal_add_exponent_digit(&decimal, (unsigned)(*digit - '0'));
    CHECK(decimal_to_double(&decimal) == 5.0);
}

TEST(decimal_simple_takes_any_significand_and_27_either_way)
{
    double value;
    CHECK(decimal_simple(425, -1, false, &value) && value == 42.5);
    CHECK(decimal_simple(UINT64_MAX, 27, true, &value) &&
          value == -number_read("18446744073709551615e27"));
    CHECK(decimal_simple(UINT64_MAX, -27, false, &value) &&
          value == number_read("18446744073709551615e-27"));
    CHECK(decimal_simple(0, 27, true, &value) && number_bits(value) == number_bits(-0.0));
    CHECK(!decimal_simple(1, 28, false, &value));
    CHECK(!decimal_simple(1, -28, false, &value));
}

/* Products of more than 64 bits: ties, to even both ways, and one that only its last bit breaks. */
TEST(decimal_simple_rounds_by_every_bit_of_a_product)
{
    const uint64_t one = 1;
    double value;
    CHECK(decimal_simple(((one << 51) + 1) << 11, 1, false, &value));
    CHECK(value == (0x5p51 + 4) * 0x1p12);
    CHECK(decimal_simple(((one << 51) + 3) << 11, 1, false, &value));
    CHECK(value == (0x5p51 + 16) * 0x1p12);
    CHECK(decimal_simple(3689348814741910733, 1, false, &value)); /* ((2^53 + 1) 2^11 + 1) / 5 */
    CHECK(value == (0x1p53 + 2) * 0x1p12);
}

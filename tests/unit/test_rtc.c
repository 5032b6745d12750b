/* kernel/time/rtc.c: what the clock's registers mean. */
#include "kernel/time/rtc.h"
#include "tests/test.h"

enum { BCD_24H = 0x02, BINARY_24H = 0x06, BCD_12H = 0x00, BINARY_12H = 0x04 };

static int64_t decode(struct rtc_registers r)
{
    int64_t unix_s = -1;

    return rtc_decode(&r, &unix_s) ? unix_s : -1;
}

TEST(rtc_decodes_dates)
{
    CHECK_EQ(decode((struct rtc_registers){0x56, 0x34, 0x12, 0x29, 0x02, 0x24, 0x20, BCD_24H}),
             1709210096);
    CHECK_EQ(decode((struct rtc_registers){56, 34, 12, 29, 2, 24, 20, BINARY_24H}), 1709210096);
    CHECK_EQ(decode((struct rtc_registers){0, 0, 0, 1, 1, 20, 20, BINARY_24H}), 1577836800);
    CHECK_EQ(decode((struct rtc_registers){59, 59, 23, 31, 12, 99, 20, BINARY_24H}), 4102444799);
    CHECK_EQ(decode((struct rtc_registers){0, 0, 0, 1, 3, 0, 21, BINARY_24H}), 4107542400);
    CHECK_EQ(decode((struct rtc_registers){59, 59, 23, 31, 12, 99, 21, BINARY_24H}), 7258118399);
}

TEST(rtc_decodes_twelve_hours)
{
    const struct rtc_registers midnight = {0, 0, 0x12, 1, 1, 0x25, 0x20, BCD_12H};
    struct rtc_registers r = midnight;
    const int64_t day = decode(midnight);

    CHECK_EQ(day, 1735689600);
    r.hour = 0x80 | 0x12;
    CHECK_EQ(decode(r), day + 12 * 3600);
    r.hour = 0x11;
    CHECK_EQ(decode(r), day + 11 * 3600);
    r.hour = 0x80 | 0x11;
    CHECK_EQ(decode(r), day + 23 * 3600);
    r.hour = 0x00;
    CHECK_EQ(decode(r), -1);
    r.hour = 0x13;
    CHECK_EQ(decode(r), -1);
    r.status_b = BINARY_12H;
    r.year = 25;
    r.century = 20;
    r.hour = 0x80 | 11;
    CHECK_EQ(decode(r), day + 23 * 3600);
}

/* By the two digits that are left: 00 to 68 are of this century. */
TEST(rtc_takes_the_century_of_posix_when_the_machine_names_none)
{
    static const uint8_t none[] = {0, 0x18, 0x22, 0xff};
    for (unsigned i = 0; i < sizeof none; i++) {
        struct rtc_registers r = {0, 0, 0, 1, 1, 0x25, none[i], BCD_24H};
        CHECK_EQ(decode(r), 1735689600);
        r.year = 0x20;
        CHECK_EQ(decode(r), 1577836800);
        r.year = 0x68;
        CHECK_EQ(decode(r), 3092601600);
        r.year = 0x69;
        CHECK_EQ(decode(r), -1);
        r.year = 0x70; /* where lost clocks begin */
        CHECK_EQ(decode(r), -1);
        r.year = 0x80;
        CHECK_EQ(decode(r), -1);
        r.year = 0x00;
        CHECK_EQ(decode(r), -1);
    }
}

TEST(rtc_believes_a_machine_that_names_the_last_century)
{
    CHECK_EQ(decode((struct rtc_registers){0, 0, 0, 1, 1, 0x70, 0x19, BCD_24H}), -1);
    CHECK_EQ(decode((struct rtc_registers){0, 0, 0, 1, 1, 0x25, 0x19, BCD_24H}), -1);
    CHECK_EQ(decode((struct rtc_registers){0, 0, 0, 1, 1, 0x70, 0x20, BCD_24H}), 3155760000);
}

TEST(rtc_refuses_what_is_no_plausible_date)
{
    const struct rtc_registers good = {0x00, 0x00, 0x00, 0x28, 0x02, 0x25, 0x20, BCD_24H};
    struct rtc_registers r;

    CHECK(decode(good) > 0);
    memset(&r, 0xff, sizeof r);
    CHECK_EQ(decode(r), -1);
    memset(&r, 0, sizeof r);
    CHECK_EQ(decode(r), -1);
    r = good, r.second = 0x60;
    CHECK_EQ(decode(r), -1);
    r = good, r.minute = 0x1a;
    CHECK_EQ(decode(r), -1);
    r = good, r.hour = 0x24;
    CHECK_EQ(decode(r), -1);
    r = good, r.day = 0x29; /* of a February that has 28 */
    CHECK_EQ(decode(r), -1);
    r = good, r.day = 0;
    CHECK_EQ(decode(r), -1);
    r = good, r.month = 0x13;
    CHECK_EQ(decode(r), -1);
    r = good, r.year = 0x19;
    CHECK_EQ(decode(r), -1);
    r = good, r.year = 0xa0; /* ten tens */
    CHECK_EQ(decode(r), -1);
    r = good, r.year = 0x00, r.century = 0x21, r.day = 0x29; /* 2100 is no leap year */
    CHECK_EQ(decode(r), -1);
    r.day = 0x28;
    CHECK_EQ(decode(r), 4107456000);
}

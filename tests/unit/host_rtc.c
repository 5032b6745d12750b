/* The RTC's registers read on the host: the source compiled into this file, over ports of ours. */
#include "kernel/cpu.h"

#define cpu_in8    fake_in8
#define cpu_out8   fake_out8
#define rtc_read   vrtc_read
#define rtc_decode vrtc_decode

static uint8_t fake_in8(uint16_t port);
static void fake_out8(uint16_t port, uint8_t value);

#include "kernel/rtc.c"
#include "tests/test.h"

#define NEVER UINT32_MAX

static struct {
    uint8_t registers[REGISTERS];
    uint8_t index;
    bool nmis_masked;
    unsigned reads;         /* of any register but status A */
    unsigned updates_until; /* for so many polls of status A an update is under way */
    unsigned polls;
    unsigned ticks_every, ticks_max; /* a second begins after every so many reads, so many times */
    unsigned ticks;
} rtc;

static void fake_out8(uint16_t port, uint8_t value)
{
    if (port == INDEX_PORT)
        rtc.index = value & 0x7f;
    rtc.nmis_masked |= (value & 0x80) != 0;
}

static uint8_t fake_in8(uint16_t port)
{
    if (port != DATA_PORT)
        return 0;
    if (rtc.index == REGISTER_STATUS_A) {
        const uint8_t status = rtc.polls++ < rtc.updates_until ? STATUS_A_UPDATING : 0;
        return status | rtc.registers[REGISTER_STATUS_A];
    }
    if (rtc.ticks_every != 0 && ++rtc.reads % rtc.ticks_every == 0 && rtc.ticks < rtc.ticks_max) {
        rtc.ticks++;
        rtc.registers[REGISTER_SECOND]++;
    }
    return rtc.registers[rtc.index];
}

#define NOON    1741780800 /* 2025-03-12T12:00:00Z */
#define CENTURY 0x32

static void set_noon(void)
{
    memset(&rtc, 0, sizeof rtc);
    rtc.registers[REGISTER_HOUR] = 12;
    rtc.registers[REGISTER_DAY] = 12;
    rtc.registers[REGISTER_MONTH] = 3;
    rtc.registers[REGISTER_YEAR] = 25;
    rtc.registers[CENTURY] = 20;
    rtc.registers[REGISTER_STATUS_B] = STATUS_B_24_HOURS | STATUS_B_BINARY;
}

static int64_t read_clock(uint8_t century_register)
{
    int64_t unix_s = -1;

    return rtc_read(century_register, &unix_s) ? unix_s : -1;
}

TEST(rtc_reads_the_date_and_the_century_where_there_is_one)
{
    set_noon();
    CHECK_EQ(read_clock(0), NOON);
    CHECK_EQ(read_clock(CENTURY), NOON);
    rtc.registers[CENTURY] = 21;
    CHECK_EQ(read_clock(0), NOON);
    CHECK_EQ(read_clock(CENTURY), 4897454400);  /* 2125 */
    CHECK_EQ(read_clock(0x80 | CENTURY), NOON); /* no register: bit 7 masks NMIs */
    CHECK(!rtc.nmis_masked);
}

TEST(rtc_that_is_not_there_is_known_at_once)
{
    set_noon();
    rtc.registers[REGISTER_STATUS_A] = STATUS_A_ABSENT;
    CHECK_EQ(read_clock(0), -1);
    CHECK_EQ(rtc.polls, 1);
    CHECK_EQ(rtc.reads, 0);
}

/* Where nobody answers at a port: QEMU's bus reads as all ones, KVM hands over zeros. */
TEST(rtc_of_a_vmm_that_has_none_tells_no_date)
{
    memset(&rtc, 0, sizeof rtc);
    CHECK_EQ(read_clock(0), -1);
    CHECK_EQ(read_clock(CENTURY), -1);
    for (unsigned i = 0; i < REGISTERS; i++)
        rtc.registers[i] = (uint8_t)i; /* or what was written last */
    CHECK_EQ(read_clock(0), -1);
}

TEST(rtc_waits_for_an_update_to_end_but_not_for_ever)
{
    set_noon();
    rtc.updates_until = 1000;
    CHECK_EQ(read_clock(0), NOON);
    CHECK_EQ(rtc.polls, 1001);
    set_noon();
    rtc.updates_until = NEVER;
    CHECK_EQ(read_clock(0), -1);
    CHECK_EQ(rtc.polls, UPDATE_POLLS_MAX);
    CHECK_EQ(rtc.reads, 0);
}

TEST(rtc_reads_again_what_changed_meanwhile)
{
    set_noon();
    rtc.ticks_every = 8; /* the first register of the second reading of seven */
    rtc.ticks_max = 1;
    CHECK_EQ(read_clock(0), NOON + 1);
    set_noon();
    rtc.ticks_every = 7;
    rtc.ticks_max = NEVER;
    CHECK_EQ(read_clock(0), -1);
    CHECK(rtc.reads <= READS_MAX * 2 * 8);
}

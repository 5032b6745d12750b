/* The RTC's registers read on the host: the source compiled into this file, over ports of ours. */
#include "kernel/cpu/cpu.h"

#define cpu_in8      fake_in8
#define cpu_out8     fake_out8
#define cpu_tsc      fake_tsc
#define rtc_read     vrtc_read
#define rtc_decode   vrtc_decode
#define rtc_may_show vrtc_may_show

static uint64_t fake_tsc(void);
static uint8_t fake_in8(uint16_t port);
static void fake_out8(uint16_t port, uint8_t value);

#include "kernel/time/rtc.c"
#include "tests/test.h"

#define NEVER UINT32_MAX

static struct {
    uint8_t registers[REGISTERS];
    uint8_t index;
    bool nmis_masked;
    unsigned reads;         /* of any register but status A */
    unsigned updates_until; /* for so many polls of status A an update is under way */
    unsigned polls;
    uint64_t tsc, poll_cycles;
    uint64_t away_cycles;            /* that the hypervisor takes after the first poll */
    unsigned ticks_every, ticks_max; /* a second begins after every so many reads, so many times */
    unsigned ticks;
} rtc;

static uint64_t fake_tsc(void)
{
    return rtc.tsc;
}

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
        const uint8_t status = rtc.polls < rtc.updates_until ? STATUS_A_UPDATING : 0;
        rtc.tsc += rtc.poll_cycles + (rtc.polls == 0 ? rtc.away_cycles : 0);
        rtc.polls++;
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
    rtc.poll_cycles = UPDATE_CYCLES_MAX / 1000;
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
    rtc.updates_until = 900;
    CHECK_EQ(read_clock(0), NOON);
    CHECK_EQ(rtc.polls, 901);
    set_noon();
    rtc.updates_until = NEVER;
    CHECK_EQ(read_clock(0), -1);
    CHECK_EQ(rtc.polls, 1001);
    CHECK_EQ(rtc.reads, 0);
}

/* However long the processor is away: the update has ended meanwhile. */
TEST(rtc_looks_once_more_when_it_has_waited_for_too_long)
{
    set_noon();
    rtc.updates_until = 1;
    rtc.away_cycles = 10 * UPDATE_CYCLES_MAX;
    CHECK_EQ(read_clock(0), NOON);
    CHECK_EQ(rtc.polls, 2);
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

/* ---- rtc_may_show() ---- */

#define LOOKS 6 /* until every register has had its turn */

/* The first of so many looks, one a second, that says no; LOOKS if all say yes. */
static unsigned first_no(int64_t unix_s)
{
    for (unsigned i = 0; i < LOOKS; i++)
        if (!rtc_may_show(unix_s))
            return i;
    return LOOKS;
}

/* The registers of NOON, and rtc_read() has seen them. */
static bool see_noon(bool binary, bool hours_24)
{
    set_noon();
    looks = 0;
    if (!binary) {
        rtc.registers[REGISTER_HOUR] = 0x12;
        rtc.registers[REGISTER_DAY] = 0x12;
        rtc.registers[REGISTER_YEAR] = 0x25;
        rtc.registers[CENTURY] = 0x20;
    }
    if (!hours_24)
        rtc.registers[REGISTER_HOUR] |= HOUR_PM;
    rtc.registers[REGISTER_STATUS_B] =
        (uint8_t)((binary ? STATUS_B_BINARY : 0) | (hours_24 ? STATUS_B_24_HOURS : 0));
    return read_clock(CENTURY) == NOON;
}

TEST(rtc_may_show_what_it_shows_and_a_second_more_or_less)
{
    for (unsigned format = 0; format < 4; format++) {
        CHECK(see_noon((format & 1) != 0, (format & 2) != 0));
        CHECK_EQ(first_no(NOON), LOOKS);
        CHECK_EQ(first_no(NOON - 1), LOOKS); /* before noon: the hour and minute are others, too */
        CHECK_EQ(first_no(NOON + 1), LOOKS);
    }
}

/* So many seconds off half past and a half. */
static unsigned first_no_off(unsigned format, int64_t off_s)
{
    const bool binary = (format & 1) != 0;
    if (!see_noon(binary, (format & 2) != 0))
        return 0;
    rtc.registers[REGISTER_MINUTE] = rtc.registers[REGISTER_SECOND] = binary ? 30 : 0x30;
    return first_no(NOON + 1830 + off_s);
}

/* Also where the seconds are right, by chance. */
TEST(rtc_may_not_show_what_is_more_than_a_second_off)
{
    static const int64_t off[] = {2, 12, 30, 58, 60, 600, 3540, 3600, 6 * 3600, 12 * 3600};
    for (unsigned format = 0; format < 4; format++) {
        CHECK_EQ(first_no_off(format, 0), LOOKS);
        for (unsigned i = 0; i < sizeof off / sizeof off[0]; i++) {
            const unsigned look = off[i] % 3600 == 0 ? 3 : off[i] % 60 == 0 ? 1 : 0;
            CHECK_EQ(first_no_off(format, off[i]), look);
            CHECK_EQ(first_no_off(format, -off[i]), look);
        }
    }
}

TEST(rtc_that_shows_another_day_must_be_read)
{
    CHECK(see_noon(true, true));
    rtc.registers[REGISTER_DAY]++;
    CHECK_EQ(first_no(NOON), LOOKS - 1);
    CHECK_EQ(read_clock(0), NOON + 86400);
    CHECK_EQ(first_no(NOON + 86400), LOOKS);
}

TEST(rtc_may_not_show_what_is_no_number)
{
    static const uint8_t registers[] = {REGISTER_SECOND, REGISTER_MINUTE, REGISTER_HOUR};
    for (unsigned i = 0; i < sizeof registers; i++) {
        CHECK(see_noon(false, true));
        rtc.registers[registers[i]] = 0xff;
        CHECK(first_no(NOON) < LOOKS);
    }
}

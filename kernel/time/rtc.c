#include "kernel/time/rtc.h"

#include <string.h>
#include <time.h>

#include "kernel/cpu/cpu.h"

enum { INDEX_PORT = 0x70, DATA_PORT = 0x71 };

enum {
    REGISTER_SECOND = 0x00,
    REGISTER_MINUTE = 0x02,
    REGISTER_HOUR = 0x04,
    REGISTER_DAY = 0x07,
    REGISTER_MONTH = 0x08,
    REGISTER_YEAR = 0x09,
    REGISTER_STATUS_A = 0x0a,
    REGISTER_STATUS_B = 0x0b,
    REGISTERS = 0x80,
    STATUS_A_UPDATING = 0x80,
    STATUS_A_ABSENT = 0xff, /* what a bus without a device reads */
    STATUS_B_24_HOURS = 0x02,
    STATUS_B_BINARY = 0x04,
    HOUR_PM = 0x80,
};

/*
 * An update takes 2 ms at most, and as long as its emulator is not scheduled: 40 ms or more here.
 * So long it is waited for, in TSC cycles: 0.1 s or more. Not by a number of looks, each of which
 * may take 0.2 ms.
 */
#define UPDATE_CYCLES_MAX 500000000ULL
#define READS_MAX         5u

static bool decode_field(uint8_t raw, bool binary, unsigned first, unsigned last, unsigned *value)
{
    if (binary)
        *value = raw;
    else if ((raw & 0x0f) > 9 || raw > 0x99)
        return false;
    else
        *value = (raw >> 4) * 10u + (raw & 0x0fu);
    return *value >= first && *value <= last;
}

static bool decode_hour(uint8_t raw, bool binary, bool hours_24, unsigned *hour)
{
    if (hours_24)
        return decode_field(raw, binary, 0, 23, hour);

    const bool afternoon = (raw & HOUR_PM) != 0;

    if (!decode_field(raw & (uint8_t)~HOUR_PM, binary, 1, 12, hour))
        return false;
    *hour = *hour % 12 + (afternoon ? 12 : 0);
    return true;
}

bool rtc_decode(const struct rtc_registers *r, int64_t *unix_s)
{
    const unsigned year_first = 2020, century_first = 19, century_last = 21;
    const bool binary = (r->status_b & STATUS_B_BINARY) != 0;
    unsigned second, minute, hour, day, month, year, century;

    if (!decode_field(r->second, binary, 0, 59, &second) ||
        !decode_field(r->minute, binary, 0, 59, &minute) ||
        !decode_hour(r->hour, binary, (r->status_b & STATUS_B_24_HOURS) != 0, &hour) ||
        !decode_field(r->day, binary, 1, 31, &day) ||
        !decode_field(r->month, binary, 1, 12, &month) ||
        !decode_field(r->year, binary, 0, 99, &year))
        return false;
    if (!decode_field(r->century, binary, century_first, century_last, &century))
        century = year < 69 ? 20 : 19;
    year += century * 100;
    struct tm tm = {.tm_sec = (int)second,
                    .tm_min = (int)minute,
                    .tm_hour = (int)hour,
                    .tm_mday = (int)day,
                    .tm_mon = (int)month - 1,
                    .tm_year = (int)year - 1900};
    *unix_s = timegm(&tm);
    return year >= year_first && tm.tm_mday == (int)day; /* 31 April would be 1 May */
}

static uint8_t read_register(uint8_t index)
{
    cpu_out8(INDEX_PORT, index); /* bit 7 clear: NMIs stay as they are, enabled */
    return cpu_in8(DATA_PORT);
}

static bool wait_for_update(void)
{
    const uint64_t start = cpu_tsc();

    for (;;) {
        /* Before the register is read: what takes the processor away meanwhile does not count. */
        const bool is_last = cpu_tsc() - start >= UPDATE_CYCLES_MAX;
        const uint8_t status = read_register(REGISTER_STATUS_A);

        if (status == STATUS_A_ABSENT)
            return false;
        if ((status & STATUS_A_UPDATING) == 0)
            return true;
        if (is_last)
            return false;
    }
}

static void read_registers(uint8_t century_register, struct rtc_registers *r)
{
    r->second = read_register(REGISTER_SECOND);
    r->minute = read_register(REGISTER_MINUTE);
    r->hour = read_register(REGISTER_HOUR);
    r->day = read_register(REGISTER_DAY);
    r->month = read_register(REGISTER_MONTH);
    r->year = read_register(REGISTER_YEAR);
    r->century = century_register == 0 ? 0 : read_register(century_register);
    r->status_b = read_register(REGISTER_STATUS_B);
}

static struct rtc_registers seen; /* by rtc_read() */
static unsigned looks;            /* of rtc_may_show() */

bool rtc_read(uint8_t century_register, int64_t *unix_s)
{
    struct rtc_registers again;

    if (century_register >= REGISTERS)
        century_register = 0;
    /* An update may begin between two registers: only what reads the same twice counts. */
    for (unsigned i = 0; i < READS_MAX; i++) {
        if (!wait_for_update())
            return false;
        read_registers(century_register, &seen);
        read_registers(century_register, &again);
        if (memcmp(&seen, &again, sizeof seen) == 0)
            return rtc_decode(&seen, unix_s);
    }
    return false;
}

/* Whether `value` counts units of `unit_s` seconds, modulo `units`, within a second of `unix_s`. */
static bool is_near(unsigned value, int64_t unix_s, int64_t unit_s, int64_t units)
{
    for (int64_t s = unix_s - 1; s <= unix_s + 1; s++)
        if (s / unit_s % units == value)
            return true;
    return false;
}

bool rtc_may_show(int64_t unix_s)
{
    const bool binary = (seen.status_b & STATUS_B_BINARY) != 0;
    const bool hours_24 = (seen.status_b & STATUS_B_24_HOURS) != 0;
    unsigned value;

    switch (looks++ % 6) {
    case 1:
        return decode_field(read_register(REGISTER_MINUTE), binary, 0, 59, &value) &&
               is_near(value, unix_s, 60, 60);
    case 3:
        return decode_hour(read_register(REGISTER_HOUR), binary, hours_24, &value) &&
               is_near(value, unix_s, 3600, 24);
    case 5:
        return read_register(REGISTER_DAY) == seen.day;
    default:
        return decode_field(read_register(REGISTER_SECOND), binary, 0, 59, &value) &&
               is_near(value, unix_s, 1, 60);
    }
}

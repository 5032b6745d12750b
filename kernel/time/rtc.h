/*
 * The real-time clock: the MC146818 of the PC, at ports 0x70 and 0x71.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The registers as they were read together. */
struct rtc_registers {
    uint8_t second, minute, hour, day, month, year;
    uint8_t century;  /* 0 when the machine has no such register */
    uint8_t status_b; /* how the others are encoded */
};

/*
 * Seconds since 1970-01-01T00:00:00Z. False if that is no date, or no plausible one. Plausible are
 * 2020 to 2199: this software is not older than that, and an RTC that has lost the time begins at
 * 1970, 1980 or 2000.
 *
 * The century is what its register says, where that is 19 to 21. Where there is no such register,
 * or it holds something else, two digits of the year are left. They are read as POSIX does
 * (strptime, %y): 00 to 68 are of this century, 69 to 99 of the last, and so not plausible. For 70
 * is where a lost clock begins, not 2070.
 */
__attribute__((warn_unused_result)) bool rtc_decode(const struct rtc_registers *registers,
                                                    int64_t *unix_s);

/*
 * Reads this machine's. `century_register`: as ACPI names it, or 0. Some thirty VM exits; may
 * wait for an update to end (2 ms; bounded by a fraction of a second).
 */
__attribute__((warn_unused_result)) bool rtc_read(uint8_t century_register, int64_t *unix_s);

/*
 * Whether this machine's RTC, which rtc_read() has read, may show `unix_s`, give or take a second.
 *
 * Looks at one register, which is two VM exits: at every second call the seconds, at those between
 * in turn the minutes, the hours and the day of the month. Who asks once a second learns within two
 * seconds that the RTC has gone astray by some seconds, and within a few more if it was by whole
 * minutes, hours or days. A new day is always news: false, and rtc_read() tells which it is.
 */
__attribute__((warn_unused_result)) bool rtc_may_show(int64_t unix_s);

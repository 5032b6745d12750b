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
 * Seconds since 1970-01-01T00:00:00Z. False if that is no date, or none between 2020 and 2199: what
 * an RTC without a battery, or no RTC, reads as.
 */
__attribute__((warn_unused_result)) bool rtc_decode(const struct rtc_registers *registers,
                                                    int64_t *unix_s);

/*
 * Reads this machine's. `century_register`: as ACPI names it, or 0. Some thirty VM exits; may
 * wait for an update to end (2 ms; bounded).
 */
__attribute__((warn_unused_result)) bool rtc_read(uint8_t century_register, int64_t *unix_s);

/*
 * Time: nanoseconds since boot, and the wall clock where the machine has one.
 *
 * clock_ns() reads the TSC and nothing else. clock_init() calibrates it, in this order of
 * preference: CPUID leaf 0x15, the hypervisor's leaf 0x40000010, ACPI's power management timer, the
 * PIT. A machine that has none of them stops with a message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000ULL
#define CLOCK_NS_PER_S  1000000000ULL

/* Begins the measurement that clock_init() may need, so that it waits less. After acpi_init(). */
void clock_prepare(void);

/*
 * Calibrates the TSC and reads the RTC. Called once, after clock_prepare(). `entry_tsc`: the TSC at
 * the first instruction of the image. Without a frequency named by CPUID, 0.5 to 10 ms have passed
 * since clock_prepare() when it returns.
 */
void clock_init(uint64_t entry_tsc);

/*
 * Nanoseconds since the first instruction of the image; 0 before clock_init(). Never goes back;
 * wraps after 584 years.
 */
uint64_t clock_ns(void);

/*
 * Seconds since 1970-01-01T00:00:00Z, into *unix_s. False, and *unix_s untouched, when the
 * machine has no RTC or it holds no plausible date: then nobody may claim to know the time. Up to a
 * second late; looks at the RTC again every ten minutes, so that it does not drift.
 */
__attribute__((warn_unused_result)) bool clock_wall(int64_t *unix_s);

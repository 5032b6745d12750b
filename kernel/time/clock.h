/*
 * Time: nanoseconds since boot, and the wall clock where the machine has one.
 *
 * clock_ns() reads the TSC, and where there is kvmclock its page. How fast the TSC is, is known, in
 * this order of preference, by: kvmclock, CPUID leaf 0x15, the hypervisor's leaf 0x40000010, ACPI's
 * power management timer, the PIT. A machine that has none of them stops with a message.
 *
 * Measuring takes time, which is the boot's: it begins in clock_prepare(), is good to 2 % after
 * clock_init(), and to 1,000 ppm after clock_settle(). (Not where each look at a timer takes 10 µs
 * or more: the console says how good it is.)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_NS_PER_MS 1000000ULL
#define CLOCK_NS_PER_S  1000000000ULL

/* Begins the measurement, if CPUID does not name the frequency. After acpi_init(). */
void clock_prepare(void);

/*
 * Starts the clock, with what is known of the TSC by now, and reads the RTC. Called once, after
 * clock_prepare(). `entry_tsc`: the TSC at the first instruction of the image. Waits only if there
 * has been less than 0.5 ms, or so, since clock_prepare().
 */
void clock_init(uint64_t entry_tsc);

/*
 * Ends the measurement, and says on the console what came of it. Called once, when there is nothing
 * else left to do before time matters. Waits only if there have been less than some 5 ms since
 * clock_prepare(), or 50 ms and more.
 */
void clock_settle(void);

/*
 * Nanoseconds since the first instruction of the image; 0 before clock_init(). Never goes back.
 * Where the TSC does (a live migration, processors whose TSCs differ), it goes on from there. Leaps
 * forward where the TSC does, as when the host has stopped the machine for a while. Those before
 * clock_settle() may have been 2 % too long or too short. Wraps after 584 years.
 */
uint64_t clock_ns(void);

/* How many cycles of the TSC that is; `ns` MUST be under 2^32. After clock_init(). */
uint64_t clock_tsc_cycles(uint64_t ns);

/*
 * Seconds since 1970-01-01T00:00:00Z, into *unix_s. False, and *unix_s untouched, when the
 * machine has no RTC or it holds no plausible date: then nobody may claim to know the time. Up to a
 * second late, and up to two off until clock_follow_rtc() finds out.
 */
__attribute__((warn_unused_result)) bool clock_wall(int64_t *unix_s);

/*
 * Sees to it that clock_wall() goes with the RTC, which knows what the TSC does not: that the
 * machine stood still, that it woke up on another host, that the date was set. To be called several
 * times a second. Looks once a second: two VM exits, or some thirty where the RTC has gone astray
 * (rtc_may_show()). One that could not be read is tried again after ten minutes.
 */
void clock_follow_rtc(void);

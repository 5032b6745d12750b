/*
 * The timer is the TSC's deadline where there is such a thing, else the local APIC's counter, whose
 * frequency nothing tells: it is compared with the clock during the boot, which waits for nothing.
 */
#include "kernel/plat/sleep.h"

#include "kernel/cpu/cpu.h"
#include "kernel/plat/log.h"
#include "kernel/ring0/ring0.h"
#include "kernel/time/clock.h"

#define MESSAGE_ADDRESS 0xfee00000u
#define APIC_ID_MAX     254u /* what a message reaches; 255 is all processors */
#define MEASURE_NS_MIN  200000u

static struct {
    bool possible, by_deadline;
    uint8_t apic_id;
    uint64_t begun_ns;
    uint64_t counts, counts_ns; /* the counter's pace; counts is under 2^32 */
} sleep;

bool sleep_init(void)
{
    const uint64_t answer = ring0_ask(RING0_START_APIC, 0, 0);
    const uint64_t id = answer >> RING0_APIC_ID_SHIFT;

    sleep.begun_ns = clock_ns();
    sleep.by_deadline = (answer & RING0_APIC_DEADLINE) != 0;
    sleep.apic_id = (uint8_t)id;
    sleep.possible = (answer & RING0_APIC_STARTED) != 0 && id <= APIC_ID_MAX;
    if (!sleep.possible)
        log_warn("sleep", "no local APIC that can be used: idle=poll");
    return sleep.possible;
}

bool sleep_is_possible(void)
{
    return sleep.possible;
}

struct sleep_message sleep_message(void)
{
    return (struct sleep_message){.address = MESSAGE_ADDRESS | (uint32_t)sleep.apic_id << 12,
                                  .data = RING0_WAKE_VECTOR,
                                  .apic_id = sleep.apic_id};
}

void sleep_settle(void)
{
    if (sleep.by_deadline)
        return;
    while (clock_ns() - sleep.begun_ns < MEASURE_NS_MIN)
        cpu_pause();
    /* In this order: too slow a pace makes sleeps too short, which harms nobody. */
    sleep.counts = ring0_ask(RING0_TIMER_COUNT, 0, 0);
    sleep.counts_ns = clock_ns() - sleep.begun_ns;
    log_debug("sleep", "timer at %lu kHz",
              (unsigned long)(sleep.counts * 1000000 / sleep.counts_ns));
}

void sleep_for(uint64_t ns)
{
    const uint64_t limited_ns = ns < SLEEP_NS_MAX ? ns : SLEEP_NS_MAX;
    uint64_t timer;

    if (sleep.by_deadline) {
        timer = cpu_tsc() + clock_tsc_cycles(limited_ns);
    } else {
        const uint64_t counts = limited_ns * sleep.counts / sleep.counts_ns;
        timer = counts < UINT32_MAX ? counts + 1 : UINT32_MAX; /* 0 would be no timer */
    }
    (void)ring0_call(RING0_SLEEP, timer, 0);
}

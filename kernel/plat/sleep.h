/*
 * Sleep: the processor halted until a device interrupts or a time is over. (kernel/ring0/apic.h has
 * what happens in ring 0.)
 *
 * A device that is to end a sleep sends the message that sleep_message() tells. Whoever sleeps has
 * made the devices interrupt, and looked once more whether there is nothing to do (app/idle.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* However long is asked for. So long a lost interrupt may last. */
#define SLEEP_NS_MAX 100000000u

/* Where a device writes what (SDM vol. 3, 11.11). */
struct sleep_message {
    uint32_t address, data;
    uint8_t apic_id;
};

/*
 * Makes the processor ready to sleep, once. False, with the reason in the log, when it cannot: then
 * nothing else of this file may be called but sleep_is_possible(). During the boot, after
 * memory_init().
 */
__attribute__((warn_unused_result)) bool sleep_init(void);

/* sleep_init() was called, and said yes. */
bool sleep_is_possible(void);

struct sleep_message sleep_message(void);

/*
 * Ends the measurement of the timer that sleep_init() has begun. Before the boot is over; after
 * clock_settle(). Waits only if there have been less than 0.2 ms since.
 */
void sleep_settle(void);

/* Sleeps, for so long at most. Ends early for no reason, too. */
void sleep_for(uint64_t ns);

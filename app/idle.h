/*
 * Between two pieces of work: to poll, or to sleep.
 *
 * A sleep costs its wake-up, some 10 to 100 us, and polling costs the processor. So after work the
 * devices are polled for a while, and then slept. How long that while is, adapts, as in Linux's
 * haltpoll governor: if work came soon after, but too late for it, it grows; if work did not come
 * for long, it shrinks, down to nothing.
 *
 * The order is what matters: make the devices interrupt; look once more; sleep. What comes before
 * the first step brings no interrupt, and is seen in the second. What comes after the first brings
 * one, which ends the sleep, be it early or late. Without the look, what comes in between would lie
 * there until the sleep is over by itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define IDLE_POLL_NS_MAX   200000u
#define IDLE_POLL_NS_FIRST 50000u /* when it grows from nothing; what would be less is nothing */

/* What is done to the machine's devices, all of them. */
struct idle_machine {
    bool (*arm)(void);          /* they interrupt from now on. False: one cannot, none does */
    bool (*is_quiet)(void);     /* true if there is nothing to be done; after arm() */
    void (*sleep)(uint64_t ns); /* until an interrupt, including one since arm(); so long at most */
    void (*disarm)(void);       /* no interrupts any more; after each arm() that said yes */
    uint64_t (*now_ns)(void);
};

/* *machine MUST stay. */
void idle_init(const struct idle_machine *machine);

/*
 * There was nothing to do in the turn that began at now_ns. `worked_ns`: when the last turn was
 * over that did something. `due_ns`: when there will be something to do, whatever the devices say.
 * Sleeps if it is time to, and returns true if it did.
 */
bool idle_turn(uint64_t now_ns, uint64_t worked_ns, uint64_t due_ns);

/* How often it has slept. */
uint64_t idle_sleeps(void);

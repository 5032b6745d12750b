/*
 * How often to look at a device that nobody hears from otherwise: the console, the power button.
 * Each look is a VM exit, which stops the machine for 5 to 120 us. Without work that harms nobody.
 * With work it is seldom done: once in PACE_BUSY_NS, so that Ctrl-C is heard within about a second
 * whatever the load.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PACE_BUSY_NS 1000000000u

/* idle_ns is the caller's to set, once; the rest begins as zeros, and the first call is due. */
struct pace {
    uint64_t idle_ns;   /* from one look to the next while there is no work */
    uint64_t due_ns;    /* when to decide next */
    uint64_t looked_ns; /* the last look */
    bool worked;        /* there was work since the last decision */
};

/*
 * True if it is time for a look, which the caller then takes. `worked`: there was work since the
 * last call. Between two looks there are PACE_BUSY_NS + idle_ns at most, and the time from one call
 * to the next.
 */
bool pace_is_due(struct pace *pace, bool worked, uint64_t now_ns);

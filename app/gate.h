/*
 * The gate: no answer to an event leaves before the commit that covers the event is stable.
 *
 *     counted ──► held ──► commit begins ──► commit is stable ──► answers leave
 *               server_hold()                             server_release()
 *
 * The machine goes on counting meanwhile, and what it counts is in the next commit ("external
 * synchrony": Nightingale, Veeraraghavan, Chen, Flinn, OSDI 2006). What may be seen from outside is
 * never ahead of the disk, and so a client cannot tell this from a machine that waits for its disk
 * at each event.
 *
 * Without a store there is no gate, and the routes take another way from the start.
 */
#pragma once

#include <stdint.h>

#include "app/aggregate/stats.h"
#include "app/store/store.h"

enum gate_state {
    GATE_OPEN,
    GATE_STALLED, /* the store does not answer: events are refused before they are counted */
    GATE_FAILED,  /* for good: what is not stable now never will be */
};

/* What the routes look at. Changes only in gate_poll(). */
struct gate {
    enum gate_state state;
    uint32_t epoch;              /* the ticket of what is counted now (server_hold()) */
    uint32_t stable;             /* the last that is stable */
    struct stats_snapshot stats; /* as of `stable`: what may be seen */
    struct store_counters counters;
};

/* The one gate there is, for routes_init(). Its contents come with gate_open(). */
const struct gate *gate_get(void);

/* After store_recover(), before server_init(). */
void gate_open(void);

/*
 * Once before each server_poll(): has the store go on, and releases what has become stable.
 * `now_ns` never goes back. Returns gate->state.
 */
enum gate_state gate_poll(uint64_t now_ns);

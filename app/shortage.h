/*
 * When something begins to be short, and when that is over, told by a counter of those who went
 * without. A shortage begins when the counter grows, and ends when it has not grown for
 * SHORTAGE_QUIET_NS. So one that comes and goes is told no more than twice in that time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SHORTAGE_QUIET_NS 10000000000u

enum shortage_change { SHORTAGE_SAME, SHORTAGE_BEGAN, SHORTAGE_ENDED };

/* Zeroed: nothing is short, and the counter stands at 0. */
struct shortage {
    bool lasts;
    uint64_t counted;  /* what the counter said last */
    uint64_t before;   /* what it said before the shortage */
    uint64_t grown_ns; /* when it was last seen to grow */
};

/* To be called from time to time: `counter` as it is now, which never sinks. */
enum shortage_change shortage_look(struct shortage *shortage, uint64_t counter, uint64_t now_ns);

/* By how much the counter has grown since the shortage began; valid after its end too. */
uint64_t shortage_extent(const struct shortage *shortage);

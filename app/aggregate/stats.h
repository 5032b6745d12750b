/*
 * The aggregate: how many events, whose, and the exact sum of their values.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/aggregate/sum.h"
#include "app/aggregate/users.h"
#include "app/event/event.h"

struct stats {
    uint64_t count; /* events accepted */
    struct users *users;
    struct sum sum;
};

/* What an aggregate was at one moment, without the ids. */
struct stats_snapshot {
    uint64_t count;
    uint64_t users;
    struct sum sum;
};

void stats_init(struct stats *stats, struct users *users);

/*
 * Counts one event. False: its user is new and there is no room for another; nothing of the event
 * is counted.
 */
__attribute__((warn_unused_result)) bool stats_add(struct stats *stats, const struct event *event);

#define STATS_TEXT_BYTES_MAX 160

/*
 * {"totalRequests":N,"uniqueUsers":N,"sum":N,"avg":N}; returns the length. `sum` and `avg` are the
 * shortest decimals that read back as the same doubles, with ".0" where they are whole; `avg` of no
 * events is 0.0.
 */
size_t stats_print(const struct stats *stats, char text[STATS_TEXT_BYTES_MAX]);

struct stats_snapshot stats_snapshot(const struct stats *stats);

/* The same of a snapshot. */
size_t stats_print_snapshot(const struct stats_snapshot *snapshot, char text[STATS_TEXT_BYTES_MAX]);

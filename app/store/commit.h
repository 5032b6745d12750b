/* How a life of the machine with its store begins; store.h has the rest of commit.c. */
#pragma once

#include "app/store/store.h"

/*
 * From the state that was recovered, which `stats` holds and which MUST be stable. The life's first
 * commit begins with it, as number `seq`, to be carried on by store_poll().
 */
void commit_begin_life(const struct store_config *config, const struct store_disk *disk,
                       struct stats *stats, uint64_t seq, uint64_t now_ns);

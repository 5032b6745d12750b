/*
 * What the server has counted (net/server.h), as /metrics says it.
 */
#pragma once

#include "app/metrics.h"

/* Fills in all that struct server_counters has, and leaves the rest as it is. */
void routes_get_counters(struct metrics_machine *machine);

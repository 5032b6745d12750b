#include "app/routes_metrics.h"

#include "net/server.h"

_Static_assert(METRICS_POOLS == SERVER_POOLS, "metrics.c names each");

void routes_get_counters(struct metrics_machine *machine)
{
    struct server_counters counters;
    server_get_counters(&counters);
    machine->connections_open = counters.connections_open;
    machine->connections_accepted = counters.connections_accepted;
    machine->connections_refused = counters.connections_refused;
    machine->connections_gave_way = counters.connections_gave_way;
    machine->connections_reset_short = counters.connections_reset_short;
    machine->syn_cookies_sent = counters.syn_cookies_sent;
    machine->syn_cookies_accepted = counters.syn_cookies_accepted;
    machine->timeouts = counters.timeouts;
    machine->retransmissions = counters.retransmissions;
    machine->received_packets = counters.received_frames;
    machine->received_bytes = counters.received_bytes;
    machine->transmitted_packets = counters.transmitted_frames;
    machine->transmitted_bytes = counters.transmitted_bytes;
    machine->kicks = counters.kicks;
    machine->dropped_frames = counters.dropped_frames;
    machine->memory_short = counters.memory_short;
    machine->batches = counters.batches;
    machine->segments_predicted = counters.segments_predicted;
    machine->longest_turn_frames = counters.longest_turn_frames;
    machine->busy_ns = counters.busy_ns;
    machine->longest_turn_ns = counters.longest_turn_ns;
    for (unsigned i = 0; i < METRICS_POOLS; i++)
        machine->pool_blocks_free[i] = counters.pool_blocks_free[i];
}

/* What the rooms of net/ share besides connections: configuration, counters, and the time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernel/netdev.h"
#include "net/server.h"

/*
 * No turn takes so long: the host has stopped the machine. What its clients sent meanwhile lies in
 * the receive ring and will be read in the next batches, so what is longer counts against nobody's
 * deadline. A host that is merely busy takes the processor away for less, and often.
 */
#define PAUSE_NS CLOCK_NS_PER_S

struct server {
    struct server_config config;
    struct server_counters counters; /* those that are counted here as they happen */
    uint64_t batch_ns;
    uint64_t ran_ns;   /* the same without pauses: what deadlines are reckoned by */
    uint32_t released; /* the last ticket of server_release() */
    bool stopping;
    bool answered; /* on_bytes was called in this batch */
};

extern struct server server;

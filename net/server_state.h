/* What the files of net/ share of the server, besides its connections. server.c owns it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/server.h"

struct server {
    struct server_config config;
    struct server_counters counters; /* those that are counted here as they happen */
    uint64_t batch_ns;
    uint64_t ran_ns; /* the same without pauses: what deadlines are reckoned by */
    bool worked;     /* the turn that began then did something */
    size_t frames;   /* that it received */
    bool stopping;
    bool answered; /* on_bytes was called in this batch */
};

extern struct server server;

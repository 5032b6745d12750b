/*
 * The load client's command line. Anything unknown, malformed or out of range ends the program with
 * status 2 and a sentence that names it.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/load/workload.h"

#define OPTIONS_CONNECTIONS_MAX 100000
#define OPTIONS_DEPTH_MAX       1024

struct options {
    struct sockaddr_in address;
    char authority[256];  /* for the Host field */
    uint64_t requests;    /* to be sent in all */
    uint32_t connections; /* at once */
    uint32_t depth;       /* requests in flight on a connection */
    uint32_t connecting;  /* handshakes in progress at once */
    uint64_t rate;        /* open loop: requests a second; 0: closed loop */
    bool close;           /* one connection for each request */
    bool check;           /* compare /stats with what was sent */
    bool quiet;           /* no progress lines */
    enum workload_data data;
    uint32_t request_timeout_ms;
    uint32_t stall_timeout_s; /* without any answer while one is owed */
    uint32_t timeout_s;       /* of the whole run */
    const char *json_path; /* NULL: none; "-": standard output, the text goes to standard error */
};

void options_parse(int argc, char **argv, struct options *options);

/* GET /stats of a server of the challenge, and what its numbers are. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_NUMBER_BYTES_MAX 48
#define STATS_ERROR_BYTES_MAX  160

struct stats {
    uint64_t total_requests, unique_users;
    char sum[STATS_NUMBER_BYTES_MAX], avg[STATS_NUMBER_BYTES_MAX]; /* as they were printed */
};

/* Asks over a connection of its own. False: `error` says why. */
__attribute__((warn_unused_result)) bool stats_fetch(const struct sockaddr_in *address,
                                                     const char *authority, uint32_t timeout_ms,
                                                     struct stats *stats,
                                                     char error[STATS_ERROR_BYTES_MAX]);

/* Reads the four members from a JSON text. False if one is missing or not a number. */
__attribute__((warn_unused_result)) bool stats_read(const char *json, struct stats *stats);

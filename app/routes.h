/*
 * What the appliance answers: the handlers that app/ gives to net/server.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/aggregate/stats.h"
#include "app/gate.h"
#include "app/http/response.h"
#include "app/metrics.h"
#include "net/server.h"

/* The most that one request is answered with: a 100 (Continue), a head, the longest content. */
#define ROUTES_RESPONSE_BYTES_MAX                                                                  \
    (RESPONSE_CONTINUE_BYTES + RESPONSE_HEAD_BYTES_MAX + METRICS_BYTES_MAX)

struct routes_config {
    struct users *users;
    const struct gate *gate;         /* NULL: answers leave at once */
    uint32_t connections_max;        /* of the server's configuration: /metrics says it */
    uint64_t (*now_ns)(void);        /* the clock of server_batch_ns(), as it is now */
    bool (*wall_s)(int64_t *unix_s); /* false: not known, as yet; once known it stays so */
};

/* Called once, before server_init(). */
void routes_init(const struct routes_config *config);

/*
 * Fills in what the routes decide: state_bytes, cold_state_bytes, response_bytes_max, handlers.
 * `gated`: routes_init() will be given a gate, or has been.
 */
void routes_configure(struct server_config *server, bool gated);

struct stats *routes_stats(void);

/* Events answered 507 so far: their users were new, and found no room. */
uint64_t routes_events_full(void);

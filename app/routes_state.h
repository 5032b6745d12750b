/* What the files of the routes share: a connection's state, and that of all. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/event/event_parser.h"
#include "app/http/http.h"
#include "app/http/http_recall.h"
#include "app/http/response.h"
#include "app/metrics.h"
#include "app/routes.h"

/*
 * Prepared 200s of as many seconds may be on their way at once. Who does not acknowledge holds one
 * until send-timeout=; with all of them held, one more is used that is copied for each answer.
 */
#define OKS_KEPT 4

enum phase {
    PHASE_BETWEEN,     /* between requests */
    PHASE_EMPTY_LINES, /* as yet, too, but the parser has taken some and must go on */
    PHASE_HEAD,
    PHASE_CONTENT,
    PHASE_HELD, /* the answer to the event of the last request waits for the gate */
    PHASE_CLOSED,
};

/* Of a request on the second way; its parsers are reset when it begins. */
struct incoming {
    uint64_t begun_ns; /* the batch that brought its first byte */
    uint8_t endpoint;
    struct http_parser http;
    struct event_parser event;
};

struct connection {
    uint8_t phase;
    uint8_t hint;      /* http_recall.h's */
    uint8_t waiting;   /* what server_wait_for() was last told */
    uint8_t in_flight; /* counted as such under an endpoint: 1 + that; 0: not counted */
    uint16_t owed;     /* answers that the gate holds */
    uint16_t epoch;    /* under which these were counted: the low bits of gate->epoch */
    struct incoming *in;
};

struct ok_200 {
    struct response_ok response;
    struct server_kept kept;
};

struct routes {
    struct stats stats;
    struct http_recall recall;
    struct response_date date;
    uint64_t date_due_ns;
    struct ok_200 *ok;           /* the one with the current date */
    struct server_kept *ok_kept; /* its own, or NULL for the one that is only copied */
    struct ok_200 oks[OKS_KEPT + 1];
    struct metrics metrics;
    struct routes_config config;
    char content[METRICS_BYTES_MAX];
};

extern struct routes routes;

/*
 * The routes: which paths there are, which methods each of them knows, and the status with which a
 * request that reaches it is answered when nothing is wrong with its content (README.md,
 * "Talking to it").
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/http/http.h"

enum endpoint {
    ENDPOINT_EVENT,
    ENDPOINT_STATS,
    ENDPOINT_HEALTH,
    ENDPOINT_METRICS,
    ENDPOINT_PAGE,
    ENDPOINT_SERVER, /* OPTIONS *: the server as a whole (RFC 9110 section 9.3.7) */
    ENDPOINT_OTHER,  /* any other path */
};

#define ENDPOINT_COUNT (ENDPOINT_OTHER + 1)
#define METHOD_COUNT   (HTTP_METHOD_OTHER + 1)

enum endpoint endpoint_find(const struct http_request *request);

/* 200, 204, 404 or 405. */
uint16_t endpoint_status(enum endpoint endpoint, enum http_method method);

/* The value of Allow; NULL for ENDPOINT_OTHER. */
const char *endpoint_allow(enum endpoint endpoint);

/*
 * The same where that is the method that the endpoint is there for: what most requests ask. Else
 * ENDPOINT_OTHER, as for a path that is not known.
 */
enum endpoint endpoint_main(enum endpoint endpoint, enum http_method method);

/* That method; HTTP_METHOD_OTHER for an endpoint that has no path. */
enum http_method endpoint_main_method(enum endpoint endpoint);

/* As metrics label it: the path, or "other". */
const char *endpoint_label(enum endpoint endpoint);
const char *endpoint_method_label(enum http_method method);

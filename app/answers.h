/*
 * The answers of the routes, but for the 200s of plain events (routes.c): those to requests that
 * have gone through the parser, complete or broken.
 */
#pragma once

#include <stdint.h>

#include "app/routes_state.h"

/* Answers the request in c->in->http, which is complete; or has the gate hold its answer. */
void answer_request(struct server_conn *conn, struct connection *c);

/* The 200 without content, in the form that the request in c->in->http wants. */
void answer_counted_event(struct server_conn *conn, struct connection *c);

/* 415 to an event in a coding that is not known. */
void answer_encoded_event(struct server_conn *conn, struct connection *c);

/* Answers a request that came to no route, and closes: where it ends nobody knows. */
void answer_broken(struct server_conn *conn, struct connection *c, uint16_t status,
                   const char *message);

void close_connection(struct server_conn *conn, struct connection *c);

/* Whether the request in c->in is an event to be counted. */
static inline bool is_event(const struct connection *c)
{
    return c->in->endpoint == ENDPOINT_EVENT && c->in->http.request.method == HTTP_POST;
}

/* Its answers are held until what is counted now is stable. */
static inline void hold_answers(struct server_conn *conn, struct connection *c,
                                const struct gate *gate)
{
    c->epoch = (uint16_t)gate->epoch;
    server_hold(conn, gate->epoch);
}

/*
 * A rig for the tests of the routes: app/routes.c on a server that is not there. Its functions
 * (net/server.h) record what they are asked to do; one connection at a time is looked at.
 *
 * What a connection was sent is read back as a client would, strictly, and written down a line a
 * response, which is what the tests compare:
 *
 *     STATUS TYPE ALLOW CONNECTION CONTENT        "-" for a field that is not there
 */
#pragma once

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/aggregate/stats.h"
#include "app/gate.h"
#include "net/server.h"

#define H                  " HTTP/1.1\r\nHost: tally\r\n"
#define EVENT              "POST /event" H
#define JSON               "application/json"
#define ALLOW_GET          "GET, HEAD, OPTIONS"
#define PLAIN              "{\"userId\":\"u\",\"value\":42.5}"
#define OK                 "200 - - - \n"
#define HEALTHY            "200 " JSON " - - {\"status\":\"healthy\"}\n"
#define CLOSED_BY(status)  status " " JSON " - close {\"error\":\"*\n"

#define RIG_SENT_BYTES_MAX (1u << 20)

struct server_conn {
    alignas(16) uint8_t state[16];
    alignas(64) uint8_t cold_state[2048];
    char sent[RIG_SENT_BYTES_MAX + 1]; /* terminated */
    size_t sent_len;
    size_t space;
    bool closed;
    bool held; /* until `ticket` is released */
    uint32_t ticket;
    enum server_wait waiting;
    unsigned waits, sends; /* calls of server_wait_for(), server_send() */
};

extern struct server_config rig_config; /* as routes_configure() has filled it in */
extern uint64_t rig_batch_ns, rig_now_ns;
extern int64_t rig_wall_s; /* -1: not known */
extern struct server_conn rig_conn;
extern struct gate rig_gate;

/* What the last server_send_kept() was given; tests say by `uses` that it is on its way. */
extern struct server_kept *rig_kept;
extern const char *rig_kept_bytes;

/* Everything anew: no events, a clock that stands still, no connection. */
void rig_start(uint64_t users_max);
struct stats *rig_stats(void);

uint64_t rig_events_full(void);

/* The same with a gate, which rig_gate is: a test may change it. */
void rig_start_gated(uint64_t users_max);

/*
 * All that was counted becomes stable, and rig_conn, which MUST be held, is released. False: there
 * was no space for all answers.
 */
bool rig_release(void);

/* rig_conn is released, whatever is stable. */
bool rig_resume(void);

/* Forgets the events, not the users nor the heads seen. */
void rig_clear_stats(void);

void rig_open(void);
void rig_close(void);
void rig_time_out(void);

/*
 * Offers bytes in one batch, from a copy of their own length, so that ASan sees a look past them.
 * Returns how many were taken.
 */
size_t rig_offer(const char *bytes, size_t len);

/* Offers until all are taken or the connection is closed. */
void rig_give(const char *bytes, size_t len);
void rig_give_text(const char *text);

/* What was sent to rig_conn, as lines. */
const char *rig_read(bool head_only);

/* A '*' in `expected` stands for the rest of its line. */
bool rig_lines_match(const char *got, const char *expected);
bool rig_sent(const char *expected);

/* Whether /metrics, asked on a new connection, has `line`. */
bool rig_metrics_say(const char *line);

/* head, Content-Length, body; the head as it is when body is NULL. Valid until the next call. */
const char *rig_request(const char *head, const char *body);
const char *rig_event(const char *user_id, double value);

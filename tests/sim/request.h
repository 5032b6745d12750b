/*
 * Requests, drawn at random, each with the answer that it must get: README.md, "Talking to it", and
 * SECURITY.md, "Limits".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/bytes.h"

enum answer_kind {
    ANSWER_EVENT, /* 200 or 507, by the event's fate */
    ANSWER_ERROR, /* `status`, {"error":"..."} */
    ANSWER_STATS,
    ANSWER_METRICS,
    ANSWER_HEALTH,
    ANSWER_PAGE,
    ANSWER_NOTHING, /* 204 */
    ANSWER_ANY,     /* nobody knows, and what follows neither */
};

struct request {
    enum answer_kind kind;
    uint16_t status;
    bool closes;    /* the connection ends with its answer */
    bool head_only; /* HEAD */
    bool expects;   /* wants a 100 (Continue) */
    bool continued; /* has got it */
    bool unreached; /* behind one that closes: nobody will answer it */
    bool sent;      /* all of it has been on the wire */
    bool answered;
    int32_t error_offset;       /* of the byte that the error names; -1: any */
    uint32_t event;             /* 0: none */
    uint64_t count_min;         /* events counted when it was made */
    size_t begin, content, end; /* where it lies in the stream */
};

struct request_limits {
    size_t body_max;
    bool last;      /* may close the connection; with `unreached`, what it says is never heard */
    bool unreached; /* a request before it closes the connection */
    bool honest;
};

/* Draws a request and appends its bytes; `begin` and the like count from the start of `bytes`. */
void request_make(struct request *request, struct bytes *bytes,
                  const struct request_limits *limits);

/* What the last client asks: an event, or /stats, in the plainest form. */
void request_make_last(struct request *request, struct bytes *bytes, bool stats);

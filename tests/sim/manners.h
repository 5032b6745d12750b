/* How a client behaves on its connection: drawn once for each, from the habits of the profile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/peer.h"

#define REQUESTS_MAX 200

enum ending {
    ENDING_FIN,        /* closes when everything is answered */
    ENDING_HALF_CLOSE, /* right behind the last request, and reads on */
    ENDING_RESET,      /* when everything is answered */
    ENDING_WAIT,       /* leaves it to the appliance */
};

struct manners {
    unsigned requests; /* 0 to REQUESTS_MAX */
    unsigned depth;    /* asked at once without having been answered */
    size_t body_max;
    size_t piece;      /* written at once */
    uint32_t gap_ms;   /* between pieces, at most */
    uint32_t think_ms; /* between requests, at most */
    enum ending ending;
    bool awaits_continue;
    bool never_reads;
    bool teases; /* HABIT_LAST_OCTET */
    bool stalls; /* in reading, now and then */
    uint64_t stalled_until_ns;
    size_t leaves_at; /* after so many bytes written; 0: stays */
    bool leaves_by_reset;
};

void manners_draw(struct manners *manners, struct peer_options *options, bool honest);

/* True if the client begins to stall just now. */
bool manners_stall(struct manners *manners);

/*
 * How long an honest client may have to wait for an answer, also when it has to connect again. In
 * many thousand seeds the longest waits were 0.3, 11 and 21 s.
 */
uint64_t manners_bound_ns(void);

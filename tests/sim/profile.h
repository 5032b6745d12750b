/*
 * What a seed enables: swarm testing (Groce et al. 2012). A run that does everything at once hides
 * what only a few things together bring about; so each seed draws which behaviours there are at
 * all, and how often.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What clients may do. */
enum habit {
    HABIT_PIPELINE,
    HABIT_CHUNKED,
    HABIT_EXPECT,
    HABIT_VARIED_HEADS,
    HABIT_VARIED_BODIES,
    HABIT_LONG_BODIES,
    HABIT_OTHER_ROUTES,
    HABIT_LONG_ANSWERS,
    HABIT_INVALID,    /* requests that are refused */
    HABIT_BROKEN,     /* requests after which nobody knows where the next begins */
    HABIT_MUTATED,    /* a byte of the head is another */
    HABIT_HALF_CLOSE, /* FIN right behind the last request */
    HABIT_CUT,        /* writes of a few bytes */
    HABIT_TINY_SEGMENTS,
    HABIT_GIANT_SEGMENTS, /* as a device with GUEST_TSO4 delivers them */
    HABIT_TINY_MSS,
    HABIT_SMALL_WINDOW,
    HABIT_STALLED_READER, /* reads nothing for a while */
    HABIT_PORT_REUSE,
    HABIT_NUMBERS_WRAP, /* the client's sequence numbers */
    HABIT_ISN_WRAPS,    /* the appliance's */
    /* From here on only those do it who are not honest. */
    HABIT_SILENT,
    HABIT_SLOW,
    HABIT_RESET,
    HABIT_VANISH,
    HABIT_NEVER_READS,
    HABIT_LAST_OCTET, /* its window ends an octet before the answer does */
    HABIT_OVERRUN,    /* sends beyond the appliance's window */
    HABIT_COUNT
};

struct profile {
    bool habit[HABIT_COUNT];

    /* The appliance. */
    uint32_t connections_max, users_max, population;
    uint32_t idle_ms, head_ms, body_ms, send_ms, linger_ms;
    uint64_t clock_offset_ns; /* its clock when the world begins */
    uint32_t ticks;           /* lwIP's, likewise */
    bool transmit_checksum, receive_checksum;
    unsigned transmit_ring, receive_ring, receive_buffer_bytes, scatter;
    bool sleeps, mute;  /* when idle; the device does not interrupt */
    uint32_t commit_us; /* answers wait for commits that take so long on average; 0: they do not */

    /* The wire. Rates in millionths of frames. */
    uint32_t delay_us, jitter_us, quantum_us;
    uint32_t loss, repeat, reorder, corrupt, truncate;
    unsigned hosts;
    uint32_t far_permille; /* of clients: behind the gateway */

    /* Clients at once. */
    unsigned honest, others;
    uint32_t churn_ms;
    bool strays_are_reset; /* a host answers segments that belong to no connection of its own */

    /* Frames out of nowhere, a second; 0: none. */
    uint32_t syns, blind, noise;

    /* Faults, in millionths of steps. */
    uint32_t hoards, stalls, link_downs, pauses, jumps;
    uint32_t refusals; /* of allocations, in millionths */

    uint64_t chaos_ns;
    bool orderly;          /* nothing is lost or out of order, on the wire or at the appliance */
    bool all_fit;          /* there is a slot for everybody; else some wait for others' deadlines */
    bool strict;           /* nothing that could excuse a lost connection or a slow answer */
    bool demands_progress; /* also in the chaos */
};

extern struct profile profile;

void profile_draw(void);

/* Peace: nothing goes wrong any more, and nobody misbehaves. */
void profile_calm_down(void);

void profile_print(void);

/*
 * The clients: what each connection asks and what its answers must be. run.c says when.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/vhost/run.h"

/* What those that are open are to do. */
enum clients_task {
    CLIENTS_IDLE,
    CLIENTS_LOAD,   /* keep requests unanswered; with churn, open anew whatever has closed */
    CLIENTS_FINISH, /* wait for the answers; with churn, those already opened send theirs */
    CLIENTS_ASK,    /* one asks for /stats */
    CLIENTS_CLOSE,
};

enum clients_stage { CLIENTS_FREE, CLIENTS_OPENING, CLIENTS_OPEN, CLIENTS_CLOSING, CLIENTS_STAGES };

struct clients_progress {
    uint32_t count[CLIENTS_STAGES];
    uint64_t opened; /* connections ever begun */
    uint64_t unanswered;
    uint64_t last_answer_ns;
    uint64_t moved_ns;   /* when anything came of anything */
    const char *failure; /* why /stats could not be had; NULL while there is no reason */
};

const struct clients_progress *clients_get_progress(void);

/* Exits the program when there is no memory. Writes what it counts into *result. */
void clients_init(const struct run_options *options, struct run_result *result);

/* The time of this turn, and the second of the load that it falls into. */
void clients_begin_turn(uint64_t now_ns, uint32_t second);

/* Begins a task: everyone open gets a turn. */
void clients_set_task(enum clients_task task);

/* Begins a connection from a slot that is free. */
void clients_open(uint32_t slot);

/* Begins CLIENTS_ASK, which ends with result->has_stats. False: nobody is open to ask. */
__attribute__((warn_unused_result)) bool clients_ask_stats(void);

/* lwIP's timers, and ours: what is to be done with time, not with frames. */
#pragma once

#include "net/core/conn.h"

void timers_init(void);

/* To be told after each turn: lwIP's timers see the connection while they have to do with it. */
void timers_watch(struct server_conn *conn);

/*
 * When there is something to be run: the next tick, if a connection is timed or the last tick is
 * late. Else UINT64_MAX: nothing comes of a tick but that deadlines are looked at.
 */
uint64_t timers_due_ns(void);

/* Runs what is due, some 30 times a second; nearly always nothing. True if there was something. */
bool timers_run(void);

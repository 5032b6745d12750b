/*
 * A store that is simulated: only that answers wait for it, each commit for a while. What is behind
 * a real one is tests/store's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct gate;

/* The gate for the routes; NULL where the seed has none. */
const struct gate *commits_gate(void);

/* Ends the commit under way, if its time has come, and begins the next if anything was counted. */
void commits_run(void);

/* True while one is under way: then the machine does not sleep. */
bool commits_are_under_way(void);

/* How many events /stats has to show now, at least. */
uint64_t commits_visible(void);

/* To be told of each answer that says that an event was counted: it must be stable. */
void commits_see_answer(void);

/*
 * A client: a TCP peer that asks requests, reads the answers, and has its manners. Those who are
 * honest are owed an answer to everything, in bounded time; the others do what they like.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/peer.h"

#define CLIENTS_MAX 64

/* Makes as many clients as the profile says, to begin sooner or later. */
void clients_begin(void);

/* A segment has arrived at some host. */
void clients_input(const struct segment *segment);

/* Lets each do what is due. */
void clients_run(void);

/* UINT64_MAX: nothing is due. */
uint64_t clients_next_ns(void);

/* Who is not honest leaves, one way or another; who is, ends what it has begun. */
void clients_dismiss(void);

/* All have what they asked for and are gone. */
bool clients_are_done(void);

/* One more who is honest, asks for an event and then for /stats, and finds them exact. */
void clients_add_last(void);

/* The wait of those who are honest does not count for this long. */
void clients_excuse(uint64_t ns);

/* The peer of a connection that is established both ways, at random; NULL if there is none. */
struct peer *clients_pick_open(void);

/* The longest that an honest client had to wait for an answer. */
uint64_t clients_longest_wait_ns(void);

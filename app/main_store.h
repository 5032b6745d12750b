/*
 * The store, as main.c sees it through the machine's life: found and recovered at boot, polled in
 * the loop, finished at the stop. Says on the console what is to be said about it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/gate.h"
#include "app/store/store.h"

struct main_store_config {
    enum store_choice choice;
    const char *serial;     /* for STORE_SERIAL */
    uint64_t users_max;     /* max-users=; 0: not given */
    uint64_t user_id_bytes; /* the average length of an id, where none is known yet */
};

/* Calls that return false have said why: the machine is not to start. In this order: */

/* Finds the disk. main_store_is_there() from then on. */
__attribute__((warn_unused_result)) bool main_store_choose(const struct main_store_config *config);

bool main_store_is_there(void);

/* Whether its users fit into max-users= and the memory that is free now; true without a store. */
__attribute__((warn_unused_result)) bool main_store_fits(void);

/* What is on the disk, into `stats`; true without a store. */
__attribute__((warn_unused_result)) bool main_store_recover(struct stats *stats);

/* Before each server_poll(). False: the store has failed, and the machine is to stop. */
bool main_store_poll(void);

/* True if main_store_poll() has nothing to do until something is counted. */
bool main_store_is_at_rest(void);

/* Waits for the disk to take what is left. False: it has not. */
__attribute__((warn_unused_result)) bool main_store_finish(void);

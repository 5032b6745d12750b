/*
 * A machine with a store, one life after another, and what a client knows: every event that was
 * ever counted, which commits there were, and what was said to be stable.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/store/store.h"
#include "tests/store/disk.h"

#define WORLD_EVENTS_MAX 20000
#define WORLD_SECTORS    (4u << 11) /* 4 MiB */

struct world {
    struct stats stats;
    char error[STORE_ERROR_BYTES_MAX];
    char told[STORE_ERROR_BYTES_MAX]; /* the last line */
    struct store_config config;
    unsigned users_max, memory_bytes;

    uint32_t event_count; /* counted, in this life or recovered */
    uint32_t stable_count;
    uint32_t events[WORLD_EVENTS_MAX];    /* each one's user and value, as a number */
    bool is_commit[WORLD_EVENTS_MAX + 1]; /* a commit began with so many events */
    uint64_t begun;                       /* the newest commit that is noted in it */
};

extern struct world world;

/* A history without events, and one blank disk. */
void world_make(uint64_t sectors);

/* A new life: chooses and recovers. Expects nothing of what it finds. */
enum store_opened world_boot(void);

/* A life that recovers all there was, and a new history that has begun with one. */
bool world_is_back(void);
bool world_begin(void);

/* Whether what was recovered is the state as of some commit that covers all that was stable. */
bool world_is_as_it_was(void);
/* Then: what was not recovered never happened. */
void world_go_on(void);

void world_add(unsigned events);
/* Polls, and notes what becomes of it. */
void world_poll(void);
/* Until all is stable, or sealed. False: never. */
bool world_settle(void);
bool world_seal(void);
bool world_finish(void);

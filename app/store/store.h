/*
 * What makes an aggregate outlive its machine: a disk that always holds some recent state of it,
 * and says which.
 *
 *     choose.c      which disk: ours, or blank
 *     superblock.c  what a disk says it is; formatting
 *     slots.c       which of the disk's states is the newest whole one
 *     recover.c     that state into memory
 *     commit.c      the next states, while the machine runs
 *     format.c      what is written, byte by byte
 *     blocking.c    reading and writing at boot
 *
 * There is one store a machine. Calls MUST NOT be made from more than one core; none allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/aggregate/stats.h"
#include "app/store/format.h"

/* ---- at boot: these calls block, until a disk that does not answer counts as broken ---- */

enum store_choice {
    STORE_AUTO,     /* the disk that is ours or blank, if there is one */
    STORE_NONE,     /* no disk, whatever there is */
    STORE_REQUIRED, /* as STORE_AUTO, but not without */
    STORE_SERIAL,   /* the disk with this serial number, and no other */
};

struct store_config {
    enum store_choice choice;
    const char *serial;                       /* for STORE_SERIAL */
    uint64_t (*now_ns)(void);                 /* never goes back */
    bool (*wall_s)(int64_t *unix_s);          /* false: not known, as yet */
    void (*fill_random)(void *bytes, size_t); /* unpredictable: an identity, a key */
    void (*tell)(const char *line);           /* for the console, at info: progress, what is odd */
};

#define STORE_ERROR_BYTES_MAX 200

enum store_opened {
    STORE_ABSENT,  /* run without: as if there were no store */
    STORE_OPEN,    /* go on */
    STORE_REFUSED, /* do not start; one sentence that says why is in `error` */
};

/* The disk that was chosen, and what is on it. Some 40 KiB: not for the stack. */
struct store_disk {
    size_t device;
    uint64_t first_sector; /* where the store begins: 0, or a partition */
    bool is_blank;         /* it will be formatted */
    bool is_unfinished;    /* formatting was cut off before its last step, which is to be done */
    struct format_superblock superblock;
    /* Unless it is blank: */
    struct format_state state; /* the newest whole one */
    uint8_t tail[FORMAT_BLOCK_BYTES_MAX];
    uint64_t seq_seen, boots_seen; /* the highest of all slots */
};

/*
 * Finds the disk and reads what it says about itself. Nothing is written yet: how many users there
 * are (disk->state.users, with disk->state.arena_bytes of ids), and how many there is room for
 * (store_users_max()), may decide how much memory to set aside before store_recover().
 */
__attribute__((warn_unused_result)) enum store_opened
store_choose(const struct store_config *config, struct store_disk *disk,
             char error[STORE_ERROR_BYTES_MAX]);

/* How many users with ids of `id_bytes` on average the disk has room for. */
uint64_t store_users_max(const struct store_disk *disk, size_t id_bytes);

/*
 * Formats a blank disk, or reads the state of ours into `stats` (which MUST be empty), and begins
 * this life of the machine with a commit of its own. The set of users is limited to what the disk
 * holds. On STORE_OPEN `stats` belongs to the store as well, which reads it in store_poll(), and
 * the calls below may be made.
 */
__attribute__((warn_unused_result)) enum store_opened
store_recover(const struct store_config *config, struct store_disk *disk, struct stats *stats,
              char error[STORE_ERROR_BYTES_MAX]);

/*
 * The state on a disk that was chosen, and is not blank, into `stats`, likewise: but nothing is
 * written, and no life begins. For tools that look at a disk. False: *error says why not.
 */
__attribute__((warn_unused_result)) bool store_read(const struct store_config *config,
                                                    const struct store_disk *disk,
                                                    struct stats *stats,
                                                    char error[STORE_ERROR_BYTES_MAX]);

/* ---- running ---- */

/* An epoch is the number of a commit. */
uint64_t store_epoch(void);  /* of the commit that covers what is counted now: the next to begin */
uint64_t store_begun(void);  /* the newest that has begun */
uint64_t store_stable(void); /* the newest that is stable: what was counted under it survives */

/*
 * Takes completions, goes on with the commit in flight, begins one when something was counted and
 * none is in flight. Bounded work: at most STORE_POLL_BYTES of arena blocks and one slot a call,
 * however many ids are new. Their CRCs take some 3.5 instructions a byte.
 */
#define STORE_POLL_BYTES (64u << 10)
void store_poll(uint64_t now_ns);

/* The aggregate as of store_stable(). Changes only in store_poll(). */
const struct stats_snapshot *store_snapshot(void);

/* True if all is stable and sealed: store_poll() has nothing to do until an event is counted. */
bool store_is_at_rest(void);

enum store_health {
    STORE_HEALTHY,
    STORE_STALLED, /* the disk has not answered for over a second; it may yet */
    STORE_FAILED,  /* a write or a flush failed: nothing becomes stable any more */
};

enum store_health store_health(uint64_t now_ns);

/*
 * An orderly stop: commits and seals what is there without waiting for idleness. Go on with
 * store_poll() until store_is_clean(), or until the store has failed.
 */
void store_finish(void);
bool store_is_clean(void);

/* ---- for /metrics; all since boot ---- */

#define STORE_DURATION_BUCKETS 16

struct store_counters {
    uint64_t commits; /* that became stable, seals left out */
    uint64_t seals;
    uint64_t events;        /* covered by those commits: events / commits is the mean batch */
    uint64_t written_bytes; /* submitted */
    uint64_t flushes;
    uint64_t errors;      /* requests that failed */
    uint64_t duration_ns; /* of all commits, from begin to stable */
    /* durations[i]: commits of at most 100 us * 2^i, and more than 100 us * 2^(i - 1); the last: of
     * any longer duration. */
    uint64_t durations[STORE_DURATION_BUCKETS];
    uint64_t recovered_count, recovered_users;
    uint64_t boots;
    uint64_t arena_bytes, arena_bytes_max; /* ids, each with its length: stable, and room for */
};

void store_get_counters(struct store_counters *counters);

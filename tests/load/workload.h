/*
 * The challenge's deterministic stream of events, and what a server that counted them must say.
 *
 * Request i carries userId "user_<i mod 75000>" and a value that depends on i mod 1000. All values
 * are multiples of one half, so that sums are kept exactly, as integers of halves.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKLOAD_USERS  75000U
#define WORKLOAD_VALUES 1000U

enum workload_data {
    WORKLOAD_FASTERAPI, /* value i mod 1000, JSON with blanks, as FasterAPI's client sends it */
    WORKLOAD_GO, /* value i mod 1000 + 0.5, JSON without, as the challenge's Go tester does */
};

struct workload; /* prebuilt texts and tallies */

/*
 * `authority` is the Host field's value; `close` adds Connection: close to every request. Exits the
 * program when there is no memory. For the life of the program.
 */
struct workload *workload_create(enum workload_data data, const char *authority, bool close);

/* The longest request, in bytes. */
size_t workload_request_bytes_max(const struct workload *workload);

/* Writes request `index`; returns its length. */
size_t workload_write(const struct workload *workload, uint64_t index, char *out);

/* ---- what became of a request: each is told exactly once ---- */

void workload_counted(struct workload *workload, uint64_t index);   /* answered 200 */
void workload_uncertain(struct workload *workload, uint64_t index); /* sent, its answer lost */

/* What the events that became `counted`, or `uncertain`, amount to. */
struct workload_tally {
    uint64_t requests;
    uint64_t half_sum; /* of their values, in halves */
};

struct workload_tallies {
    struct workload_tally counted, uncertain;
    uint64_t users_min; /* distinct users of those counted */
    uint64_t users_max; /* and of those uncertain besides */
};

struct workload_tallies workload_get_tallies(const struct workload *workload);

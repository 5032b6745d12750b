/*
 * The exact set of user ids: byte strings of 1 to 1,024 bytes, compared byte for byte.
 *
 * Memory is given once. It holds the hash table (open addressing, stored hashes) and the arena of
 * keys; the table grows a little with every insertion while the old one is still there, so that no
 * single insertion pays for a rehash.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/lib/siphash.h"

struct users; /* lives at the start of the memory given */

enum users_result { USERS_KNOWN, USERS_ADDED, USERS_FULL };

#define USERS_ID_BYTES_MAX 1024
#define USERS_MAX          200000000ULL /* the most that may be asked for */

/*
 * Bytes that hold `users_max` users (1 to USERS_MAX) whose ids are `id_bytes` long on average, in
 * any order of arrival and at any stage of growth. SIZE_MAX when no memory does: ids are reached by
 * 32-bit offsets, so that they may fill 4 GiB in all.
 */
size_t users_memory_bytes(uint64_t users_max, size_t id_bytes);

/* The inverse: how many such users `bytes` hold; 0 when not even one. */
uint64_t users_max_within(size_t bytes, size_t id_bytes);

/*
 * An empty set of at most users_max users, within `bytes` of `memory` (aligned to 64, of any
 * content), at least users_memory_bytes(users_max, 1). More than 10 GiB are of no use to it. The
 * key MUST be secret and random.
 */
struct users *users_init(void *memory, size_t bytes, uint64_t users_max,
                         const struct siphash_key *key);

/*
 * Finds or adds. USERS_FULL: not there, and no room for it (count or memory); the set is
 * unchanged and goes on answering for those it knows. Bounded work: one lookup, and at most a fixed
 * number of slots moved; that again for each that was noted.
 */
__attribute__((warn_unused_result)) enum users_result users_insert(struct users *users,
                                                                   const uint8_t *id, size_t len);

/*
 * users_insert(), of which only "full" matters (false). Ids of usual lengths are noted, as there is
 * room for them, and looked up a few together: the misses of the cache, half of a request's time
 * one by one, then overlap. Whatever is asked of the set, they are in it.
 */
__attribute__((warn_unused_result)) bool users_note(struct users *users, const uint8_t *id,
                                                    size_t len);

uint64_t users_count(struct users *users);
uint64_t users_limit(const struct users *users);
size_t users_memory_used(struct users *users);

/*
 * The ids in the order in which they were added, each behind its length (2 bytes, little-endian).
 * Bytes are only ever appended: those that were here once stay where they are and what they are for
 * as long as the set exists, so that a device may read them while the set grows. Ids that are noted
 * are looked up first, so that users_count() and this are of one moment.
 */
struct users_arena {
    const uint8_t *bytes;
    size_t len;
};

struct users_arena users_arena(struct users *users);

/*
 * Bounds the arena's length to `len_max`: a new id that would exceed it finds the set full. MUST
 * be called before the first id.
 */
void users_limit_arena(struct users *users, uint64_t len_max);
size_t users_memory_limit(const struct users *users);

/*
 * The set of user ids.
 *
 * A slot is 8 bytes: the upper 32 bits are 32 bits of the id's keyed hash, the lower 32 bits say
 * where in the arena the id lies (offset from the start of the memory; 0 means that the slot is
 * free). The arena holds ids one after another, each behind its length in two bytes:
 *
 *     slot    | hash (32) | offset (32) |          arena   | len (2) | id ... | len (2) | id ...
 *
 * The stored hash does three things. Its upper bits are the slot where the id belongs; linear
 * probing goes on from there. Its other bits tell nearly all other ids apart without a look at the
 * arena, so that a known user costs two cache lines: its slot and its id. And a slot can be moved
 * to a larger table without its id being read or hashed again. Slots of 16 bytes with a 64-bit hash
 * were the alternative: they save a wasted look at the arena in one probe of 256 at 10,000,000
 * users, and double the table, which is what falls out of the cache first.
 *
 * Load is at most 5/8. Linear probing then looks at 1.8 slots for a known user and 4.1 for a new
 * one on average (Knuth, 6.4: (1 + 1/(1-a))/2 and (1 + 1/(1-a)^2)/2), 8 slots to the cache line.
 * The longest probe grows with ln n / (a - 1 - ln a): measured on random hashes, 60 slots at
 * 80,000 ids and 90 at 10,000,000. A client cannot do worse on purpose, for it does not know the
 * hash's key.
 *
 * Growth. A table of the final size at boot needs none, but its first touch costs a page fault a
 * request and its spread costs the cache and the TLB of small sets; and who asks for 10,000,000
 * users should not wait for 128 MiB to be cleared. So tables start at FIRST_SLOTS and double. A
 * table of N slots is in use while the set goes from 5/16 N to 5/8 N ids. Each id added meanwhile
 * does a step of one of two chores, one after the other:
 *
 *     1. move DRAIN_SLOTS slots of the last table (N/2 of them)   done after  N/16 ids
 *     2. clear CLEAR_SLOTS slots of the next one (2N of them)     done after  N/8 ids more
 *
 * which leaves both done when 3/16 of the 5/16 N have passed: asserted when the tables change.
 * While the last table is being moved, it stays whole, and an id that is not in the new one is
 * looked for there. An id moved is found in the new one first; what is left of it in the last is
 * never seen.
 *
 * Because the chores do not overlap, only neighbours in size are ever alive together, and two
 * regions serve them all in turn; F is the number of slots that users_max ids need. The first table
 * lies apart, beside the first ids: a machine that starts touches (and has its host clear) less.
 *
 *     | struct users | first table | arena of ids ->  | tables of F/2, F/8 ... | of F, F/4 ... |
 *                                                       4 F bytes                8 F bytes
 *
 * That is 12 F bytes, 19.2 to 38.4 a user when full, and 2 bytes and the id for each: 10,000,000
 * users with ids of 12 bytes: 34 bytes each. Once the table of F/2 has been moved for good, its
 * region is given to the arena (not counted in users_memory_bytes(), so that the promise there
 * holds whatever the order in which short and long ids come).
 */
#include "app/aggregate/users.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/lib/bytes.h"

#define FIRST_SLOTS   1024u
#define FIRST_BYTES   (FIRST_SLOTS * sizeof(uint64_t))
#define DRAIN_SLOTS   8u  /* one cache line read, each slot written to one of two places */
#define CLEAR_SLOTS   16u /* two cache lines written */
#define LENGTH_BYTES  2u
#define NOTED_MAX     16u /* ids that wait to be looked up together */
#define NOTED_BYTES   16u /* longer ones are looked up at once, as are those below half of it */
#define NOTED_ARENA   ((NOTED_MAX + 1) * (LENGTH_BYTES + NOTED_BYTES)) /* all, and one more */
#define ALIGN_BYTES   64u
#define ARENA_END_MAX UINT32_MAX

struct table {
    uint64_t *slots; /* NULL: none */
    uint32_t mask;   /* number of slots - 1 */
    uint32_t shift;  /* hash >> shift is where an id belongs */
};

/* An id that is, or shall be, in the set: there is room for it. */
struct noted {
    uint8_t id[NOTED_BYTES];
    uint32_t hash;
    uint32_t len;
};

struct users {
    /* What every lookup touches: one cache line. */
    struct table table;
    struct table last; /* being moved to `table` */
    struct siphash_key key;
    uint64_t count;
    uint64_t grow_at; /* UINT64_MAX once the table has its final size */

    /* What noting an id looks at besides: while the set is below both, there is room for all. */
    uint64_t noted_below;
    size_t noted_arena_below;
    size_t arena_used; /* from the start of struct users, as offsets are */
    uint32_t noted_count;

    uint64_t limit;
    size_t arena_end;
    size_t arena_end_max; /* whatever room there is */
    uint32_t drained;     /* slots of `last` moved */
    uint32_t cleared;     /* slots of the next table cleared */
    uint32_t final_slots;
    uint64_t *first;
    uint64_t *regions[2]; /* of tables of final_slots / 4^n; of final_slots / 2 / 4^n */
    struct noted noted[NOTED_MAX];
    size_t bytes;
};

#define ALIGN_UP(bytes) (((bytes) + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1))
#define FIRST_OFFSET    ALIGN_UP(sizeof(struct users))
#define ARENA_OFFSET    (FIRST_OFFSET + FIRST_BYTES)

_Static_assert(NOTED_ARENA < ARENA_OFFSET, "the arena's end is beyond");

static uint64_t load_limit(uint64_t slots)
{
    return slots / 8 * 5;
}

static uint64_t final_slots_for(uint64_t users_max)
{
    uint64_t slots = FIRST_SLOTS;
    while (load_limit(slots) < users_max)
        slots *= 2;
    return slots;
}

/* F, for the regions: the first table needs none of them. */
static uint64_t region_slots_for(uint64_t final_slots)
{
    return final_slots == FIRST_SLOTS ? 0 : final_slots;
}

/* The table of all users' slots, and the one before it, half as large. */
static size_t regions_bytes(uint64_t region_slots)
{
    return region_slots * (sizeof(uint64_t) + sizeof(uint64_t) / 2);
}

size_t users_memory_bytes(uint64_t users_max, size_t id_bytes)
{
    assert(users_max >= 1 && users_max <= USERS_MAX);
    assert(id_bytes >= 1 && id_bytes <= USERS_ID_BYTES_MAX);
    const uint64_t arena_end = ALIGN_UP(ARENA_OFFSET + users_max * (LENGTH_BYTES + id_bytes));
    if (arena_end > ARENA_END_MAX)
        return SIZE_MAX;
    return arena_end + regions_bytes(region_slots_for(final_slots_for(users_max)));
}

uint64_t users_max_within(size_t bytes, size_t id_bytes)
{
    uint64_t fits = 0, too_many = USERS_MAX + 1;
    while (too_many - fits > 1) {
        const uint64_t middle = fits + (too_many - fits) / 2;
        if (users_memory_bytes(middle, id_bytes) <= bytes)
            fits = middle;
        else
            too_many = middle;
    }
    return fits;
}

static struct table table_of(const struct users *users, uint32_t slots)
{
    const unsigned log2_slots = (unsigned)__builtin_ctz(slots);
    const unsigned halvings = (unsigned)__builtin_ctz(users->final_slots) - log2_slots;
    return (struct table){
        .slots = slots == FIRST_SLOTS ? users->first : users->regions[halvings & 1],
        .mask = slots - 1,
        .shift = 32 - log2_slots,
    };
}

static void arena_set_end(struct users *users, const void *end)
{
    const size_t offset = (size_t)((const uint8_t *)end - (const uint8_t *)users);
    users->arena_end = offset < users->arena_end_max ? offset : users->arena_end_max;
    users->noted_arena_below = users->arena_end - NOTED_ARENA;
}

/* What becomes possible with the last table gone. */
static void finish_draining(struct users *users)
{
    users->last.slots = NULL;
    if (users->table.mask + 1 == users->final_slots)
        arena_set_end(users, users->regions[0]);
}

struct users *users_init(void *memory, size_t bytes, uint64_t users_max,
                         const struct siphash_key *key)
{
    assert((uintptr_t)memory % ALIGN_BYTES == 0);
    assert(bytes >= users_memory_bytes(users_max, 1));
    const uint64_t final_slots = final_slots_for(users_max);
    const uint64_t region_slots = region_slots_for(final_slots);
    /* What lies beyond the arena's last offset and the tables would be of no use. */
    const size_t useful = (size_t)ARENA_END_MAX + 1 + regions_bytes(region_slots);
    bytes = (bytes < useful ? bytes : useful) & ~(size_t)(ALIGN_BYTES - 1);
    uint64_t *const end = (uint64_t *)memory + bytes / sizeof(uint64_t);

    struct users *const users = memory;
    *users = (struct users){
        .key = *key,
        .limit = users_max,
        .noted_below = users_max < NOTED_MAX ? 0 : users_max - NOTED_MAX,
        .arena_used = ARENA_OFFSET,
        .arena_end_max = ARENA_END_MAX,
        .final_slots = (uint32_t)final_slots,
        .first = (uint64_t *)memory + FIRST_OFFSET / sizeof(uint64_t),
        .regions = {end - region_slots, end - region_slots - region_slots / 2},
        .bytes = bytes,
    };
    arena_set_end(users, users->regions[1]);
    users->table = table_of(users, FIRST_SLOTS);
    memset(users->table.slots, 0, FIRST_BYTES);
    users->grow_at = final_slots == FIRST_SLOTS ? UINT64_MAX : load_limit(FIRST_SLOTS);
    return users;
}

static inline uint64_t slot_make(uint32_t hash, uint32_t offset)
{
    return (uint64_t)hash << 32 | offset;
}

static inline uint32_t slot_hash(uint64_t slot)
{
    return (uint32_t)(slot >> 32);
}

static inline bool id_is_at(const struct users *users, uint64_t slot, const uint8_t *id, size_t len)
{
    const uint8_t *const stored = (const uint8_t *)users + (uint32_t)slot;
    return bytes_load16(stored) == len && bytes_equal(stored + LENGTH_BYTES, id, len);
}

/* True if found; else *free_at is the slot that it would take. Ends: a table is never full. */
static inline bool find(const struct users *users, const struct table *table, uint32_t hash,
                        const uint8_t *id, size_t len, uint32_t *free_at)
{
    for (uint32_t at = hash >> table->shift;; at = (at + 1) & table->mask) {
        const uint64_t slot = table->slots[at];
        if (slot == 0) {
            *free_at = at;
            return false;
        }
        if (slot_hash(slot) == hash && id_is_at(users, slot, id, len))
            return true;
    }
}

static void drain_step(struct users *users)
{
    const struct table *const table = &users->table;
    for (unsigned i = 0; i < DRAIN_SLOTS; i++) {
        const uint64_t slot = users->last.slots[users->drained++];
        if (slot == 0)
            continue;
        uint32_t at = slot_hash(slot) >> table->shift;
        while (table->slots[at] != 0)
            at = (at + 1) & table->mask;
        table->slots[at] = slot;
    }
    if (users->drained > users->last.mask)
        finish_draining(users);
}

/* One step of growth's chores, and the change of tables when it is due. */
static void grow_step(struct users *users)
{
    const uint32_t next_slots = (users->table.mask + 1) * 2;
    if (users->last.slots != NULL) {
        drain_step(users);
    } else if (users->cleared < next_slots) {
        memset(table_of(users, next_slots).slots + users->cleared, 0,
               CLEAR_SLOTS * sizeof(uint64_t));
        users->cleared += CLEAR_SLOTS;
    }
    if (users->count < users->grow_at)
        return;
    assert(users->last.slots == NULL && users->cleared == next_slots);
    users->last = users->table;
    users->table = table_of(users, next_slots);
    users->drained = 0;
    users->cleared = 0;
    users->grow_at = next_slots == users->final_slots ? UINT64_MAX : load_limit(next_slots);
}

__attribute__((noinline)) static enum users_result
add(struct users *users, uint32_t hash, const uint8_t *id, size_t len, uint32_t free_at)
{
    if (users->count == users->limit || LENGTH_BYTES + len > users->arena_end - users->arena_used)
        return USERS_FULL;

    uint8_t *const stored = (uint8_t *)users + users->arena_used;
    const uint16_t stored_len = (uint16_t)len;
    memcpy(stored, &stored_len, LENGTH_BYTES);
    memcpy(stored + LENGTH_BYTES, id, len);
    users->table.slots[free_at] = slot_make(hash, (uint32_t)users->arena_used);
    users->arena_used += LENGTH_BYTES + len;
    users->count++;

    if (users->grow_at != UINT64_MAX)
        grow_step(users);
    else if (users->last.slots != NULL)
        drain_step(users);
    return USERS_ADDED;
}

static enum users_result look_up(struct users *users, uint32_t hash, const uint8_t *id, size_t len)
{
    uint32_t free_at, unused;
    if (find(users, &users->table, hash, id, len, &free_at))
        return USERS_KNOWN;
    if (users->last.slots != NULL && find(users, &users->last, hash, id, len, &unused))
        return USERS_KNOWN;
    return add(users, hash, id, len, free_at);
}

/*
 * Looks up all that are noted. First only their slots are read, one load right after the other, so
 * that all are on their way at once. (PREFETCH when they are noted is as good on a processor; an
 * emulator makes nothing of it.)
 */
__attribute__((noinline, flatten)) static void look_up_noted(struct users *users)
{
    const struct table *const table = &users->table;
    uint64_t slots = 0;
    for (unsigned i = 0; i < users->noted_count; i++)
        slots |= table->slots[users->noted[i].hash >> table->shift];
    __asm__ volatile("" : : "r"(slots)); /* they are to be read, though nobody needs them yet */

    for (unsigned i = 0; i < users->noted_count; i++) {
        const struct noted *const noted = &users->noted[i];
        const enum users_result result = look_up(users, noted->hash, noted->id, noted->len);
        assert(result != USERS_FULL);
    }
    users->noted_count = 0;
}

__attribute__((noinline)) enum users_result users_insert(struct users *users, const uint8_t *id,
                                                         size_t len)
{
    assert(len >= 1 && len <= USERS_ID_BYTES_MAX);
    look_up_noted(users);
    return look_up(users, (uint32_t)siphash13(&users->key, id, len), id, len);
}

bool users_note(struct users *users, const uint8_t *id, size_t len)
{
    if (len - NOTED_BYTES / 2 > NOTED_BYTES / 2 || users->count >= users->noted_below ||
        users->arena_used >= users->noted_arena_below)
        return users_insert(users, id, len) != USERS_FULL;

    struct noted *const noted = &users->noted[users->noted_count++];
    noted->hash = (uint32_t)siphash13(&users->key, id, len);
    noted->len = (uint32_t)len;
    memcpy(noted->id, id, NOTED_BYTES / 2);
    memcpy(noted->id + len - NOTED_BYTES / 2, id + len - NOTED_BYTES / 2, NOTED_BYTES / 2);
    if (users->noted_count == NOTED_MAX)
        look_up_noted(users);
    return true;
}

uint64_t users_count(struct users *users)
{
    look_up_noted(users);
    return users->count;
}

uint64_t users_limit(const struct users *users)
{
    return users->limit;
}

/* Besides the first, which counts with the arena. */
static size_t table_bytes(const struct table *table)
{
    const size_t slots = (size_t)table->mask + 1;
    return table->slots == NULL || slots == FIRST_SLOTS ? 0 : slots * sizeof(uint64_t);
}

size_t users_memory_used(struct users *users)
{
    look_up_noted(users);
    return users->arena_used + table_bytes(&users->table) + table_bytes(&users->last);
}

struct users_arena users_arena(struct users *users)
{
    look_up_noted(users);
    return (struct users_arena){
        .bytes = (const uint8_t *)users + ARENA_OFFSET,
        .len = users->arena_used - ARENA_OFFSET,
    };
}

void users_limit_arena(struct users *users, uint64_t len_max)
{
    assert(users_count(users) == 0);
    if (len_max < ARENA_END_MAX - ARENA_OFFSET)
        users->arena_end_max = ARENA_OFFSET + len_max;
    arena_set_end(users, (const uint8_t *)users + users->arena_end);
}

size_t users_memory_limit(const struct users *users)
{
    return users->bytes;
}

/* See world.h. */
#include "tests/store/world.h"

#include <stdalign.h>
#include <string.h>

#include "tests/test.h"

#define MEMORY_BYTES (1u << 20)
#define POLLS_MAX    100000

struct world world;
static alignas(64) uint8_t memory[2][MEMORY_BYTES];
static struct store_disk disk;

/* ---- events: a user of few or of many, whose id may be long; a value of any size ---- */

static uint32_t mix(uint32_t number)
{
    number = (number ^ number >> 16) * 0x7feb352d;
    number = (number ^ number >> 15) * 0x846ca68b;
    return number ^ number >> 16;
}

static bool count_event(struct stats *stats, uint32_t number)
{
    static uint8_t id[USERS_ID_BYTES_MAX];
    const uint32_t user = number % 3 == 0 ? number % 64 : number;
    const uint32_t kind = mix(user) % 32;
    const uint32_t len = kind == 0   ? 1 + mix(user + 1) % USERS_ID_BYTES_MAX
                         : kind == 1 ? 4 + mix(user + 1) % 3
                                     : 8 + mix(user + 1) % 24;
    memset(id, (int)('a' + user % 26), len);
    memcpy(id, &user, len < sizeof user ? len : sizeof user);
    static const double scales[] = {1, -1, 0.1, 1e300, -1e-300, 0x1p-1074};
    const struct event event = {
        .user_id = id, .user_id_len = len, .value = (number >> 8) % 1000 * scales[number % 6]};
    return stats_add(stats, &event);
}

static void fill_random(void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)chance(256);
}

/* Known but for the first second. */
static bool wall_s(int64_t *unix_s)
{
    *unix_s = 1764590000 + (int64_t)(disk_now_ns / 1000000000);
    return disk_now_ns >= 1000000000;
}

static void tell(const char *line)
{
    memcpy(world.told, line, strlen(line) + 1);
}

static void empty(struct stats *stats, unsigned which, uint64_t users_max)
{
    const struct siphash_key key = {chance(UINT32_MAX), which};
    memset(memory[which], 0xa5, MEMORY_BYTES);
    stats_init(stats, users_init(memory[which], which == 0 ? world.memory_bytes : MEMORY_BYTES,
                                 users_max, &key));
}

void world_make(uint64_t sectors)
{
    disks_make(1, sectors);
    memset(&world, 0, sizeof world);
    world.config = (struct store_config){.choice = STORE_AUTO,
                                         .now_ns = disk_clock,
                                         .wall_s = wall_s,
                                         .fill_random = fill_random,
                                         .tell = tell};
    world.users_max = 20000;
    world.memory_bytes = MEMORY_BYTES;
    world.is_commit[0] = true;
}

enum store_opened world_boot(void)
{
    enum store_opened opened = store_choose(&world.config, &disk, world.error);
    if (opened == STORE_OPEN) {
        empty(&world.stats, 0, world.users_max);
        opened = store_recover(&world.config, &disk, &world.stats, world.error);
    }
    return opened;
}

/* Against the same events, counted anew. */
static bool is_state_after(uint32_t events)
{
    static struct stats expected;
    uint8_t sum[2][SUM_ENCODED_BYTES_MAX];
    empty(&expected, 1, WORLD_EVENTS_MAX);
    for (uint32_t i = 0; i < events; i++)
        if (!count_event(&expected, world.events[i]))
            return false;
    const struct users_arena ids = users_arena(world.stats.users);
    const struct users_arena expected_ids = users_arena(expected.users);
    const size_t sum_len = sum_encode(&world.stats.sum, sum[0]);
    return users_count(world.stats.users) == users_count(expected.users) &&
           ids.len == expected_ids.len && memcmp(ids.bytes, expected_ids.bytes, ids.len) == 0 &&
           sum_len == sum_encode(&expected.sum, sum[1]) && memcmp(sum[0], sum[1], sum_len) == 0;
}

static bool snapshot_is_current(void)
{
    const struct stats_snapshot *const snapshot = store_snapshot();
    uint8_t sum[2][SUM_ENCODED_BYTES_MAX];
    const size_t len = sum_encode(&snapshot->sum, sum[0]);
    return snapshot->count == world.stats.count &&
           snapshot->users == users_count(world.stats.users) &&
           len == sum_encode(&world.stats.sum, sum[1]) && memcmp(sum[0], sum[1], len) == 0;
}

bool world_is_as_it_was(void)
{
    const uint64_t count = world.stats.count;
    if (count > world.event_count || count < world.stable_count || !world.is_commit[count]) {
        test_print("recovered %u events of %u, of which %u were stable", (unsigned)count,
                   world.event_count, world.stable_count);
        return false;
    }
    return is_state_after((uint32_t)count) && snapshot_is_current();
}

void world_go_on(void)
{
    world.event_count = world.stable_count = (uint32_t)world.stats.count;
    world.begun = store_begun();
    memset(&world.is_commit[world.event_count + 1], false,
           sizeof world.is_commit - world.event_count - 1);
}

bool world_is_back(void)
{
    if (world_boot() != STORE_OPEN) {
        test_print("%s", world.error);
        return false;
    }
    if (!world_is_as_it_was())
        return false;
    world_go_on();
    return true;
}

bool world_begin(void)
{
    chance_seed(1);
    world_make(WORLD_SECTORS);
    return world_is_back();
}

void world_add(unsigned events)
{
    for (unsigned i = 0; i < events && world.event_count < WORLD_EVENTS_MAX; i++) {
        const uint32_t number = chance(UINT32_MAX);
        if (count_event(&world.stats, number))
            world.events[world.event_count++] = number;
    }
}

void world_poll(void)
{
    const uint64_t next = store_epoch();
    /* The machine may end while it polls: the commit may have begun. */
    const bool was_commit = world.is_commit[world.event_count];
    world.is_commit[world.event_count] = true;
    store_poll(disk_clock());
    if (store_begun() == world.begun)
        world.is_commit[world.event_count] = was_commit;
    else if (store_begun() != next)
        test_fail(__FILE__, __LINE__, "store_epoch() is the next that begins");
    world.begun = store_begun();
    world.stable_count = (uint32_t)store_snapshot()->count;
}

bool world_settle(void)
{
    const uint64_t epoch = store_epoch();
    for (unsigned i = 0; i < POLLS_MAX; i++) {
        world_poll();
        if (store_stable() >= epoch ||
            (store_begun() == store_stable() && store_snapshot()->count == world.stats.count))
            return true;
    }
    return false;
}

bool world_seal(void)
{
    struct store_counters counters;
    store_get_counters(&counters);
    const uint64_t seals = counters.seals;
    if (!world_settle())
        return false;
    for (unsigned i = 0; i < POLLS_MAX && counters.seals == seals; i++) {
        disk_now_ns += 1000000;
        world_poll();
        store_get_counters(&counters);
    }
    return counters.seals != seals;
}

bool world_finish(void)
{
    store_finish();
    for (unsigned i = 0; i < POLLS_MAX; i++) {
        if (store_is_clean())
            return true;
        world_poll();
    }
    return false;
}

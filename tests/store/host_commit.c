/* Commits while the machine runs: what is stable when, and disks that stall, fail, or fill up. */
#include <string.h>

#include "tests/store/image.h"
#include "tests/store/world.h"
#include "tests/test.h"

#define NS_PER_MS UINT64_C(1000000)

static struct store_counters counters(void)
{
    struct store_counters now;
    store_get_counters(&now);
    return now;
}

/* Begins a commit that does not end before release(). */
static void hold(void)
{
    disks[0].hang_in = 1;
}

static void release(void)
{
    disks[0].hang_in = 0;
}

TEST(commits_cover_what_was_counted_before_they_began)
{
    CHECK(world_begin());
    const uint64_t first = store_stable();
    CHECK_EQ(store_begun(), first);
    CHECK_EQ(store_epoch(), first + 1);
    world_poll(); /* nothing is to be done */
    CHECK_EQ(store_begun(), first);

    hold();
    world_add(10);
    CHECK_EQ(store_epoch(), first + 1);
    world_poll();
    CHECK_EQ(store_begun(), first + 1);
    world_add(10);
    CHECK_EQ(store_epoch(), first + 2); /* too late for the one in flight */
    world_poll();
    CHECK_EQ(store_begun(), first + 1);
    CHECK_EQ(store_stable(), first);
    CHECK_EQ(store_snapshot()->count, 0);

    release();
    while (store_stable() == first)
        world_poll();
    CHECK_EQ(store_snapshot()->count, 10);
    CHECK_EQ(store_begun(), first + 2); /* the next begins at once */
    CHECK(world_settle());
    CHECK_EQ(store_snapshot()->count, 20);
    CHECK_EQ(counters().commits, 3);
    CHECK_EQ(counters().events, 20);
    CHECK_EQ(counters().flushes, 3);
}

TEST(commits_of_known_users_write_no_ids)
{
    CHECK(world_begin());
    world_add(2000);
    CHECK(world_settle());
    const uint64_t before = counters().written_bytes;
    const struct event event = {.user_id = (const uint8_t *)"known", .user_id_len = 5};
    for (unsigned i = 0; i < 10; i++)
        CHECK(stats_add(&world.stats, &event));
    const uint64_t epoch = store_epoch();
    while (store_stable() < epoch)
        store_poll(disk_clock());
    CHECK_EQ(counters().written_bytes - before, 8192);
    CHECK_EQ(image_newest().durable_seq, epoch - 1);
}

/* However many ids are new, and however large blocks are, a call submits so much and no more. */
TEST(commits_do_bounded_work_a_call)
{
    for (uint32_t block_bytes = 4096; block_bytes <= FORMAT_BLOCK_BYTES_MAX; block_bytes *= 2) {
        CHECK(world_begin());
        world_make(WORLD_SECTORS);
        disks[0].info.physical_block_bytes = block_bytes;
        CHECK(world_is_back());
        world_add(15000);
        const uint64_t len = users_arena(world.stats.users).len;
        CHECK(len > 5 * STORE_POLL_BYTES);
        uint64_t written = counters().written_bytes;
        unsigned calls = 0;
        const uint64_t epoch = store_epoch();
        for (; store_stable() < epoch; calls++) {
            world_poll();
            CHECK(counters().written_bytes - written <= STORE_POLL_BYTES + 2 * block_bytes);
            written = counters().written_bytes;
        }
        CHECK(calls > len / STORE_POLL_BYTES);
        disk_cut_power(&disks[0], LOSS_ALL);
        CHECK(world_is_back());
    }
}

TEST(commits_wait_for_room_in_the_queue)
{
    for (unsigned limit = 1; limit < 4; limit++) {
        CHECK(world_begin());
        disks[0].queue_limit = limit;
        world_add(3000);
        CHECK(world_settle());
        CHECK_EQ(store_snapshot()->count, world.event_count);
        disk_cut_power(&disks[0], LOSS_ALL);
        CHECK(world_is_back());
        CHECK(world.event_count > 2000);
    }
}

/* With all requests in flight, the others wait for them, and the queue is not asked. */
TEST(commits_have_a_bounded_number_of_writes_in_flight)
{
    CHECK(world_begin());
    hold();
    world_add(15000);
    for (unsigned i = 0; i < 20; i++)
        world_poll();
    CHECK_EQ(disks[0].queue_count, 8);
    release();
    CHECK(world_settle());
}

/* The room for a flush may be missing, too, once all writes have completed. */
TEST(commits_wait_for_room_for_their_flush)
{
    CHECK(world_begin());
    disks[0].is_prompt = true;
    world_add(1);
    world_poll();
    const uint64_t stable = store_stable();
    disks[0].queue_limit = 0;
    for (unsigned i = 0; i < 5; i++)
        world_poll();
    CHECK_EQ(disks[0].queue_count, 0);
    CHECK_EQ(store_stable(), stable);
    disks[0].queue_limit = 1;
    CHECK(world_settle());
    CHECK(store_stable() > stable);
}

TEST(commits_send_no_flush_where_there_is_none)
{
    CHECK(world_begin());
    world_make(WORLD_SECTORS);
    disks[0].info.flush = false;
    CHECK(world_is_back());
    world_add(500);
    CHECK(world_finish());
    CHECK_EQ(counters().flushes, 0);
    disk_cut_power(&disks[0], LOSS_ALL);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 500);
}

/* ---- seals ---- */

TEST(seal_is_written_after_10_ms_without_work)
{
    CHECK(world_begin());
    CHECK(world_seal()); /* that of the life's first commit */
    world_add(1);
    CHECK(world_settle());
    const uint64_t stable = store_stable(), seals = counters().seals;
    const uint64_t at_ns = disk_now_ns;
    while (disk_now_ns < at_ns + 9 * NS_PER_MS)
        world_poll();
    CHECK_EQ(store_begun(), stable);
    disk_now_ns = at_ns + 11 * NS_PER_MS;
    world_poll();
    CHECK_EQ(store_begun(), stable + 1);
    while (store_stable() == stable)
        world_poll();
    CHECK_EQ(counters().seals, seals + 1);
    CHECK_EQ(image_newest().durable_seq, stable);
    disk_now_ns += 100 * NS_PER_MS; /* one is enough */
    for (unsigned i = 0; i < 100; i++)
        world_poll();
    CHECK_EQ(store_begun(), stable + 1);
}

TEST(a_store_is_at_rest_when_all_is_sealed)
{
    CHECK(world_begin());
    world_add(10);
    CHECK(!store_is_at_rest());
    CHECK(world_settle());
    CHECK(!store_is_at_rest()); /* the seal is to come */
    CHECK(world_seal());
    CHECK(store_is_at_rest());
    world_add(1);
    CHECK(!store_is_at_rest());
    disks_end();
}

TEST(a_clean_stop_commits_and_seals_at_once)
{
    CHECK(world_begin());
    world_add(10);
    CHECK(!store_is_clean());
    const uint64_t at_ns = disk_now_ns;
    CHECK(world_finish());
    CHECK(disk_now_ns - at_ns < 5 * NS_PER_MS);
    CHECK_EQ(store_snapshot()->count, 10);
    CHECK_EQ(counters().seals, 1);
    world_add(1); /* whatever comes after all */
    CHECK(!store_is_clean());
    CHECK(world_finish());
    disk_cut_power(&disks[0], LOSS_ALL);
    disk_rot(&disks[0], image_slot_at(image_newest().seq) + 100);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 11);
}

/* ---- disks that fail ---- */

static bool has_failed_for_good(void)
{
    const uint64_t stable = store_stable(), written = counters().written_bytes;
    const unsigned flushes = disks[0].flushes;
    store_finish();
    for (unsigned i = 0; i < 1000; i++)
        world_poll();
    return store_health(disk_now_ns) == STORE_FAILED && store_stable() == stable &&
           counters().written_bytes == written && disks[0].flushes == flushes &&
           !store_is_clean() && counters().errors >= 1;
}

TEST(a_failed_write_is_for_good)
{
    for (unsigned i = 1; i < 4; i++) {
        CHECK(world_begin());
        world_add(20);
        CHECK(world_settle());
        disks[0].fail_write_in = i;
        world_add(2000); /* two requests of blocks, a slot */
        CHECK(!world_settle());
        CHECK(has_failed_for_good());
        CHECK_EQ(store_snapshot()->count, 20);
        disk_cut_power(&disks[0], LOSS_SECTORS);
        CHECK(world_is_back());
    }
}

TEST(a_failed_flush_is_for_good)
{
    CHECK(world_begin());
    world_add(20);
    CHECK(world_settle());
    disks[0].fail_flush_in = 1;
    world_add(900);
    CHECK(!world_settle());
    CHECK(has_failed_for_good());
    CHECK_EQ(store_snapshot()->count, 20);
    CHECK(world_is_back());
    CHECK_EQ(world.event_count, 20);
}

/* The other writes may still be under way. */
TEST(a_failed_write_among_others_stops_all)
{
    CHECK(world_begin());
    world_add(15000);
    hold();
    for (unsigned i = 0; i < 10; i++)
        world_poll();
    disks[0].fail_write_in = 1;
    disks[0].hang_in = 2;
    for (unsigned i = 0; i < 50; i++)
        world_poll();
    CHECK(store_health(disk_now_ns) == STORE_FAILED);
    CHECK(has_failed_for_good());
}

TEST(a_stalled_disk_is_told_after_a_second_and_until_it_answers)
{
    CHECK(world_begin());
    CHECK_EQ(store_health(disk_now_ns + 5000 * NS_PER_MS), STORE_HEALTHY); /* nothing is asked */
    hold();
    world_add(10);
    world_poll();
    const uint64_t at_ns = disk_now_ns;
    CHECK_EQ(store_health(at_ns + 999 * NS_PER_MS), STORE_HEALTHY);
    CHECK_EQ(store_health(at_ns + 1001 * NS_PER_MS), STORE_STALLED);
    disk_now_ns += 3000 * NS_PER_MS;
    world_poll();
    CHECK_EQ(store_health(disk_now_ns), STORE_STALLED);
    release();
    CHECK(world_settle());
    CHECK_EQ(store_health(disk_now_ns), STORE_HEALTHY);
    CHECK_EQ(store_snapshot()->count, 10);
}

TEST(a_disk_that_goes_on_answering_is_not_stalled)
{
    CHECK(world_begin());
    world_add(10000);
    disks[0].is_prompt = true;
    disks[0].queue_limit = 1; /* one answer a call, each after most of a second */
    const uint64_t epoch = store_epoch();
    while (store_stable() < epoch) {
        disk_now_ns += 900 * NS_PER_MS;
        world_poll();
        CHECK_EQ(store_health(disk_now_ns), STORE_HEALTHY);
    }
    disk_now_ns += 10;
    disks[0].queue_limit = 0; /* but one that takes nothing is */
    world_add(1);
    world_poll();
    CHECK_EQ(store_health(disk_now_ns + 1001 * NS_PER_MS), STORE_STALLED);
}

/* Its device says that it is written; the seal knows better. */
TEST(a_misdirected_write_is_noticed)
{
    for (unsigned i = 0; i < 2; i++) {
        CHECK(world_begin());
        disks[0].is_prompt = true;
        world_add(600);
        disks[0].misdirect_in = 1 + i * 2; /* blocks; the slot, onto one that was not in use */
        disks[0].misdirect_by = 16 * 20;
        CHECK(world_settle());
        const uint64_t count = world.event_count;
        CHECK(world_seal());
        disk_cut_power(&disks[0], LOSS_ALL);
        const enum store_opened opened = world_boot();
        CHECK(opened == STORE_REFUSED || world.stats.count == count);
        CHECK(i != 0 || (opened == STORE_REFUSED && strstr(world.error, "is rotten") != NULL));
    }
}

/* ---- a disk that is full ---- */

TEST(a_full_disk_takes_no_new_user_and_counts_the_known)
{
    chance_seed(7);
    world_make(4096); /* 2 MiB: 127 blocks of ids, less than memory holds */
    CHECK(world_is_back());
    uint8_t id[1000] = {0};
    const struct event event = {.user_id = id, .user_id_len = sizeof id};
    unsigned users = 0;
    for (;; users++) {
        memcpy(id, &users, sizeof users);
        if (!stats_add(&world.stats, &event))
            break;
        store_poll(disk_clock());
    }
    CHECK_EQ(users, 127 * 4092 / 1002);
    memset(id, 0, sizeof id);
    CHECK(stats_add(&world.stats, &event));
    store_finish();
    for (unsigned i = 0; i < 10000 && !store_is_clean(); i++)
        store_poll(disk_clock());
    CHECK(store_is_clean());
    disk_cut_power(&disks[0], LOSS_ALL);
    CHECK_EQ(world_boot(), STORE_OPEN);
    CHECK_EQ(world.stats.count, users + 1);
    CHECK_EQ(users_count(world.stats.users), users);
    users++;
    memcpy(id, &users, sizeof users);
    CHECK(!stats_add(&world.stats, &event)); /* and so in the next life */
}

/* ---- figures ---- */

TEST(durations_of_commits_are_counted_in_buckets)
{
    CHECK(world_begin());
    disks[0].is_prompt = true;
    const struct store_counters before = counters();
    static const uint64_t ms[] = {0, 1, 3, 200, 10000};
    for (unsigned i = 0; i < sizeof ms / sizeof ms[0]; i++) {
        world_add(1);
        hold();
        world_poll();
        disk_now_ns += ms[i] * NS_PER_MS;
        release();
        CHECK(world_settle());
    }
    const struct store_counters after = counters();
    CHECK_EQ(after.commits - before.commits, 5);
    CHECK(after.duration_ns - before.duration_ns > 10204 * NS_PER_MS);
    CHECK_EQ(after.durations[0] - before.durations[0], 1);   /* up to 0.1 ms */
    CHECK_EQ(after.durations[4] - before.durations[4], 1);   /* 0.8 to 1.6 */
    CHECK_EQ(after.durations[5] - before.durations[5], 1);   /* 1.6 to 3.2 */
    CHECK_EQ(after.durations[11] - before.durations[11], 1); /* 102.4 to 204.8 */
    CHECK_EQ(after.durations[15] - before.durations[15], 1); /* over 1.6 s */
    disks_end();
}

/* The machine's end at any step, with what a disk's cache makes of it; then the next life. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/store/world.h"
#include "tests/test.h"

/* ---- by chance: seeds ---- */

#define SEEDS 200
#define LIVES 8

static void live(unsigned polls, unsigned events_max)
{
    for (unsigned i = 0; i < polls; i++) {
        if (chance(3) == 0)
            world_add(chance(events_max));
        disk_now_ns += chance(64) == 0 ? 11000000 : chance(100000);
        world_poll();
    }
}

static volatile bool is_good; /* over longjmp() */

static void live_and_end(uint32_t end_in, unsigned events_max)
{
    is_good = true;
    if (setjmp(disk_end) != 0)
        return;
    disk_end_in(end_in);
    is_good = world_is_back();
    if (is_good)
        live(2000, events_max);
    disk_end_in(0);
}

static bool seed_is_good(uint64_t seed)
{
    chance_seed(seed);
    world_make(WORLD_SECTORS);
    disks[0].info.flush = chance(8) != 0;
    disks[0].info.physical_block_bytes = 512u << chance(6);
    const unsigned events_max = 1u << chance(9);
    for (unsigned i = 0; i < LIVES; i++) {
        live_and_end(1 + chance(chance(2) != 0 ? 300 : 3000), events_max);
        if (!is_good)
            return false;
        if (chance(4) == 0)
            disk_kill_machine(&disks[0]);
        else
            disk_cut_power(&disks[0], (enum disk_loss)chance(LOSS_KINDS));
    }
    if (!world_is_back())
        return false;
    world_add(100);
    const uint32_t count = world.event_count;
    if (!world_finish())
        return false;
    disk_cut_power(&disks[0], LOSS_ALL);
    return world_is_back() && world.event_count == count;
}

static uint64_t number_from(const char *variable)
{
    const char *const text = getenv(variable);
    return text == NULL ? 0 : strtoull(text, NULL, 0);
}

/* STORE_SEED: this one alone. STORE_SECONDS: fresh ones for so long. */
TEST(crashes_lose_nothing_that_was_stable)
{
    const uint64_t given = number_from("STORE_SEED");
    const time_t begun_s = time(NULL), seconds = (time_t)number_from("STORE_SECONDS");
    const uint64_t first = given != 0 ? given : seconds != 0 ? (uint64_t)begun_s << 20 : 1;
    const uint64_t last = given != 0 ? given : seconds != 0 ? UINT64_MAX : SEEDS;
    uint64_t seed = first;
    for (; seed <= last && (seconds == 0 || time(NULL) - begun_s < seconds); seed++)
        if (!seed_is_good(seed)) {
            test_print("to see it again: make sim-store SEED=%llu", (unsigned long long)seed);
            CHECK(false);
        }
    test_print("%llu seeds", (unsigned long long)(seed - first));
    disks_end();
}

/* ---- every one of a short history ---- */

/*
 * From a blank disk: a few commits of few and of many ids, a seal, another life; ends after
 * `end_in` steps. False: it was over before.
 */
static bool short_history_ends(uint32_t end_in)
{
    chance_seed(2);
    world_make(WORLD_SECTORS);
    if (setjmp(disk_end) != 0)
        return true;
    disk_end_in(end_in);
    for (unsigned lives = 0; lives < 2; lives++) {
        is_good = world_is_back();
        if (!is_good)
            return true;
        static const unsigned events[] = {1, 400, 3, 900, 2};
        for (unsigned i = 0; i < sizeof events / sizeof events[0]; i++) {
            world_add(events[i]);
            is_good = world_settle();
        }
        if (lives == 0)
            is_good = world_seal();
        disk_kill_machine(&disks[0]);
    }
    disk_end_in(0);
    return false;
}

static unsigned images;

/* Each variant of what may be left, recovered, and recovered once more after the loss of all that
 * this took in. */
static bool all_variants_are_good(void)
{
    static uint8_t image[WORLD_SECTORS * DISK_SECTOR];
    const unsigned variants = disk_variants(&disks[0]);
    static struct disk left;
    left = disks[0];
    disks[0].write_count = 0;
    disks[0].media = malloc(sizeof image);
    disks[0].latest = malloc(sizeof image);
    bool good = true;
    for (unsigned variant = 0; variant < variants && good; variant++, images++) {
        disk_variant(&left, variant, image);
        disk_set_image(&disks[0], image);
        good = world_boot() == STORE_OPEN && world_is_as_it_was();
        if (!good)
            test_print("variant %u of %u: %s", variant, variants, world.error);
        disk_cut_power(&disks[0], LOSS_WRITES);
    }
    free(disks[0].media);
    free(disks[0].latest);
    disks[0] = left;
    return good;
}

TEST(crashes_at_every_step_of_a_short_history_lose_nothing)
{
    images = 0;
    is_good = true;
    unsigned last_writes = 0, last_flushes = 0;
    for (uint32_t end_in = 1; short_history_ends(end_in); end_in++) {
        CHECK(is_good);
        /* Steps that change nothing on the disk leave the same images. */
        const unsigned writes = disks[0].write_count + disks[0].queue_count * 100;
        const bool is_same = writes == last_writes && disks[0].flushes == last_flushes;
        last_writes = writes;
        last_flushes = disks[0].flushes;
        if (!is_same && !all_variants_are_good()) {
            test_print("after %u steps", end_in);
            CHECK(false);
        }
    }
    test_print("%u images", images);
    disks_end();
}

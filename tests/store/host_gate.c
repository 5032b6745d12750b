/* The gate over a store on a simulated disk: what it releases is safe, and what it shows is. */
#include <string.h>

#include "app/gate.h"
#include "net/server.h"
#include "tests/store/world.h"
#include "tests/test.h"

#define SEEDS  100
#define EPOCHS 4096

static uint32_t counted[EPOCHS]; /* events, under each ticket and those before */
static uint32_t promised;        /* events whose answers may have left */
static uint32_t released;
static unsigned releases;

/* The server's, in its place. */
void server_release(uint32_t ticket)
{
    released = ticket;
    releases++;
    if (counted[ticket % EPOCHS] > promised)
        promised = counted[ticket % EPOCHS];
}

static bool begin(void)
{
    memset(counted, 0, sizeof counted);
    promised = 0;
    releases = 0;
    if (world_boot() != STORE_OPEN)
        return false;
    gate_open();
    promised = (uint32_t)world.stats.count;
    return true;
}

static void count_events(unsigned events)
{
    world_add(events);
    counted[gate_get()->epoch % EPOCHS] = (uint32_t)world.stats.count;
}

static enum gate_state poll(void)
{
    return gate_poll(disk_clock());
}

static void start(void)
{
    chance_seed(1);
    world_make(WORLD_SECTORS);
    CHECK(begin());
    CHECK_EQ(poll(), GATE_OPEN);
}

TEST(gate_tells_the_server_at_first_what_is_stable)
{
    start();
    CHECK_EQ(releases, 1);
    CHECK_EQ(released, gate_get()->stable);
    CHECK_EQ(gate_get()->epoch, gate_get()->stable + 1);
    disks_end();
}

TEST(gate_releases_what_was_counted_when_its_commit_is_stable)
{
    start();
    const uint32_t ticket = gate_get()->epoch;
    count_events(3);
    for (unsigned i = 0; i < 10000 && (int32_t)(released - ticket) < 0; i++) {
        CHECK_EQ(gate_get()->stats.count, 0);
        CHECK_EQ(poll(), GATE_OPEN);
        if (i == 0)
            CHECK_EQ(gate_get()->epoch, ticket + 1); /* what comes now is in the next */
    }
    CHECK_EQ(released, ticket);
    CHECK_EQ(gate_get()->stable, ticket);
    CHECK_EQ(gate_get()->stats.count, 3);
    CHECK_EQ(gate_get()->stats.users, users_count(world.stats.users));
    CHECK_EQ(gate_get()->counters.events, 3);
    disks_end();
}

/* The disk loses all that it may, at any moment, and what was released is there. */
TEST(gate_releases_nothing_that_a_power_cut_can_take_back)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        chance_seed(seed);
        world_make(WORLD_SECTORS);
        for (unsigned life = 0; life < 4; life++) {
            CHECK(begin());
            for (unsigned i = 0; i < 20 + chance(400); i++) {
                if (chance(2) == 0)
                    count_events(chance(40));
                disk_now_ns += chance(100000);
                CHECK_EQ(poll(), GATE_OPEN);
            }
            const uint64_t shown = gate_get()->stats.count;
            disk_cut_power(&disks[0], LOSS_ALL);
            CHECK_EQ(world_boot(), STORE_OPEN);
            CHECK(world.stats.count >= promised);
            CHECK(world.stats.count >= shown);
            world.event_count = (uint32_t)world.stats.count;
        }
    }
    disks_end();
}

TEST(gate_is_stalled_while_the_disk_does_not_answer)
{
    start();
    count_events(1);
    disks[0].hang_in = 1;
    CHECK_EQ(poll(), GATE_OPEN);
    disk_now_ns += 2000000000;
    CHECK_EQ(poll(), GATE_STALLED);
    CHECK_EQ(gate_get()->state, GATE_STALLED);
    disks_end();
}

TEST(gate_releases_everybody_when_the_store_fails_and_shows_nothing_that_is_lost)
{
    start();
    const uint32_t ticket = gate_get()->epoch;
    count_events(5);
    disks[0].fail_flush_in = 1;
    for (unsigned i = 0; i < 10000 && gate_get()->state != GATE_FAILED; i++)
        (void)poll();
    CHECK_EQ(gate_get()->state, GATE_FAILED);
    CHECK((int32_t)(released - ticket) >= 0);
    CHECK((int32_t)(gate_get()->stable - ticket) < 0); /* by which the routes know */
    CHECK_EQ(gate_get()->stats.count, 0);
    CHECK_EQ(gate_get()->counters.errors, 1);
    CHECK_EQ(poll(), GATE_FAILED);
    disks_end();
}

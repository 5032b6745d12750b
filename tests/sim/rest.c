#include "tests/sim/rest.h"

#include <stdint.h>

#include "app/idle.h"
#include "kernel/netdev.h"
#include "kernel/plat/sleep.h"
#include "net/server.h"
#include "tests/fake_netdev.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"

bool rest_is_blind;

static void (*pass_time)(void);

/* Between two of the machine's steps. */
static void happen(void)
{
    if (prng_permille(100))
        pass_time();
}

static bool arm(void)
{
    happen();
    const bool is_armed = netdev_arm();
    happen();
    return is_armed;
}

static bool is_quiet(void)
{
    return rest_is_blind || netdev_is_quiet();
}

/* The last look is over: what has come by now and brought no interrupt, nobody knows of. */
static void sleep_so_long(uint64_t ns)
{
    const uint64_t end_ns = clock_ns() + (ns < SLEEP_NS_MAX ? ns : SLEEP_NS_MAX);

    happen();
    SIM_CHECK(profile.mute || fake_netdev_has_interrupted() || netdev_is_quiet(),
              "a wake-up is lost: it sleeps, and a frame waits");
    while (!fake_netdev_has_interrupted() && clock_ns() < end_ns)
        pass_time();
}

void rest_begin(void (*pass)(void))
{
    static const struct idle_machine machine = {
        .arm = arm,
        .is_quiet = is_quiet,
        .sleep = sleep_so_long,
        .disarm = netdev_disarm,
        .now_ns = clock_ns,
    };
    pass_time = pass;
    idle_init(&machine);
}

void rest_turn(void)
{
    (void)idle_turn(server_batch_ns(), server_worked_ns(), server_due_ns());
}

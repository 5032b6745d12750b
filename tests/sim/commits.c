#include "tests/sim/commits.h"

#include "app/gate.h"
#include "app/routes.h"
#include "kernel/netdev.h"
#include "net/server.h"
#include "tests/sim/model.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"

/* Near the end of their numbers, which wrap. */
#define FIRST_EPOCH 0xfffffff0u

static struct {
    struct gate gate;
    struct stats_snapshot begun; /* what the commit under way makes stable */
    uint64_t due_ns;
    bool is_under_way;
    uint64_t answered;
} commits = {.gate = {.epoch = FIRST_EPOCH, .stable = FIRST_EPOCH - 1}};

const struct gate *commits_gate(void)
{
    return profile.commit_us == 0 ? NULL : &commits.gate;
}

static void begin(void)
{
    commits.begun = stats_snapshot(routes_stats());
    commits.gate.epoch++;
    commits.due_ns = clock_ns() + prng_below(2 * profile.commit_us) * UINT64_C(1000);
    commits.is_under_way = true;
}

void commits_run(void)
{
    if (profile.commit_us == 0)
        return;
    if (commits.gate.stable == FIRST_EPOCH - 1)
        server_release(commits.gate.stable);
    if (commits.is_under_way && clock_ns() >= commits.due_ns) {
        commits.gate.stats = commits.begun;
        commits.gate.stable = commits.gate.epoch - 1;
        commits.is_under_way = false;
        server_release(commits.gate.stable);
    }
    if (!commits.is_under_way && routes_stats()->count != commits.gate.stats.count)
        begin();
}

bool commits_are_under_way(void)
{
    return commits.is_under_way;
}

uint64_t commits_visible(void)
{
    return profile.commit_us == 0 ? model_count() : commits.gate.stats.count;
}

void commits_see_answer(void)
{
    commits.answered++;
    SIM_CHECK(profile.commit_us == 0 || commits.answered <= commits.gate.stats.count,
              "%llu events are answered, and %llu are stable", (unsigned long long)commits.answered,
              (unsigned long long)commits.gate.stats.count);
}

/* When a commit begins is the store's to decide: begin_what_is_due() in app/store/commit.c. */
#include "app/gate.h"

#include "net/server.h"

static struct gate gate;

static void follow_stable(void)
{
    const uint32_t stable = (uint32_t)store_stable();
    gate.epoch = (uint32_t)store_epoch();
    if (stable == gate.stable)
        return;
    gate.stable = stable;
    gate.stats = *store_snapshot();
    store_get_counters(&gate.counters);
    server_release(stable);
}

static enum gate_state state_of(enum store_health health)
{
    switch (health) { /* GCOVR_EXCL_BR_LINE: each value has its case */
    case STORE_HEALTHY:
        return GATE_OPEN;
    case STORE_STALLED:
        return GATE_STALLED;
    case STORE_FAILED:
        break;
    }
    return GATE_FAILED;
}

static void follow_health(uint64_t now_ns)
{
    const enum gate_state state = state_of(store_health(now_ns));
    if (state == gate.state)
        return;
    gate.state = state;
    store_get_counters(&gate.counters);
    /* Whoever is held learns of it, by the end of its connection. */
    if (state == GATE_FAILED)
        server_release(gate.epoch);
}

const struct gate *gate_get(void)
{
    return &gate;
}

void gate_open(void)
{
    /* The first gate_poll() tells the server what is stable. */
    gate = (struct gate){
        .stats = *store_snapshot(),
        .epoch = (uint32_t)store_epoch(),
        .stable = (uint32_t)store_stable() - 1,
    };
    store_get_counters(&gate.counters);
}

enum gate_state gate_poll(uint64_t now_ns)
{
    store_poll(now_ns);
    follow_stable();
    follow_health(now_ns);
    return gate.state;
}

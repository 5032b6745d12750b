#include "tests/sim/faults.h"

#include <stddef.h>

#include "kernel/time/clock.h"
#include "lwip/etharp.h"
#include "lwip/tcp.h"
#include "net/core/pool.h"
#include "net/tcp/isn.h"
#include "tests/fake_netdev.h"
#include "tests/sim/client.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"
#include "tests/sim/wire.h"

#define HOARD_MAX 32768

static struct {
    uint64_t hoard_end_ns, stall_end_ns, link_end_ns, pause_end_ns;
    uint64_t jumped_ns;
    void *hoard[HOARD_MAX];
    unsigned hoarded;
    bool in_write, armed;
} faults;

/* ---- memory ---- */

void *__real_pool_alloc(size_t bytes);
void *__wrap_pool_alloc(size_t bytes);

void *__wrap_pool_alloc(size_t bytes)
{
    if (faults.armed && !faults.in_write && prng_ppm(profile.refusals))
        return NULL;
    return __real_pool_alloc(bytes);
}

err_t __real_tcp_write(struct tcp_pcb *pcb, const void *data, u16_t len, u8_t flags);
err_t __wrap_tcp_write(struct tcp_pcb *pcb, const void *data, u16_t len, u8_t flags);

err_t __wrap_tcp_write(struct tcp_pcb *pcb, const void *data, u16_t len, u8_t flags)
{
    faults.in_write = true;
    const err_t err = __real_tcp_write(pcb, data, len, flags);
    faults.in_write = false;
    return err;
}

static void hoard_class(enum pool_class class, uint32_t left)
{
    static const size_t bytes[POOL_CLASSES] = {
        [POOL_TINY] = 32,
        [POOL_SMALL] = 128,
        [POOL_MEDIUM] = 256,
        [POOL_LARGE] = 704,
        [POOL_FULL] = POOL_FULL_BYTES,
        [POOL_PCB] = LWIP_MEM_ALIGN_SIZE(sizeof(struct tcp_pcb)),
    };
    while (bytes[class] != 0 && pool_level(class) > left && faults.hoarded < HOARD_MAX) {
        pool_expect_pcb(class == POOL_PCB);
        void *const block = __real_pool_alloc(bytes[class]);
        SIM_CHECK(block != NULL, "class %u has %u blocks and gives none", class, pool_level(class));
        faults.hoard[faults.hoarded++] = block;
    }
    pool_expect_pcb(false);
}

static void begin_hoard(void)
{
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        if (prng_permille(600))
            hoard_class((enum pool_class) class, prng_permille(300) ? 0 : prng_scale(1, 200));
    faults.hoard_end_ns = sim_now() + prng_scale(1, 5000) * SIM_MS;
    sim_trace("%u blocks are hoarded", faults.hoarded);
}

static void end_hoard(void)
{
    while (faults.hoarded > 0)
        pool_free(faults.hoard[--faults.hoarded]);
    faults.hoard_end_ns = 0;
}

/* ---- initial sequence numbers ---- */

uint64_t __real_isn_hash(const struct siphash_key *key, const uint8_t *bytes, size_t len);
uint64_t __wrap_isn_hash(const struct siphash_key *key, const uint8_t *bytes, size_t len);

/*
 * The hash is a number like any other; this one has the connection's numbers wrap soon. The clock
 * is out of them then, so that connections of one port begin alike: not where a port comes again,
 * for nothing else keeps a late segment of the old one from the new (RFC 6528 section 3).
 */
uint64_t __wrap_isn_hash(const struct siphash_key *key, const uint8_t *bytes, size_t len)
{
    const uint64_t hash = __real_isn_hash(key, bytes, len);
    if (!profile.habit[HABIT_ISN_WRAPS] || profile.habit[HABIT_PORT_REUSE])
        return hash;
    return 0u - hash % 10000 - clock_ns() / 4000;
}

/* ---- device, link, machine, clock ---- */

static void set_link(bool up)
{
    fake_netdev_set_link(up);
    wire_cut(!up);
    sim_trace("link %s", up ? "up" : "down");
}

static void jump(void)
{
    uint64_t ns = prng_scale(1, 100000) * SIM_MS;
    if (prng_permille(200))
        ns = ((1ULL << 32) - prng_below(1000)) * SIM_MS;
    faults.jumped_ns += ns;
    fake_clock_advance_ns(ns);
    sim_trace("the clock jumps by %llu ms", (unsigned long long)(ns / SIM_MS));
}

static void begin_faults(void)
{
    const uint64_t now_ns = sim_now();
    if (faults.hoard_end_ns == 0 && prng_ppm(profile.hoards))
        begin_hoard();
    if (faults.stall_end_ns == 0 && prng_ppm(profile.stalls)) {
        fake_netdev_stall(true);
        faults.stall_end_ns = now_ns + prng_scale(1, 2000) * SIM_MS;
    }
    if (faults.link_end_ns == 0 && prng_ppm(profile.link_downs)) {
        set_link(false);
        faults.link_end_ns = now_ns + prng_scale(1, 5000) * SIM_MS;
    }
    if (faults.pause_end_ns == 0 && prng_ppm(profile.pauses))
        faults.pause_end_ns = now_ns + prng_scale(1, 3000) * SIM_MS;
    if (prng_ppm(profile.jumps))
        jump();
}

static bool has_passed(uint64_t end_ns, bool all)
{
    return end_ns != 0 && (all || end_ns <= sim_now());
}

static void end_faults(bool all)
{
    if (has_passed(faults.hoard_end_ns, all))
        end_hoard();
    if (has_passed(faults.stall_end_ns, all)) {
        fake_netdev_stall(false);
        faults.stall_end_ns = 0;
    }
    if (has_passed(faults.link_end_ns, all)) {
        set_link(true);
        faults.link_end_ns = 0;
    }
    if (has_passed(faults.pause_end_ns, all))
        faults.pause_end_ns = 0;
}

void faults_run(uint64_t step_ns)
{
    if (faults.hoard_end_ns != 0 || faults.stall_end_ns != 0 || faults.link_end_ns != 0 ||
        faults.pause_end_ns != 0)
        clients_excuse(step_ns);
    faults.armed = true; /* the appliance has started: that needs its memory */
    end_faults(false);
    begin_faults();
}

void faults_end(void)
{
    end_faults(true);
}

bool faults_machine_is_paused(void)
{
    return faults.pause_end_ns != 0;
}

uint64_t faults_clock_offset_ns(void)
{
    return profile.clock_offset_ns + faults.jumped_ns;
}

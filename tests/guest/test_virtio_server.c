/*
 * net/ on the machine itself: lwIP's timers run by the real clock, out through the real device.
 * Without an address it asks DHCP, and asks again after two seconds (RFC 2131 section 4.1 has
 * four; lwIP begins with two). Whether anybody answers does not matter.
 *
 * After test_virtio.c, which has brought the device up.
 */
#include "kernel/mem/memory.h"
#include "kernel/netdev.h"
#include "net/server.h"
#include "tests/test.h"

static void open(struct server_conn *conn, void *state, void *cold_state)
{
    (void)conn;
    (void)state;
    (void)cold_state;
}

static void nothing(struct server_conn *conn, void *state)
{
    (void)conn;
    (void)state;
}

static size_t take_all(struct server_conn *conn, void *state, const uint8_t *bytes, size_t len)
{
    (void)conn;
    (void)state;
    (void)bytes;
    return len;
}

static void no_batch(void)
{
}

static const struct server_config config = {
    .port = 8080,
    .connections_max = 8,
    .state_bytes = 8,
    .response_bytes_max = 1024,
    .idle_ms = 1000,
    .head_ms = 1000,
    .body_ms = 1000,
    .send_ms = 1000,
    .linger_ms = 1000,
    .handlers = {open, take_all, NULL, nothing, nothing, no_batch},
};

static uint64_t frames_sent(void)
{
    struct server_counters counters;
    server_get_counters(&counters);
    return counters.transmitted_frames;
}

/* Polls until `count` frames are sent, or five seconds are over; how long it took, in ms. */
static uint64_t wait_for_frames(uint64_t count)
{
    const uint64_t begin_ns = clock_ns();
    while (frames_sent() < count && clock_ns() - begin_ns < 5 * CLOCK_NS_PER_S)
        (void)server_poll();
    return (clock_ns() - begin_ns) / CLOCK_NS_PER_MS;
}

TEST(lwip_timers_run_by_the_machines_clock)
{
    if (netdev_get_info()->mtu_bytes == 0) {
        test_print("skipped: no network device: lwip_timers_run_by_the_machines_clock");
        return;
    }
    const uint64_t before = frames_sent();
    server_init(&config, memory_take(server_memory_bytes(&config), 4096, "the server under test"));
    CHECK(wait_for_frames(before + 1) < 1000);
    const uint64_t waited_ms = wait_for_frames(before + 2);
    CHECK(frames_sent() >= before + 2);
    if (waited_ms < 1400) {
        /* Somebody did answer: that was the next step already. */
        for (const uint64_t begin_ns = clock_ns();
             !server_is_reachable() && clock_ns() - begin_ns < 5 * CLOCK_NS_PER_S;)
            (void)server_poll();
        CHECK(server_is_reachable());
    }
    CHECK(waited_ms < 2700);
}

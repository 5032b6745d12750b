#include "app/main_store.h"

#include <inttypes.h>

#include "app/aggregate/users.h"
#include "app/http/response.h"
#include "kernel/cpu/cpu.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/entropy.h"
#include "kernel/plat/log.h"
#include "kernel/time/clock.h"
#include "net/server.h"

/* For the disk to take what is left, at a stop. Disks that sleep take several seconds to wake. */
#define FINISH_NS_MAX  (10 * CLOCK_NS_PER_S)
#define FIRMWARE_BYTES (3u << 20)

static struct {
    struct main_store_config config;
    struct store_config store;
    struct store_disk disk;
    bool is_there;
} kept;

static void log_store_line(const char *line)
{
    log_info("store", "%s", line);
}

/* How large ids on the disk are on average; what is asked for if there are none. */
static uint64_t id_bytes_on_disk(void)
{
    const struct format_state *const state = &kept.disk.state;
    return state->users == 0 ? kept.config.user_id_bytes : state->arena_bytes / state->users - 1;
}

bool main_store_fits(void)
{
    const uint64_t users = kept.disk.state.users;
    if (users == 0)
        return true;
    if (kept.config.users_max != 0 && users > kept.config.users_max) {
        log_error("store",
                  "the disk holds %" PRIu64 " users, more than max-users=%" PRIu64
                  ": start with max-users=%" PRIu64 " or more",
                  users, kept.config.users_max, users);
        return false;
    }
    const size_t needed = users_memory_bytes(users, id_bytes_on_disk());
    const size_t free_bytes = memory_free_bytes();
    if (needed <= free_bytes)
        return true;
    /* MEM= also holds what firmware keeps for itself, some 2 MiB. */
    const size_t mem_bytes = memory_ram_bytes() + needed - free_bytes + FIRMWARE_BYTES;
    log_error("store",
              "the disk holds %" PRIu64 " users, and memory has room for %" PRIu64
              ": start the machine with MEM=%luM or more",
              users, users_max_within(free_bytes, id_bytes_on_disk()),
              (unsigned long)(mem_bytes / 15 * 16 >> 20) + 1);
    return false;
}

/* When the state that was recovered was the machine's, if it was known then. */
static void tell_its_age(void)
{
    const int64_t wall_s = kept.disk.state.wall_s;
    struct response_date date;
    int64_t now_s;
    if (kept.disk.is_blank || wall_s <= 0 || wall_s >= RESPONSE_DATE_END)
        return;
    response_date_set(&date, wall_s);
    if (clock_wall(&now_s) && now_s >= wall_s)
        log_info("store", "that is as of %.*s, %llu s ago", RESPONSE_DATE_BYTES, date.text,
                 (unsigned long long)(now_s - wall_s));
    else
        log_info("store", "that is as of %.*s", RESPONSE_DATE_BYTES, date.text);
}

static void tell_what_was_recovered(uint64_t took_ns)
{
    struct store_counters counters;
    store_get_counters(&counters);
    const uint64_t room = store_users_max(&kept.disk, kept.config.user_id_bytes);
    if (kept.disk.is_blank)
        log_info("store", "a blank disk was formatted: room for %" PRIu64 " users", room);
    else
        log_info("store",
                 "recovered %" PRIu64 " events of %" PRIu64 " users in %" PRIu64
                 " ms; boot %" PRIu64 " of this disk, which has room for %" PRIu64 " users",
                 counters.recovered_count, counters.recovered_users,
                 (uint64_t)(took_ns / CLOCK_NS_PER_MS), counters.boots, room);
}

bool main_store_choose(const struct main_store_config *config)
{
    char error[STORE_ERROR_BYTES_MAX];
    kept.config = *config;
    kept.store = (struct store_config){
        .choice = config->choice,
        .serial = config->serial,
        .now_ns = clock_ns,
        .wall_s = clock_wall,
        .fill_random = entropy_fill,
        .tell = log_store_line,
    };
    const enum store_opened opened = store_choose(&kept.store, &kept.disk, error);
    kept.is_there = opened == STORE_OPEN;
    if (opened == STORE_REFUSED)
        log_error("store", "%s", error);
    return opened != STORE_REFUSED;
}

bool main_store_is_there(void)
{
    return kept.is_there;
}

bool main_store_recover(struct stats *stats)
{
    char error[STORE_ERROR_BYTES_MAX];
    const uint64_t begun_ns = clock_ns();
    if (!kept.is_there)
        return true;
    if (store_recover(&kept.store, &kept.disk, stats, error) != STORE_OPEN) {
        log_error("store", "%s", error);
        return false;
    }
    tell_what_was_recovered(clock_ns() - begun_ns);
    tell_its_age();
    gate_open();
    return true;
}

static void follow_gate(enum gate_state state)
{
    static enum gate_state before = GATE_OPEN;
    static uint64_t stalled_ns;
    if (state == before)
        return;
    if (state == GATE_STALLED) {
        stalled_ns = clock_ns();
        log_warn("store", "the disk does not answer: events are refused with 503 until it does");
    } else if (state == GATE_OPEN) {
        log_warn("store", "the disk answers again, after %" PRIu64 " ms",
                 (uint64_t)((clock_ns() - stalled_ns) / CLOCK_NS_PER_MS));
    } else {
        log_error("store",
                  "the disk failed to write: events that were not answered may be lost; stopping");
    }
    before = state;
}

bool main_store_poll(void)
{
    if (!kept.is_there)
        return true;
    const enum gate_state state = gate_poll(server_batch_ns());
    follow_gate(state);
    return state != GATE_FAILED;
}

bool main_store_is_at_rest(void)
{
    return !kept.is_there || store_is_at_rest();
}

bool main_store_finish(void)
{
    const uint64_t end_ns = clock_ns() + FINISH_NS_MAX;
    if (!kept.is_there)
        return true;
    store_finish();
    while (!store_is_clean() && clock_ns() < end_ns && gate_poll(clock_ns()) != GATE_FAILED)
        cpu_pause();
    if (!store_is_clean())
        log_error("store", "the disk did not take all: %" PRIu64 " events are safe",
                  gate_get()->stats.count);
    return store_is_clean();
}

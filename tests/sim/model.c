#include "tests/sim/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/aggregate/stats.h"
#include "app/routes.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"

#define EVENTS_MAX  (1u << 20)
#define USERS_EVERY 8 /* steps, the users are counted */

struct known_event {
    uint32_t user;
    uint8_t rule, fate;
    bool sent, over, half, negative;
};

/* After n events: what /stats says then. */
struct aggregate {
    uint64_t users;
    int64_t doubled_sum;
};

static struct {
    struct known_event *events;
    uint32_t event_count, room;
    struct aggregate *history;
    uint64_t count, history_room;
    bool user_known[MODEL_USERS_MAX];
    bool full; /* a user has found no room */
} model;

static struct known_event *event_at(uint32_t event)
{
    SIM_CHECK(event > 0 && event <= model.event_count, "there is no event %u", event);
    return &model.events[event];
}

static void *grow(void *memory, size_t bytes)
{
    void *const grown = realloc(memory, bytes);
    SIM_CHECK(grown != NULL, "the simulator is out of memory");
    return grown;
}

uint32_t model_new_event(uint32_t user, enum event_rule rule)
{
    const uint32_t event = ++model.event_count;
    SIM_CHECK(event < EVENTS_MAX, "too many events for the simulator");
    if (event >= model.room) {
        model.room = model.room == 0 ? 1024 : model.room * 2;
        model.events = grow(model.events, model.room * sizeof model.events[0]);
    }
    model.events[event] = (struct known_event){.user = user,
                                               .rule = (uint8_t)rule,
                                               .half = prng_permille(500),
                                               .negative = prng_permille(300)};
    return event;
}

int64_t model_doubled_value(uint32_t event)
{
    const struct known_event *const e = event_at(event);
    const int64_t doubled = 2 * (int64_t)event + e->half;
    return e->negative ? -doubled : doubled;
}

uint32_t model_user_of(uint32_t event)
{
    return event_at(event)->user;
}

void model_event_sent(uint32_t event)
{
    event_at(event)->sent = true;
}

void model_event_over(uint32_t event)
{
    event_at(event)->over = true;
}

enum event_fate model_fate(uint32_t event)
{
    return (enum event_fate)event_at(event)->fate;
}

uint64_t model_count(void)
{
    return model.count;
}

/* Some are plain, some need an escape in JSON, some are no ASCII, some are long. */
size_t model_user_id(uint32_t user, uint8_t id[MODEL_USER_BYTES_MAX])
{
    static const char *const tails[] = {
        "", "", "\"\\/\t", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xe2\x82\xac", ""};
    const unsigned kind = user % 7;
    size_t len = (size_t)snprintf((char *)id, MODEL_USER_BYTES_MAX, "user_%u%s", user, tails[kind]);
    if (kind == 6) {
        const size_t padding = user % 600;
        memset(id + len, 'x', padding);
        len += padding;
    }
    return len;
}

/* ---- what the appliance does ---- */

static struct aggregate *aggregate_at(uint64_t count)
{
    if (count >= model.history_room) {
        const uint64_t room = model.history_room == 0 ? 1024 : model.history_room * 2;
        model.history = grow(model.history, room * sizeof model.history[0]);
        memset(model.history + model.history_room, 0,
               (room - model.history_room) * sizeof model.history[0]);
        model.history_room = room;
    }
    return &model.history[count];
}

static void check_may_count(const struct known_event *e, uint32_t event)
{
    SIM_CHECK(e->fate != FATE_COUNTED, "event %u was counted twice", event);
    SIM_CHECK(e->sent, "event %u was counted before its request was complete", event);
    SIM_CHECK(!e->over, "event %u was counted after its connection had come to an end", event);
    SIM_CHECK(e->rule != RULE_REFUSED, "event %u was counted, whose body is wrong", event);
    SIM_CHECK(e->rule != RULE_UNREACHED, "event %u was counted, behind the last request", event);
}

static void see_event(const uint8_t *user_id, size_t user_id_len, double value, bool counted)
{
    uint8_t id[MODEL_USER_BYTES_MAX];
    const double doubled = fabs(value) * 2;
    SIM_CHECK(doubled >= 2 && doubled < 2.0 * EVENTS_MAX && doubled == floor(doubled),
              "an event of value %g, which nobody sent", value);
    const uint32_t event = (uint32_t)((uint64_t)doubled / 2);
    SIM_CHECK(event <= model.event_count, "an event of value %g, which nobody sent", value);
    struct known_event *const e = event_at(event);
    SIM_CHECK(value * 2 == (double)model_doubled_value(event), "event %u with value %g", event,
              value);
    const size_t id_len = model_user_id(e->user, id);
    SIM_CHECK(user_id_len == id_len && memcmp(user_id, id, id_len) == 0,
              "event %u of user %u has another's userId", event, e->user);
    check_may_count(e, event);

    const struct aggregate before = *aggregate_at(model.count);
    const bool fits = model.user_known[e->user] || before.users < profile.users_max;
    SIM_CHECK(counted == fits, "event %u: %s although %" PRIu64 " of %u users are known", event,
              counted ? "counted" : "refused", before.users, profile.users_max);
    e->fate = counted ? FATE_COUNTED : FATE_FULL;
    model.full |= !counted;
    if (!counted)
        return;
    sim_trace("  event %u is counted", event);
    *aggregate_at(++model.count) = (struct aggregate){
        before.users + !model.user_known[e->user], before.doubled_sum + model_doubled_value(event)};
    model.user_known[e->user] = true;
    sim_shared->events++;
    sim_mix(&event, sizeof event);
}

bool model_is_full(void)
{
    return model.full;
}

bool __real_stats_add(struct stats *stats, const struct event *event);
bool __wrap_stats_add(struct stats *stats, const struct event *event);

bool __wrap_stats_add(struct stats *stats, const struct event *event)
{
    const bool counted = __real_stats_add(stats, event);
    see_event(event->user_id, event->user_id_len, event_value(event), counted);
    return counted;
}

/* ---- what it says ---- */

void model_check_stats(const char *text, size_t len, uint64_t count_min)
{
    char copy[256], again[256];
    unsigned long long count = 0, users = 0;
    double sum = 0, avg = 0;
    int sum_at = 0, sum_end = 0, avg_at = 0, avg_end = 0, end = -1;

    SIM_CHECK(len < sizeof copy, "/stats is %zu bytes long", len);
    memcpy(copy, text, len);
    copy[len] = '\0';
    const int found = sscanf(
        copy, "{\"totalRequests\":%llu,\"uniqueUsers\":%llu,\"sum\":%n%lf%n,\"avg\":%n%lf%n}%n",
        &count, &users, &sum_at, &sum, &sum_end, &avg_at, &avg, &avg_end, &end);
    SIM_CHECK(found == 4 && end == (int)len, "/stats is %s", copy);
    snprintf(again, sizeof again,
             "{\"totalRequests\":%llu,\"uniqueUsers\":%llu,\"sum\":%.*s,\"avg\":%.*s}", count,
             users, sum_end - sum_at, copy + sum_at, avg_end - avg_at, copy + avg_at);
    SIM_CHECK(strcmp(copy, again) == 0, "/stats is %s", copy);

    SIM_CHECK(count >= count_min && count <= model.count,
              "/stats says %llu events; %" PRIu64 " to %" PRIu64 " had been counted", count,
              count_min, model.count);
    const struct aggregate *const then = aggregate_at(count);
    const double sum_then = (double)then->doubled_sum / 2;
    const double avg_then =
        count == 0 ? 0 : (double)then->doubled_sum / (2 * (double)count); /* rounded once */
    SIM_CHECK(users == then->users && sum == sum_then && avg == avg_then,
              "/stats is %s; with so many events it was %" PRIu64 " users, sum %.1f, avg %.17g",
              copy, then->users, sum_then, avg_then);
}

void model_check_aggregate(void)
{
    const struct stats *const stats = routes_stats();
    const struct aggregate *const now = aggregate_at(model.count);
    SIM_CHECK(stats->count == model.count, "%" PRIu64 " events are counted; they were %" PRIu64,
              stats->count, model.count);
    /* Seldom, for asking ends what they are for: ids that are noted, and not looked up yet. */
    if (sim_shared->steps % USERS_EVERY == 0)
        SIM_CHECK(users_count(stats->users) == now->users, "%" PRIu64 " users; they were %" PRIu64,
                  users_count(stats->users), now->users);
    SIM_CHECK(sum_value(&stats->sum) == (double)now->doubled_sum / 2, "the sum is %.1f, not %.1f",
              sum_value(&stats->sum), (double)now->doubled_sum / 2);
}

#include "tests/vhost/run.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "tests/vhost/clients.h"
#include "tests/vhost/link.h"
#include "tests/vhost/rings.h"
#include "tests/vhost/tcp.h"
#include "tests/vhost/vhost_user.h"

#define SECOND_NS       1000000000ULL
#define HOUSEKEEPING_NS 1000000ULL
#define TIMERS_NS       50000000ULL
#define RESOLVE_NS      20000000ULL
#define STALL_NS        (10 * SECOND_NS) /* in any phase but the first: nothing moves */
#define OPENING_MAX     64               /* handshakes under way at once */
#define FRAMES_A_TURN   64

enum phase { WAIT, CONNECT, LOAD, DRAIN, STATS, CLOSE, DONE };

static struct {
    const struct run_options *options;
    struct run_result *result;
    const struct clients_progress *clients;
    enum phase phase;
    uint64_t now_ns, phase_ns, start_ns, load_start_ns, second_end_ns;
    uint64_t housekeeping_ns, timers_ns, resolve_ns;
    uint32_t second;
    struct cpu_time cpu_before;
} state;

static uint64_t clock_ns_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void enter(enum phase phase)
{
    state.phase = phase;
    state.phase_ns = state.now_ns;
}

static void stop_run(const char *why)
{
    if (state.result->stopped == NULL)
        state.result->stopped = why;
    enter(DONE);
}

/* ---- the phases ---- */

static void start_load(void)
{
    state.result->connect_ns = state.now_ns - state.start_ns;
    state.load_start_ns = state.now_ns;
    state.second_end_ns = state.now_ns + SECOND_NS;
    state.cpu_before = cpu_time_of(vhost_user_peer());
    enter(LOAD);
    clients_set_task(CLIENTS_LOAD);
    for (uint32_t slot = 0; slot < state.options->connections && state.options->churn; slot++) {
        if (state.clients->opened < state.options->requests)
            clients_open(slot);
    }
}

static void finish_load(void)
{
    const struct cpu_time cpu = cpu_time_of(vhost_user_peer());
    struct run_result *const result = state.result;

    if (state.clients->last_answer_ns > state.load_start_ns)
        result->load_ns = state.clients->last_answer_ns - state.load_start_ns;
    result->seconds = (uint32_t)(result->load_ns / SECOND_NS);
    result->guest_cpu.all_s = cpu.all_s - state.cpu_before.all_s;
    result->guest_cpu.vcpu_s = cpu.vcpu_s - state.cpu_before.vcpu_s;
}

static bool load_is_over(void)
{
    return state.result->issued == state.options->requests ||
           (state.options->churn && state.clients->opened >= state.options->requests) ||
           state.now_ns - state.load_start_ns >= state.options->seconds * SECOND_NS;
}

static bool is_drained(void)
{
    return state.clients->unanswered == 0 &&
           (!state.options->churn ||
            state.clients->count[CLIENTS_FREE] == state.options->connections);
}

static void step_wait(void)
{
    if (!rings_are_running() || state.now_ns < state.resolve_ns)
        return;
    link_set_features(vhost_user_features());
    state.resolve_ns = state.now_ns + RESOLVE_NS;
    if (!link_resolve())
        return;
    state.start_ns = state.now_ns;
    if (state.options->churn)
        start_load();
    else
        enter(CONNECT);
}

static void step_connect(void)
{
    while (state.clients->count[CLIENTS_OPENING] < OPENING_MAX &&
           state.clients->opened < state.options->connections)
        clients_open((uint32_t)state.clients->opened);
    if (state.clients->count[CLIENTS_OPENING] == 0)
        start_load();
}

static void step(void)
{
    switch (state.phase) {
    case WAIT:
        step_wait();
        break;
    case CONNECT:
        step_connect();
        break;
    case LOAD:
        if (load_is_over()) {
            enter(DRAIN);
            clients_set_task(CLIENTS_FINISH);
        }
        break;
    case DRAIN:
        if (is_drained()) {
            finish_load();
            enter(STATS);
            if (!clients_ask_stats())
                stop_run("no connection is left to ask for /stats");
        }
        break;
    case STATS:
        if (state.clients->failure != NULL) {
            stop_run(state.clients->failure);
        } else if (state.result->has_stats) {
            enter(CLOSE);
            clients_set_task(CLIENTS_CLOSE);
        }
        break;
    case CLOSE:
        if (state.clients->count[CLIENTS_FREE] == state.options->connections)
            enter(DONE);
        break;
    case DONE:
        break;
    }
}

/* ---- the loop ---- */

static void keep_house(const volatile bool *stop)
{
    const uint64_t patience = state.phase == WAIT ? state.options->wait_s * SECOND_NS : STALL_NS;
    const uint64_t moved_ns =
        state.clients->moved_ns > state.phase_ns ? state.clients->moved_ns : state.phase_ns;
    const char *why = NULL;

    state.housekeeping_ns = state.now_ns + HOUSEKEEPING_NS;
    if (!vhost_user_poll(&why))
        stop_run(why);
    if (rings_fault() != NULL)
        stop_run(rings_fault());
    if (*stop)
        stop_run("interrupted");
    if (state.now_ns - moved_ns > patience)
        stop_run(state.phase == WAIT ? "the guest does not answer ARP" : "nothing moves any more");
    if (state.now_ns >= state.timers_ns) {
        state.timers_ns = state.now_ns + TIMERS_NS;
        tcp_timers(state.now_ns);
    }
}

static void advance_second(void)
{
    while (state.now_ns >= state.second_end_ns && state.second + 1 < RUN_SECONDS_MAX) {
        state.second++;
        state.second_end_ns += SECOND_NS;
    }
}

static void loop(const volatile bool *stop)
{
    bool worked = false;

    state.now_ns = clock_ns_now();
    enter(WAIT);
    while (state.phase != DONE) {
        const uint64_t now_ns = clock_ns_now();
        if (worked && (state.phase == LOAD || state.phase == DRAIN))
            state.result->busy_ns += now_ns - state.now_ns;
        state.now_ns = now_ns;
        if (now_ns >= state.housekeeping_ns)
            keep_house(stop);
        if (state.phase == LOAD || state.phase == DRAIN)
            advance_second();
        clients_begin_turn(now_ns, state.second);
        worked = tcp_receive(now_ns, FRAMES_A_TURN);
        step();
        (void)tcp_turns(now_ns);
        rings_publish();
        if (!worked)
            __builtin_ia32_pause();
    }
}

void run(const struct run_options *options, const volatile bool *stop, struct run_result *result)
{
    assert(options->seconds < RUN_SECONDS_MAX);
    memset(result, 0, sizeof(*result));
    state.options = options;
    state.result = result;
    state.clients = clients_get_progress();
    clients_init(options, result);
    loop(stop);
    if (state.load_start_ns != 0 && result->load_ns == 0) /* it was stopped under load */
        finish_load();
}

bool run_is_success(const struct run_result *result)
{
    const struct run_errors *const e = &result->errors;

    return result->stopped == NULL && result->issued > 0 && result->answered == result->issued &&
           e->connect + e->reset + e->timeout + e->closed + e->status + e->malformed == 0 &&
           result->has_stats && result->checks_outcome == CHECK_GOOD &&
           link_get_counters()->insane == 0 && tcp_get_counters()->bad == 0;
}

#include "app/idle.h"

static struct {
    const struct idle_machine *machine;
    uint64_t poll_ns;   /* the while */
    uint64_t worked_ns; /* when the last work was over that is known of ... */
    uint64_t seen_ns;   /* ... and the last time that there was none since */
    uint64_t sleeps;
} idle;

void idle_init(const struct idle_machine *machine)
{
    idle.machine = machine;
    idle.poll_ns = IDLE_POLL_NS_MAX;
    idle.worked_ns = 0;
    idle.seen_ns = 0;
    idle.sleeps = 0;
}

/* There was nothing to do for so long, and then there was. */
static void learn(uint64_t pause_ns)
{
    if (pause_ns > IDLE_POLL_NS_MAX)
        idle.poll_ns = idle.poll_ns / 2 < IDLE_POLL_NS_FIRST ? 0 : idle.poll_ns / 2;
    else if (pause_ns > idle.poll_ns)
        idle.poll_ns = idle.poll_ns < IDLE_POLL_NS_FIRST     ? IDLE_POLL_NS_FIRST
                       : idle.poll_ns < IDLE_POLL_NS_MAX / 2 ? 2 * idle.poll_ns
                                                             : IDLE_POLL_NS_MAX;
}

static bool sleep_unless_there_is_work(uint64_t ns)
{
    const struct idle_machine *const machine = idle.machine;

    if (!machine->arm())
        return false;
    const bool is_quiet = machine->is_quiet();
    if (is_quiet) {
        machine->sleep(ns);
        idle.sleeps++;
        idle.seen_ns = machine->now_ns();
    }
    machine->disarm();
    return is_quiet;
}

bool idle_turn(uint64_t now_ns, uint64_t worked_ns, uint64_t due_ns)
{
    if (worked_ns != idle.worked_ns) {
        learn(idle.seen_ns - idle.worked_ns);
        idle.worked_ns = worked_ns;
    }
    idle.seen_ns = now_ns;
    if (now_ns - worked_ns < idle.poll_ns || now_ns >= due_ns)
        return false;
    return sleep_unless_there_is_work(due_ns - now_ns);
}

uint64_t idle_sleeps(void)
{
    return idle.sleeps;
}

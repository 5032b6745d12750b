#include "tests/sim/inside.h"

#include "lwip/priv/tcp_priv.h"
#include "net/core/conn_table.h"
#include "net/core/server_state.h"
#include "net/flow/unread.h"
#include "net/tcp/segment.h"
#include "tests/sim/sim.h"

/* As deadlines.c has them. */
#define HALF_OPEN_MS 8000
#define CLOSING_MS   10000

/* Deadlines are looked at every 31 ms, by a clock that is read once a turn. */
#define SLACK_MS 100

static const struct server_config *config;

static unsigned port_of(const struct server_conn *conn)
{
    return (unsigned)(conn->key & 0xffff);
}

/* Output that is there is sent, sent again, and not for ever. */
static void check_output(const struct server_conn *conn)
{
    const struct tcp_pcb *const pcb = conn->pcb;
    const bool waits = pcb->unacked != NULL || pcb->unsent != NULL;
    if (pcb->state == TIME_WAIT)
        return;
    SIM_CHECK((!waits && pcb->ooseq == NULL) || !list_is_alone(&conn->timed_node),
              "port %u: no timer runs for what it has sent (phase %u, state %u)", port_of(conn),
              conn->phase, pcb->state);
    SIM_CHECK(conn->phase != CONN_OPEN || !pcb_has_unacknowledged_data(conn->pcb) ||
                  !list_is_alone(&conn->sending_node),
              "port %u: what it has sent may wait for ever (phase %u, state %u)", port_of(conn),
              conn->phase, pcb->state);
}

/* Input is taken, and the window is open for more. */
static void check_input(const struct server_conn *conn)
{
    const struct tcp_pcb *const pcb = conn->pcb;
    if (conn->phase != CONN_OPEN || (conn->flags & CONN_CLOSE) != 0)
        return;
    if (unread_is_empty(conn)) {
        SIM_CHECK(pcb->state != ESTABLISHED || pcb->rcv_wnd == TCP_WND,
                  "port %u: all is read, and the window is %u", port_of(conn), pcb->rcv_wnd);
        return;
    }
    SIM_CHECK(pcb->unacked != NULL || pcb->unsent != NULL || !list_is_alone(&conn->retry_node) ||
                  conn->hold == HOLD_HELD,
              "port %u: what is unread is forgotten", port_of(conn));
}

/* What waits for the application's release has a place in that list, and nobody else. */
static void check_hold(const struct server_conn *conn)
{
    SIM_CHECK(conn->hold == (conn->deadline == DEADLINE_HELD       ? HOLD_HELD
                             : conn->deadline == DEADLINE_RESUMING ? HOLD_RELEASED
                                                                   : HOLD_NONE),
              "port %u: hold %u with deadline %u", port_of(conn), conn->hold, conn->deadline);
}

static void check_deadline(const struct server_conn *conn)
{
    const uint32_t ms[DEADLINE_KINDS] = {
        [DEADLINE_HALF_OPEN] = HALF_OPEN_MS,   [DEADLINE_IDLE] = config->idle_ms,
        [DEADLINE_HEAD] = config->head_ms,     [DEADLINE_BODY] = config->body_ms,
        [DEADLINE_LINGER] = config->linger_ms, [DEADLINE_CLOSING] = CLOSING_MS,
        [DEADLINE_HELD] = config->hold_ms,     [DEADLINE_RESUMING] = config->hold_ms,
    };
    const uint64_t waited_ns = server.ran_ns - conn->deadline_since_ns;
    SIM_CHECK(!list_is_alone(&conn->deadline_node), "port %u: it has no deadline", port_of(conn));
    if (conn->phase == CONN_OPEN && pcb_has_unacknowledged_data(conn->pcb))
        return;
    SIM_CHECK(waited_ns <= (ms[conn->deadline] + SLACK_MS) * SIM_MS,
              "port %u: deadline %u has passed and nothing happened", port_of(conn),
              conn->deadline);
}

static void check(struct server_conn *conn)
{
    SIM_CHECK(conn->pcb != NULL && conn->pcb->callback_arg == conn,
              "port %u: its PCB does not know it", port_of(conn));
    check_output(conn);
    check_input(conn);
    check_deadline(conn);
    check_hold(conn);
}

void inside_check(const struct server_config *of)
{
    config = of;
    conns_each(check);
}

#include "tests/sim/client.h"

#include <inttypes.h>
#include <string.h>

#include "tests/sim/answer.h"
#include "tests/sim/manners.h"
#include "tests/sim/model.h"
#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/request.h"
#include "tests/sim/sim.h"

#define ZOMBIE_NS   (2 * SIM_S)  /* for late segments, as TIME-WAIT would */
#define PATIENCE_NS (40 * SIM_S) /* of those who are not honest, with everything */
#define ANSWER_NS   (25 * SIM_S) /* of those who are, with one answer */

enum stage { STAGE_NONE, STAGE_WAITING, STAGE_ACTIVE, STAGE_LINGERING };

struct client {
    enum stage stage;
    bool honest, last; /* last: the one whose /stats must be exact */
    struct manners manners;
    struct peer peer;
    uint64_t at_ns;       /* WAITING: begins; LINGERING: ends; ACTIVE: gives up */
    uint64_t progress_ns; /* honest: when it was answered last, on any connection */
    uint64_t asked_ns;    /* when it was answered last on this one, or asked after that */

    struct request requests[REQUESTS_MAX];
    unsigned made, answered, goal;
    size_t parsed;     /* octets of answers that were read */
    size_t sent_until; /* the requests that end before are known to be sent */
    uint64_t write_ns; /* when it writes again */
    struct bytes *pending;
    size_t pending_at;
    bool closing; /* has got its last answer */
    bool ended;   /* has seen the appliance's FIN */
};

static struct client clients[CLIENTS_MAX];
static struct bytes pending[CLIENTS_MAX];
static uint16_t next_port = 1024;
static bool dismissed;
static uint64_t longest_wait_ns;

uint64_t clients_longest_wait_ns(void)
{
    return longest_wait_ns;
}

/* ---- beginning and end ---- */

static void wait_until(struct client *c, uint64_t ns)
{
    c->stage = STAGE_WAITING;
    c->at_ns = ns;
}

static uint16_t draw_port(const struct client *c, bool *reused)
{
    *reused = profile.habit[HABIT_PORT_REUSE] && c->peer.options.port != 0 && prng_permille(500);
    if (*reused)
        return c->peer.options.port;
    if (++next_port == 0)
        next_port = 1024;
    return next_port;
}

static void begin(struct client *c)
{
    const struct peer before = c->peer;
    struct peer_options options;
    bool reused;

    manners_draw(&c->manners, &options, c->honest);
    options.port = draw_port(c, &reused);
    options.number_reused = reused;
    if (reused) {
        options.address = before.options.address;
        if (prng_permille(700)) /* RFC 6191: above what the old one used */
            options.iss = before.max + prng_range(1, 100000);
    }
    peer_free(&c->peer);
    peer_open(&c->peer, &options);
    c->stage = STAGE_ACTIVE;
    c->at_ns = sim_now() + PATIENCE_NS;
    c->asked_ns = sim_now();
    c->made = c->answered = 0;
    c->goal = c->last ? 2 : c->manners.requests;
    c->parsed = c->sent_until = 0;
    c->write_ns = 0;
    c->pending->len = c->pending_at = 0;
    c->closing = c->ended = false;
    sim_trace("client %d begins: %#x port %u, %s, %u requests", (int)(c - clients), options.address,
              options.port, c->honest ? "honest" : "other", c->goal);
}

/* The connection is over; what was not answered may have been counted. */
static void finish(struct client *c, bool nothing_follows)
{
    for (unsigned i = c->answered; i < c->made; i++)
        if (nothing_follows && c->requests[i].event != 0)
            model_event_over(c->requests[i].event);
    const bool done = c->answered == c->goal;
    SIM_CHECK(!profile.strict || !c->honest || done || dismissed || c->closing,
              "port %u: the connection of an honest client ended with %u of %u answers (%d)",
              c->peer.options.port, c->answered, c->goal, c->peer.end);
    if (c->peer.end == PEER_CLOSED) {
        c->stage = STAGE_LINGERING;
        c->at_ns = sim_now() + ZOMBIE_NS;
    } else {
        c->stage = STAGE_NONE;
    }
}

/* What comes after a connection. */
static void rest(struct client *c)
{
    const bool owed = c->honest && c->answered < c->goal && !c->closing;
    if (owed) {
        wait_until(c, sim_now() + prng_range(1, 50) * SIM_MS);
        return;
    }
    if (dismissed) {
        peer_free(&c->peer);
        c->stage = STAGE_NONE;
        return;
    }
    wait_until(c, sim_now() + prng_scale(1, profile.churn_ms) * SIM_MS);
    c->progress_ns = c->at_ns;
}

/* ---- asking ---- */

static bool may_ask(const struct client *c)
{
    if (c->made == c->goal || c->closing)
        return false;
    if (c->made > 0 && c->requests[c->made - 1].kind == ANSWER_ANY)
        return false;
    return c->made - c->answered < c->manners.depth;
}

static void ask(struct client *c)
{
    struct request *const request = &c->requests[c->made];
    const bool unreached =
        c->made > 0 && (c->requests[c->made - 1].closes || c->requests[c->made - 1].unreached);
    const struct request_limits limits = {
        .body_max = c->manners.body_max,
        .last = c->made + 1 == c->goal || (!c->honest && prng_permille(30)),
        .unreached = unreached,
        .honest = c->honest,
    };
    c->pending->len = c->pending_at = 0;
    /* It was thinking. On a new connection, what it waits for began with the one before. */
    if (c->made == c->answered && c->answered > 0)
        c->progress_ns = c->asked_ns = sim_now();
    if (c->last)
        request_make_last(request, c->pending, c->made == 1);
    else
        request_make(request, c->pending, &limits);
    request->unreached = unreached;
    request->begin += c->peer.out_len;
    request->content += c->peer.out_len;
    request->end += c->peer.out_len;
    c->made++;
    if (request->kind == ANSWER_ANY)
        c->goal = c->made;
}

/* Bytes that may be written now: up to the end of a head, when a 100 (Continue) is awaited. */
static size_t writable(const struct client *c)
{
    const struct request *const request = &c->requests[c->made - 1];
    const size_t left = c->pending->len - c->pending_at;
    const size_t piece = c->manners.piece < left ? c->manners.piece : left;
    if (!request->expects || request->continued || !c->manners.awaits_continue)
        return piece;
    const size_t to_content =
        request->content > c->peer.out_len ? request->content - c->peer.out_len : 0;
    return piece < to_content ? piece : to_content;
}

static void write_more(struct client *c)
{
    while (c->write_ns <= sim_now() && !c->peer.fin_queued) {
        if (c->pending_at == c->pending->len) {
            if (!may_ask(c))
                break;
            ask(c);
        }
        const size_t n = writable(c);
        if (n == 0)
            break;
        peer_write(&c->peer, c->pending->at + c->pending_at, n);
        c->pending_at += n;
        const bool whole = c->pending_at == c->pending->len;
        const uint32_t gap_ms = whole ? c->manners.think_ms : c->manners.gap_ms;
        c->write_ns = sim_now() + (gap_ms == 0 ? 0 : prng_scale(1, gap_ms) * SIM_MS);
        if (whole && c->made == c->goal && c->manners.ending == ENDING_HALF_CLOSE)
            peer_write_fin(&c->peer);
    }
}

/* What has been on the wire to its last byte may be counted. */
static void note_sent(struct client *c)
{
    const size_t sent = peer_sent(&c->peer);
    for (unsigned i = c->answered; i < c->made; i++) {
        struct request *const request = &c->requests[i];
        if (request->sent || request->end > sent)
            continue;
        request->sent = true;
        if (request->event != 0)
            model_event_sent(request->event);
    }
}

/* ---- being answered ---- */

static void note_progress(struct client *c)
{
    if (c->honest && sim_now() > c->progress_ns && sim_now() - c->progress_ns > longest_wait_ns)
        longest_wait_ns = sim_now() - c->progress_ns;
    c->progress_ns = c->asked_ns = sim_now();
}

static void take_answer(struct client *c, const struct answer *answer)
{
    struct request *const request = &c->requests[c->answered];
    const uint16_t port = c->peer.options.port;
    sim_trace("  port %u: answered with %u", port, answer->status);
    SIM_CHECK(!c->closing, "port %u: an answer after the last", port);
    SIM_CHECK(c->answered < c->made, "port %u: an answer (%u) to nothing that was asked", port,
              answer->status);
    if (answer->status == 100) {
        SIM_CHECK(request->expects && !request->continued, "port %u: a 100 that nobody expects",
                  port);
        request->continued = true;
        return;
    }
    SIM_CHECK(!request->unreached, "port %u: an answer after the last", port);
    SIM_CHECK(request->sent || answer->close, "port %u: an answer before the request was complete",
              port);
    SIM_CHECK(peer_sent(&c->peer) > request->begin, "port %u: an answer before its request", port);
    answer_check(request, answer);
    SIM_CHECK(request->expects == request->continued || answer->status == 408,
              "port %u: answered without a 100", port);
    SIM_CHECK(answer->status != 408 || !profile.strict || !c->honest, "port %u: a 408", port);
    request->answered = true;
    c->answered++;
    sim_shared->answers++;
    note_progress(c);
    if (c->manners.teases)
        c->peer.options.window = (uint16_t)(answer->len - 1);
    if (answer->close) {
        c->closing = true;
        for (unsigned i = c->answered; i < c->made; i++)
            if (c->requests[i].event != 0)
                model_event_over(c->requests[i].event);
    }
}

static void read_answers(struct client *c)
{
    const size_t received = peer_received(&c->peer);
    struct answer answer;
    while (c->parsed < received) {
        const bool any = c->answered < c->made && c->requests[c->answered].kind == ANSWER_ANY;
        const bool head_only = c->answered < c->made && c->requests[c->answered].head_only;
        if (any) {
            c->parsed = received;
            return;
        }
        if (!answer_read(c->peer.in + c->parsed, received - c->parsed, head_only, &answer))
            return;
        c->parsed += answer.len;
        take_answer(c, &answer);
    }
}

/* ---- living ---- */

/* The appliance has closed: whatever it has not answered it never will. */
static void take_end(struct client *c)
{
    if (!c->peer.fin_taken || c->ended)
        return;
    c->ended = true;
    SIM_CHECK(c->parsed == peer_received(&c->peer), "port %u: closed within an answer",
              c->peer.options.port);
    /* It has read our FIN, and so all that was asked before it. */
    const bool read_all = peer_fin_is_acknowledged(&c->peer);
    SIM_CHECK(!read_all || c->closing || c->answered == c->made ||
                  c->requests[c->made - 1].kind == ANSWER_ANY,
              "port %u: closed with %u of %u answers, although all was read", c->peer.options.port,
              c->answered, c->made);
    if (!c->peer.options.number_reused)
        for (unsigned i = c->answered; i < c->made; i++)
            if (c->requests[i].event != 0 && c->requests[i].kind != ANSWER_ANY)
                model_event_over(c->requests[i].event);
    peer_write_fin(&c->peer);
}

static void end_well(struct client *c)
{
    if (c->answered < c->goal && !c->closing)
        return;
    if (c->manners.ending == ENDING_RESET && !c->closing)
        peer_abort(&c->peer);
    else if (c->manners.ending != ENDING_WAIT && !c->peer.fin_queued)
        peer_write_fin(&c->peer);
}

static void misbehave(struct client *c)
{
    const bool now = c->peer.out_len >= c->manners.leaves_at && c->manners.leaves_at != 0;
    if (c->peer.state == PEER_OVER || (!now && sim_now() < c->at_ns))
        return;
    if (c->manners.leaves_by_reset)
        peer_abort(&c->peer);
    else
        peer_vanish(&c->peer);
}

/* What told us that the connection is gone may have been lost. */
static void give_up(struct client *c)
{
    const bool done = c->answered == c->goal || c->closing;
    const uint64_t wait_ns = ANSWER_NS + (done ? profile.idle_ms + profile.linger_ms : 0) * SIM_MS;
    if (c->peer.state == PEER_OVER || sim_now() < c->asked_ns + wait_ns)
        return;
    SIM_CHECK(!profile.orderly || !(profile.all_fit || done) || !profile.demands_progress,
              "port %u: %s for %u s, although nothing was lost", c->peer.options.port,
              done ? "the connection does not end" : "no answer", (unsigned)(wait_ns / SIM_S));
    peer_abort(&c->peer);
}

static void live(struct client *c)
{
    if (c->peer.state == PEER_OPEN) {
        if (!c->manners.never_reads && !manners_stall(&c->manners))
            peer_read(&c->peer, peer_received(&c->peer));
        read_answers(c);
        take_end(c);
        end_well(c);
    }
    if (c->honest)
        give_up(c);
    else
        misbehave(c);
    if (c->peer.state == PEER_SYN_SENT || c->peer.state == PEER_OPEN)
        write_more(c);
    peer_run(&c->peer);
    note_sent(c);
    if (c->peer.state == PEER_OVER) {
        read_answers(c);
        const bool reset = c->peer.end == PEER_RESET || c->peer.end == PEER_CLOSED;
        finish(c, reset && !c->peer.options.number_reused);
        if (c->stage == STAGE_NONE)
            rest(c);
    }
}

static void run(struct client *c)
{
    if (c->stage == STAGE_WAITING && sim_now() >= c->at_ns)
        begin(c);
    if (c->stage == STAGE_LINGERING && sim_now() >= c->at_ns)
        rest(c);
    if (c->stage == STAGE_ACTIVE)
        live(c);
    if (c->answered == c->goal || c->closing)
        c->progress_ns = sim_now();
    if (c->honest && c->stage != STAGE_NONE && profile.demands_progress &&
        sim_now() > c->progress_ns)
        SIM_CHECK(sim_now() - c->progress_ns < manners_bound_ns(),
                  "port %u: an honest client was not served for %" PRIu64 " ms",
                  c->peer.options.port, (sim_now() - c->progress_ns) / SIM_MS);
}

void clients_run(void)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (clients[i].stage != STAGE_NONE)
            run(&clients[i]);
}

static uint64_t next_of(const struct client *c)
{
    if (c->stage != STAGE_ACTIVE)
        return c->stage == STAGE_NONE ? UINT64_MAX : c->at_ns;
    uint64_t next_ns = peer_next_ns(&c->peer);
    const bool writes = c->pending_at < c->pending->len ? writable(c) > 0 : may_ask(c);
    if (writes && !c->peer.fin_queued && c->write_ns < next_ns)
        next_ns = c->write_ns;
    return next_ns;
}

uint64_t clients_next_ns(void)
{
    uint64_t next_ns = UINT64_MAX;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        const uint64_t ns = next_of(&clients[i]);
        next_ns = ns < next_ns ? ns : next_ns;
    }
    return next_ns;
}

void clients_input(const struct segment *segment)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *const c = &clients[i];
        if ((c->stage != STAGE_ACTIVE && c->stage != STAGE_LINGERING) ||
            c->peer.options.address != segment->address || c->peer.options.port != segment->port)
            continue;
        SIM_CHECK(segment->server_port == FRAME_SERVER_PORT, "a segment from port %u",
                  segment->server_port);
        peer_input(&c->peer, segment);
        return;
    }
    peer_refuse_stray(segment);
}

/* ---- all of them ---- */

static struct client *add(bool honest, uint64_t at_ns)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *const c = &clients[i];
        if (c->stage != STAGE_NONE)
            continue;
        memset(c, 0, sizeof *c);
        c->honest = honest;
        c->pending = &pending[i];
        c->progress_ns = at_ns;
        wait_until(c, at_ns);
        return c;
    }
    sim_violation("too many clients for the simulator");
}

void clients_begin(void)
{
    for (unsigned i = 0; i < profile.honest; i++)
        (void)add(true, sim_now() + prng_below(profile.churn_ms) * SIM_MS);
    for (unsigned i = 0; i < profile.others; i++)
        (void)add(false, sim_now() + prng_below(profile.churn_ms) * SIM_MS);
}

void clients_dismiss(void)
{
    dismissed = true;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *const c = &clients[i];
        c->progress_ns = sim_now();
        if (c->stage == STAGE_WAITING && (c->answered == c->goal || !c->honest))
            c->stage = STAGE_NONE;
        if (c->stage != STAGE_ACTIVE || c->honest)
            continue;
        if (prng_permille(500))
            peer_abort(&c->peer);
        else
            peer_vanish(&c->peer);
    }
}

bool clients_are_done(void)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (clients[i].stage == STAGE_WAITING || clients[i].stage == STAGE_ACTIVE)
            return false;
    return true;
}

void clients_add_last(void)
{
    struct client *const c = add(true, sim_now());
    c->last = true;
}

void clients_excuse(uint64_t ns)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        clients[i].progress_ns += ns;
}

struct peer *clients_pick_open(void)
{
    const unsigned first = prng_below(CLIENTS_MAX);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *const c = &clients[(first + i) % CLIENTS_MAX];
        if (c->stage == STAGE_ACTIVE && c->peer.state == PEER_OPEN && !c->peer.fin_queued &&
            !c->peer.fin_taken)
            return &c->peer;
    }
    return NULL;
}

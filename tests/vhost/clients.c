#include "tests/vhost/clients.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/load/response.h"
#include "tests/load/workload.h"
#include "tests/vhost/link.h"
#include "tests/vhost/tcp.h"

#define STATS_BYTES_MAX 2048

struct request {
    uint64_t index;
    uint64_t ready_ns;
};

struct client {
    uint16_t oldest, count; /* of the requests unanswered, a ring of depth_ring */
    uint8_t stage;
    bool spent;        /* nothing more is to be asked of this connection */
    bool ended;        /* the server has closed it */
    bool failed;       /* counted as an error */
    uint64_t ready_ns; /* since when it could have asked for more: what latency is counted from */
    struct response response;
};

static struct {
    const struct run_options *options;
    struct run_result *result;
    enum clients_task task;
    uint64_t now_ns;
    uint32_t second;
    struct clients_progress progress;
    struct client *client;
    struct request *request; /* depth_ring of them each */
    uint32_t depth_ring;
    struct workload *workload;
    size_t request_bytes_max;
    struct response_memo memo;
    uint32_t stats_slot; /* which asks for /stats */
    char stats_request[512];
    char stats_text[STATS_BYTES_MAX + 1];
    size_t stats_len;
    uint8_t train[TCP_SEND_BYTES_MAX];
} state;

const struct clients_progress *clients_get_progress(void)
{
    return &state.progress;
}

static void set_stage(struct client *client, enum clients_stage stage)
{
    state.progress.count[client->stage]--;
    state.progress.count[stage]++;
    client->stage = (uint8_t)stage;
}

/* ---- requests ---- */

static struct request *request_at(uint32_t slot, uint32_t position)
{
    return &state.request[(size_t)slot * state.depth_ring + (position & (state.depth_ring - 1))];
}

/* Writes up to `count` new requests; returns their bytes. */
static size_t write_requests(uint32_t slot, struct client *client, uint32_t count)
{
    size_t len = 0;

    for (; count > 0; count--) {
        *request_at(slot, (uint32_t)client->oldest + client->count) =
            (struct request){.index = state.result->issued, .ready_ns = client->ready_ns};
        client->count++;
        state.progress.unanswered++;
        len += workload_write(state.workload, state.result->issued++, (char *)state.train + len);
    }
    return len;
}

static void finish_oldest(uint32_t slot, struct client *client, bool answered)
{
    const struct request *const request = request_at(slot, client->oldest);

    client->oldest++;
    client->count--;
    state.progress.unanswered--;
    if (!answered) {
        workload_uncertain(state.workload, request->index);
        return;
    }
    workload_counted(state.workload, request->index);
    histogram_add(&state.result->latency, state.now_ns - request->ready_ns);
    state.result->answered++;
    state.result->per_second[state.second]++;
    state.progress.last_answer_ns = state.now_ns;
    client->ready_ns = state.now_ns;
}

/* What is unanswered stays so; it is one error, whatever follows from it. */
static void fail(uint32_t slot, struct client *client, uint64_t *counter)
{
    *counter += !client->failed;
    client->failed = true;
    client->spent = true;
    while (client->count > 0)
        finish_oldest(slot, client, false);
    tcp_touch(slot);
}

static void take_response(uint32_t slot, struct client *client)
{
    if (client->count == 0) {
        fail(slot, client, &state.result->errors.malformed);
        return;
    }
    if (client->response.status != 200 || client->response.content_bytes != 0 ||
        client->response.close != state.options->churn) {
        fail(slot, client, &state.result->errors.status);
        return;
    }
    finish_oldest(slot, client, true);
}

/* ---- /stats ---- */

static void take_stats(uint32_t slot, const uint8_t *bytes, size_t len)
{
    struct client *const client = &state.client[slot];
    size_t taken = 0;
    const size_t room = STATS_BYTES_MAX - state.stats_len;
    const size_t kept = len < room ? len : room;

    memcpy(state.stats_text + state.stats_len, bytes, kept);
    state.stats_len += kept;
    const enum response_step step =
        response_feed(&client->response, (const char *)bytes, len, &taken);
    if (step == RESPONSE_MORE)
        return;
    const uint64_t content = client->response.content_bytes;
    if (step == RESPONSE_MALFORMED || taken != len || client->response.status != 200 ||
        content > state.stats_len ||
        !stats_read(state.stats_text + (state.stats_len - content), &state.result->stats)) {
        state.progress.failure = "GET /stats is not answered as it should be";
        return;
    }
    static const struct stats fresh = {.sum = "0.0", .avg = "0.0"};
    const struct workload_tallies tallies = workload_get_tallies(state.workload);
    state.result->has_stats = true;
    state.result->checks_outcome =
        check_stats(&fresh, &state.result->stats, &tallies, state.result->checks);
    response_reset(&client->response);
}

/* ---- what TCP calls ---- */

static void on_open(uint32_t slot)
{
    set_stage(&state.client[slot], CLIENTS_OPEN);
    state.progress.moved_ns = state.now_ns;
}

static void on_bytes(uint32_t slot, const uint8_t *bytes, size_t len)
{
    struct client *const client = &state.client[slot];

    state.progress.moved_ns = state.now_ns;
    if (state.task == CLIENTS_ASK) {
        take_stats(slot, bytes, len);
        return;
    }
    while (len > 0 && !client->failed) {
        size_t taken = 0;
        if (response_is_idle(&client->response))
            taken = response_memo_match(&state.memo, (const char *)bytes, len);
        if (taken > 0 && client->count > 0) {
            finish_oldest(slot, client, true);
        } else {
            const bool whole = response_is_idle(&client->response);
            const enum response_step step =
                response_feed(&client->response, (const char *)bytes, len, &taken);
            if (step == RESPONSE_MALFORMED) {
                fail(slot, client, &state.result->errors.malformed);
            } else if (step == RESPONSE_DONE) {
                take_response(slot, client);
                if (whole)
                    response_memo_learn(&state.memo, &client->response, (const char *)bytes, taken);
                response_reset(&client->response);
            }
        }
        bytes += taken;
        len -= taken;
    }
}

static void on_end_of_stream(uint32_t slot)
{
    struct client *const client = &state.client[slot];

    if (!state.options->churn || !client->spent || client->count > 0)
        fail(slot, client, &state.result->errors.closed);
    client->spent = true;
    client->ended = true;
}

/* The requests that this connection should have under way, as many as the window takes. */
static bool fill(uint32_t slot, struct client *client)
{
    const uint64_t left = state.options->requests - state.result->issued;
    const size_t space = tcp_send_space(slot) / state.request_bytes_max;
    uint64_t count = state.options->depth - client->count;

    count = count < left ? count : left;
    count = count < space ? count : space;
    if (count == 0)
        return true;
    if (!link_has_space(count * state.request_bytes_max))
        return false;
    tcp_send(slot, state.train, write_requests(slot, client, (uint32_t)count));
    client->spent = state.options->churn;
    return true;
}

/* Called while the connection is open in both directions, or closed by the server only. */
static bool on_turn(uint32_t slot)
{
    struct client *const client = &state.client[slot];

    if (client->ended || client->failed || state.task == CLIENTS_CLOSE) {
        set_stage(client, CLIENTS_CLOSING);
        tcp_close(slot);
        return true;
    }
    if (client->spent)
        return true;
    if (state.task == CLIENTS_LOAD || (state.task == CLIENTS_FINISH && state.options->churn))
        return fill(slot, client);
    if (state.task == CLIENTS_ASK && slot == state.stats_slot) {
        client->spent = true;
        tcp_send(slot, (const uint8_t *)state.stats_request, strlen(state.stats_request));
    }
    return true;
}

static size_t on_resend(uint32_t slot, uint8_t *out)
{
    const struct client *const client = &state.client[slot];
    size_t len = 0;

    if (state.task == CLIENTS_ASK) {
        strcpy((char *)out, state.stats_request);
        return strlen(state.stats_request);
    }
    for (uint32_t i = 0; i < client->count; i++)
        len += workload_write(state.workload, request_at(slot, client->oldest + i)->index,
                              (char *)out + len);
    return len;
}

void clients_open(uint32_t slot)
{
    struct client *const client = &state.client[slot];

    *client = (struct client){.ready_ns = state.now_ns, .stage = client->stage};
    response_reset(&client->response);
    set_stage(client, CLIENTS_OPENING);
    state.progress.opened++;
    tcp_open(slot, state.now_ns);
}

static void on_closed(uint32_t slot, enum tcp_end end)
{
    struct client *const client = &state.client[slot];
    struct run_errors *const errors = &state.result->errors;

    state.progress.moved_ns = state.now_ns;
    if (end != TCP_CLOSED)
        fail(slot, client,
             client->stage == CLIENTS_OPENING ? &errors->connect
             : end == TCP_RESET               ? &errors->reset
                                              : &errors->timeout);
    set_stage(client, CLIENTS_FREE);
    if (state.task == CLIENTS_ASK)
        state.progress.failure = "the connection that asked for /stats has failed";
    else if (state.options->churn && state.task == CLIENTS_LOAD &&
             state.progress.opened < state.options->requests)
        clients_open(slot);
}

static const struct tcp_handlers handlers = {.on_open = on_open,
                                             .on_bytes = on_bytes,
                                             .on_end_of_stream = on_end_of_stream,
                                             .on_turn = on_turn,
                                             .on_resend = on_resend,
                                             .on_closed = on_closed};

/* ---- what the run calls ---- */

void clients_begin_turn(uint64_t now_ns, uint32_t second)
{
    state.now_ns = now_ns;
    state.second = second;
}

void clients_set_task(enum clients_task task)
{
    state.task = task;
    for (uint32_t slot = 0; slot < state.options->connections; slot++) {
        if (state.client[slot].stage != CLIENTS_OPEN)
            continue;
        if (task == CLIENTS_LOAD)
            state.client[slot].ready_ns = state.now_ns;
        tcp_touch(slot);
    }
}

bool clients_ask_stats(void)
{
    uint32_t slot = 0;

    if (state.options->churn) {
        clients_open(slot);
    } else {
        while (slot < state.options->connections && state.client[slot].stage != CLIENTS_OPEN)
            slot++;
        if (slot == state.options->connections)
            return false;
    }
    state.stats_slot = slot;
    clients_set_task(CLIENTS_ASK);
    return true;
}

static void *allocate(size_t count, size_t size)
{
    void *const memory = calloc(count, size);

    if (memory == NULL) {
        fputs("tally-vhost: no memory for the connections\n", stderr);
        exit(2);
    }
    return memory;
}

void clients_init(const struct run_options *options, struct run_result *result)
{
    assert(options->depth >= 1 && options->depth <= RUN_DEPTH_MAX);
    state.options = options;
    state.result = result;
    for (state.depth_ring = 1; state.depth_ring < options->depth;)
        state.depth_ring *= 2;
    state.client = allocate(options->connections, sizeof(*state.client));
    state.request =
        allocate((size_t)options->connections * state.depth_ring, sizeof(*state.request));
    state.progress.count[CLIENTS_FREE] = options->connections;
    state.workload = workload_create(WORKLOAD_FASTERAPI, options->authority, options->churn);
    state.request_bytes_max = workload_request_bytes_max(state.workload);
    assert(options->depth * state.request_bytes_max <= TCP_SEND_BYTES_MAX);
    snprintf(state.stats_request, sizeof(state.stats_request),
             "GET /stats HTTP/1.1\r\nHost: %s\r\n\r\n", options->authority);
    tcp_init(options->connections, options->port, &handlers);
}

/*
 * app/routes.c and routes_metrics.c are compiled into this file, with names of their own for what
 * they call and what they offer: so the rig can be linked together with net/ and with the real
 * routes.
 */
#define server_batch_ns      rig_server_batch_ns
#define server_send_space    rig_server_send_space
#define server_send          rig_server_send
#define server_send_kept     rig_server_send_kept
#define server_wait_for      rig_server_wait_for
#define server_close         rig_server_close
#define server_hold          rig_server_hold
#define server_get_counters  rig_server_get_counters
#define routes               rig_routes
#define answer_request       rig_answer_request
#define answer_broken        rig_answer_broken
#define answer_encoded_event rig_answer_encoded_event
#define answer_counted_event rig_answer_counted_event
#define close_connection     rig_close_connection
#define routes_init          rig_routes_init
#define routes_configure     rig_routes_configure
#define routes_stats         rig_stats
#define routes_events_full   rig_events_full
#define routes_get_counters  rig_get_counters

#include "tests/unit/routes_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/answers.c"
#include "app/routes.c"
#include "app/routes_metrics.c"
#include "tests/test.h"

/* ---- the server ---- */

struct server_config rig_config;
uint64_t rig_batch_ns, rig_now_ns;
int64_t rig_wall_s;
struct server_conn rig_conn;
struct gate rig_gate;
struct server_kept *rig_kept;
const char *rig_kept_bytes;

uint64_t server_batch_ns(void)
{
    return rig_batch_ns;
}

size_t server_send_space(const struct server_conn *conn)
{
    return conn->space;
}

void server_send(struct server_conn *conn, const void *bytes, size_t len)
{
    assert(!conn->closed && len >= 1 && len <= conn->space);
    assert(len <= RIG_SENT_BYTES_MAX - conn->sent_len);
    memcpy(conn->sent + conn->sent_len, bytes, len);
    conn->sent_len += len;
    conn->sent[conn->sent_len] = '\0';
    conn->space -= len;
    conn->sends++;
}

void server_send_kept(struct server_conn *conn, const void *bytes, size_t len,
                      struct server_kept *kept)
{
    server_send(conn, bytes, len);
    rig_kept = kept;
    rig_kept_bytes = bytes;
}

void server_wait_for(struct server_conn *conn, enum server_wait what)
{
    assert(!conn->closed && !conn->held);
    conn->waiting = what;
    conn->waits++;
}

void server_close(struct server_conn *conn)
{
    assert(!conn->closed);
    conn->closed = true;
}

void server_hold(struct server_conn *conn, uint32_t ticket)
{
    assert(!conn->closed);
    if (conn->held)
        return;
    conn->held = true;
    conn->ticket = ticket;
}

void server_get_counters(struct server_counters *counters)
{
    *counters = (struct server_counters){
        .connections_open = 7,
        .connections_accepted = 11,
        .connections_refused = 12,
        .connections_gave_way = 13,
        .connections_reset_short = 29,
        .syn_cookies_sent = 14,
        .syn_cookies_accepted = 15,
        .retransmissions = 16,
        .batches = 17,
        .segments_predicted = 18,
        .busy_ns = 19,
        .longest_turn_ns = 20,
        .longest_turn_frames = 21,
        .timeouts = 22,
        .dropped_frames = 23,
        .memory_short = 24,
        .received_frames = 25,
        .received_bytes = 26,
        .transmitted_frames = 27,
        .transmitted_bytes = 28,
        .kicks = 37,
    };
    for (uint32_t i = 0; i < SERVER_POOLS; i++)
        counters->pool_blocks_free[i] = 30 + i;
}

static uint64_t fake_now_ns(void)
{
    return rig_now_ns;
}

static bool fake_wall_s(int64_t *unix_s)
{
    if (rig_wall_s < 0)
        return false;
    *unix_s = rig_wall_s;
    return true;
}

/* ---- what net/ does with it ---- */

static alignas(64) uint8_t users_memory[64 << 10];

static void start(uint64_t users_max, const struct gate *gate)
{
    const struct siphash_key key = {3, 4};
    const struct routes_config config = {
        .users = users_init(users_memory, sizeof users_memory, users_max, &key),
        .gate = gate,
        .connections_max = 99,
        .now_ns = fake_now_ns,
        .wall_s = fake_wall_s,
    };
    rig_batch_ns = 1000;
    rig_now_ns = 1000;
    rig_wall_s = -1;
    routes_init(&config);
    routes_configure(&rig_config, gate != NULL);
    assert(rig_config.state_bytes <= sizeof rig_conn.state &&
           rig_config.cold_state_bytes <= sizeof rig_conn.cold_state);
}

void rig_start(uint64_t users_max)
{
    start(users_max, NULL);
}

void rig_start_gated(uint64_t users_max)
{
    rig_gate = (struct gate){.epoch = 8, .stable = 7};
    start(users_max, &rig_gate);
}

/* As the gate does when a commit that has begun just now is stable. */
static void commit(void)
{
    rig_gate.stable = rig_gate.epoch++;
    rig_gate.stats = stats_snapshot(&routes.stats);
}

bool rig_release(void)
{
    commit();
    return rig_resume();
}

bool rig_resume(void)
{
    assert(rig_conn.held && (int32_t)(rig_gate.epoch - rig_conn.ticket) >= 0);
    rig_conn.held = false;
    if (rig_config.handlers.on_resume(&rig_conn, rig_conn.state, 5000))
        return true;
    rig_conn.held = true;
    return false;
}

void rig_open(void)
{
    memset(rig_conn.state, 0, sizeof rig_conn.state);
    memset(rig_conn.cold_state, 0xa5, sizeof rig_conn.cold_state); /* what another left */
    rig_conn.sent_len = 0;
    rig_conn.sent[0] = '\0';
    rig_conn.space = RIG_SENT_BYTES_MAX;
    rig_conn.closed = false;
    rig_conn.held = false;
    rig_conn.waiting = SERVER_WAIT_REQUEST;
    rig_conn.waits = 0;
    rig_conn.sends = 0;
    rig_config.handlers.on_open(&rig_conn, rig_conn.state, rig_conn.cold_state);
}

void rig_close(void)
{
    rig_config.handlers.on_close(&rig_conn, rig_conn.state);
}

size_t rig_offer(const char *bytes, size_t len)
{
    assert(rig_conn.space >= rig_config.response_bytes_max && len != 0);
    uint8_t *const copy = malloc(len);
    memcpy(copy, bytes, len);
    const size_t taken = rig_config.handlers.on_bytes(&rig_conn, rig_conn.state, copy, len);
    free(copy);
    rig_config.handlers.on_batch();
    assert(taken <= len);
    return taken;
}

void rig_give(const char *bytes, size_t len)
{
    while (len != 0 && !rig_conn.closed) {
        const size_t taken = rig_offer(bytes, len);
        assert(taken != 0);
        bytes += taken;
        len -= taken;
    }
}

void rig_give_text(const char *text)
{
    rig_give(text, strlen(text));
}

void rig_clear_stats(void)
{
    stats_init(&routes.stats, routes.stats.users);
}

void rig_time_out(void)
{
    rig_config.handlers.on_timeout(&rig_conn, rig_conn.state);
}

/* ---- reading what was sent ---- */

struct reading {
    const char *at;
    bool head_only; /* the answers are to HEAD */
    char lines[8192];
};

static void fail_reading(const char *why, const char *at)
{
    test_print("%s: %.60s", why, at);
    abort();
}

/* The value of a field of the head at `head`, into `value`; "-" if it is not there. */
static void get_field(const char *head, size_t head_len, const char *name, char value[64])
{
    strcpy(value, "-");
    for (const char *line = head; line < head + head_len; line = strstr(line, "\r\n") + 2) {
        const size_t name_len = strlen(name);
        if (strncmp(line, name, name_len) == 0 && strncmp(line + name_len, ": ", 2) == 0) {
            const char *const text = line + name_len + 2;
            const int len = (int)(strstr(text, "\r\n") - text);
            if (strcmp(value, "-") != 0)
                fail_reading("a field twice", line);
            snprintf(value, 64, "%.*s", len, text);
        }
    }
}

static void read_response(struct reading *reading)
{
    const char *const head = reading->at;
    const char *const end = strstr(head, "\r\n\r\n");
    if (end == NULL || strncmp(head, "HTTP/1.1 ", 9) != 0)
        fail_reading("no head", head);
    const size_t head_len = (size_t)(end + 2 - head);
    const int status = atoi(head + 9);
    char type[64], allow[64], connection[64], length[64];
    get_field(head, head_len, "Content-Type", type);
    get_field(head, head_len, "Allow", allow);
    get_field(head, head_len, "Connection", connection);
    get_field(head, head_len, "Content-Length", length);
    const bool bodiless = status == 100 || status == 204;
    if (bodiless != (strcmp(length, "-") == 0))
        fail_reading("Content-Length", head);
    const size_t len = bodiless || reading->head_only ? 0 : strtoul(length, NULL, 10);
    if (strlen(end + 4) < len)
        fail_reading("content is short", head);
    const size_t used = strlen(reading->lines);
    snprintf(reading->lines + used, sizeof reading->lines - used, "%d %s %s %s %.*s%s%s\n", status,
             type, allow, connection, (int)len, end + 4, reading->head_only ? "length=" : "",
             reading->head_only ? length : "");
    reading->at = end + 4 + len;
}

const char *rig_read(bool head_only)
{
    static struct reading reading;
    reading.at = rig_conn.sent;
    reading.head_only = head_only;
    reading.lines[0] = '\0';
    while (*reading.at != '\0')
        read_response(&reading);
    return reading.lines;
}

bool rig_lines_match(const char *got, const char *expected)
{
    const char *g = got, *e = expected;
    while (*e != '\0') {
        if (*e == '*') {
            g = strchr(g, '\n');
            e++;
        } else if (*g++ != *e++) {
            break;
        }
        if (g == NULL)
            break;
    }
    const bool same = g != NULL && *g == '\0' && *e == '\0' && (e == expected || e[-1] == '\n');
    if (!same)
        test_print("got:\n%sinstead of:\n%s", got, expected);
    return same;
}

bool rig_sent(const char *expected)
{
    return rig_lines_match(rig_read(false), expected);
}

static const char *metrics_now(void)
{
    rig_close();
    rig_open();
    rig_give_text("GET /metrics" H "\r\n");
    return rig_conn.sent;
}

bool rig_metrics_say(const char *line)
{
    const char *const text = metrics_now();
    if (strstr(text, line) != NULL)
        return true;
    test_print("no %s in %s", line, text);
    return false;
}

/* ---- requests ---- */

const char *rig_request(const char *head, const char *body)
{
    static char text[4096];
    if (body == NULL)
        snprintf(text, sizeof text, "%s", head);
    else
        snprintf(text, sizeof text, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body);
    return text;
}

const char *rig_event(const char *user_id, double value)
{
    static char body[256];
    snprintf(body, sizeof body, "{\"userId\":\"%s\",\"value\":%.17g}", user_id, value);
    return rig_request(EVENT, body);
}

#include "tests/net/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/core/pool.h"

struct rig_app rig_app;
struct server_kept rig_kept;
uint32_t rig_ticket = 1;
size_t rig_held_bytes = 5;
uint32_t rig_server_address = RIG_SERVER_ADDRESS;

int rig_run(void (*body)(void))
{
    int status = -1;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        body();
        fflush(stdout);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return status;
}

_Noreturn void rig_fail(const char *file, int line, const char *what)
{
    test_print("%s:%d: %s", file, line, what);
    _exit(1);
}

void rig_expect_eq(const char *file, int line, const char *what, long long left, long long right)
{
    if (left == right)
        return;
    test_print("%s:%d: %s: %lld is not %lld", file, line, what, left, right);
    _exit(1);
}

/* ---- the application ---- */

#define ANSWER_BYTES_MAX 24576
#define MAGIC            0x5eed5eedu

struct line_state {
    uint32_t magic;
    unsigned len;
    struct line *line;
    unsigned held; /* answers, until the release of `ticket` */
    uint32_t ticket;
};

/* The cold state: nobody else may write here. */
struct line {
    const struct server_conn *owner;
    char bytes[16];
};

bool rig_closes_at_once;

static struct server_conn *newest; /* as long as it is open */

static void on_open(struct server_conn *conn, void *state, void *cold_state)
{
    struct line_state *const s = state;
    EXPECT(s->magic == 0 && s->len == 0 && (uintptr_t)cold_state % 64 == 0);
    s->magic = MAGIC;
    s->line = cold_state;
    s->line->owner = conn;
    newest = conn;
    rig_app.opened++;
    if (rig_closes_at_once)
        server_close(conn);
}

static void on_close(struct server_conn *conn, void *state)
{
    struct line_state *const s = state;
    EXPECT(s->magic == MAGIC && s->line->owner == conn);
    s->magic = 0;
    if (newest == conn)
        newest = NULL;
    rig_app.closed++;
}

static void on_timeout(struct server_conn *conn, void *state)
{
    (void)state;
    rig_app.timed_out++;
    if (server_send_space(conn) >= 5)
        server_send(conn, "late\n", 5);
    server_close(conn);
}

static void on_batch(void)
{
    rig_app.batches++;
}

static bool on_resume(struct server_conn *conn, void *state, uint64_t held_ns)
{
    static uint8_t bytes[ANSWER_BYTES_MAX];
    struct line_state *const s = state;
    EXPECT(s->magic == MAGIC && s->held > 0);
    rig_app.resumed++;
    rig_app.held_ns = held_ns;
    for (size_t i = 0; i < rig_held_bytes; i++)
        bytes[i] = (uint8_t) "held "[i % 5];
    for (; s->held > 0; s->held--) {
        if (server_send_space(conn) < rig_held_bytes)
            return false;
        server_send(conn, bytes, rig_held_bytes);
    }
    server_wait_for(conn, SERVER_WAIT_REQUEST);
    return true;
}

static void answer(struct server_conn *conn, struct line_state *s)
{
    static uint8_t bytes[ANSWER_BYTES_MAX], kept_bytes[ANSWER_BYTES_MAX];
    rig_app.requests++;
    switch (s->line->bytes[0]) {
    case 'e':
        server_send_kept(conn, "ok\n", 3, NULL);
        break;
    case 'k':
        for (unsigned i = 0; i < sizeof kept_bytes; i++)
            kept_bytes[i] = (uint8_t)i;
        server_send_kept(conn, kept_bytes,
                         strtoul(s->line->bytes + 1, NULL, 10) % (sizeof kept_bytes + 1),
                         &rig_kept);
        break;
    case 'b':
        for (unsigned i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)i;
        server_send(conn, bytes, strtoul(s->line->bytes + 1, NULL, 10) % (sizeof bytes + 1));
        break;
    case 'c':
        server_send(conn, "bye\n", 4);
        server_close(conn);
        server_wait_for(conn, SERVER_WAIT_BODY); /* too late: it lingers */
        return;
    case 'q':
        server_close(conn);
        return;
    case 'h':
        s->held++;
        s->ticket = rig_ticket;
        server_hold(conn, rig_ticket);
        return;
    case 'w':
        server_wait_for(conn, SERVER_WAIT_BODY);
        return;
    default:
        server_send(conn, "?\n", 2);
        server_close(conn);
        return;
    }
    server_wait_for(conn, SERVER_WAIT_REQUEST);
}

static size_t on_bytes(struct server_conn *conn, void *state, const uint8_t *bytes, size_t len)
{
    struct line_state *const s = state;
    EXPECT(s->magic == MAGIC && s->line->owner == conn && len > 0);
    EXPECT(server_send_space(conn) >= ANSWER_BYTES_MAX);
    EXPECT(newest == NULL || newest == conn || server_send_space(newest) == 0);
    for (size_t i = 0; i < len; i++) {
        if (server_send_space(conn) < ANSWER_BYTES_MAX)
            return i;
        /* While it is held: more of the same, if all is there. */
        if (s->held > 0 && s->len == 0 &&
            (s->ticket != rig_ticket || len - i < 2 || bytes[i] != 'h' || bytes[i + 1] != '\n'))
            return i;
        if (s->held == 0 && s->len == 0 && bytes[i] != '\n')
            server_wait_for(conn, SERVER_WAIT_HEAD);
        if (s->len + 1 == sizeof s->line->bytes)
            s->len = 0;
        s->line->bytes[s->len++] = (char)bytes[i];
        if (bytes[i] != '\n')
            continue;
        s->line->bytes[s->len] = '\0';
        s->len = 0;
        answer(conn, s);
        if (strchr("ebkwh", s->line->bytes[0]) == NULL)
            return i + 1; /* closed */
    }
    return len;
}

/* ---- the server ---- */

struct server_config rig_config(uint32_t connections_max)
{
    return (struct server_config){
        .address = __builtin_bswap32(RIG_SERVER_ADDRESS),
        .netmask = __builtin_bswap32(0xffff0000u),
        .gateway = __builtin_bswap32(0x0a0000feu),
        .port = RIG_PORT,
        .connections_max = connections_max,
        .state_bytes = sizeof(struct line_state),
        .cold_state_bytes = sizeof(struct line),
        .response_bytes_max = ANSWER_BYTES_MAX,
        .idle_ms = 60000,
        .head_ms = 10000,
        .body_ms = 10000,
        .send_ms = 15000,
        .linger_ms = 2000,
        .hold_ms = 30000,
        .handlers = {on_open, on_bytes, on_resume, on_timeout, on_close, on_batch},
    };
}

static const uint8_t peer_mac[6] = {0x02, 0, 0, 0, 0, 1};

void rig_introduce(const uint8_t mac[6], uint32_t address)
{
    uint8_t arp[42] = {[12] = 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};
    const uint32_t sender = __builtin_bswap32(address);
    const uint32_t target = __builtin_bswap32(rig_server_address);
    memcpy(arp, fake_netdev_default.mac, 6);
    memcpy(arp + 6, mac, 6);
    memcpy(arp + 22, mac, 6);
    memcpy(arp + 28, &sender, 4);
    memcpy(arp + 38, &target, 4);
    EXPECT(fake_netdev_arrive(arp, sizeof arp, false));
}

void rig_introduce_peer(void)
{
    rig_introduce(peer_mac, RIG_PEER_ADDRESS);
}

void rig_start(const struct server_config *config, const struct fake_netdev_config *device)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    void *const memory = aligned_alloc(4096, server_memory_bytes(config));
    EXPECT(memory != NULL);
    fake_netdev_reset(device);
    server_init(config, memory);
    rig_introduce_peer();
    rig_poll();
    while (rig_other(frame) > 0)
        continue;
}

void rig_start_default(uint32_t connections_max)
{
    const struct server_config config = rig_config(connections_max);
    rig_start(&config, &fake_netdev_default);
}

void rig_start_with_transmit_ring(unsigned descriptors)
{
    struct fake_netdev_config device = fake_netdev_default;
    const struct server_config config = rig_config(64);
    device.transmit_ring = descriptors;
    rig_start(&config, &device);
}

void rig_poll(void)
{
    for (unsigned i = 0; i < 1000; i++)
        if (!server_poll())
            return;
    rig_fail(__FILE__, __LINE__, "server_poll() never rests");
}

void rig_wait_ms(uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 5) {
        fake_clock_advance_ms(5);
        rig_poll();
    }
}

struct server_counters rig_counters(void)
{
    struct server_counters counters;
    server_get_counters(&counters);
    return counters;
}

struct rig_levels rig_levels(void)
{
    struct rig_levels levels = {{0}, fake_netdev_receive_free()};
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        levels.blocks[class] = pool_level(class);
    return levels;
}

void **rig_take_memory(void)
{
    void **blocks = NULL;
    void **block;
    while ((block = pool_alloc(1)) != NULL) {
        *block = blocks;
        blocks = block;
    }
    return blocks;
}

void rig_give_back(void **blocks)
{
    while (blocks != NULL) {
        void **const block = blocks;
        blocks = *block;
        pool_free(block);
    }
}

/* ---- frames ---- */

static uint16_t segment_sum(const uint8_t *ip, size_t segment_len)
{
    uint32_t sum = 6 + (uint32_t)segment_len;
    for (unsigned i = 12; i < 20; i += 2)
        sum += get16(ip + i);
    return sum16(ip + 20, segment_len, sum);
}

/* The headers before `len` bytes of a protocol. */
static uint8_t *put_headers(uint8_t *frame, uint32_t address, uint8_t protocol, size_t len)
{
    uint8_t *const ip = frame + 14;

    memset(frame, 0, 34);
    memcpy(frame, fake_netdev_default.mac, 6);
    memcpy(frame + 6, peer_mac, 6);
    put16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(20 + len));
    ip[8] = 64;
    ip[9] = protocol;
    put32(ip + 12, address);
    put32(ip + 16, rig_server_address);
    put16(ip + 10, checksum16(ip, 20, 0));
    return ip + 20;
}

size_t rig_ping(uint32_t address, size_t data_len, uint8_t frame[FAKE_FRAME_BYTES_MAX])
{
    uint8_t *const icmp = put_headers(frame, address, 1, 8 + data_len);

    memset(icmp, 0, 8);
    icmp[0] = 8;
    for (size_t i = 0; i < data_len; i++)
        icmp[8 + i] = (uint8_t)i;
    put16(icmp + 2, checksum16(icmp, 8 + data_len, 0));
    return 42 + data_len;
}

size_t rig_frame(const struct rig_segment *segment, uint8_t frame[FAKE_FRAME_BYTES_MAX])
{
    const size_t options_len = segment->options_len;
    const size_t segment_len = 20 + options_len + segment->len;
    uint8_t *const tcp = put_headers(frame, segment->address, 6, segment_len);

    memset(tcp, 0, 20);
    put16(tcp, segment->port);
    put16(tcp + 2, segment->server_port);
    put32(tcp + 4, segment->number);
    put32(tcp + 8, segment->ack);
    tcp[12] = (uint8_t)((20 + options_len) / 4 << 4);
    tcp[13] = segment->flags;
    put16(tcp + 14, segment->window);
    memcpy(tcp + 20, segment->options, options_len);
    memcpy(tcp + 20 + options_len, segment->data, segment->len);
    put16(tcp + 16, (uint16_t)~segment_sum(tcp - 20, segment_len));
    return 34 + segment_len;
}

bool rig_vouches = true;

bool rig_arrive(const struct rig_segment *segment)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    return fake_netdev_arrive(frame, rig_frame(segment, frame), rig_vouches);
}

void rig_arrive_forged_syn(uint32_t number)
{
    const struct rig_segment syn = {
        .address = 0x0a010000u + number,
        .port = 4000,
        .server_port = RIG_PORT,
        .number = number,
        .window = 1000,
        .flags = SYN,
    };
    EXPECT(rig_arrive(&syn));
}

/* What the server sends is kept until somebody asks for it. */
#define INBOX_MAX 32768

static struct {
    uint8_t *frame;
    size_t len;
} inbox[INBOX_MAX];

static size_t inbox_count;

static void fill_inbox(void)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    size_t len;
    rig_poll();
    while ((len = fake_netdev_take(frame)) > 0) {
        EXPECT(inbox_count < INBOX_MAX);
        inbox[inbox_count].frame = malloc(len);
        inbox[inbox_count].len = len;
        memcpy(inbox[inbox_count++].frame, frame, len);
    }
}

static size_t take_from_inbox(size_t index, uint8_t *frame)
{
    const size_t len = inbox[index].len;
    memcpy(frame, inbox[index].frame, len);
    free(inbox[index].frame);
    inbox_count--;
    memmove(&inbox[index], &inbox[index + 1], (inbox_count - index) * sizeof inbox[0]);
    return len;
}

static bool is_tcp(const uint8_t *frame)
{
    return get16(frame + 12) == 0x0800 && frame[14 + 9] == 6;
}

size_t rig_other(uint8_t frame[FAKE_FRAME_BYTES_MAX])
{
    fill_inbox();
    for (size_t i = 0; i < inbox_count; i++)
        if (!is_tcp(inbox[i].frame))
            return take_from_inbox(i, frame);
    return 0;
}

void rig_discard(void)
{
    fill_inbox();
    while (inbox_count > 0)
        free(inbox[--inbox_count].frame);
}

static void parse(const uint8_t *frame, size_t len, struct rig_segment *segment)
{
    const uint8_t *const ip = frame + 14;
    const uint8_t *const tcp = ip + 20;
    const size_t header_len = (size_t)(tcp[12] >> 4) * 4;

    EXPECT(memcmp(frame, peer_mac, 6) == 0 && memcmp(frame + 6, fake_netdev_default.mac, 6) == 0);
    EXPECT(ip[0] == 0x45 && get16(ip + 2) == len - 14 && sum16(ip, 20, 0) == 0xffff);
    EXPECT(get32(ip + 12) == rig_server_address);
    EXPECT(segment_sum(ip, len - 34) == 0xffff);
    *segment = (struct rig_segment){
        .address = get32(ip + 16),
        .server_port = get16(tcp),
        .port = get16(tcp + 2),
        .number = get32(tcp + 4),
        .ack = get32(tcp + 8),
        .flags = tcp[13],
        .window = get16(tcp + 14),
        .options_len = (uint8_t)(header_len - 20),
        .len = len - 34 - header_len,
    };
    memcpy(segment->options, tcp + 20, header_len - 20);
    if (header_len >= 24 && tcp[20] == 2 && tcp[21] == 4)
        segment->mss = get16(tcp + 22);
    memcpy(segment->data, tcp + header_len, segment->len);
}

bool rig_next(uint32_t address, uint16_t port, struct rig_segment *segment)
{
    static uint8_t frame[FAKE_FRAME_BYTES_MAX];
    fill_inbox();
    for (size_t i = 0; i < inbox_count; i++) {
        const uint8_t *const ip = inbox[i].frame + 14;
        if (!is_tcp(inbox[i].frame) || get32(ip + 16) != address || get16(ip + 22) != port)
            continue;
        const size_t len = take_from_inbox(i, frame);
        parse(frame, len, segment);
        return true;
    }
    return false;
}

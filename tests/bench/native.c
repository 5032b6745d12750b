/*
 * The whole path natively: net/, app/ and lwIP compiled for the host as for the image, fed Ethernet
 * frames from memory. What is left out is the machine: the virtqueue, the emulator, the tap.
 *
 *     native --connections N --depth D [--requests R] [--runs K] [--batch B]
 *         [--heads H [--orders O]]
 *
 * B connections at a time each get a frame with D pipelined requests; the server takes its turn,
 * and every answer is checked. Time is that spent in the server's turns; "total" has the clients'
 * too, who make each frame from a table of requests. At the end /stats must be exact to the digit.
 *
 * Without --heads every request has the challenge's head, the same but for Content-Length's digits.
 * With it the head carries two fields more, a User-Agent and a traceparent, and there are H kinds
 * of them, in turn, of which no two are the same; "all": every request's head is another. Their
 * fields stand in O different orders, as those of different clients do.
 *
 * One line of JSON on standard output; exit status 1 with a message if anything was not as it
 * should be.
 *
 * For callgrind: --toggle-collect=measured_turn counts the turns after all users are known, and
 * nothing else. The clock of the server is virtual, so that the count is the same each time.
 */
#define _GNU_SOURCE /* memmem() */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "app/aggregate/users.h"
#include "app/routes.h"
#include "kernel/netdev.h"
#include "tests/bench/peers.h"
#include "tests/bench/wire.h"
#include "tests/load/workload.h"

#define USERS_MAX_HERE    100000u
#define USER_ID_BYTES     16u
#define NS_PER_REQUEST    200u /* by which the virtual clock moves: about what one takes */
#define RETURNS_MAX       16u  /* turns in which a batch must be answered */
#define DEPTH_MAX         64u
#define BATCH_MAX         128u
#define REQUEST_BYTES_MAX 512u
#define FIELDS_BYTES_MAX  128u
#define FIELDS_MAX        8u
#define ORDERS_MAX        120u /* of its five fields */

static struct {
    unsigned connections, depth, batch, runs;
    unsigned heads; /* 0: the challenge's one */
    unsigned orders;
    uint64_t requests; /* a run */
} options = {
    .connections = 64, .depth = 1, .batch = 64, .runs = 5, .orders = 1, .requests = 1000000};

/* The challenge's requests, which repeat after so many; the first ones again at the end. */
static struct {
    char *bytes;
    uint32_t begin[WORKLOAD_USERS + DEPTH_MAX + 1];
} requests;

static uint64_t sent, server_ns;
static uint8_t answers[BATCH_MAX][PEERS_ANSWER_BYTES];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the server ---- */

static void *take_memory(size_t bytes)
{
    void *const memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        peers_fail("no memory for %zu bytes", bytes);
    return memory;
}

static void start_server(void)
{
    struct server_config config = {
        .address = __builtin_bswap32(PEERS_SERVER),
        .netmask = __builtin_bswap32(0xffffff00u),
        .port = PEERS_PORT,
        .connections_max = options.connections,
        .idle_ms = 60000,
        .head_ms = 10000,
        .body_ms = 10000,
        .send_ms = 20000,
        .linger_ms = 2000,
    };
    struct siphash_key key;
    const size_t users_bytes = users_memory_bytes(USERS_MAX_HERE, USER_ID_BYTES);

    wire_init();
    entropy_fill(&key, sizeof key);
    routes_configure(&config, false);
    routes_init(&(struct routes_config){
        .users = users_init(take_memory(users_bytes), users_bytes, USERS_MAX_HERE, &key),
        .now_ns = clock_ns,
        .wall_s = clock_wall});
    server_init(&config, take_memory(server_memory_bytes(&config)));
}

static void turn(void)
{
    (void)server_poll();
    wire_advance_ns(NS_PER_REQUEST);
}

/* What is measured. Not inlined: callgrind knows it by its name. */
__attribute__((noinline)) static void measured_turn(void)
{
    (void)server_poll();
}

/* ---- the clients ---- */

/* Looks random, and differs for each number (the finalizer of MurmurHash3 is a permutation). */
static uint64_t scrambled(uint64_t number)
{
    number = (number ^ number >> 33) * 0xff51afd7ed558ccdu;
    number = (number ^ number >> 33) * 0xc4ceb9fe1a85ec53u;
    return number ^ number >> 33;
}

/* Puts what tells this kind of head from others in front of Content-Length; returns its length. */
static size_t insert_fields(char *request, size_t request_len, unsigned kind)
{
    static const char next[] = "Content-Length: ";
    char fields[FIELDS_BYTES_MAX];
    char *const at = memmem(request, request_len, next, sizeof next - 1);
    const int len =
        snprintf(fields, sizeof fields,
                 "User-Agent: client/%u\r\n"
                 "traceparent: 00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-01\r\n",
                 kind, scrambled(3 * kind + 1), scrambled(3 * kind + 2), scrambled(3 * kind + 3));
    if (at == NULL || len < 0 || (size_t)len >= sizeof fields)
        peers_fail("no place for the fields of head %u", kind);
    memmove(at + len, at, request_len - (size_t)(at - request));
    memcpy(at, fields, (size_t)len);
    return (size_t)len;
}

/* Puts the lines of the head, but for the first, into one of many orders; 0: as they are. */
static void order_fields(char *request, unsigned order)
{
    char copy[REQUEST_BYTES_MAX], *line[FIELDS_MAX];
    unsigned lines = 0;
    char *const begin = strstr(request, "\r\n") + 2, *const end = strstr(request, "\r\n\r\n") + 2;
    memcpy(copy, begin, (size_t)(end - begin));
    for (char *at = copy; at < copy + (end - begin); at = strstr(at, "\r\n") + 2)
        line[lines++] = at;
    for (unsigned left = lines; order > 0 && left > 1; left--) {
        const unsigned picked = (unsigned)(scrambled(order * FIELDS_MAX + left) % left);
        char *const other = line[left - 1];
        line[left - 1] = line[picked];
        line[picked] = other;
    }
    char *to = begin;
    for (unsigned i = 0; i < lines; i++) {
        const size_t len = (size_t)(strstr(line[i], "\r\n") + 2 - line[i]);
        memcpy(to, line[i], len);
        to += len;
    }
}

static void make_requests(void)
{
    struct workload *const workload = workload_create(WORKLOAD_FASTERAPI, "198.18.0.2:8080", false);
    size_t len = 0;
    requests.bytes = take_memory((WORKLOAD_USERS + DEPTH_MAX) *
                                 (workload_request_bytes_max(workload) + FIELDS_BYTES_MAX));
    for (unsigned i = 0; i < WORKLOAD_USERS + DEPTH_MAX; i++) {
        char *const request = requests.bytes + len;
        requests.begin[i] = (uint32_t)len;
        len += workload_write(workload, i, request);
        if (options.heads == 0)
            continue;
        const unsigned kind = i % WORKLOAD_USERS % options.heads;
        len += insert_fields(request, (size_t)(requests.bytes + len - request), kind);
        order_fields(request, kind % options.orders);
    }
    requests.begin[WORKLOAD_USERS + DEPTH_MAX] = (uint32_t)len;
}

/* D times the same answer, which is a 200 without content. */
static void check_answer(const struct peer *peer)
{
    static const char ok[] = "HTTP/1.1 200 ", none[] = "Content-Length: 0\r\n";
    const size_t len = peer->answer_len / options.depth;
    const uint8_t *const first = peer->answer;
    const uint8_t *const end = memmem(first, peer->answer_len, "\r\n\r\n", 4);

    if (len * options.depth != peer->answer_len || end == NULL || end + 4 != first + len ||
        memcmp(first, ok, sizeof ok - 1) != 0 || memmem(first, len, none, sizeof none - 1) == NULL)
        peers_fail("port %u was answered: %.*s", (unsigned)peer->port, (int)peer->answer_len,
                   (const char *)first);
    for (unsigned i = 1; i < options.depth; i++)
        if (memcmp(first + i * len, first, len) != 0)
            peers_fail("port %u: answer %u differs from the first", (unsigned)peer->port, i + 1);
}

static bool all_answered(const struct peer *peers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (peers[i].answer_len == 0 ||
            memcmp(peers[i].answer + peers[i].answer_len - 4, "\r\n\r\n", 4) != 0)
            return false;
    return true;
}

static void send_requests(struct peer *peers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const uint32_t first = (uint32_t)(sent % WORKLOAD_USERS);
        const uint32_t begin = requests.begin[first];
        peers_send(&peers[i], requests.bytes + begin, requests.begin[first + options.depth] - begin,
                   answers[i]);
        sent += options.depth;
    }
}

static void exchange(struct peer *peers, unsigned count, bool is_measured)
{
    send_requests(peers, count);
    unsigned turns = 0;
    do {
        if (turns++ == RETURNS_MAX)
            peers_fail("%u requests were not all answered", count * options.depth);
        const uint64_t begin_ns = now_ns();
        if (is_measured)
            measured_turn();
        else
            (void)server_poll();
        server_ns += now_ns() - begin_ns;
        wire_advance_ns((uint64_t)NS_PER_REQUEST * count * options.depth);
        peers_take();
    } while (!all_answered(peers, count));
    for (unsigned i = 0; i < count; i++)
        check_answer(&peers[i]);
}

/* A frame for each connection, a batch of them at a time. */
static void round_of_all(struct peer *peers, bool is_measured)
{
    for (unsigned i = 0; i < options.connections; i += options.batch) {
        const unsigned left = options.connections - i;
        exchange(peers + i, left < options.batch ? left : options.batch, is_measured);
    }
}

/* ---- /stats ---- */

static void check_stats(struct peer *peer)
{
    static const char request[] = "GET /stats HTTP/1.1\r\nHost: 198.18.0.2:8080\r\n\r\n";
    const uint64_t full = sent / WORKLOAD_VALUES, rest = sent % WORKLOAD_VALUES;
    const uint64_t sum = full * (WORKLOAD_VALUES * (WORKLOAD_VALUES - 1) / 2) +
                         (rest > 0 ? rest * (rest - 1) / 2 : 0);
    const uint64_t users = sent < WORKLOAD_USERS ? sent : WORKLOAD_USERS;
    char expected[160];
    uint64_t total = 0, unique = 0;
    double sum_read = 0, average = 0;

    peers_send(peer, request, sizeof request - 1, answers[0]);
    for (unsigned i = 0; i < RETURNS_MAX && peer->answer_len == 0; i++) {
        turn();
        peers_take();
    }
    answers[0][peer->answer_len] = '\0';
    const char *const body = strstr((const char *)answers[0], "\r\n\r\n");
    snprintf(expected, sizeof expected,
             "{\"totalRequests\":%" PRIu64 ",\"uniqueUsers\":%" PRIu64 ",\"sum\":%" PRIu64 ".0,",
             sent, users, sum);
    if (body == NULL || strncmp(body + 4, expected, strlen(expected)) != 0)
        peers_fail("/stats is \"%s\", not \"%s...\"", body == NULL ? "" : body + 4, expected);
    if (sscanf(body + 4,
               "{\"totalRequests\":%" SCNu64 ",\"uniqueUsers\":%" SCNu64
               ",\"sum\":%lf,\"avg\":%lf}",
               &total, &unique, &sum_read, &average) != 4 ||
        average != (double)sum / (double)sent)
        peers_fail("/stats has a wrong average: \"%s\"", body + 4);
}

/* ---- the program ---- */

static uint64_t number(const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    const unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < min || value > max)
        peers_fail("--%s %s: a number from %" PRIu64 " to %" PRIu64, name, text, min, max);
    return value;
}

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"connections", required_argument, NULL, 'c'}, {"depth", required_argument, NULL, 'd'},
        {"requests", required_argument, NULL, 'n'},    {"runs", required_argument, NULL, 'r'},
        {"batch", required_argument, NULL, 'b'},       {"heads", required_argument, NULL, 'h'},
        {"orders", required_argument, NULL, 'o'},      {NULL, 0, NULL, 0}};
    int which;
    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (which) {
        case 'c':
            options.connections = (unsigned)number("connections", optarg, 1, PEERS_MAX);
            break;
        case 'd':
            options.depth = (unsigned)number("depth", optarg, 1, DEPTH_MAX);
            break;
        case 'n':
            options.requests = number("requests", optarg, 1, UINT64_MAX / 2);
            break;
        case 'r':
            options.runs = (unsigned)number("runs", optarg, 1, 1000);
            break;
        case 'b':
            options.batch = (unsigned)number("batch", optarg, 1, BATCH_MAX);
            break;
        case 'h':
            options.heads = strcmp(optarg, "all") == 0
                                ? WORKLOAD_USERS
                                : (unsigned)number("heads", optarg, 1, WORKLOAD_USERS);
            break;
        case 'o':
            options.orders = (unsigned)number("orders", optarg, 1, ORDERS_MAX);
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    make_requests();
    start_server();
    struct peer *const peers = peers_connect(options.connections, turn);
    /* Every user is known before the first run, as in all but the first seconds of a machine. */
    while (sent < WORKLOAD_USERS)
        round_of_all(peers, false);

    printf("{\"connections\": %u, \"depth\": %u, \"batch\": %u, \"heads\": %u, "
           "\"orders\": %u, \"runs\": [",
           options.connections, options.depth, options.batch, options.heads, options.orders);
    for (unsigned run = 0; run < options.runs; run++) {
        const uint64_t before = sent, begin_ns = now_ns();
        server_ns = 0;
        while (sent - before < options.requests)
            round_of_all(peers, true);
        printf("%s{\"requests\": %" PRIu64 ", \"server_ns\": %" PRIu64 ", \"total_ns\": %" PRIu64
               "}",
               run == 0 ? "" : ", ", sent - before, server_ns, now_ns() - begin_ns);
    }
    check_stats(peers);
    printf("], \"stats_exact\": true}\n");
    return 0;
}

/*
 * tally-vhost: a load generator that is the appliance's network device.
 *
 *      one thread of this program                         QEMU
 *     ┌───────────────────────────┐   shared memory   ┌───────────────┐
 *     │ run ─ tcp ─ link ─ rings ─┼───────────────────┼─ the guest    │
 *     │               vhost_user ─┼── UNIX socket ────┼─ virtio-net   │
 *     └───────────────────────────┘   (setting up)    └───────────────┘
 *
 * No host kernel lies between: requests are written into the guest's receive buffers and answers
 * read where the guest put them, both polled. So the appliance alone is what is measured, and this
 * program says how much of its own time it needed (if that is near all, it is the limit).
 *
 *     run         the phases
 *     clients     the requests, what is an error (the data and its check: tests/load/)
 *     tcp         connections
 *     link        frames: Ethernet, ARP, IPv4, checksums
 *     rings       the virtqueues, device's side
 *     vhost_user  the protocol by which QEMU hands them over; guest_memory maps them
 *     report      text and JSON
 *
 * Exit status: 0 if every request was answered 200 and /stats agrees exactly, 1 if not, 2 if it
 * could not run.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/load/output.h"
#include "tests/vhost/link.h"
#include "tests/vhost/report.h"
#include "tests/vhost/run.h"
#include "tests/vhost/vhost_user.h"

#define FEATURE(bit)    (1ULL << (bit))

#define CONNECTIONS_MAX 60000
#define LINGER_MS       10000u

static const char usage[] =
    "usage: tally-vhost --socket PATH [option...]\n"
    "A vhost-user-net back end that loads the guest behind it. QEMU connects to PATH; its memory\n"
    "must be shared (scripts/vhost-bench shows how).\n"
    "  --connections N  at once (64)\n"
    "  --depth N        requests unanswered on each, up to 128 (1)\n"
    "  --requests N     end after so many (1000000)\n"
    "  --seconds N      and after so long (60)\n"
    "  --churn          a connection for each request\n"
    "  --address A      this client's (198.18.0.1)\n"
    "  --guest A        the guest's (198.18.0.2)\n"
    "  --port N         the guest's (8080)\n"
    "  --wait N         seconds until the guest must answer (15)\n"
    "  --cpu N          run on this processor only\n"
    "  --no-tso         no frames larger than the MTU\n"
    "  --no-csum        all checksums filled in, both ways (implies --no-tso)\n"
    "  --no-mrg         no MRG_RXBUF (implies --no-tso)\n"
    "  --no-event-idx   no EVENT_IDX\n"
    "  --json FILE      the results; - is standard output, the text then goes to standard error\n"
    "  --linger         then close standard output, and stay until QEMU has gone (10 s at most)\n";

struct options {
    const char *socket, *json;
    uint32_t address, guest;
    int cpu; /* -1: any */
    bool linger;
    uint64_t features;
    struct run_options run;
};

static volatile bool stop;

static void on_signal(int number)
{
    (void)number;
    stop = true;
}

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
    fprintf(stderr, "tally-vhost: %s: %s\n", what, why);
    exit(2);
}

static uint64_t number(const char *option, const char *text, uint64_t min, uint64_t max)
{
    char *end;

    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < min || value > max) {
        fprintf(stderr, "tally-vhost: --%s %s: a number from %" PRIu64 " to %" PRIu64 "\n", option,
                text, min, max);
        exit(2);
    }
    return value;
}

static uint32_t address(const char *option, const char *text)
{
    struct in_addr parsed;

    if (inet_pton(AF_INET, text, &parsed) != 1)
        die(option, "an IPv4 address is expected");
    return ntohl(parsed.s_addr);
}

static const struct option long_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"connections", required_argument, NULL, 'c'},
    {"depth", required_argument, NULL, 'd'},
    {"requests", required_argument, NULL, 'n'},
    {"seconds", required_argument, NULL, 't'},
    {"churn", no_argument, NULL, 'x'},
    {"address", required_argument, NULL, 'a'},
    {"guest", required_argument, NULL, 'g'},
    {"port", required_argument, NULL, 'p'},
    {"wait", required_argument, NULL, 'w'},
    {"cpu", required_argument, NULL, 'u'},
    {"no-tso", no_argument, NULL, 'T'},
    {"no-csum", no_argument, NULL, 'C'},
    {"no-mrg", no_argument, NULL, 'M'},
    {"no-event-idx", no_argument, NULL, 'E'},
    {"json", required_argument, NULL, 'j'},
    {"linger", no_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static bool parse_switch(struct options *options, int option)
{
    switch (option) {
    case 'x':
        options->run.churn = true;
        return true;
    case 'l':
        options->linger = true;
        return true;
    case 'T':
        options->features &= ~FEATURE(VIRTIO_NET_F_GUEST_TSO4);
        return true;
    case 'C':
        options->features &= ~(FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
                               FEATURE(VIRTIO_NET_F_GUEST_TSO4));
        return true;
    case 'M':
        options->features &= ~(FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_NET_F_GUEST_TSO4));
        return true;
    case 'E':
        options->features &= ~FEATURE(VIRTIO_RING_F_EVENT_IDX);
        return true;
    default:
        return false;
    }
}

static void parse_value(struct options *options, int option, const char *name, const char *text)
{
    struct run_options *const run = &options->run;

    switch (option) {
    case 's':
        options->socket = text;
        break;
    case 'c':
        run->connections = (uint32_t)number(name, text, 1, CONNECTIONS_MAX);
        break;
    case 'd':
        run->depth = (uint32_t)number(name, text, 1, RUN_DEPTH_MAX);
        break;
    case 'n':
        run->requests = number(name, text, 1, UINT32_MAX);
        break;
    case 't':
        run->seconds = (uint32_t)number(name, text, 1, RUN_SECONDS_MAX - 1);
        break;
    case 'a':
        options->address = address(name, text);
        break;
    case 'g':
        options->guest = address(name, text);
        break;
    case 'p':
        run->port = (uint16_t)number(name, text, 1, UINT16_MAX);
        break;
    case 'w':
        run->wait_s = (uint32_t)number(name, text, 1, 3600);
        break;
    case 'u':
        options->cpu = (int)number(name, text, 0, 1023);
        break;
    case 'j':
        options->json = text;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

static struct options parse(int argc, char **argv)
{
    struct options options = {
        .address = 0xc6120001, /* 198.18.0.1 */
        .guest = 0xc6120002,
        .cpu = -1,
        .features = FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_EVENT_IDX) |
                    FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_CSUM) |
                    FEATURE(VIRTIO_NET_F_GUEST_TSO4) | FEATURE(VIRTIO_NET_F_MRG_RXBUF),
        .run = {.connections = 64,
                .depth = 1,
                .requests = 1000000,
                .seconds = 60,
                .wait_s = 15,
                .port = 8080},
    };
    int index = 0;

    for (int option; (option = getopt_long(argc, argv, "", long_options, &index)) != -1;) {
        if (!parse_switch(&options, option))
            parse_value(&options, option, option == '?' ? "" : long_options[index].name, optarg);
    }
    if (options.socket == NULL || optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
    if (options.run.churn && options.run.depth != 1)
        die("--churn", "depth is 1: a connection is for one request");
    return options;
}

static void write_json(const struct options *options, const struct run_result *result, FILE *file)
{
    output_begin(file);
    report_print_json(&options->run, result, file);
    if (!output_end(file))
        die(options->json, strerror(errno));
}

/* So that the guest is powered off with its device in place, and QEMU has no reason to complain. */
static void linger(void)
{
    const char *why;

    fclose(stdout);
    for (unsigned i = 0; i < LINGER_MS && !stop && vhost_user_poll(&why); i++)
        usleep(1000);
}

int main(int argc, char **argv)
{
    static struct run_result result;
    static char authority[64];
    struct options options = parse(argc, argv);
    const struct in_addr guest = {htonl(options.guest)};
    const struct sigaction action = {.sa_handler = on_signal};
    const char *why = NULL;

    FILE *json = NULL;
    if (options.json != NULL && (json = output_open(options.json)) == NULL)
        die(options.json, strerror(errno));
    snprintf(authority, sizeof authority, "%s:%u", inet_ntoa(guest), (unsigned)options.run.port);
    options.run.authority = authority;
    if (options.cpu >= 0 && !cpu_pin((unsigned)options.cpu))
        die("--cpu", "that processor cannot be had");
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (!vhost_user_listen(options.socket, options.features, &why)) {
        fprintf(stderr, "tally-vhost: %s: %s: %s\n", options.socket, why, strerror(errno));
        vhost_user_end();
        return 2;
    }
    if (!vhost_user_accept((int)options.run.wait_s * 1000)) {
        vhost_user_end();
        die(options.socket, "QEMU has not connected");
    }
    link_init(options.address, options.guest);
    run(&options.run, &stop, &result);
    FILE *const text = json == stdout ? stderr : stdout;
    report_print(&options.run, &result, text);
    if (json != NULL)
        write_json(&options, &result, json);
    if (options.linger)
        linger();
    vhost_user_end();
    return run_is_success(&result) ? 0 : 1;
}

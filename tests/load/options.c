#include "tests/load/options.h"

#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char options_help[] =
    "usage: tally-load [options] [HOST:PORT]\n"
    "\n"
    "Sends the One Million Request Challenge to a server, and checks its /stats exactly.\n"
    "\n"
    "  HOST:PORT, --url http://HOST:PORT   the server (127.0.0.1:8080)\n"
    "  -n, --requests N          events to send (1000000)\n"
    "  -c, --connections N       connections at once (1000)\n"
    "  -d, --depth N             requests in flight on a connection (1)\n"
    "      --rate R              open loop: R requests a second, whatever the answers do;\n"
    "                            latency counts from the intended time (closed loop)\n"
    "      --close               a connection for each request (keep-alive)\n"
    "      --data fasterapi|go   user_<i mod 75000>; i mod 1000, or that + 0.5 (fasterapi)\n"
    "      --connecting N        handshakes in progress at once (64)\n"
    "      --request-timeout-ms MS  an answer takes longer: counted, reconnected (10000)\n"
    "      --stall-timeout-s S   nothing at all is answered for so long: stopped, a failure (30);\n"
    "                            at most 5 s where every connection is refused\n"
    "      --timeout-s S         the whole run takes longer: stopped, a failure (600)\n"
    "      --no-check            do not ask for /stats\n"
    "      --json FILE           the report as JSON, too; -: standard output\n"
    "  -q, --quiet               no progress lines\n"
    "  -h, --help                this text\n"
    "\n"
    "Exit status: 0 only when it prints SUCCESS; 1 when it prints FAILURE; 2 for a wrong\n"
    "command line or want of resources; 3 when it prints INCONCLUSIVE: nothing is wrong, but\n"
    "what others had sent before left a sum from which this run's share cannot be told.\n";

__attribute__((noreturn, format(printf, 1, 2))) static void options_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("tally-load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs(" (--help lists the options)\n", stderr);
    va_end(arguments);
    exit(2);
}

static uint64_t options_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value = 0;
    size_t len = 0;
    for (; text[len] >= '0' && text[len] <= '9' && len < 19; len++)
        value = value * 10 + (uint64_t)(text[len] - '0');
    if (len == 0 || text[len] != '\0' || value < min || value > max)
        options_fail("%s: \"%s\" is not a number from %llu to %llu", name, text,
                     (unsigned long long)min, (unsigned long long)max);
    return value;
}

static void options_set_address(struct options *options, const char *text)
{
    const char *const colon = strrchr(text, ':');
    const size_t host_len = colon == NULL ? 0 : (size_t)(colon - text);
    char host[sizeof options->authority];
    if (host_len == 0 || strlen(text) >= sizeof options->authority)
        options_fail("\"%s\" is not HOST:PORT", text);
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    const uint16_t port = (uint16_t)options_number("port", colon + 1, 1, 65535);

    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const int error = getaddrinfo(host, NULL, &hints, &found);
    if (error != 0)
        options_fail("host \"%s\": %s", host, gai_strerror(error));
    memcpy(&options->address, found->ai_addr, sizeof options->address);
    freeaddrinfo(found);
    options->address.sin_port = htons(port);
    strcpy(options->authority, text);
}

static void options_set_url(struct options *options, const char *url)
{
    static const char scheme[] = "http://";
    char text[sizeof options->authority];
    if (strncmp(url, scheme, sizeof scheme - 1) != 0 || strlen(url) >= sizeof text)
        options_fail("--url: \"%s\" is not http://HOST:PORT", url);
    strcpy(text, url + sizeof scheme - 1);
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '/')
        text[--len] = '\0';
    options_set_address(options, text);
}

static enum workload_data options_data(const char *text)
{
    if (strcmp(text, "fasterapi") == 0)
        return WORKLOAD_FASTERAPI;
    if (strcmp(text, "go") == 0)
        return WORKLOAD_GO;
    options_fail("--data: \"%s\" is neither fasterapi nor go", text);
}

enum {
    URL = 256,
    RATE,
    CLOSE,
    DATA,
    CONNECTING,
    REQUEST_TIMEOUT,
    STALL_TIMEOUT,
    TIMEOUT,
    NO_CHECK,
    JSON
};

static const struct option options_long[] = {
    {"url", required_argument, NULL, URL},
    {"requests", required_argument, NULL, 'n'},
    {"connections", required_argument, NULL, 'c'},
    {"depth", required_argument, NULL, 'd'},
    {"rate", required_argument, NULL, RATE},
    {"close", no_argument, NULL, CLOSE},
    {"data", required_argument, NULL, DATA},
    {"connecting", required_argument, NULL, CONNECTING},
    {"request-timeout-ms", required_argument, NULL, REQUEST_TIMEOUT},
    {"stall-timeout-s", required_argument, NULL, STALL_TIMEOUT},
    {"timeout-s", required_argument, NULL, TIMEOUT},
    {"no-check", no_argument, NULL, NO_CHECK},
    {"json", required_argument, NULL, JSON},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void options_set(struct options *options, int which)
{
    switch (which) {
    case URL:
        options_set_url(options, optarg);
        return;
    case 'n':
        options->requests = options_number("--requests", optarg, 1, 1000000000000);
        return;
    case 'c':
        options->connections =
            (uint32_t)options_number("--connections", optarg, 1, OPTIONS_CONNECTIONS_MAX);
        return;
    case 'd':
        options->depth = (uint32_t)options_number("--depth", optarg, 1, OPTIONS_DEPTH_MAX);
        return;
    case RATE:
        options->rate = options_number("--rate", optarg, 1, 100000000);
        return;
    case CLOSE:
        options->close = true;
        return;
    case DATA:
        options->data = options_data(optarg);
        return;
    case CONNECTING:
        options->connecting =
            (uint32_t)options_number("--connecting", optarg, 1, OPTIONS_CONNECTIONS_MAX);
        return;
    case REQUEST_TIMEOUT:
        options->request_timeout_ms =
            (uint32_t)options_number("--request-timeout-ms", optarg, 1, 3600000);
        return;
    case STALL_TIMEOUT:
        options->stall_timeout_s =
            (uint32_t)options_number("--stall-timeout-s", optarg, 1, 1000000);
        return;
    case TIMEOUT:
        options->timeout_s = (uint32_t)options_number("--timeout-s", optarg, 1, 1000000);
        return;
    case NO_CHECK:
        options->check = false;
        return;
    case JSON:
        if (optarg[0] == '-' && optarg[1] != '\0')
            options_fail("--json: before \"%s\" a FILE is missing, or - for standard output",
                         optarg);
        options->json_path = optarg;
        return;
    case 'q':
        options->quiet = true;
        return;
    case 'h':
        fputs(options_help, stdout);
        exit(0);
    default: /* getopt_long has printed a sentence */
        exit(2);
    }
}

void options_parse(int argc, char **argv, struct options *options)
{
    *options = (struct options){.requests = 1000000,
                                .connections = 1000,
                                .depth = 1,
                                .connecting = 64,
                                .check = true,
                                .data = WORKLOAD_FASTERAPI,
                                .request_timeout_ms = 10000,
                                .stall_timeout_s = 30,
                                .timeout_s = 600};
    int which;
    while ((which = getopt_long(argc, argv, "n:c:d:qh", options_long, NULL)) != -1)
        options_set(options, which);
    if (argc - optind > 1)
        options_fail("\"%s\" is one argument too many", argv[optind + 1]);
    if (optind < argc && options->authority[0] != '\0')
        options_fail("\"%s\" and --url name a server each", argv[optind]);
    if (optind < argc)
        options_set_address(options, argv[optind]);
    else if (options->authority[0] == '\0')
        options_set_address(options, "127.0.0.1:8080");
    if (options->close && options->depth != 1)
        options_fail("--close sends one request on a connection: --depth must be 1");
}

/* The command line, and what the tools share. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/abuse/abuse.h"

static const char usage[] =
    "usage: tally-abuse flood INTERFACE MAC ADDRESS PORT KIND RATE SECONDS\n"
    "           RATE frames a second, 0: as many as there can be\n"
    "           KIND: syn syn-link ack arp arp-reply icmp udp land fragment options garbage\n"
    "       tally-abuse slow ADDRESS PORT KIND CONNECTIONS SECONDS\n"
    "           KIND: byte silent deaf\n"
    "       tally-abuse relay NEAR FAR LOSS DUPLICATE REORDER CORRUPT DELAY_MS SECONDS\n"
    "           chances in 1,000; FAR is a tap, NEAR any interface\n";

void abuse_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("tally-abuse: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    exit(2);
}

uint64_t abuse_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min || value > max)
        abuse_fail("%s: \"%s\" is not a number from %llu to %llu", name, text,
                   (unsigned long long)min, (unsigned long long)max);
    return value;
}

uint64_t abuse_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int abuse_packet_socket(const char *interface)
{
    const int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex(interface),
    };
    if (fd < 0 || address.sll_ifindex == 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        abuse_fail("%s: %s", interface, strerror(errno));
    return fd;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int argc;
        int (*run)(int argc, char **argv);
    } tools[] = {{"flood", 7, flood_main}, {"slow", 5, slow_main}, {"relay", 8, relay_main}};

    for (size_t i = 0; argc > 1 && i < sizeof tools / sizeof tools[0]; i++) {
        if (strcmp(argv[1], tools[i].name) == 0 && argc - 2 == tools[i].argc)
            return tools[i].run(argc - 2, argv + 2);
    }
    fputs(usage, stderr);
    return 2;
}

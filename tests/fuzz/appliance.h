/*
 * The whole appliance for a fuzzer: net/, app/ and lwIP over tests/fake_netdev.h, started anew for
 * each input.
 *
 * lwIP and the server can be started once in a process, and a process for each input would be slow
 * and invisible to libFuzzer. So all their variables lie in two sections of their own (see the
 * Makefile), which appliance_start() puts back to what they were when the program began. Memory for
 * connections and users is given again, as it is: its contents do not matter by contract.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fake_netdev.h"

struct appliance_config {
    uint32_t connections_max; /* at most APPLIANCE_CONNECTIONS_MAX */
    bool dhcp;
    struct fake_netdev_config device;
};

#define APPLIANCE_CONNECTIONS_MAX 16

/* Prints what was violated, and aborts. */
#define APPLIANCE_CHECK(condition, ...)                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            appliance_violation(__VA_ARGS__);                                                      \
    } while (0)

_Noreturn void appliance_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Before anything else: keeps what the variables are. */
void appliance_keep(void);

void appliance_start(const struct appliance_config *config);

/* A turn or two of the loop; `took` sees each frame that was sent. */
void appliance_poll(void (*took)(const uint8_t *frame, size_t len));

/* What must hold at any time. */
void appliance_check(void);

/*
 * Nobody sends any more. Every deadline passes, and then every connection is gone, every block of
 * the pools and every buffer of the rings back where it was.
 */
void appliance_end(void);

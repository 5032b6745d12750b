/* What the files of net/link/ share of the link; link.c owns it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "kernel/netdev.h"
#include "lwip/netif.h"
#include "lwip/prot/ip4.h"
#include "net/wire/guard.h"

#define SEGMENT_AT (ETHERNET_BYTES + IP_HLEN)

struct link_state {
    struct netif netif;
    struct guard_self self;
    size_t receive_space; /* descriptors without which nothing is received */
    bool to_flush;
    bool checksum_offload;
};

extern struct link_state link_state;

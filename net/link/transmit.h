/* The transmitting half of link.h, as link.c sets it up. */
#pragma once

#include "net/link/link.h"

void transmit_init(void);

/* lwIP's netif->output and netif->linkoutput. */
err_t transmit_packet(struct netif *netif, struct pbuf *p, const ip4_addr_t *next_hop);
err_t transmit_frame(struct netif *netif, struct pbuf *p);

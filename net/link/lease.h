/*
 * The lease of an address, by DHCP (RFC 2131): lwIP's client, with timers that are right for every
 * lease. It is renewed at T1, rebound at T2, and given up when it ends, not later.
 */
#pragma once

#include "lwip/netif.h"

/*
 * Asks for an address, and goes on asking for as long as the machine runs. Called once, when the
 * interface is up. Its MTU MUST be 576 at least (section 2: what every client must take).
 */
void lease_start(struct netif *netif);

/* Sees to what is due. To be called many times a second. Without lease_start() it does nothing. */
void lease_run(void);

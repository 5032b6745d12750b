/* What is wrong with lwIP 2.2.1, and mended from outside (mend.c says why each is needed). */
#pragma once

#include <stdint.h>

#include "lwip/priv/tcp_priv.h"

/*
 * The smallest MSS believed. Every host can reassemble 576 bytes (RFC 1122 section 3.3.2), so
 * segments of 536 can always be sent; a peer that claims less would have us keep an answer in
 * hundreds of pbufs, and with 1 in none at all.
 */
#define MEND_MSS_MIN 536

/* Keeps the size of the PCB's segments between MEND_MSS_MIN and what the link carries. */
void mend_sizes(struct tcp_pcb *pcb);

/* Before each of lwIP's timers, and after each turn: the persist timer runs only while it may. */
void mend_stale_persist(struct tcp_pcb *pcb);

/* Before each of lwIP's timers, where there is unsent output. */
void mend_split_before_fin(struct tcp_pcb *pcb);

/* Segments that were sent again since boot. */
uint64_t mend_retransmissions(void);

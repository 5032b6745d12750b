/*
 * Where lwIP calls us, besides the callbacks of its raw API: the flaws of 2.2.1 that are closed
 * from outside (mend.c, isn.c and lease.c say which).
 */
#pragma once

#include "lwip/err.h"
#include "lwip/ip_addr.h"

struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

/* isn.c: the initial sequence number of a connection (RFC 6528). */
u32_t isn_of_connection(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                        u16_t remote_port);
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port)                                  \
    isn_of_connection(local, local_port, remote, remote_port)

/* mend.c: ERR_OK lets the segment pass. Addresses and numbers in `header` are in host order. */
err_t mend_segment(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t options_len, struct pbuf *p);
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, options_len, options1_len, options2, p)            \
    mend_segment(pcb, header, options_len, p)

/* mend.c: counts retransmissions. Adds no options. */
u32_t *mend_count_segment(const struct pbuf *p, const struct tcp_hdr *header,
                          const struct tcp_pcb *pcb, u32_t *options);
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, header, pcb, options)                                     \
    mend_count_segment(p, header, pcb, options)

/* link.c: how many pbufs a connection may hold out of order just now. */
u16_t link_ooseq_pbufs_max(void);

/* lease.c: DHCP is about to be asked for something. Adds no options. */
void lease_asked(void);
#define LWIP_HOOK_DHCP_APPEND_OPTIONS(netif, dhcp, state, message, type, options_len) lease_asked()

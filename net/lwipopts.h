/*
 * lwIP 2.2.1 as this machine uses it. Only what differs from lwip/opt.h stands here, and why.
 */
#pragma once

/* ---- one core, one loop, no operating system ---- */

#define NO_SYS               1 /* no threads: the raw API from one loop */
#define SYS_LIGHTWEIGHT_PROT 0 /* no interrupts: nothing to lock out */
#define NO_SYS_NO_TIMERS     1 /* timers.c calls what is due; no list of timeouts */
#define LWIP_NETCONN         0 /* needs threads */
#define LWIP_SOCKET          0 /* needs threads */
#define LWIP_SINGLE_NETIF    1 /* one device: routing is one comparison */
#define LWIP_STATS           0 /* counted once, in server_get_counters() */

/* ---- memory: net/core/pool.c, so that connections_max is a boot option ---- */

#define MEM_CUSTOM_ALLOCATOR 1
#define MEM_CUSTOM_MALLOC    pool_alloc
#define MEM_CUSTOM_CALLOC    pool_calloc
#define MEM_CUSTOM_FREE      pool_free
#define MEMP_MEM_MALLOC      1 /* lwIP's own pools are sized at compile time */
#define MEM_ALIGNMENT        8 /* pointers in what is allocated */
#define PBUF_POOL_FREE_OOSEQ 0 /* received data lies in the ring, never in PBUF_POOL */

/* Received frames are parsed where the device put them (link.c). */
#define LWIP_SUPPORT_CUSTOM_PBUF 1

/* NETDEV_HEADROOM_BYTES: the driver's header lies in front of the frame, in the same descriptor. */
#define PBUF_LINK_ENCAPSULATION_HLEN 12

/* ---- ARP, IP, ICMP, UDP ---- */

#define ARP_TABLE_SIZE 32 /* client hosts on the link; a search is linear */

/*
 * Pings and resets wait for the resolution; a connection's segments need none (link.c). An entry is
 * one of POOL_ARP's, and appending one is linear.
 */
#define ARP_QUEUEING                    1
#define ARP_QUEUE_LEN                   128

#define IP_REASSEMBLY                   0  /* what we serve needs no fragments; attackers do */
#define IP_FRAG                         0  /* no packet of ours exceeds the MTU */
#define IP_OPTIONS_ALLOWED              0  /* guard.c refuses them already */
#define IP_DEFAULT_TTL                  64 /* RFC 1700's recommendation, not 255 */

#define LWIP_DHCP                       1
#define LWIP_DHCP_DOES_ACD_CHECK        0 /* probing the leased address takes seconds of the boot */
#define LWIP_DHCP_MAX_DNS_SERVERS       0 /* nothing is looked up */
#define LWIP_DHCP_DISCOVER_ADD_HOSTNAME 0 /* the machine has no name */
/*
 * A lease is counted in seconds, and in as many of them as DHCP can lend (RFC 2131 section 3.3).
 * lwIP's ticks of a minute are too coarse for short leases, and 16 bits of them too few for long
 * ones. lease.c sees to the rest.
 */
#define DHCP_COARSE_TIMER_SECS         1
#define DHCP_TIMEOUT_SIZE_T            u32_t

#define LWIP_NETIF_EXT_STATUS_CALLBACK 1 /* an address comes or goes, or its netmask: link.c */

/* ---- checksums ---- */

#define LWIP_CHECKSUM_CTRL_PER_NETIF 1 /* link.c: per device for sending, per frame for receiving */
#define CHECKSUM_CHECK_IP            0 /* guard.c, which has the header at hand */
#define CHECKSUM_GEN_IP              0 /* ip_header.c, together with the identification */

/* ---- TCP ---- */

#define TCP_MSS 1460 /* of an MTU of 1,500; where the device's is less, lwIP lowers it */

/*
 * What a peer may have in flight to us. The bytes lie in the ring and are taken in the batch that
 * brought them; only a reader that does not read its answers makes them wait, in pool memory.
 * 22 segments: a pipelined train of 200 requests. No window scaling: more is never asked for.
 */
#define TCP_WND (22 * TCP_MSS)

/*
 * The most that waits for acknowledgement: two of the largest answers (24 KiB), so that one can be
 * made while another is under way. The memory is shared by all (pool.h); this bounds one.
 */
#define TCP_SND_BUF      (34 * TCP_MSS)
#define TCP_SND_QUEUELEN 256 /* pbufs: 49,640 bytes in segments of 536, and answers of 200 bytes */
#define TCP_OVERSIZE     0   /* turn.c writes once a turn: pbufs fit exactly */

/*
 * A tick of 250 ms rather than 500: finer round-trip times, and ACKs are delayed by no more than
 * that. The first retransmission is due after five ticks, of which the first is cut short: 1.0 to
 * 1.25 s (RFC 6298 section 2: 1 s), not lwIP's 3 s.
 */
#define TCP_TMR_INTERVAL  125
#define LWIP_TCP_RTO_TIME 1250

/*
 * deadlines.c has TIME-WAIT's own; what is left of lwIP's use is 2 MSL for LAST-ACK, which would
 * end a connection whose answer is still under way. No less than the longest send_ms: a day.
 */
#define TCP_MSL 43200000

/* One argument a PCB, for the callbacks that tell of its birth and death (listener.c). */
#define LWIP_TCP_PCB_NUM_EXT_ARGS 1

/* What lies out of order holds ring buffers: link.c says how many there may be just now. */
#define TCP_OOSEQ_PBUFS_LIMIT(pcb) link_ooseq_pbufs_max()

#define LWIP_HOOK_FILENAME         "net/lwip_hooks.h"

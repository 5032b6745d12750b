/*
 * Memory for lwIP: blocks of seven kinds, taken and given back in constant time. All of it is
 * carved once from the memory given to pool_init(); when a size has run out, the next larger
 * serves, and when that has too the answer is NULL, and it is counted.
 *
 *     class         block     for
 *     POOL_TINY        32     TCP segments
 *     POOL_SMALL      128     ACKs, SYN-ACKs, resets, ARP: headers without data
 *     POOL_MEDIUM     256     an answer of up to 160 bytes; the headers of one that is kept
 *     POOL_LARGE      704     an answer of up to 608 bytes; a segment of a peer with an MSS of 536
 *     POOL_FULL     1,600     a full segment; bytes that wait to be read (unread.c)
 *     POOL_PCB        256     TCP connections, and nothing else
 *     POOL_ARP         32     entries of ARP queues, and those have nothing else
 *
 * PCBs have blocks of their own, so that no amount of data in flight can keep a client from
 * connecting. A block is given for one only while pool_expect_pcb() says so: the sizes of pbufs
 * vary, and may be that of a PCB.
 *
 * Packets that wait for the resolution of an address hold blocks for seconds, and anybody on the
 * link can make us send some (pings from addresses that nobody has): so there are few entries.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pool_class {
    POOL_TINY,
    POOL_SMALL,
    POOL_MEDIUM,
    POOL_LARGE,
    POOL_FULL,
    POOL_PCB,
    POOL_ARP,
    POOL_CLASSES
};

#define POOL_LARGE_BYTES 704
#define POOL_FULL_BYTES  1600

struct pool_budget {
    uint32_t blocks[POOL_CLASSES];
};

/* For so many established, half-open and closing connections. */
struct pool_budget pool_budget_for(uint32_t connections, uint32_t half_open, uint32_t closing);

size_t pool_memory_bytes(const struct pool_budget *budget);

/* `memory` is aligned to 4,096. */
void pool_init(const struct pool_budget *budget, void *memory);

/* NULL when there is none. Aligned to 32 bytes. The contents are undefined. */
void *pool_alloc(size_t bytes);
void *pool_calloc(size_t count, size_t bytes);
void pool_free(void *block);

void pool_expect_pcb(bool expected);

/* Blocks free now. */
uint32_t pool_level(enum pool_class class);

/* Allocations refused since pool_init(). */
uint64_t pool_refused(void);

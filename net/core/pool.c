/*
 * The memory in pages of 4 KiB:
 *
 *     | page_class: a byte a page | TINY blocks ... | SMALL ... | ... | PCB ... |
 *
 * A class begins at a page of its own, so the page tells the class of a block when it comes back,
 * and a block carries no header. Free blocks are linked through their first word, the last one
 * given back is the first one taken: it is still in the cache. Blocks that were never taken are not
 * linked: they follow `fresh`. So starting up touches no block.
 *
 * Blocks do not change class. Pages that wander to the class in need would use memory better, but a
 * burst of one size would starve the others for ever after; budgets can be reasoned about.
 */
#include "net/core/pool.h"

#include <assert.h>
#include <string.h>

#include "lwip/etharp.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

#define PAGE_BYTES 4096u
#define PAGE_SHIFT 12

/* Under AddressSanitizer a free block is out of bounds: a use after free is found. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POOL_POISON(block, bytes)   ASAN_POISON_MEMORY_REGION(block, bytes)
#define POOL_UNPOISON(block, bytes) ASAN_UNPOISON_MEMORY_REGION(block, bytes)
#else
#define POOL_POISON(block, bytes)   ((void)(block), (void)(bytes))
#define POOL_UNPOISON(block, bytes) ((void)(block), (void)(bytes))
#endif

#define CLASS_STEP 32u /* sizes are looked up in steps of the smallest block */

static const uint16_t class_bytes[POOL_CLASSES] = {32,  128, 256, POOL_LARGE_BYTES, POOL_FULL_BYTES,
                                                   256, 32};

_Static_assert(sizeof(struct tcp_pcb) <= 256, "a PCB fits its class");
_Static_assert(sizeof(struct etharp_q_entry) != sizeof(struct tcp_seg) &&
                   sizeof(struct etharp_q_entry) < sizeof(struct pbuf),
               "told apart by their size");
_Static_assert(sizeof(struct pbuf) + 72 + TCP_MSS <= POOL_FULL_BYTES, "a full segment fits");

struct block {
    struct block *next;
};

static struct {
    struct block *free[POOL_CLASSES];
    uint8_t *fresh[POOL_CLASSES];
    uint32_t fresh_left[POOL_CLASSES];
    uint32_t level[POOL_CLASSES];
    uint8_t *base;
    size_t bytes;
    uint8_t *page_class;
    uint64_t refused;
    bool pcb_expected;
    uint8_t class_of[POOL_FULL_BYTES / CLASS_STEP + 1];
} pool;

struct pool_budget pool_budget_for(uint32_t connections, uint32_t half_open, uint32_t closing)
{
    const uint32_t n = connections;
    return (struct pool_budget){{
        /* Segments under way: two a connection, more of those who get them one by one (turn.c). */
        [POOL_TINY] = 4 * n + half_open + 512,
        /* A SYN-ACK each; ACKs, until the device has sent them. */
        [POOL_SMALL] = n + half_open + 256,
        /* An answer each, and for half of them a second. */
        [POOL_MEDIUM] = n + n / 2 + 256,
        /* A train that arrived in two pieces is answered in two. */
        [POOL_LARGE] = n + 64,
        /* The answer to a train of 16 events each, if it is copied, and what is on its way in. */
        [POOL_FULL] = n + n / 2 + 128,
        [POOL_PCB] = n + half_open + closing + 8,
        /* Pings and resets to hosts not resolved yet; far fewer than there are full blocks. */
        [POOL_ARP] = 64 + n / 16,
    }};
}

static size_t class_pages(const struct pool_budget *budget, enum pool_class class)
{
    return (budget->blocks[class] * (size_t)class_bytes[class] + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

static size_t data_pages(const struct pool_budget *budget)
{
    size_t pages = 0;
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        pages += class_pages(budget, class);
    return pages;
}

static size_t map_bytes(size_t pages)
{
    return (pages + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

size_t pool_memory_bytes(const struct pool_budget *budget)
{
    const size_t pages = data_pages(budget);
    return map_bytes(pages) + pages * PAGE_BYTES;
}

/* The base of the class's blocks lies `page` pages from the pool's. */
static void lay_out(enum pool_class class, uint32_t blocks, size_t page, size_t pages)
{
    pool.fresh[class] = pool.base + page * PAGE_BYTES;
    pool.fresh_left[class] = blocks;
    pool.level[class] = blocks;
    memset(pool.page_class + page, (int)class, pages);
}

static void give_back(enum pool_class class, void *memory)
{
    struct block *const block = memory;
    block->next = pool.free[class];
    pool.free[class] = block;
    pool.level[class]++;
    POOL_POISON(memory, class_bytes[class]);
}

static void map_sizes(void)
{
    enum pool_class class = POOL_TINY;
    for (size_t step = 0; step < sizeof pool.class_of; step++) {
        if (step * CLASS_STEP > class_bytes[class])
            class ++;
        pool.class_of[step] = (uint8_t) class;
    }
}

void pool_init(const struct pool_budget *budget, void *memory)
{
    assert(((uintptr_t)memory & (PAGE_BYTES - 1)) == 0);
    const size_t pages = data_pages(budget);

    memset(&pool, 0, sizeof pool);
    POOL_UNPOISON(memory, pool_memory_bytes(budget));
    pool.page_class = memory;
    pool.base = (uint8_t *)memory + map_bytes(pages);
    pool.bytes = pages * PAGE_BYTES;

    size_t page = 0;
    for (unsigned class = 0; class < POOL_CLASSES; class ++) {
        lay_out(class, budget->blocks[class], page, class_pages(budget, class));
        page += class_pages(budget, class);
    }
    map_sizes();
    POOL_POISON(pool.base, pool.bytes);
}

static enum pool_class class_for(size_t bytes)
{
    if (bytes == LWIP_MEM_ALIGN_SIZE(sizeof(struct etharp_q_entry)))
        return POOL_ARP;
    if (pool.pcb_expected && bytes == LWIP_MEM_ALIGN_SIZE(sizeof(struct tcp_pcb))) {
        pool.pcb_expected = false;
        return POOL_PCB;
    }
    return (enum pool_class)pool.class_of[(bytes + CLASS_STEP - 1) / CLASS_STEP];
}

/* One that was given back, if there is any. */
static inline void *take_again(enum pool_class class)
{
    struct block *const block = pool.free[class];
    if (block == NULL)
        return NULL;
    POOL_UNPOISON(block, class_bytes[class]);
    pool.free[class] = block->next;
    pool.level[class]--;
    return block;
}

static void *take_fresh(enum pool_class class)
{
    if (pool.fresh_left[class] == 0)
        return NULL;
    uint8_t *const block = pool.fresh[class];
    POOL_UNPOISON(block, class_bytes[class]);
    pool.fresh[class] += class_bytes[class];
    pool.fresh_left[class]--;
    pool.level[class]--;
    return block;
}

static void *refuse(void)
{
    pool.refused++;
    return NULL;
}

/* Of a class that nothing was given back to: a fresh block, or one of a larger class. */
__attribute__((noinline)) static void *take_other(enum pool_class class)
{
    void *block = take_fresh(class);
    while (block == NULL && class < POOL_FULL) {
        class ++;
        block = take_again(class);
        if (block == NULL)
            block = take_fresh(class);
    }
    return block != NULL ? block : refuse();
}

void *pool_alloc(size_t bytes)
{
    if (bytes > POOL_FULL_BYTES)
        return refuse();
    const enum pool_class class = class_for(bytes);
    void *const block = take_again(class);
    return block != NULL ? block : take_other(class);
}

void *pool_calloc(size_t count, size_t bytes)
{
    if (bytes != 0 && count > POOL_FULL_BYTES / bytes) {
        pool.refused++;
        return NULL;
    }
    void *const block = pool_alloc(count * bytes);
    if (block != NULL)
        memset(block, 0, count * bytes);
    return block;
}

void pool_free(void *block)
{
    const size_t offset = (size_t)((uint8_t *)block - pool.base);
    assert(offset < pool.bytes);
    give_back(pool.page_class[offset >> PAGE_SHIFT], block);
}

void pool_expect_pcb(bool expected)
{
    pool.pcb_expected = expected;
}

uint32_t pool_level(enum pool_class class)
{
    return pool.level[class];
}

uint64_t pool_refused(void)
{
    return pool.refused;
}

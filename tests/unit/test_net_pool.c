#include "net/core/pool.h"
#include "tests/test.h"

static const struct pool_budget budget = {{8, 4, 4, 2, 2, 3}};
static uint8_t memory[16 * 4096] __attribute__((aligned(4096)));

#define PCB_BYTES 232

TEST(pool_gives_the_smallest_block_that_fits_and_takes_it_back)
{
    static const size_t sizes[] = {1, 32, 33, 128, 129, 256, 257, 704, 705, 1600};
    CHECK(pool_memory_bytes(&budget) <= sizeof memory);
    pool_init(&budget, memory);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const enum pool_class class = (enum pool_class)(i / 2);
        const uint32_t before = pool_level(class);
        uint8_t *const block = pool_alloc(sizes[i]);
        CHECK(block != NULL && (uintptr_t)block % 8 == 0);
        memset(block, 0x55, sizes[i]);
        CHECK_EQ(pool_level(class), before - 1);
        pool_free(block);
        CHECK_EQ(pool_level(class), before);
    }
    CHECK_EQ(pool_refused(), 0);
}

TEST(pool_serves_from_larger_blocks_until_all_are_gone)
{
    void *blocks[20];
    unsigned count = 0;
    pool_init(&budget, memory);
    while (count < 20 && (blocks[count] = pool_alloc(20)) != NULL)
        count++;
    CHECK_EQ(count, 8 + 4 + 4 + 2 + 2);
    CHECK_EQ(pool_refused(), 0);
    CHECK(pool_alloc(20) == NULL);
    CHECK_EQ(pool_refused(), 1);
    CHECK_EQ(pool_level(POOL_PCB), 3);
    for (unsigned i = 0; i < count; i++)
        for (unsigned j = 0; j < i; j++)
            CHECK(blocks[i] != blocks[j]);
    while (count > 0)
        pool_free(blocks[--count]);
    CHECK_EQ(pool_level(POOL_TINY), 8);
    CHECK_EQ(pool_level(POOL_FULL), 2);
}

TEST(pool_keeps_blocks_for_connections_apart)
{
    pool_init(&budget, memory);
    void *const data = pool_alloc(PCB_BYTES);
    CHECK_EQ(pool_level(POOL_PCB), 3);
    pool_expect_pcb(true);
    void *const pcb = pool_alloc(PCB_BYTES);
    CHECK_EQ(pool_level(POOL_PCB), 2);
    pool_free(pcb);
    /* Whatever comes between; and one only. */
    pool_expect_pcb(true);
    void *const other = pool_alloc(20);
    CHECK_EQ(pool_level(POOL_PCB), 3);
    CHECK(pool_alloc(PCB_BYTES) == pcb);
    CHECK_EQ(pool_level(POOL_PCB), 2);
    pool_free(other);
    void *const more = pool_alloc(PCB_BYTES);
    CHECK_EQ(pool_level(POOL_PCB), 2);
    pool_free(pcb);
    CHECK_EQ(pool_level(POOL_PCB), 3);
    pool_free(data);
    pool_free(more);
    CHECK_EQ(pool_level(POOL_MEDIUM), 4);
}

TEST(pool_refuses_what_is_too_large)
{
    pool_init(&budget, memory);
    CHECK(pool_alloc(1601) == NULL);
    CHECK(pool_alloc(SIZE_MAX) == NULL);
    CHECK(pool_calloc(SIZE_MAX / 2, 4) == NULL);
    CHECK_EQ(pool_refused(), 3);
    void *const used = pool_alloc(32);
    memset(used, 0xff, 32);
    pool_free(used);
    uint8_t *const zeroed = pool_calloc(4, 8);
    CHECK(zeroed == used);
    for (unsigned i = 0; i < 32; i++)
        CHECK_EQ(zeroed[i], 0);
    pool_free(zeroed);
}

TEST(pool_gives_no_zeroed_block_when_all_are_gone)
{
    pool_init(&budget, memory);
    void *const nothing = pool_calloc(5, 0);
    CHECK(nothing != NULL);
    for (unsigned i = 0; i < 8 + 4 + 4 + 2 + 2 - 1; i++)
        CHECK(pool_alloc(20) != NULL);
    CHECK(pool_calloc(5, 4) == NULL);
    CHECK_EQ(pool_refused(), 1);
    pool_free(nothing);
    CHECK(pool_calloc(5, 4) == nothing);
}

TEST(pool_for_a_thousand_connections_takes_under_4600_bytes_each)
{
    const struct pool_budget thousand = pool_budget_for(1000, 125, 500);
    CHECK(pool_memory_bytes(&thousand) < 4600 * 1000);
}

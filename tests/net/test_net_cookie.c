#include "net/admit/cookie.h"

#include "kernel/lib/siphash.h"
#include "kernel/netdev.h"
#include "tests/test.h"

#define CONNECTIONS 64
#define BEGIN_NS    (1000 * CLOCK_NS_PER_S)

static uint32_t memory[16384];
static uint16_t mss;

static const struct cookie_peer somebody = {
    .address = 0x0100000a, .our_address = 0x0200000a, .port = 40000, .number = 0x12345678};

static void start(void)
{
    CHECK(cookies_memory_bytes(CONNECTIONS) <= sizeof memory);
    cookies_init(CONNECTIONS, memory);
}

static struct cookie_peer peer_number(uint32_t n)
{
    struct cookie_peer peer = somebody;
    peer.number += n;
    return peer;
}

TEST(cookie_is_good_for_its_peer_alone)
{
    start();
    const uint32_t cookie = cookie_make(&somebody, 1460, BEGIN_NS);
    CHECK(cookie_is_good(&somebody, cookie, BEGIN_NS, &mss));
    struct cookie_peer others[5] = {somebody, somebody, somebody, somebody, somebody};
    others[0].address ^= 0x80000000;
    others[1].our_address ^= 1;
    others[2].port ^= 0x8000;
    others[3].number ^= 1;
    others[4].number ^= 0x80000000;
    for (unsigned i = 0; i < 5; i++) {
        CHECK(!cookie_is_good(&others[i], cookie, BEGIN_NS, &mss));
        CHECK(cookie_make(&others[i], 1460, BEGIN_NS) != cookie);
    }
    for (unsigned bit = 0; bit < 32; bit++)
        CHECK(!cookie_is_good(&somebody, cookie ^ 1u << bit, BEGIN_NS, &mss));
}

/* A quarter of them is as many as there are connections. */
TEST(cookie_tables_of_two_generations_grow_with_the_connections)
{
    CHECK_EQ(cookies_memory_bytes(256), 2 * 1024 * sizeof(uint32_t));
    CHECK_EQ(cookies_memory_bytes(257), 2 * 2048 * sizeof(uint32_t));
    CHECK_EQ(cookies_memory_bytes(10000), 2 * 65536 * sizeof(uint32_t));
}

TEST(cookie_numbers_differ_from_boot_to_boot)
{
    start();
    const uint32_t before = cookie_make(&somebody, 1460, BEGIN_NS);
    start();
    const uint32_t cookie = cookie_make(&somebody, 1460, BEGIN_NS);
    CHECK(cookie != before);
    CHECK(!cookie_is_good(&somebody, before, BEGIN_NS, &mss));
}

TEST(cookie_tells_an_mss_that_the_peer_can_take)
{
    static const struct {
        uint16_t told, kept;
    } table[] = {{0, 536},     {1, 536},     {536, 536},   {1299, 536},  {1300, 1300},
                 {1439, 1300}, {1440, 1440}, {1459, 1440}, {1460, 1460}, {65535, 1460}};
    start();
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        const uint32_t cookie = cookie_make(&somebody, table[i].told, BEGIN_NS);
        mss = 0;
        CHECK(cookie_is_good(&somebody, cookie, BEGIN_NS, &mss));
        CHECK_EQ(mss, table[i].kept);
    }
}

TEST(cookie_is_good_for_8_to_16_seconds)
{
    const uint64_t ns = CLOCK_NS_PER_S;
    start();
    const uint32_t first = cookie_make(&somebody, 1460, BEGIN_NS);
    const uint32_t late = cookie_make(&somebody, 1460, BEGIN_NS + 8 * ns - 1);
    CHECK_EQ(late, first); /* a SYN that is sent again has the same answer */
    CHECK(cookie_is_good(&somebody, first, BEGIN_NS + 16 * ns - 1, &mss));
    CHECK(!cookie_is_good(&somebody, first, BEGIN_NS + 16 * ns, &mss));

    const uint32_t second = cookie_make(&somebody, 1460, BEGIN_NS + 8 * ns);
    CHECK(second != first);
    CHECK(cookie_is_good(&somebody, first, BEGIN_NS + 9 * ns, &mss));
    CHECK(cookie_is_good(&somebody, second, BEGIN_NS + 23 * ns, &mss));
    /* The third generation takes the place of the first. */
    const uint32_t third = cookie_make(&somebody, 1460, BEGIN_NS + 16 * ns);
    CHECK(!cookie_is_good(&somebody, first, BEGIN_NS + 16 * ns, &mss));
    CHECK(cookie_is_good(&somebody, second, BEGIN_NS + 16 * ns, &mss));
    CHECK(cookie_is_good(&somebody, third, BEGIN_NS + 16 * ns, &mss));
}

/* Also just after the clock began, and not one that is made with a secret never drawn. */
TEST(cookie_of_nobody_is_good_while_none_were_made)
{
    const struct siphash_key key = {0, 0};
    const uint64_t words[2] = {somebody.address | (uint64_t)somebody.our_address << 32,
                               somebody.port | (uint64_t)somebody.number << 24};
    const uint32_t hash = (uint32_t)siphash24(&key, words, 15);
    start();
    for (uint32_t low = 0; low < 8; low++)
        CHECK(!cookie_is_good(&somebody, (hash & ~7u) | low, CLOCK_NS_PER_S, &mss));
}

TEST(cookie_is_good_once)
{
    start();
    const uint32_t cookie = cookie_make(&somebody, 1460, BEGIN_NS);
    CHECK(cookie_is_good(&somebody, cookie, BEGIN_NS, &mss));
    CHECK(cookie_is_good(&somebody, cookie, BEGIN_NS, &mss)); /* looking at it uses nothing up */
    cookie_use();
    CHECK(!cookie_is_good(&somebody, cookie, BEGIN_NS, &mss));
    const struct cookie_peer other = peer_number(1);
    CHECK(cookie_is_good(&other, cookie_make(&other, 1460, BEGIN_NS), BEGIN_NS, &mss));
}

/* Never forgotten while good, however many there are; and those under way have room. */
TEST(cookie_that_was_used_is_remembered_as_long_as_it_would_be_good)
{
    enum { COUNT = 3000, UNDER_WAY = 100 };
    static uint32_t made[COUNT];
    unsigned refused = 0;
    start();
    for (uint32_t i = 0; i < COUNT; i++) {
        struct cookie_peer peer = peer_number(i);
        made[i] = cookie_make(&peer, 1460, BEGIN_NS);
        if (i < UNDER_WAY)
            continue;
        peer = peer_number(i - UNDER_WAY);
        if (!cookie_is_good(&peer, made[i - UNDER_WAY], BEGIN_NS, &mss)) {
            refused++;
            continue;
        }
        cookie_use();
        for (uint32_t j = 0; j <= i - UNDER_WAY; j++) {
            peer = peer_number(j);
            CHECK(!cookie_is_good(&peer, made[j], BEGIN_NS, &mss));
        }
    }
    CHECK_EQ(refused, 0);
}

/* All were made before the first was used: the table of the used has room for so many. */
TEST(cookie_is_refused_once_half_the_table_is_used)
{
    enum { COUNT = 600, HALF = 512 };
    static uint32_t made[COUNT];
    start();
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct cookie_peer peer = peer_number(i);
        made[i] = cookie_make(&peer, 1460, BEGIN_NS);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        const struct cookie_peer peer = peer_number(i);
        CHECK_EQ(cookie_is_good(&peer, made[i], BEGIN_NS, &mss), i < HALF);
        if (i < HALF)
            cookie_use();
    }
}

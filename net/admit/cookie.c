/*
 * The cookies that were used, of each generation: a hash table of their numbers, by bits of F that
 * nobody has seen. It is never more than half full. When it is a quarter full the next generation
 * begins, before its time if need be: cookies live the shorter the faster they are used, and there
 * is room for those that are still on their way.
 */
#include "net/admit/cookie.h"

#include <string.h>

#include "kernel/lib/siphash.h"
#include "kernel/netdev.h"

#define ISSUED_NS          (8 * CLOCK_NS_PER_S)
#define BELIEVED_NS        (16 * CLOCK_NS_PER_S)

#define HASHED_BYTES       15 /* of two words: all but the highest, which is 0 */

#define GENERATION_MASK    0x1u
#define MSS_SHIFT          1
#define MSS_MASK           0x3u
#define AUTHENTICATED_MASK 0xfffffff8u

/*
 * Alcock and Nelson, "An Analysis of TCP Maximum Segment Sizes" (2011): most are 1,460; less what
 * PPPoE and tunnels take; what is rarer may be told less than it could take.
 */
static const uint16_t mss_of[MSS_MASK + 1] = {536, 1300, 1440, 1460};

struct generation {
    struct siphash_key key;
    uint64_t began_ns;
    bool exists;
    uint32_t used_count;
    uint32_t *used; /* 0: free */
};

static struct {
    struct generation generations[2];
    unsigned current;
    uint32_t slots; /* of each `used`; a power of two */
    /* What cookie_use() is about. */
    struct generation *good_in;
    uint32_t *good_at;
    uint32_t good;
} cookies;

/* A quarter of them for each connection there may be: all of them may come at once. */
static uint32_t slots_for(uint32_t connections_max)
{
    uint32_t slots = 1024;
    while (slots < 4 * connections_max)
        slots *= 2;
    return slots;
}

size_t cookies_memory_bytes(uint32_t connections_max)
{
    return 2 * sizeof(uint32_t) * slots_for(connections_max);
}

void cookies_init(uint32_t connections_max, void *memory)
{
    memset(&cookies, 0, sizeof cookies);
    cookies.slots = slots_for(connections_max);
    cookies.generations[0].used = memory;
    cookies.generations[1].used = (uint32_t *)memory + cookies.slots;
}

static uint64_t hash(const struct generation *generation, const struct cookie_peer *peer,
                     unsigned mss_index)
{
    const uint64_t words[2] = {
        peer->address | (uint64_t)peer->our_address << 32,
        peer->port | (uint64_t)mss_index << 16 | (uint64_t)peer->number << 24,
    };
    return siphash24(&generation->key, words, HASHED_BYTES);
}

static void begin_generation(uint64_t now_ns)
{
    cookies.current ^= 1;
    struct generation *const generation = &cookies.generations[cookies.current];
    entropy_fill(&generation->key, sizeof generation->key);
    generation->began_ns = now_ns;
    generation->exists = true;
    generation->used_count = 0;
    memset(generation->used, 0, cookies.slots * sizeof *generation->used);
}

uint32_t cookie_make(const struct cookie_peer *peer, uint16_t mss, uint64_t now_ns)
{
    const struct generation *generation = &cookies.generations[cookies.current];
    if (!generation->exists || now_ns - generation->began_ns >= ISSUED_NS ||
        generation->used_count >= cookies.slots / 4) {
        begin_generation(now_ns);
        generation = &cookies.generations[cookies.current];
    }
    unsigned mss_index = MSS_MASK;
    while (mss_index > 0 && mss_of[mss_index] > mss)
        mss_index--;
    return ((uint32_t)hash(generation, peer, mss_index) & AUTHENTICATED_MASK) |
           mss_index << MSS_SHIFT | cookies.current;
}

bool cookie_is_good(const struct cookie_peer *peer, uint32_t cookie, uint64_t now_ns, uint16_t *mss)
{
    struct generation *const generation = &cookies.generations[cookie & GENERATION_MASK];
    if (!generation->exists || now_ns - generation->began_ns >= BELIEVED_NS ||
        generation->used_count >= cookies.slots / 2)
        return false;
    const unsigned mss_index = cookie >> MSS_SHIFT & MSS_MASK;
    const uint64_t expected = hash(generation, peer, mss_index);
    if ((((uint32_t)expected ^ cookie) & AUTHENTICATED_MASK) != 0)
        return false;

    /* The generation's bit is the same for all of its table: 1 there, so that none is 0. */
    const uint32_t number = cookie | GENERATION_MASK;
    uint32_t at = (uint32_t)(expected >> 32) & (cookies.slots - 1);
    for (; generation->used[at] != 0; at = (at + 1) & (cookies.slots - 1))
        if (generation->used[at] == number)
            return false;
    cookies.good_in = generation;
    cookies.good_at = &generation->used[at];
    cookies.good = number;
    *mss = mss_of[mss_index];
    return true;
}

void cookie_use(void)
{
    *cookies.good_at = cookies.good;
    cookies.good_in->used_count++;
}

/* The set of users in more memory than a guest's tests have. */
#include <sys/mman.h>

#include "app/aggregate/users.h"
#include "tests/test.h"

/* Ids are reached by 32-bit offsets, and there are USERS_MAX of them at most. */
TEST(users_make_use_of_10_gib_at_most)
{
    const size_t gib = 1 << 30, bytes = 12 * gib;
    const struct siphash_key key = {1, 2};
    void *const memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(memory != MAP_FAILED);
    struct users *const users = users_init(memory, bytes, users_max_within(bytes, 16), &key);
    CHECK(users_memory_limit(users) > 9 * gib && users_memory_limit(users) <= 10 * gib);
    CHECK_EQ(munmap(memory, bytes), 0);
}

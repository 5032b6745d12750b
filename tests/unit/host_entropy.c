/*
 * The random generator on the host: the source compiled into this file, over a processor that has,
 * lacks or breaks what it is told.
 */
#include "kernel/cpu/cpu.h"

#define cpu_rdrand               fake_rdrand
#define cpu_rdseed               fake_rdseed
#define cpu_cpuid(leaf, subleaf) fake_cpuid(leaf, subleaf) /* not the structure */
#define cpu_has_leaf             fake_has_leaf
#define cpu_tsc                  fake_tsc
#define log_line                 ventropy_log_line
#define entropy_init             ventropy_init
#define entropy_add_source       ventropy_add_source
#define entropy_is_seeded        ventropy_is_seeded
#define entropy_fill             ventropy_fill
#define entropy_u32              ventropy_u32
#define entropy_draw_early       ventropy_draw_early

/* A source: what it answers, and after how many refusals each time. */
struct source {
    bool present;
    enum { FRESH, REPEATS, ZEROS, ONES, ONES_ONCE } answers;
    unsigned refusals, refused;
    uint64_t next;
};

static struct {
    struct source rdrand, rdseed;
    uint32_t leaf_max;
    uint64_t tsc;
    unsigned warnings;
    char said[64];
} fake;

static bool answer(struct source *source, uint64_t *value)
{
    static const uint64_t stuck[] = {[REPEATS] = 0x1234, [ZEROS] = 0, [ONES] = UINT64_MAX};

    if (source->refused++ < source->refusals)
        return false;
    source->refused = 0;
    *value = ++source->next * 0x9e3779b97f4a7c15;
    if (source->answers == ONES_ONCE && source->next == 5)
        *value = UINT64_MAX;
    else if (source->answers != FRESH && source->answers != ONES_ONCE)
        *value = stuck[source->answers];
    return true;
}

static bool fake_rdrand(uint64_t *value)
{
    return answer(&fake.rdrand, value);
}

static bool fake_rdseed(uint64_t *value)
{
    return answer(&fake.rdseed, value);
}

static bool fake_has_leaf(uint32_t leaf)
{
    return fake.leaf_max >= leaf;
}

static struct cpu_cpuid fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    /* A leaf that is not there reads as another: here as one with all bits. */
    return (struct cpu_cpuid){
        .ebx = leaf > fake.leaf_max               ? UINT32_MAX
               : leaf == 7 && fake.rdseed.present ? 1u << 18
                                                  : 0,
        .ecx = leaf == 1 && fake.rdrand.present ? 1u << 30 : 0,
    };
}

static uint64_t fake_tsc(void)
{
    return fake.tsc += 100;
}

#include "kernel/plat/entropy.c"

#include <stdarg.h>
#include <stdio.h>

#include "tests/test.h"

void ventropy_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list args;

    (void)subsystem;
    fake.warnings += level == LOG_WARN;
    va_start(args, format);
    (void)vsnprintf(fake.said, sizeof fake.said, format, args);
    va_end(args);
}

/* A machine that was just switched on, and has neither. */
static void start(void)
{
    memset(&fake, 0, sizeof fake);
    memset(stream, 0, sizeof stream);
    stream_at = sizeof stream;
    seeded = warned = false;
    fake.leaf_max = 7;
}

#define DRAWN_BYTES 1000

static uint8_t drawn[DRAWN_BYTES], drawn_before[DRAWN_BYTES];

/* Whether they differ from what was drawn last. */
static bool draws_anew(void)
{
    memcpy(drawn_before, drawn, sizeof drawn);
    entropy_fill(drawn, sizeof drawn);
    return memcmp(drawn, drawn_before, sizeof drawn) != 0;
}

TEST(entropy_is_seeded_by_rdseed_before_rdrand)
{
    start();
    fake.rdseed.present = fake.rdrand.present = true;
    entropy_init();
    CHECK(entropy_is_seeded());
    CHECK(strcmp(fake.said, "seeded by RDSEED") == 0);
    CHECK_EQ(fake.rdrand.next, 0);
    (void)entropy_u32();
    CHECK_EQ(fake.warnings, 0);
    (void)draws_anew();

    /* Nothing but the seed differs. */
    start();
    fake.rdseed = (struct source){.present = true, .next = 1};
    entropy_init();
    (void)entropy_u32();
    CHECK(draws_anew());
}

TEST(entropy_falls_back_on_rdrand)
{
    start();
    fake.rdrand.present = true;
    entropy_init();
    CHECK(strcmp(fake.said, "seeded by RDRAND") == 0);
    /* Also when RDSEED has been drained for good, */
    start();
    fake.rdrand.present = true;
    fake.rdseed = (struct source){.present = true, .refusals = 64};
    entropy_init();
    CHECK(strcmp(fake.said, "seeded by RDRAND") == 0);
    /* but not when it only takes its time; */
    start();
    fake.rdrand.present = true;
    fake.rdseed = (struct source){.present = true, .refusals = 63};
    entropy_init();
    CHECK(strcmp(fake.said, "seeded by RDSEED") == 0);
    /* nor is a leaf asked that the processor does not have. */
    start();
    fake.leaf_max = 6;
    fake.rdrand.present = true;
    entropy_init();
    CHECK(strcmp(fake.said, "seeded by RDRAND") == 0);
    CHECK_EQ(fake.rdseed.next, 0);
}

TEST(entropy_does_not_believe_a_processor_that_repeats_itself)
{
    for (unsigned answers = REPEATS; answers <= ONES_ONCE; answers++) {
        start();
        fake.rdrand.present = true;
        fake.rdrand.answers = answers;
        entropy_init();
        CHECK(!entropy_is_seeded());
        CHECK(strcmp(fake.said, "no RDSEED, no RDRAND") == 0);
    }
}

TEST(entropy_without_a_source_warns_once_and_uses_time)
{
    start();
    entropy_init();
    CHECK(!entropy_is_seeded());
    entropy_draw_early(drawn, sizeof drawn);
    CHECK_EQ(fake.warnings, 0);
    CHECK(draws_anew() && draws_anew());
    CHECK_EQ(fake.warnings, 1);

    start();
    entropy_init();
    entropy_draw_early(drawn, sizeof drawn);
    start();
    fake.tsc = 1;
    entropy_init();
    CHECK(draws_anew());
}

TEST(entropy_draws_even_before_it_is_initialised)
{
    static const uint8_t zeros[sizeof drawn];

    start();
    entropy_draw_early(drawn, sizeof drawn);
    CHECK(memcmp(drawn, zeros, sizeof drawn) != 0);
}

TEST(entropy_is_the_same_stream_however_it_is_drawn)
{
    start();
    fake.rdrand.present = true;
    entropy_init();
    (void)draws_anew();
    start();
    fake.rdrand.present = true;
    entropy_init();
    for (size_t at = 0, len = 1; at < sizeof drawn; at += len, len = len * 2 % 401 + 1) {
        uint8_t part[500];
        len = len < sizeof drawn - at ? len : sizeof drawn - at;
        entropy_fill(part, len);
        CHECK(memcmp(part, drawn + at, len) == 0);
    }
}

/* Fast key erasure: what was handed out is nowhere any more. */
TEST(entropy_keeps_no_byte_that_it_has_given)
{
    start();
    fake.rdrand.present = true;
    entropy_init();
    for (size_t len = 1; len < 300; len += 7) {
        entropy_fill(drawn, len);
        for (size_t at = KEY_BYTES; at < stream_at; at++)
            CHECK_EQ(stream[at], 0);
    }
}

/* ---- other sources ---- */

static uint8_t given;
static bool gives_same, gives_nothing;

static bool fill(void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)bytes)[i] = gives_same ? given : (uint8_t)(given + i);
    return !gives_nothing;
}

TEST(entropy_takes_another_source)
{
    start();
    entropy_init();
    entropy_draw_early(drawn, sizeof drawn);
    start();
    entropy_init();
    gives_same = gives_nothing = false;
    given = 1;
    CHECK(entropy_add_source("dice", fill));
    CHECK(strcmp(fake.said, "seeded by dice") == 0);
    CHECK(entropy_is_seeded());
    CHECK(draws_anew());
    CHECK_EQ(fake.warnings, 0);
}

TEST(entropy_is_no_worse_for_a_source_that_is_stuck_or_gives_nothing)
{
    for (unsigned i = 0; i < 3; i++) {
        gives_same = true;
        gives_nothing = i == 2;
        given = i == 0 ? 0 : 0xff;
        start();
        entropy_init();
        CHECK(!entropy_add_source("broken", fill));
        CHECK(!entropy_is_seeded());
        fake.rdrand.present = true;
        entropy_init();
        CHECK(!entropy_add_source("broken", fill));
        CHECK(entropy_is_seeded());
        CHECK(draws_anew());
    }
}

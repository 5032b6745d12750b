/*
 * A generator with fast key erasure (Bernstein 2017): from the key comes a stream of some blocks;
 * its first 32 bytes are the next key, the rest is handed out, each byte once, and wiped.
 *
 * Mixing: the input is added to the key, 32 bytes at a time, by exclusive or, and a new key is made
 * from each sum. An input that knows nothing of the key can make the result no easier to guess.
 */
#include "kernel/plat/entropy.h"

#include <string.h>

#include "kernel/cpu/cpu.h"
#include "kernel/plat/chacha.h"
#include "kernel/plat/log.h"

enum {
    KEY_BYTES = 32,
    BLOCK_BYTES = 64,
    BLOCKS = 4,
    SEED_WORDS = 8, /* twice the key's length, of each source */
    RETRIES_MAX = 64,
    JITTER_SAMPLES = 256,
};

static uint8_t stream[BLOCKS * BLOCK_BYTES]; /* the key, then bytes not yet handed out */
static size_t stream_at = sizeof stream;     /* the next of them */
static bool seeded, warned;

/* Makes the next key and a new supply. */
static void refill(void)
{
    struct chacha_state state;

    chacha_init(&state, stream);
    for (size_t i = 0; i < BLOCKS; i++)
        chacha_block(&state, stream + i * BLOCK_BYTES);
    stream_at = KEY_BYTES;
    memset(&state, 0, sizeof state);
}

static void mix(const void *bytes, size_t len)
{
    const uint8_t *in = bytes;

    while (len > 0) {
        const size_t part = len < KEY_BYTES ? len : KEY_BYTES;

        for (size_t i = 0; i < part; i++)
            stream[i] ^= in[i];
        refill();
        in += part;
        len -= part;
    }
}

static bool read_word(bool (*read)(uint64_t *value), uint64_t *value)
{
    for (unsigned i = 0; i < RETRIES_MAX; i++) {
        if (read(value))
            return true;
        cpu_pause();
    }
    return false;
}

/*
 * SEED_WORDS from the processor. Some have been seen to answer all ones, or the same for ever,
 * after a resume: a source that repeats itself within 64 bytes is broken.
 */
static bool read_seed(bool (*read)(uint64_t *value), uint64_t seed[SEED_WORDS])
{
    for (unsigned i = 0; i < SEED_WORDS; i++) {
        if (!read_word(read, &seed[i]) || seed[i] == 0 || seed[i] == UINT64_MAX)
            return false;
        for (unsigned j = 0; j < i; j++) {
            if (seed[j] == seed[i])
                return false;
        }
    }
    return true;
}

static const char *mix_processor(void)
{
    const uint32_t rdrand_bit = 1u << 30, rdseed_bit = 1u << 18;
    const bool has_rdseed = cpu_has_leaf(7) && (cpu_cpuid(7, 0).ebx & rdseed_bit) != 0;
    const bool has_rdrand = (cpu_cpuid(1, 0).ecx & rdrand_bit) != 0;
    uint64_t seed[SEED_WORDS] = {0};
    const char *name = NULL;

    if (has_rdseed && read_seed(cpu_rdseed, seed))
        name = "RDSEED";
    else if (has_rdrand && read_seed(cpu_rdrand, seed))
        name = "RDRAND";
    mix(seed, sizeof seed);
    memset(seed, 0, sizeof seed);
    return name;
}

/* The low bits of how long a serialising instruction takes: an exit to the hypervisor, mostly. */
static void mix_jitter(void)
{
    uint64_t samples[JITTER_SAMPLES / 8];

    for (unsigned i = 0; i < JITTER_SAMPLES / 8; i++) {
        samples[i] = 0;
        for (unsigned j = 0; j < 8; j++) {
            (void)cpu_cpuid(0, 0);
            samples[i] = (samples[i] << 8 | samples[i] >> 56) ^ cpu_tsc();
        }
    }
    mix(samples, sizeof samples);
}

void entropy_init(void)
{
    const char *const name = mix_processor();

    seeded = name != NULL;
    if (seeded) {
        const uint64_t now = cpu_tsc();

        mix(&now, sizeof now);
        log_info("entropy", "seeded by %s", name);
    } else {
        mix_jitter();
        log_info("entropy", "no RDSEED, no RDRAND");
    }
}

bool entropy_add_source(const char *name, bool (*fill)(void *bytes, size_t len))
{
    uint8_t bytes[KEY_BYTES] = {0};
    uint8_t ones = 0, zeros = 0;

    if (!fill(bytes, sizeof bytes))
        return false;
    mix(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        ones |= bytes[i];
        zeros |= (uint8_t)~bytes[i];
    }
    memset(bytes, 0, sizeof bytes);
    if (ones == 0 || zeros == 0) /* stuck */
        return false;
    log_info("entropy", "seeded by %s", name);
    seeded = true;
    return true;
}

bool entropy_is_seeded(void)
{
    return seeded;
}

void entropy_draw_early(void *bytes, size_t len)
{
    uint8_t *out = bytes;

    while (len > 0) {
        if (stream_at == sizeof stream)
            refill();

        const size_t left = sizeof stream - stream_at;
        const size_t part = len < left ? len : left;

        memcpy(out, stream + stream_at, part);
        memset(stream + stream_at, 0, part);
        stream_at += part;
        out += part;
        len -= part;
    }
}

void entropy_fill(void *bytes, size_t len)
{
    if (!seeded && !warned) {
        warned = true;
        log_warn("entropy",
                 "secrets come from timing only: a processor with RDRAND, or virtio-rng, "
                 "would make them safe");
    }
    entropy_draw_early(bytes, len);
}

uint32_t entropy_u32(void)
{
    uint32_t value;

    entropy_fill(&value, sizeof value);
    return value;
}

/*
 * Random bytes for secrets: the hash key of the user set, TCP initial sequence numbers, ports,
 * the stack canary. Sources: RDSEED or RDRAND; virtio-rng where there is one; with neither, the
 * TSC's jitter and a clear warning in the log, at the first secret drawn. They are mixed into the
 * key of a ChaCha20 generator that erases its key as it goes: who reads the memory learns nothing
 * of what was drawn before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Gathers the seed. Called once at boot, before any other function here but getentropy(). */
void entropy_init(void);

/*
 * Mixes in what `fill` gives, called once, now: a driver's random bytes. `name` for the log. False
 * if the source gave none. Sources cannot lower what there is, whatever they give.
 */
bool entropy_add_source(const char *name, bool (*fill)(void *bytes, size_t len));

/* True once a source other than jitter has been heard. */
bool entropy_is_seeded(void);

/* Fills `bytes` with unpredictable bytes. Cannot fail once entropy_init() has returned. */
void entropy_fill(void *bytes, size_t len);

uint32_t entropy_u32(void);

/*
 * As entropy_fill(), but silent about a poor seed: for what is drawn before drivers can be heard.
 */
void entropy_draw_early(void *bytes, size_t len);

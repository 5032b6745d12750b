/* Random bytes from the host (virtio 1.2, 5.4), for entropy.c where the processor has none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Fills `bytes` from the first virtio-rng device. False when there is none or it does not deliver
 * in time. Starts and stops the device each time: for boot, not for a hot path. Needs
 * clock_init() and memory_init() to have been called.
 */
__attribute__((warn_unused_result)) bool virtio_rng_fill(void *bytes, size_t len);

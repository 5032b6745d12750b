/*
 * What lwIP asks of the compiler and the machine (lwip/arch.h). The rest of its needs are met by
 * libc: this is hosted C.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "net/core/pool.h"

/*
 * x86 swaps two bytes by a rotation, which keeps flags; an emulator has to work those out first
 * (kernel/lib/siphash.c). So all four, and the upper two of them.
 */
static inline uint16_t cc_htons(uint16_t x)
{
    return (uint16_t)(__builtin_bswap32(x) >> 16);
}
#define lwip_htons(x) cc_htons(x)

/* Diagnostics are compiled out; what they would say a metric counts. */
#define LWIP_PLATFORM_DIAG(message)

/* lwIP's assertions stay on, and end where ours do. */
#define LWIP_PLATFORM_ASSERT(message) assert(!(message))

/* link.c: 32 bits from the entropy room. */
uint32_t link_random(void);
#define LWIP_RAND() link_random()

/*
 * What lwIP asks of the compiler and the machine (lwip/arch.h). The rest of its needs are met by
 * libc: this is hosted C.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "net/pool.h"

/* Diagnostics are compiled out; what they would say a metric counts. */
#define LWIP_PLATFORM_DIAG(message)

/* lwIP's assertions stay on, and end where ours do. */
#define LWIP_PLATFORM_ASSERT(message) assert(!(message))

/* link.c: 32 bits from the entropy room. */
uint32_t link_random(void);
#define LWIP_RAND() link_random()

/*
 * Which of the memory that the VMM names may be used: sorting out a map that is not to be trusted.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boot/boot_info.h"

struct ram_range {
    uint64_t start, end; /* multiples of RAM_PAGE_BYTES, start < end */
};

#define RAM_PAGE_BYTES  4096ULL
#define RAM_ADDRESS_END (1ULL << 46) /* nothing above is used; the identity map could do 2^47 */
#define RAM_RANGES_MAX  32

/*
 * The whole pages that the map calls RAM and that no other entry, nor `image`, nor the first MiB
 * (the BIOS's, the VMM's tables') lays a claim to. Disjoint, in no order. When there are more than
 * RAM_RANGES_MAX pieces, the smallest are left out. Returns how many.
 */
size_t ram_find(const struct boot_info *info, struct ram_range image,
                struct ram_range ranges[RAM_RANGES_MAX]);

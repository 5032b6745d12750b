/*
 * The guest's memory, shared by the front end (QEMU) as file descriptors, mapped here.
 *
 * It has two kinds of address (vhost-user, "Memory regions description"): those that the guest
 * writes into descriptors, and those of the front end's own process, by which SET_VRING_ADDR names
 * the rings. Neither is believed: a range that does not lie in one region is NULL. Its contents
 * may change at any time; whoever looks twice must copy first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_REGIONS_MAX 8 /* what QEMU sends without CONFIGURE_MEM_SLOTS */

struct guest_region { /* as in VHOST_USER_SET_MEM_TABLE */
    uint64_t guest_address;
    uint64_t bytes;
    uint64_t user_address;
    uint64_t file_offset;
};

/*
 * Replaces the map. `files` are taken over (closed) whatever happens. False: nothing is mapped, and
 * *why says what is wrong.
 */
__attribute__((warn_unused_result)) bool guest_memory_map(const struct guest_region *regions,
                                                          const int *files, uint32_t count,
                                                          const char **why);

void guest_memory_unmap(void);

void *guest_memory_at(uint64_t guest_address, uint64_t len);

void *guest_memory_at_user(uint64_t user_address, uint64_t len);

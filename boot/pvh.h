/*
 * PVH, the boot protocol of Xen's HVM guests, as QEMU, Firecracker and Cloud Hypervisor speak it
 * (xen/include/public/arch-x86/hvm/start_info.h). All addresses are physical.
 */
#pragma once

#include <stdint.h>

#include "boot/boot_info.h"

#define HVM_START_MAGIC 0x336ec578u

struct hvm_start_info {
    uint32_t magic;
    uint32_t version; /* 1 has the memory map */
    uint32_t flags;
    uint32_t nr_modules;
    uint64_t modlist_paddr;
    uint64_t cmdline_paddr; /* 0: none */
    uint64_t rsdp_paddr;    /* 0: none */
    uint64_t memmap_paddr;
    uint32_t memmap_entries;
    uint32_t reserved;
};

struct hvm_memmap_table_entry {
    uint64_t addr;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};

_Static_assert(sizeof(struct hvm_start_info) == 56, "layout of PVH version 1");
_Static_assert(sizeof(struct hvm_memmap_table_entry) == 24, "layout of PVH version 1");

#define PVH_MAPPED_END (1ULL << 32) /* of the map that start.S makes */

/*
 * Copies what `start` says into *info; info->problem tells whether it can be used. What lies at or
 * above `mapped_end` is not read: there is nobody yet to handle a page fault.
 */
void pvh_translate(const struct hvm_start_info *start, uint64_t mapped_end, struct boot_info *info);

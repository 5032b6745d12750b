/*
 * Memory: taken once, at boot, and never given back. After boot nothing allocates.
 *
 * memory_init() reads the memory map from boot_info and has ring 0 build the page tables: an
 * identity map, text R-X, rodata R--, data, bss and the rest of RAM RW-, NX wherever not text, the
 * first MiB and the page under the stack unmapped, CR0.WP set. Physical and virtual addresses are
 * the same, so a pointer may be handed to a device as it is.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct boot_info;

void memory_init(const struct boot_info *info);

/*
 * `bytes` zeroed bytes aligned to `align` (a power of two), for as long as the machine runs.
 * When RAM does not suffice, the machine stops with a message that names `what`, how much it
 * wanted and how much there was: out of memory at boot is never a reset.
 */
void *memory_take(size_t bytes, size_t align, const char *what)
    __attribute__((returns_nonnull, malloc, warn_unused_result));

/*
 * The same, but with whatever the memory holds: zeroing costs some 0.7 ms a MiB (TCG) when the host
 * has not touched its pages yet. For large pieces whose user writes before it reads.
 */
void *memory_take_dirty(size_t bytes, size_t align, const char *what)
    __attribute__((returns_nonnull, malloc, warn_unused_result));

/* Bytes that memory_take() can still give in one piece at page alignment. */
size_t memory_free_bytes(void);

/* The same in all pieces together. */
size_t memory_left_bytes(void);

/* All the RAM there was to give when the machine started; the image's own is not in it. */
size_t memory_ram_bytes(void);

/*
 * Maps `bytes` of device memory at physical `address`, RW-, uncached. Same address. May be called
 * again for pages already mapped so. A device that lies in RAM, or beyond 2^46, or beyond what the
 * processor can address, is a panic; so is the end of the pool of page tables, which suffices for
 * five regions far apart.
 */
void *memory_map_device(uint64_t address, size_t bytes) __attribute__((returns_nonnull));

/*
 * Where the machine is emulated, makes the emulator forget the translations of addresses that it
 * has cached; costs it some hundreds of page walks. The tables never ask for that, but QEMU does:
 * it keeps translations by pages of 4 KiB, whatever the guest's are, in a table that it enlarges
 * only when it is told to forget and finds most of it in use (accel/tcg/cputlb.c). In one that
 * never was, nearly every access to a user or a connection misses, at a cost of some hundred
 * instructions.
 */
void memory_flush_emulated_tlb(void);

/*
 * Page tables. Physical and virtual addresses are the same.
 *
 *     0          - 1 MiB      not mapped: NULL plus any offset that a bug adds to it faults
 *     1 MiB      - image end  by the sections of boot/image.ld, pages of 4 KiB, guards not mapped
 *     page tables             ring 0 only; read-only when the boot is over
 *     the rest of RAM         RW-, ring 3; pages of 2 MiB where they fit, of 4 KiB at odd edges
 *     devices                 RW-, ring 3, uncached; the local APIC, if it is used: ring 0's
 *
 * Nothing is both writable and executable. Only ring 3's text is executable in ring 3; ring 0's
 * sections have no user bit. Until paging_use_tables() all of the first 4 GiB but the image is
 * mapped RW-, for what the VMM has left there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum paging_kind { PAGING_RAM, PAGING_DEVICE };

/* Maps the image by its sections. On start.S's tables. */
void paging_init(void);

/* The three calls of ring 3: see ring0.h. False: refused. */
__attribute__((warn_unused_result)) bool paging_use_tables(uint64_t start, uint64_t end);
__attribute__((warn_unused_result)) bool paging_map(uint64_t start, uint64_t end,
                                                    enum paging_kind kind);
void paging_seal(void);

/* Maps a page of device registers for ring 0 alone. False: ring 3 has it, or no table is left. */
__attribute__((warn_unused_result)) bool paging_map_own_device(uint64_t address);

/* Forgets every cached translation. */
void paging_flush(void);

/*
 * Page tables on the host, over memory below 4 GiB. What the processor is given is tables in
 * memory: they are walked as it would. The image is addresses; nobody looks into it.
 *
 * The source is compiled into the file that includes this one, every name that the linker sees
 * prefixed by VPAGING(): so its statics can be looked at, and several files can do so. ROOM_START
 * is where that file puts tables: from an odd page on, 8 MiB that no other file names.
 */
#pragma once

#include "kernel/ring0/privileged.h"

#define read_cr0              fake_read_cr0
#define write_cr0             fake_write_cr0
#define write_cr3             fake_write_cr3
#define paging_init           VPAGING(paging_init)
#define paging_use_tables     VPAGING(paging_use_tables)
#define paging_map            VPAGING(paging_map)
#define paging_seal           VPAGING(paging_seal)
#define paging_map_own_device VPAGING(paging_map_own_device)
#define paging_flush          VPAGING(paging_flush)

/* The symbols of start.S and the linker: arrays that lie where pointers of ours say. */
#define boot_pdpt            (*VPAGING(boot_pdpt))
#define boot_pd              (*VPAGING(boot_pd))
#define __boot_tables_start  (*VPAGING(boot_tables_start))
#define __boot_tables_end    (*VPAGING(boot_tables_end))
#define __image_start        (*VPAGING(image_start))
#define __image_end          (*VPAGING(image_end))
#define __ring0_text_start   (*VPAGING(ring0_text_start))
#define __ring0_text_end     (*VPAGING(ring0_text_end))
#define __ring0_const_start  (*VPAGING(ring0_const_start))
#define __ring0_const_end    (*VPAGING(ring0_const_end))
#define __ring0_data_start   (*VPAGING(ring0_data_start))
#define __ring0_data_end     (*VPAGING(ring0_data_end))
#define __ring0_stacks_start (*VPAGING(ring0_stacks_start))
#define __ring0_stacks_end   (*VPAGING(ring0_stacks_end))
#define __text_start         (*VPAGING(text_start))
#define __text_end           (*VPAGING(text_end))
#define __rodata_start       (*VPAGING(rodata_start))
#define __rodata_end         (*VPAGING(rodata_end))
#define __data_start         (*VPAGING(data_start))
#define __data_end           (*VPAGING(data_end))
#define __stack_bottom       (*VPAGING(stack_bottom))
#define __stack_top          (*VPAGING(stack_top))
#define __trap_stack_bottom  (*VPAGING(trap_stack_bottom))
#define __trap_stack_top     (*VPAGING(trap_stack_top))

static uint64_t fake_read_cr0(void);
static void fake_write_cr0(uint64_t value);
static void fake_write_cr3(uint64_t value);

#include "kernel/ring0/paging.c"

#include <string.h>
#include <sys/mman.h>

#include "tests/test.h"

#define MIB         (1ULL << 20)
#define GIB         (1ULL << 30)

#define IMAGE_START MIB
#define ROOM_BYTES  (8 * MIB)

/* What a page may be used for. */
enum {
    P = 1, /* present */
    W = 2,
    U = 4, /* in ring 3 */
    X = 8,
    UNCACHED = 16,
    ODD = 32, /* no entry may say that */
};

/* As boot/image.ld has them, and how many pages the boot has for its tables. */
#define BOOT_TABLES (3 + 16 * MIB / LARGE_BYTES)
#define TABLES_MAX  16 /* in a test */

static _Alignas(4096) uint64_t pdpt[ENTRIES], pd[4 * ENTRIES];
static _Alignas(4096) uint8_t boot_tables[TABLES_MAX * PAGE_BYTES];

const uint64_t (*VPAGING(boot_pdpt))[ENTRIES] = (const uint64_t (*)[ENTRIES])pdpt;
const uint64_t (*VPAGING(boot_pd))[4 * ENTRIES] = (const uint64_t (*)[4 * ENTRIES]) pd;
uint8_t (*VPAGING(boot_tables_start))[] = (uint8_t(*)[])boot_tables;
uint8_t (*VPAGING(boot_tables_end))[];

typedef const uint8_t (*symbol)[];

symbol VPAGING(image_start), VPAGING(image_end);
symbol VPAGING(ring0_text_start), VPAGING(ring0_text_end);
symbol VPAGING(ring0_const_start), VPAGING(ring0_const_end);
symbol VPAGING(ring0_data_start), VPAGING(ring0_data_end);
symbol VPAGING(ring0_stacks_start), VPAGING(ring0_stacks_end);
symbol VPAGING(text_start), VPAGING(text_end);
symbol VPAGING(rodata_start), VPAGING(rodata_end);
symbol VPAGING(data_start), VPAGING(data_end);
symbol VPAGING(stack_bottom), VPAGING(stack_top);
symbol VPAGING(trap_stack_bottom), VPAGING(trap_stack_top);

static const struct section {
    symbol *start, *end;
    unsigned guard_pages, pages;
    unsigned rights;
} sections[] = {
    {&VPAGING(ring0_text_start), &VPAGING(ring0_text_end), 0, 2, P | X},
    {&VPAGING(ring0_const_start), &VPAGING(ring0_const_end), 0, 1, P},
    {&VPAGING(ring0_data_start), &VPAGING(ring0_data_end), 0, 2, P | W},
    {&VPAGING(ring0_stacks_start), &VPAGING(ring0_stacks_end), 0, 6, P | W},
    {&VPAGING(text_start), &VPAGING(text_end), 0, 2, P | U | X},
    {&VPAGING(rodata_start), &VPAGING(rodata_end), 0, 1, P | U},
    {&VPAGING(data_start), &VPAGING(data_end), 0, 3, P | U | W},
    {&VPAGING(stack_bottom), &VPAGING(stack_top), 1, 2, P | U | W},
    {&VPAGING(trap_stack_bottom), &VPAGING(trap_stack_top), 1, 2, P | U | W},
};

#define SECTIONS (sizeof sections / sizeof sections[0])
#define STACKS   3 /* index of ring 0's */

static struct {
    uint64_t cr0, cr3;
    unsigned loads; /* of CR3 */
    unsigned cr0_writes;
    uint64_t looked_at; /* an address whose rights are noted when CR0 is written to */
    unsigned rights_noted[2];
    bool write_protected[2];
} fake;

static unsigned rights_of(uint64_t address);

static uint64_t fake_read_cr0(void)
{
    return fake.cr0;
}

static void fake_write_cr0(uint64_t value)
{
    const unsigned i = fake.cr0_writes++ % 2;

    fake.cr0 = value;
    fake.write_protected[i] = (value & 1 << 16) != 0;
    fake.rights_noted[i] = rights_of(fake.looked_at);
}

static void fake_write_cr3(uint64_t value)
{
    fake.cr3 = value;
    fake.loads++;
}

/* SDM vol. 3, 4.5.4 and 4.6: what the entries on the way to the address allow, all together. */
static unsigned rights_of(uint64_t address)
{
    const uint64_t *table = (const uint64_t *)(uintptr_t)fake.cr3;
    unsigned rights = P | W | U | X;

    for (unsigned level = 4;; level--) {
        const uint64_t entry = table[address >> (12 + 9 * (level - 1)) & 511];
        const uint64_t target = entry & 0x000ffffffffff000;
        const bool is_large = (entry & 1 << 7) != 0;
        const uint64_t bytes = level == 2 ? LARGE_BYTES : PAGE_BYTES;

        if (entry == 0)
            return 0;
        /* Present; accessed, or the processor would have to write that. */
        if ((entry & 1) == 0 || (entry & 1 << 5) == 0)
            return ODD;
        rights &= ((entry & 1 << 1) != 0 ? ~0u : ~(unsigned)W) &
                  ((entry & 1 << 2) != 0 ? ~0u : ~(unsigned)U) &
                  (entry >> 63 == 0 ? ~0u : ~(unsigned)X);
        if (level > 1 && !is_large) {
            table = (const uint64_t *)(uintptr_t)target;
            continue;
        }
        /* One to one; dirty; the PAT bit at its reset value; PCD and PWT, or neither. */
        if (level > 2 || target != (address & ~(bytes - 1)) || (entry & 1 << 6) == 0 ||
            (level == 1 && is_large) || ((entry >> 3 ^ entry >> 4) & 1) != 0)
            return ODD;
        return (entry & 1 << 3) != 0 ? rights | UNCACHED : rights;
    }
}

static inline bool all_are(uint64_t address, uint64_t end, unsigned rights)
{
    for (; address < end; address += PAGE_BYTES) {
        if (rights_of(address) != rights) {
            test_print("%#lx: %#x", (unsigned long)address, rights_of(address));
            return false;
        }
    }
    return true;
}

/* What the image is to have there: of what lies outside of it, `outside`. */
static inline unsigned image_rights(uint64_t address, unsigned outside)
{
    for (size_t i = 0; i < SECTIONS; i++) {
        const uint64_t start = address_of(*sections[i].start);
        const bool is_guard = i == STACKS && (address - start) / PAGE_BYTES % 2 == 0;

        if (address >= start && address < address_of(*sections[i].end))
            return is_guard ? 0 : sections[i].rights;
    }
    return address >= address_of(__image_start) && address < address_of(__image_end) ? 0 : outside;
}

static inline bool image_is_mapped(uint64_t address, uint64_t end, unsigned outside)
{
    for (; address < end; address += PAGE_BYTES) {
        if (!all_are(address, address + PAGE_BYTES, image_rights(address, outside)))
            return false;
    }
    return true;
}

static inline symbol symbol_at(uint64_t address)
{
    return (symbol)(uintptr_t)address;
}

/* Lays the image out from an address on: its sections close together, or so far apart. */
static inline void lay_out(uint64_t start, uint64_t stride)
{
    uint64_t at = start;

    for (size_t i = 0; i < SECTIONS; i++) {
        if (stride != 0)
            at = start + (i + 1) * stride;
        at += sections[i].guard_pages * PAGE_BYTES;
        *sections[i].start = symbol_at(at);
        at += sections[i].pages * PAGE_BYTES;
        *sections[i].end = symbol_at(at);
    }
    VPAGING(image_start) = symbol_at(start);
    VPAGING(image_end) = symbol_at(at);
}

static inline void set_boot_tables(uint64_t pages)
{
    VPAGING(boot_tables_end) = (uint8_t(*)[])(boot_tables + pages * PAGE_BYTES);
}

/* As start.S leaves it; with the tables of paging_init() still to be made. */
static inline bool set_up(void)
{
    static void *room;

    if (room == NULL)
        room = mmap((void *)(uintptr_t)ROOM_START, ROOM_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (room != (void *)(uintptr_t)ROOM_START)
        return false;
    memset(room, 0xa5, ROOM_BYTES);
    memset(boot_tables, 0xa5, sizeof boot_tables);
    memset(&fake, 0, sizeof fake);
    fake.cr0 = 0x80010023;
    for (uint64_t i = 0; i < 4; i++)
        pdpt[i] = address_of(pd + i * ENTRIES) | 0x27;
    for (uint64_t i = 0; i < 4 * (uint64_t)ENTRIES; i++)
        pd[i] = i * LARGE_BYTES | (i < 8 ? 0xe3 : 1ULL << 63 | 0xe7);
    root = NULL;
    unused = pool = (struct range){0, 0};
    set_boot_tables(BOOT_TABLES);
    lay_out(IMAGE_START, 0);
    return true;
}

/* The machine during the boot, with page tables in so many pages of the room. */
static inline bool boots_at(uint64_t image_start, uint64_t pages)
{
    if (!set_up())
        return false;
    lay_out(image_start, 0);
    paging_init();
    return paging_use_tables(ROOM_START, ROOM_START + pages * PAGE_BYTES);
}

static inline bool boots(uint64_t pages)
{
    return boots_at(IMAGE_START, pages);
}

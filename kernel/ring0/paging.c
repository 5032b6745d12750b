#include "kernel/ring0/paging.h"

#include <stddef.h>

#include "kernel/ring0/privileged.h"

/* Entries of page tables (SDM vol. 3, 4.5). */
#define PAGE_PRESENT  (1ULL << 0)
#define PAGE_WRITE    (1ULL << 1)
#define PAGE_USER     (1ULL << 2)
#define PAGE_UNCACHED (1ULL << 3 | 1ULL << 4) /* PWT and PCD: UC with the PAT as at reset */
#define PAGE_ACCESSED (1ULL << 5)
#define PAGE_DIRTY    (1ULL << 6)
#define PAGE_LARGE    (1ULL << 7)
#define PAGE_NX       (1ULL << 63)
#define PAGE_ADDRESS  0x000ffffffffff000ULL

/* Accessed and dirty from the start, so that the processor never writes to a table. */
#define FLAGS_COMMON       (PAGE_PRESENT | PAGE_ACCESSED | PAGE_DIRTY)
#define FLAGS_RING0_TEXT   (FLAGS_COMMON)
#define FLAGS_RING0_CONST  (FLAGS_COMMON | PAGE_NX)
#define FLAGS_RING0_DATA   (FLAGS_COMMON | PAGE_NX | PAGE_WRITE)
#define FLAGS_TEXT         (FLAGS_COMMON | PAGE_USER)
#define FLAGS_RODATA       (FLAGS_COMMON | PAGE_USER | PAGE_NX)
#define FLAGS_DATA         (FLAGS_COMMON | PAGE_USER | PAGE_NX | PAGE_WRITE)
#define FLAGS_DEVICE       (FLAGS_DATA | PAGE_UNCACHED)
#define FLAGS_RING0_DEVICE (FLAGS_RING0_DATA | PAGE_UNCACHED)
/* Of an entry that points to a table; what it leads to has rights of its own. */
#define FLAGS_TABLE    (PAGE_PRESENT | PAGE_WRITE | PAGE_USER | PAGE_ACCESSED)

#define PAGE_BYTES     4096ULL
#define LARGE_BYTES    (2ULL << 20)
#define GIANT_BYTES    (1ULL << 30) /* what a table of level 2 maps */
#define WINDOW_END     (1ULL << 32) /* of what start.S has mapped */
#define ADDRESS_END    (1ULL << 46)
#define FIRST_MIB      (1ULL << 20)
#define BOOT_IMAGE_END (16ULL << 20) /* BOOT_IMAGE_BYTES_MAX of boot/image.ld */
#define ENTRIES        512

/* The tables that start.S runs on, and pages for those that take their place. */
extern const uint64_t boot_pdpt[ENTRIES], boot_pd[4 * ENTRIES];
extern uint8_t __boot_tables_start[], __boot_tables_end[];

extern const uint8_t __image_start[], __image_end[];
extern const uint8_t __ring0_text_start[], __ring0_text_end[];
extern const uint8_t __ring0_const_start[], __ring0_const_end[];
extern const uint8_t __ring0_data_start[], __ring0_data_end[];
extern const uint8_t __ring0_stacks_start[], __ring0_stacks_end[];
extern const uint8_t __text_start[], __text_end[];
extern const uint8_t __rodata_start[], __rodata_end[];
extern const uint8_t __data_start[], __data_end[];
extern const uint8_t __stack_bottom[], __stack_top[];
extern const uint8_t __trap_stack_bottom[], __trap_stack_top[];

struct range {
    uint64_t start, end;
};

static uint64_t *root;      /* level 4 */
static struct range unused; /* pages for tables to come */
static struct range pool;   /* what paging_use_tables() was given; empty until then */

static uint64_t address_of(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static bool overlap(struct range a, struct range b)
{
    return a.start < b.end && b.start < a.end;
}

/* ---- tables ---- */

/* NULL when there is none left. */
static uint64_t *table_new(void)
{
    uint64_t *const table = (uint64_t *)(uintptr_t)unused.start;

    if (unused.start == unused.end)
        return NULL;
    unused.start += PAGE_BYTES;
    clear_words(table, ENTRIES);
    return table;
}

/* The table that `entry` points to, made if there is none. NULL: a large page, or none left. */
static uint64_t *table_below(uint64_t *entry)
{
    if (*entry == 0) {
        uint64_t *const table = table_new();

        if (table == NULL)
            return NULL;
        *entry = address_of(table) | FLAGS_TABLE;
    }
    if ((*entry & PAGE_LARGE) != 0)
        return NULL;
    return (uint64_t *)(uintptr_t)(*entry & PAGE_ADDRESS);
}

static uint64_t table_index(uint64_t address, unsigned level)
{
    return address >> (12 + 9 * (level - 1)) & (ENTRIES - 1);
}

/* The entry for the 2 MiB around the address. NULL: no table left. */
static uint64_t *large_entry(uint64_t address)
{
    uint64_t *const level3 = table_below(&root[table_index(address, 4)]);

    if (level3 == NULL)
        return NULL;

    uint64_t *const level2 = table_below(&level3[table_index(address, 3)]);

    return level2 == NULL ? NULL : &level2[table_index(address, 2)];
}

/* Maps whole pages. Mapping again what is mapped with the same flags changes nothing. */
static bool map(uint64_t address, uint64_t end, uint64_t flags)
{
    while (address < end) {
        uint64_t *entry = large_entry(address);
        uint64_t value = (address & ~(LARGE_BYTES - 1)) | flags | PAGE_LARGE;
        uint64_t step = LARGE_BYTES - address % LARGE_BYTES;

        if (entry == NULL)
            return false;
        if (*entry != value &&
            (address % LARGE_BYTES != 0 || end - address < LARGE_BYTES || *entry != 0)) {
            uint64_t *const level1 = table_below(entry);

            if (level1 == NULL)
                return false;
            entry = &level1[table_index(address, 1)];
            value = address | flags;
            step = PAGE_BYTES;
        }
        if (*entry != 0 && *entry != value)
            return false;
        *entry = value;
        address += step;
    }
    return true;
}

/* Takes the right to write from pages that are mapped. */
static void make_read_only(struct range range)
{
    uint64_t address = range.start;

    while (address < range.end) {
        uint64_t *entry = large_entry(address);
        uint64_t step = LARGE_BYTES;

        if ((*entry & PAGE_LARGE) == 0) {
            entry = &table_below(entry)[table_index(address, 1)];
            step = PAGE_BYTES;
        }
        *entry &= ~PAGE_WRITE;
        address += step;
    }
}

/* ---- the image ---- */

static bool map_section(const uint8_t *start, const uint8_t *end, uint64_t flags)
{
    return map(address_of(start), address_of(end), flags);
}

/* Each stack of ring 0 is a page above a guard page. */
static bool map_ring0_stacks(void)
{
    for (const uint8_t *guard = __ring0_stacks_start; guard < __ring0_stacks_end;
         guard += 2 * PAGE_BYTES) {
        if (!map_section(guard + PAGE_BYTES, guard + 2 * PAGE_BYTES, FLAGS_RING0_DATA))
            return false;
    }
    return true;
}

static bool map_image(void)
{
    return map_section(__ring0_text_start, __ring0_text_end, FLAGS_RING0_TEXT) &&
           map_section(__ring0_const_start, __ring0_const_end, FLAGS_RING0_CONST) &&
           map_section(__ring0_data_start, __ring0_data_end, FLAGS_RING0_DATA) &&
           map_ring0_stacks() && map_section(__text_start, __text_end, FLAGS_TEXT) &&
           map_section(__rodata_start, __rodata_end, FLAGS_RODATA) &&
           map_section(__data_start, __data_end, FLAGS_DATA) &&
           map_section(__stack_bottom, __stack_top, FLAGS_DATA) &&
           map_section(__trap_stack_bottom, __trap_stack_top, FLAGS_DATA);
}

/* Of start.S's map, all but the part in which the image lies. */
static bool map_window(void)
{
    const uint64_t image_entries = BOOT_IMAGE_END / LARGE_BYTES;
    uint64_t *const level3 = table_below(&root[0]);
    uint64_t *const level2 = large_entry(0);

    if (level3 == NULL || level2 == NULL)
        return false;
    copy_words(&level3[1], &boot_pdpt[1], WINDOW_END / GIANT_BYTES - 1);
    copy_words(&level2[image_entries], &boot_pd[image_entries], ENTRIES - image_entries);
    return map(0, address_of(__image_start), FLAGS_DATA) &&
           map(address_of(__image_end), BOOT_IMAGE_END, FLAGS_DATA);
}

void paging_init(void)
{
    unused = (struct range){address_of(__boot_tables_start), address_of(__boot_tables_end)};
    root = table_new();
    if (!map_image() || !map_window())
        __builtin_trap(); /* the tables suffice: see boot/image.ld */
    paging_flush();
}

/* ---- calls ---- */

static bool is_pages(struct range range)
{
    return range.start >= FIRST_MIB && range.start < range.end && range.end <= ADDRESS_END &&
           range.start % PAGE_BYTES == 0 && range.end % PAGE_BYTES == 0;
}

static bool is_ring0s_own(struct range range)
{
    const struct range image = {address_of(__image_start), address_of(__image_end)};

    return overlap(range, image) || overlap(range, pool);
}

bool paging_use_tables(uint64_t start, uint64_t end)
{
    const struct range given = {start, end};
    uint64_t *const root_before = root;

    if (pool.end != 0 || !is_pages(given) || is_ring0s_own(given) || end > WINDOW_END)
        return false;
    unused = given;
    root = table_new();
    if (!map_image() || !map(start, end, FLAGS_RING0_DATA)) {
        root = root_before; /* ring 3 can still write to the new ones */
        return false;
    }
    pool = given;
    paging_flush();
    return true;
}

bool paging_map(uint64_t start, uint64_t end, enum paging_kind kind)
{
    const struct range range = {start, end};

    return pool.end != 0 && is_pages(range) && !is_ring0s_own(range) &&
           map(start, end, kind == PAGING_RAM ? FLAGS_DATA : FLAGS_DEVICE);
}

bool paging_map_own_device(uint64_t address)
{
    return pool.end != 0 && map(address, address + PAGE_BYTES, FLAGS_RING0_DEVICE);
}

void paging_seal(void)
{
    const uint64_t cr0 = read_cr0();

    write_cr0(cr0 & ~CR0_WP); /* among the tables are those that this is written to */
    make_read_only(pool);
    write_cr0(cr0);
    paging_flush();
}

void paging_flush(void)
{
    write_cr3(address_of(root));
}

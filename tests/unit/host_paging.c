/* The tables that ring 0 begins with, those that ring 3 gives, and the end of the boot. */
#define VPAGING(name) vpaging_##name
#define ROOM_START    0x28001000ULL

#include <setjmp.h>
#include <signal.h>

#include "tests/unit/fake_paging.h"

/* ---- the boot's own tables ---- */

TEST(paging_begins_with_the_image_by_its_sections_and_the_rest_of_4_gib_for_ring_3)
{
    CHECK(set_up());
    paging_init();
    CHECK_EQ(fake.loads, 1);
    CHECK_EQ(fake.cr3, address_of(boot_tables));
    CHECK(image_is_mapped(0, 32 * MIB, P | U | W));
    for (uint64_t at = 32 * MIB; at < 4 * GIB; at += LARGE_BYTES)
        CHECK(rights_of(at) == (P | U | W) && rights_of(at + LARGE_BYTES - 1) == (P | U | W));
    for (uint64_t at = 4 * GIB; at < 1ULL << 48; at += 512 * GIB)
        CHECK_EQ(rights_of(at), 0);
}

TEST(paging_has_tables_enough_for_an_image_of_any_size_it_may_have)
{
    for (uint64_t stride = 0; stride < (16 * MIB - IMAGE_START) / (SECTIONS + 1);
         stride += 23 * PAGE_BYTES) {
        CHECK(set_up());
        lay_out(IMAGE_START, stride);
        CHECK(address_of(__image_end) <= 16 * MIB);
        paging_init();
        CHECK(image_is_mapped(0, 32 * MIB, P | U | W));
    }
}

static sigjmp_buf at_illegal;

static void on_illegal(int number)
{
    (void)number;
    siglongjmp(at_illegal, 1);
}

static bool init_traps(void)
{
    void (*const before)(int) = signal(SIGILL, on_illegal);
    volatile bool trapped = true;

    if (sigsetjmp(at_illegal, 1) == 0) {
        paging_init();
        trapped = false;
    }
    (void)signal(SIGILL, before);
    return trapped;
}

/* Nothing is loaded that would leave a part of the image out. */
TEST(paging_traps_when_the_boots_tables_do_not_suffice)
{
    static const struct {
        uint64_t start, stride, tail_pages;
        unsigned tables; /* that suffice; 0: more than are tried */
    } images[] = {
        {IMAGE_START, 0, 0, 4},
        {IMAGE_START, LARGE_BYTES, 0, 3 + SECTIONS + 1}, /* one each, and one for what is below */
        {IMAGE_START, 0, 512, 5},                        /* ... or behind it, below 16 MiB */
        {5 * GIB, 0, 0, 6},
        {600 * GIB, 0, 0, 0},
    };

    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        for (unsigned tables = 1; tables <= TABLES_MAX; tables++) {
            const bool suffices = images[i].tables != 0 && tables >= images[i].tables;

            CHECK(set_up());
            lay_out(images[i].start, images[i].stride);
            VPAGING(image_end) =
                symbol_at(address_of(__image_end) + images[i].tail_pages * PAGE_BYTES);
            set_boot_tables(tables);
            CHECK_EQ(init_traps(), !suffices);
            CHECK_EQ(fake.loads, suffices);
        }
    }
}

/* ---- the tables that ring 3 gives ---- */

TEST(paging_maps_only_what_is_asked_for_when_it_has_its_tables)
{
    CHECK(boots(16));
    CHECK_EQ(fake.loads, 2);
    CHECK_EQ(fake.cr3, ROOM_START);
    CHECK(image_is_mapped(0, 32 * MIB, 0));
    CHECK(all_are(ROOM_START - LARGE_BYTES, ROOM_START, 0));
    CHECK(all_are(ROOM_START, ROOM_START + 16 * PAGE_BYTES, P | W)); /* ring 0's */
    CHECK(all_are(ROOM_START + 16 * PAGE_BYTES, ROOM_START + ROOM_BYTES, 0));
    for (uint64_t at = GIB / 2; at < 1ULL << 40; at += GIB / 2)
        CHECK_EQ(rights_of(at), 0);
}

static bool tables_are_refused(uint64_t start, uint64_t end)
{
    const unsigned loads = fake.loads;

    return !paging_use_tables(start, end) && fake.loads == loads;
}

TEST(paging_takes_no_pages_for_tables_that_are_none_or_the_images_or_out_of_reach)
{
    CHECK(set_up());
    lay_out(IMAGE_START + PAGE_BYTES, 0);
    paging_init();
    const uint64_t image = address_of(__image_start), image_end = address_of(__image_end);
    CHECK(tables_are_refused(0, MIB));
    CHECK(tables_are_refused(MIB - 32 * PAGE_BYTES, MIB));
    CHECK(tables_are_refused(MIB - PAGE_BYTES, MIB + PAGE_BYTES));
    CHECK(tables_are_refused(ROOM_START, ROOM_START));
    CHECK(tables_are_refused(ROOM_START + PAGE_BYTES, ROOM_START));
    CHECK(tables_are_refused(ROOM_START + 8, ROOM_START + 16 * PAGE_BYTES));
    CHECK(tables_are_refused(ROOM_START, ROOM_START + 16 * PAGE_BYTES + 1));
    CHECK(tables_are_refused(ROOM_START, UINT64_MAX - PAGE_BYTES + 1));
    CHECK(tables_are_refused(image, image_end));
    CHECK(tables_are_refused(image - PAGE_BYTES, image + PAGE_BYTES));
    CHECK(tables_are_refused(image_end - PAGE_BYTES, image_end + PAGE_BYTES));
    CHECK(tables_are_refused(image + PAGE_BYTES, image + 2 * PAGE_BYTES));
    CHECK(tables_are_refused(MIB, 64 * MIB));
    CHECK(tables_are_refused(ROOM_START, 4 * GIB + PAGE_BYTES));
    CHECK(tables_are_refused(4 * GIB, 4 * GIB + 16 * PAGE_BYTES));
    CHECK(!paging_map(GIB, GIB + PAGE_BYTES, PAGING_RAM)); /* there are none */
    CHECK(paging_use_tables(ROOM_START, ROOM_START + 16 * PAGE_BYTES));
}

TEST(paging_takes_tables_once)
{
    CHECK(boots(16));
    CHECK(tables_are_refused(ROOM_START, ROOM_START + 16 * PAGE_BYTES));
    CHECK(tables_are_refused(ROOM_START + MIB, ROOM_START + 2 * MIB));
    paging_seal();
    CHECK(tables_are_refused(ROOM_START + MIB, ROOM_START + 2 * MIB));
}

/* Ring 3 can still write to the pages that were not enough: no table may lie in them. */
TEST(paging_keeps_the_tables_it_has_when_it_gets_too_few)
{
    enum { NEEDED = 3 + SECTIONS + 1 };

    for (unsigned pages = 1; pages <= NEEDED; pages++) {
        CHECK(set_up());
        paging_init();
        lay_out(32 * MIB, LARGE_BYTES);
        const uint64_t before = fake.cr3;
        CHECK_EQ(paging_use_tables(ROOM_START, ROOM_START + pages * PAGE_BYTES), pages == NEEDED);
        paging_flush();
        if (pages == NEEDED) {
            CHECK_EQ(fake.cr3, ROOM_START);
            CHECK(image_is_mapped(0, 64 * MIB, 0));
            break;
        }
        CHECK_EQ(fake.cr3, before);
        CHECK(!paging_map(GIB, GIB + PAGE_BYTES, PAGING_RAM));
        CHECK(paging_use_tables(ROOM_START, ROOM_START + NEEDED * PAGE_BYTES));
    }
}

/* ---- the end of the boot ---- */

static bool seals(uint64_t pages)
{
    const uint64_t end = ROOM_START + pages * PAGE_BYTES;

    if (!boots(pages) || !paging_map(end, end + MIB, PAGING_RAM) ||
        !paging_map(ROOM_START - MIB, ROOM_START, PAGING_RAM))
        return false;
    fake.looked_at = end - PAGE_BYTES;
    const uint64_t cr0 = fake.cr0;
    const unsigned loads = fake.loads;
    paging_seal();
    if (fake.cr0 != cr0 || fake.cr0_writes != 2 || fake.loads != loads + 1)
        return false;
    /* What the tables are written to while they can be, by themselves, is them. */
    if (fake.write_protected[0] || fake.rights_noted[0] != (P | W) || !fake.write_protected[1] ||
        fake.rights_noted[1] != P)
        return false;
    return all_are(ROOM_START, end, P) && all_are(end, end + MIB, P | U | W) &&
           rights_of(end + MIB) == 0 && all_are(ROOM_START - MIB, ROOM_START, P | U | W) &&
           image_is_mapped(0, 32 * MIB, 0);
}

TEST(paging_makes_the_tables_read_only_and_nothing_else_when_the_boot_is_over)
{
    CHECK(seals(16));
    CHECK(seals(511)); /* to the end of a large page's place */
    CHECK(seals(512));
    CHECK(seals(1023)); /* a large page of tables */
    CHECK(seals(1500));
}

TEST(paging_seals_without_tables_and_changes_nothing)
{
    CHECK(set_up());
    paging_init();
    paging_seal();
    CHECK_EQ(fake.cr3, address_of(boot_tables));
    CHECK(image_is_mapped(0, 32 * MIB, P | U | W));
}

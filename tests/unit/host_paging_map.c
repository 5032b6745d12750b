/* What ring 0 maps for ring 3, on the host. */
#define VPAGING(name) vpaging_map_##name
#define ROOM_START    0x29001000ULL

#include "tests/unit/fake_paging.h"
#include "tests/unit/random.h"

TEST(paging_maps_ram_and_devices_for_ring_3)
{
    CHECK(boots(32));
    const unsigned loads = fake.loads;
    CHECK(paging_map(3 * GIB, 3 * GIB + PAGE_BYTES, PAGING_RAM));
    CHECK(paging_map(0xfee00000, 0xfee01000, PAGING_DEVICE));
    CHECK(paging_map((1ULL << 46) - PAGE_BYTES, 1ULL << 46, PAGING_DEVICE)); /* the last one */
    CHECK(all_are(3 * GIB, 3 * GIB + PAGE_BYTES, P | U | W));
    CHECK(all_are(0xfee00000, 0xfee01000, P | U | W | UNCACHED));
    CHECK_EQ(rights_of((1ULL << 46) - 1), P | U | W | UNCACHED);
    CHECK(rights_of(3 * GIB - 1) == 0 && rights_of(3 * GIB + PAGE_BYTES) == 0);
    CHECK(rights_of(0xfee00000 - 1) == 0 && rights_of(0xfee01000) == 0);
    CHECK(image_is_mapped(0, 32 * MIB, 0));
    CHECK_EQ(fake.loads, loads); /* nothing was known of them */
}

/* Two tables at the edges, whatever lies between. */
TEST(paging_maps_by_large_pages_where_they_fit)
{
    static const struct {
        uint64_t from, to; /* pages, counted from 2 GiB */
        unsigned tables;
    } rows[] = {
        {0, 512, 0},   {0, 5120, 0},   {0, 1, 1},       {1, 512, 1},     {0, 511, 1},
        {0, 513, 1},   {511, 1024, 1}, {511, 1025, 2},  {1, 10000, 2},   {511, 512, 1},
        {511, 513, 2}, {0, 1, 1},      {1024, 1536, 0}, {1023, 1536, 1}, {1, 200000, 2},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK(boots(32));
        const uint64_t start = 2 * GIB + rows[i].from * PAGE_BYTES;
        const uint64_t end = 2 * GIB + rows[i].to * PAGE_BYTES;
        CHECK(paging_map(2 * GIB + 512 * MIB * 2 - PAGE_BYTES, 3 * GIB, PAGING_RAM));
        const uint64_t before = unused.start;
        CHECK(paging_map(start, end, PAGING_RAM));
        CHECK_EQ((unused.start - before) / PAGE_BYTES, rows[i].tables);
        CHECK(all_are(start, end, P | U | W));
        CHECK(rights_of(start - 1) == 0 && rights_of(end) == 0);
    }
}

TEST(paging_maps_again_what_is_mapped_so_and_takes_nothing_for_it)
{
    const uint64_t start = 0xfec00000, end = 0xff200000;

    CHECK(boots(32));
    CHECK(paging_map(0xfee00000, 0xfee01000, PAGING_DEVICE));
    /* More of it, pages of 2 MiB among them, around what is mapped; then all of it again. */
    CHECK(paging_map(start, end, PAGING_DEVICE));
    const uint64_t before = unused.start;
    CHECK(paging_map(start, end, PAGING_DEVICE));
    CHECK(paging_map(start + PAGE_BYTES, end - PAGE_BYTES, PAGING_DEVICE));
    CHECK(paging_map(end - 3 * PAGE_BYTES, end, PAGING_DEVICE)); /* within a large page */
    CHECK_EQ(unused.start, before);
    CHECK(all_are(start, end, P | U | W | UNCACHED));
    CHECK(rights_of(start - 1) == 0 && rights_of(end) == 0);
}

TEST(paging_refuses_what_is_mapped_otherwise)
{
    const uint64_t ram = 2 * GIB, device = 3 * GIB;

    CHECK(boots(32));
    CHECK(paging_map(ram, ram + 8 * MIB + PAGE_BYTES, PAGING_RAM));
    CHECK(paging_map(device, device + 8 * MIB + PAGE_BYTES, PAGING_DEVICE));
    CHECK(!paging_map(ram, ram + PAGE_BYTES, PAGING_DEVICE));        /* in a large page */
    CHECK(!paging_map(ram + 2 * MIB, ram + 4 * MIB, PAGING_DEVICE)); /* all of one */
    CHECK(!paging_map(ram + 8 * MIB, ram + 8 * MIB + PAGE_BYTES, PAGING_DEVICE));
    CHECK(!paging_map(ram + 8 * MIB, ram + 10 * MIB, PAGING_DEVICE)); /* part of it */
    CHECK(!paging_map(ram - PAGE_BYTES, ram + PAGE_BYTES, PAGING_DEVICE));
    CHECK(!paging_map(device + 4 * MIB, device + 4 * MIB + PAGE_BYTES, PAGING_RAM));
    CHECK(!paging_map(device + 8 * MIB, device + 8 * MIB + PAGE_BYTES, PAGING_RAM));
    CHECK(all_are(ram, ram + 8 * MIB + PAGE_BYTES, P | U | W));
    CHECK(all_are(device, device + 8 * MIB + PAGE_BYTES, P | U | W | UNCACHED));
}

TEST(paging_refuses_what_is_no_pages_or_out_of_reach)
{
    CHECK(boots(32));
    for (enum paging_kind kind = PAGING_RAM; kind <= PAGING_DEVICE; kind++) {
        CHECK(!paging_map(GIB, GIB, kind));
        CHECK(!paging_map(GIB + PAGE_BYTES, GIB, kind));
        CHECK(!paging_map(GIB + 1, GIB + PAGE_BYTES, kind));
        CHECK(!paging_map(GIB, GIB + PAGE_BYTES - 1, kind));
        CHECK(!paging_map((1ULL << 46) - PAGE_BYTES, (1ULL << 46) + PAGE_BYTES, kind));
        CHECK(!paging_map(1ULL << 46, (1ULL << 46) + PAGE_BYTES, kind));
        CHECK(!paging_map(GIB, UINT64_MAX, kind));
        CHECK(!paging_map(UINT64_MAX - PAGE_BYTES + 1, 0, kind));
        CHECK(!paging_map(1ULL << 63, (1ULL << 63) + PAGE_BYTES, kind));
    }
    CHECK_EQ(rights_of(GIB), 0);
}

/* What firmware has left there, of which no map says what it does. */
TEST(paging_maps_nothing_below_1_mib)
{
    CHECK(boots_at(4 * MIB, 32));
    for (enum paging_kind kind = PAGING_RAM; kind <= PAGING_DEVICE; kind++) {
        for (uint64_t at = 0; at < MIB; at += PAGE_BYTES) {
            CHECK(!paging_map(at, at + PAGE_BYTES, kind));
            CHECK(!paging_map(at, MIB, kind));
            CHECK(!paging_map(at, MIB + PAGE_BYTES, kind));
        }
        CHECK(!paging_map(0, 2 * MIB, kind));
    }
    CHECK(all_are(0, 2 * MIB, 0));
    CHECK(paging_map(MIB, MIB + PAGE_BYTES, PAGING_RAM));
    CHECK(paging_map(MIB + PAGE_BYTES, MIB + 2 * PAGE_BYTES, PAGING_DEVICE));
    CHECK(all_are(0, MIB, 0));
}

/* Each of ring 0's pages, and each of the image: from both sides, and by all of it. */
TEST(paging_gives_ring_3_nothing_of_the_image_or_the_tables)
{
    const uint64_t image_start = IMAGE_START + PAGE_BYTES; /* there is a page before it */

    CHECK(boots_at(image_start, 32));
    const uint64_t starts[] = {address_of(__image_start), ROOM_START};
    const uint64_t ends[] = {address_of(__image_end), ROOM_START + 32 * PAGE_BYTES};
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t start = starts[i], end = ends[i];
        for (enum paging_kind kind = PAGING_RAM; kind <= PAGING_DEVICE; kind++) {
            for (uint64_t at = start; at < end; at += PAGE_BYTES) {
                CHECK(!paging_map(at, at + PAGE_BYTES, kind));
                CHECK(!paging_map(start - PAGE_BYTES, at + PAGE_BYTES, kind));
                CHECK(!paging_map(at, end + PAGE_BYTES, kind));
            }
            CHECK(!paging_map(MIB, 4 * GIB, kind));
        }
        CHECK(paging_map(start - PAGE_BYTES, start, PAGING_RAM));
        CHECK(paging_map(end, end + PAGE_BYTES, PAGING_DEVICE));
    }
    CHECK(image_is_mapped(image_start, address_of(__image_end), 0));
    CHECK(all_are(ROOM_START, ROOM_START + 32 * PAGE_BYTES, P | W));
}

TEST(paging_refuses_when_no_table_is_left)
{
    unsigned mapped = 0;

    CHECK(boots(16));
    /* One of each level for each, but for the first: it shares level 3 with the image. */
    while (mapped < 16 && paging_map((mapped + 1) * 512 * GIB - PAGE_BYTES,
                                     (mapped + 1) * 512 * GIB, PAGING_DEVICE))
        mapped++;
    CHECK_EQ(mapped, 4);
    CHECK(unused.start == unused.end);
    CHECK(!paging_map(2 * GIB, 2 * GIB + PAGE_BYTES, PAGING_RAM));
    CHECK(paging_map(512 * GIB - 2 * PAGE_BYTES, 512 * GIB, PAGING_DEVICE)); /* wants none */
}

/* ---- whatever is asked for ---- */

/* Two stretches of addresses by pages: what each was mapped as, plus 1; 0 for nothing. */
#define MODEL_PAGES 8192ULL

static const uint64_t model_start[2] = {0, ROOM_START - PAGE_BYTES - 4 * MIB};
static uint8_t model[2][MODEL_PAGES];

/* By the model: done up to the first page that is mapped otherwise. */
static bool model_maps(unsigned stretch, uint64_t from, uint64_t to, enum paging_kind kind)
{
    for (uint64_t i = from; i < to; i++) {
        if (model[stretch][i] != 0 && model[stretch][i] != kind + 1)
            return false;
        model[stretch][i] = (uint8_t)(kind + 1);
    }
    return true;
}

static bool asks_at_random(uint64_t pool_end)
{
    static const uint16_t counts[] = {1, 1, 2, 3, 511, 512, 513, 1024, 1500};
    const unsigned stretch = random_below(2);
    const enum paging_kind kind = random_below(3) == 0 ? PAGING_DEVICE : PAGING_RAM;
    const uint64_t count = counts[random_below(sizeof counts / sizeof counts[0])];
    uint64_t from = random_below(MODEL_PAGES - 1500);

    if (random_below(2) == 0)
        from &= ~511ULL;

    const uint64_t start = model_start[stretch] + from * PAGE_BYTES;
    const uint64_t end = start + count * PAGE_BYTES;
    const bool is_rings0 = (start < address_of(__image_end) && end > address_of(__image_start)) ||
                           (start < pool_end && end > ROOM_START);

    return paging_map(start, end, kind) ==
           (!is_rings0 && start >= MIB && model_maps(stretch, from, from + count, kind));
}

static bool is_as_modelled(uint64_t pool_end, unsigned pool_rights)
{
    static const unsigned rights[] = {0, P | U | W, P | U | W | UNCACHED};

    for (unsigned stretch = 0; stretch < 2; stretch++) {
        for (uint64_t i = 0; i < MODEL_PAGES; i++) {
            const uint64_t at = model_start[stretch] + i * PAGE_BYTES;
            const bool is_pool = at >= ROOM_START && at < pool_end;

            if (!all_are(at, at + PAGE_BYTES,
                         is_pool ? pool_rights : image_rights(at, rights[model[stretch][i]])))
                return false;
        }
    }
    return true;
}

TEST(paging_keeps_ring_0_to_itself_whatever_ring_3_asks_for)
{
    for (unsigned round = 0; round < 100; round++) {
        const uint64_t pages = 64 + random_below(1000);
        const uint64_t pool_end = ROOM_START + pages * PAGE_BYTES;

        CHECK(boots(pages));
        memset(model, 0, sizeof model);
        for (unsigned i = 0; i < 60; i++)
            CHECK(asks_at_random(pool_end));
        CHECK(is_as_modelled(pool_end, P | W));
        paging_seal();
        CHECK(is_as_modelled(pool_end, P));
    }
}

/* ---- ring 0's own ---- */

#define APIC 0xfee00000ULL

TEST(paging_maps_a_device_of_ring_0s_for_ring_0_alone)
{
    CHECK(set_up());
    paging_init();
    CHECK(!paging_map_own_device(APIC)); /* ring 3 has it, as all below 4 GiB */
    CHECK(paging_use_tables(ROOM_START, ROOM_START + 16 * PAGE_BYTES));
    CHECK(paging_map_own_device(APIC));
    CHECK(all_are(APIC, APIC + PAGE_BYTES, P | W | UNCACHED));
    CHECK(all_are(APIC - PAGE_BYTES, APIC, 0));
    CHECK(all_are(APIC + PAGE_BYTES, APIC + 2 * PAGE_BYTES, 0));
    CHECK(!paging_map(APIC, APIC + PAGE_BYTES, PAGING_DEVICE)); /* and it stays that */
    CHECK(!paging_map(APIC, APIC + LARGE_BYTES, PAGING_DEVICE));
    paging_seal();
    CHECK(all_are(APIC, APIC + PAGE_BYTES, P | W | UNCACHED));
}

TEST(paging_does_not_take_a_device_from_ring_3)
{
    CHECK(boots(16));
    CHECK(paging_map(APIC, APIC + PAGE_BYTES, PAGING_DEVICE));
    CHECK(!paging_map_own_device(APIC));
    CHECK(all_are(APIC, APIC + PAGE_BYTES, P | U | W | UNCACHED));
}

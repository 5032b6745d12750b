/* kernel/plat/acpi.c against tables made here, whole and broken. */
#include "kernel/plat/acpi.h"
#include "tests/test.h"
#include "tests/unit/acpi_tables.h"

/* Physical memory: one window, which `read` guards. */
#define BASE  0xe0000ULL
#define BYTES 0x4000u

enum { RSDP = 0x0, ROOT = 0x100, FADT = 0x400, DSDT = 0x800, MCFG = 0xc00, OTHER = 0x1000 };

static uint8_t window[BYTES];
static size_t window_bytes;

static const uint8_t *read_window(uint64_t address, size_t bytes)
{
    if (address < BASE || address - BASE > window_bytes || bytes > window_bytes - (address - BASE))
        return NULL;
    return window + (address - BASE);
}

static void put(size_t at, uint64_t value, size_t bytes)
{
    acpi_put(window + at, value, bytes);
}

static void fix_sum(size_t at, size_t len, size_t sum_at)
{
    acpi_fix_sum(window + at, len, sum_at);
}

static void seal(size_t at, const char *signature, uint32_t len)
{
    acpi_seal(window + at, signature, len);
}

static void seal_rsdp(uint8_t revision)
{
    acpi_seal_rsdp(window + RSDP, revision, BASE + ROOT, revision < 2 ? 0 : BASE + ROOT);
}

/* Name (_S5, Package (4) {5, 6, 0, 0}) */
static const uint8_t s5[] = {0x08, '_',  'S',  '5',  '_',  0x12, 0x08,
                             0x04, 0x0a, 0x05, 0x0a, 0x06, 0x00, 0x00};

static void put_s5(const uint8_t *aml, size_t len)
{
    memset(window + DSDT, 0, 0x100);
    memcpy(window + DSDT + 36 + 10, aml, len);
    seal(DSDT, "DSDT", (uint32_t)(36 + 10 + len));
}

/* A machine as QEMU's: ACPI 2 with an XSDT, or ACPI 1 with an RSDT. */
static void make_tables(uint8_t revision)
{
    const size_t entry = revision < 2 ? 4 : 8;

    memset(window, 0, sizeof window);
    window_bytes = sizeof window;
    put_s5(s5, sizeof s5);
    put(FADT + 40, BASE + DSDT, 4);
    put(FADT + 64, 0x604, 4);
    put(FADT + 76, 0x608, 4);
    window[FADT + 91] = 4;
    window[FADT + 108] = 0x32;
    put(FADT + 112, 1 << 8, 4);
    seal(FADT, "FACP", revision < 2 ? 116 : 244);
    put(MCFG + 44, 0xb0000000, 8);
    window[MCFG + 55] = 0xff;
    seal(MCFG, "MCFG", 60);
    seal(OTHER, "APIC", 40);
    put(ROOT + 36, BASE + OTHER, entry);
    put(ROOT + 36 + entry, BASE + FADT, entry);
    put(ROOT + 36 + 2 * entry, BASE + MCFG, entry);
    seal(ROOT, revision < 2 ? "RSDT" : "XSDT", (uint32_t)(36 + 3 * entry));
    seal_rsdp(revision);
}

static struct acpi_facts parse(uint64_t rsdp)
{
    struct acpi_facts facts;

    memset(&facts, 0xff, sizeof facts);
    acpi_parse(read_window, rsdp, &facts);
    return facts;
}

TEST(acpi_reads_both_revisions_of_the_root)
{
    for (uint8_t revision = 0; revision <= 2; revision = (uint8_t)(revision + 2)) {
        make_tables(revision);

        const struct acpi_facts facts = parse(BASE + RSDP);

        CHECK(facts.found && facts.has_s5);
        CHECK_EQ(facts.s5_type_a, 5);
        CHECK_EQ(facts.s5_type_b, 6);
        CHECK_EQ(facts.pm1a_control_port, 0x604);
        CHECK_EQ(facts.pm1b_control_port, 0);
        CHECK_EQ(facts.pm_timer_port, 0x608);
        CHECK(facts.pm_timer_32bit);
        CHECK_EQ(facts.century_register, 0x32);
        CHECK_EQ(facts.ecam_count, 1);
        CHECK_EQ(facts.ecam[0].address, 0xb0000000);
        CHECK_EQ(facts.ecam[0].bus_last, 255);
        CHECK_EQ(facts.root_bus_count, 0);
        CHECK_EQ(facts.sleep_control.address, 0);
    }
}

TEST(acpi_searches_the_root_when_nobody_names_it)
{
    make_tables(2);
    memmove(window + 0x3000, window + RSDP, 36);
    memset(window + RSDP, 0, 36);
    CHECK(parse(0).found);
    window[0x3000 + 9] ^= 1;
    CHECK(!parse(0).found);
}

TEST(acpi_prefers_the_generic_addresses)
{
    make_tables(2);
    window[FADT + 172] = ACPI_SPACE_IO;
    put(FADT + 176, 0xb004, 8);
    window[FADT + 208] = ACPI_SPACE_MEMORY; /* not a port: the old field counts */
    put(FADT + 212, 0xfed00000, 8);
    seal(FADT, "FACP", 244);

    const struct acpi_facts facts = parse(BASE);

    CHECK_EQ(facts.pm1a_control_port, 0xb004);
    CHECK_EQ(facts.pm_timer_port, 0x608);
}

TEST(acpi_reads_the_sleep_register_of_a_hardware_reduced_machine)
{
    make_tables(2);
    put(FADT + 112, 1 << 20, 4);
    window[FADT + 244] = ACPI_SPACE_MEMORY;
    put(FADT + 248, 0xfea00000, 8);
    memmove(window + 0x2000, window + FADT, 268);
    seal(0x2000, "FACP", 268);
    put(ROOT + 36 + 8, BASE + 0x2000, 8);
    seal(ROOT, "XSDT", 36 + 24);

    const struct acpi_facts facts = parse(BASE);

    CHECK_EQ(facts.sleep_control.address, 0xfea00000);
    CHECK_EQ(facts.sleep_control.space, ACPI_SPACE_MEMORY);
    CHECK_EQ(facts.pm1a_control_port, 0);
    CHECK_EQ(facts.pm_timer_port, 0);
    CHECK(facts.has_s5);
}

/* As QEMU's q35 describes it. */
static void put_power_button(uint32_t flags)
{
    make_tables(2);
    put(FADT + 48, 0xb2, 4);
    window[FADT + 52] = 2;
    put(FADT + 56, 0x600, 4);
    window[FADT + 88] = 4;
    put(FADT + 112, flags, 4);
    seal(FADT, "FACP", 244);
}

TEST(acpi_tells_where_the_power_button_is)
{
    put_power_button(0);
    CHECK(parse(BASE).has_power_button);
    CHECK_EQ(parse(BASE).pm1a_event_port, 0x600);
    CHECK_EQ(parse(BASE).pm1b_event_port, 0);
    CHECK_EQ(parse(BASE).pm1_enable_offset, 2);
    CHECK_EQ(parse(BASE).smi_command_port, 0xb2);
    CHECK_EQ(parse(BASE).acpi_enable, 2);
    put(FADT + 48, 0x100b2, 4); /* no port */
    window[FADT + 148] = ACPI_SPACE_IO;
    put(FADT + 152, 0xb000, 8);
    window[FADT + 160] = ACPI_SPACE_IO;
    put(FADT + 164, 0xc000, 8);
    window[FADT + 88] = 8;
    seal(FADT, "FACP", 244);
    CHECK_EQ(parse(BASE).smi_command_port, 0);
    CHECK_EQ(parse(BASE).pm1a_event_port, 0xb000);
    CHECK_EQ(parse(BASE).pm1b_event_port, 0xc000);
    CHECK_EQ(parse(BASE).pm1_enable_offset, 4);
}

TEST(acpi_tells_when_there_is_no_fixed_power_button)
{
    put_power_button(1 << 4); /* it is a device of its own */
    CHECK(parse(BASE).found && !parse(BASE).has_power_button);
    put_power_button(1 << 20); /* reduced hardware */
    CHECK(parse(BASE).found && !parse(BASE).has_power_button);
    put_power_button(0);
    window[FADT + 88] = 3;
    seal(FADT, "FACP", 244);
    CHECK(parse(BASE).found && !parse(BASE).has_power_button);
    put_power_button(0);
    put(FADT + 56, 0, 4);
    seal(FADT, "FACP", 244);
    CHECK(parse(BASE).found && !parse(BASE).has_power_button);
}

TEST(acpi_takes_the_timer_of_a_reduced_machine_by_its_generic_address_alone)
{
    make_tables(2);
    put(FADT + 112, 1 << 20 | 1 << 8, 4);
    window[FADT + 208] = ACPI_SPACE_IO;
    window[FADT + 209] = 32;
    put(FADT + 212, 0x708, 8);
    seal(FADT, "FACP", 244);
    CHECK(parse(BASE).pm_timer_port == 0x708 && parse(BASE).pm_timer_32bit);
    window[FADT + 209] = 24;
    seal(FADT, "FACP", 244);
    CHECK_EQ(parse(BASE).pm_timer_port, 0);
    window[FADT + 209] = 32;
    put(FADT + 212, 0x10708, 8); /* beyond the ports */
    seal(FADT, "FACP", 244);
    CHECK_EQ(parse(BASE).pm_timer_port, 0);
    put(FADT + 212, 0x708, 8);
    window[FADT + 208] = ACPI_SPACE_MEMORY;
    seal(FADT, "FACP", 244);
    CHECK_EQ(parse(BASE).pm_timer_port, 0);
    window[FADT + 208] = ACPI_SPACE_IO;
    seal(FADT, "FACP", 212); /* the address is cut */
    CHECK_EQ(parse(BASE).pm_timer_port, 0);
}

TEST(acpi_ignores_what_fails_its_checksum)
{
    static const size_t places[] = {RSDP + 10, ROOT + 12, FADT + 50};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        make_tables(0);
        window[places[i]] ^= 0x40;
        CHECK(!parse(BASE).found);
    }
    make_tables(0);
    window[DSDT + 20] ^= 0x40;
    CHECK(parse(BASE).found && !parse(BASE).has_s5);
    make_tables(0);
    window[MCFG + 20] ^= 0x40;
    CHECK(parse(BASE).found && parse(BASE).ecam_count == 0);
}

TEST(acpi_falls_back_to_the_rsdt)
{
    make_tables(0);
    window[RSDP + 15] = 2; /* says it has an XSDT, at an address of nothing */
    put(RSDP + 24, BASE + 0x2000, 8);
    fix_sum(RSDP, 20, 8);
    fix_sum(RSDP, 36, 32);
    CHECK(parse(BASE).found);
}

TEST(acpi_believes_no_length)
{
    static const uint32_t lengths[] = {0, 35, BYTES, 0x100001, 0x7fffffff, 0xffffffff};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        make_tables(2);
        put(FADT + 4, lengths[i], 4);
        CHECK(!parse(BASE).found);
        make_tables(2);
        put(ROOT + 4, lengths[i], 4);
        CHECK(!parse(BASE).found);
        make_tables(2);
        put(DSDT + 4, lengths[i], 4);
        CHECK(!parse(BASE).has_s5);
    }
}

TEST(acpi_refuses_a_fadt_shorter_than_the_first)
{
    make_tables(2);
    seal(FADT, "FACP", 115);
    CHECK(!parse(BASE).found);
    seal(FADT, "FACP", 116);
    CHECK(parse(BASE).found);
}

TEST(acpi_reads_nothing_beyond_what_there_is)
{
    /* Under the sanitizers a step too far stops the test; here every shorter memory is parsed. */
    make_tables(2);
    for (size_t bytes = 0; bytes < OTHER + 64; bytes++) {
        window_bytes = bytes;
        (void)parse(BASE);
        (void)parse(0);
    }
    window_bytes = sizeof window;
    CHECK(parse(BASE).found);
}

TEST(acpi_finds_s5_in_its_shapes_only)
{
    static const uint8_t rooted[] = {0x08, '\\', '_',  'S',  '5',  '_', 0x12,
                                     0x06, 0x04, 0x01, 0x00, 0x00, 0x00};
    static const uint8_t long_package[] = {0x08, '_',  'S',  '5',  '_',  0x12, 0x48, 0x00,
                                           0x04, 0x0a, 0x07, 0x0a, 0x07, 0x00, 0x00};
    static const uint8_t no_name[] = {0x14, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x00, 0x00};
    static const uint8_t no_root_name[] = {0x14, '\\', '_',  'S',  '5',  '_', 0x12,
                                           0x06, 0x04, 0x01, 0x00, 0x00, 0x00};
    static const uint8_t no_package[] = {0x08, '_', 'S', '5', '_', 0x0a, 0x05};
    static const uint8_t no_integer[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0b, 0, 0, 0};

    make_tables(2);
    put_s5(rooted, sizeof rooted);
    CHECK(parse(BASE).has_s5 && parse(BASE).s5_type_a == 1 && parse(BASE).s5_type_b == 0);
    put_s5(long_package, sizeof long_package);
    CHECK(parse(BASE).has_s5 && parse(BASE).s5_type_a == 7);
    put_s5(no_name, sizeof no_name);
    CHECK(!parse(BASE).has_s5);
    put_s5(no_root_name, sizeof no_root_name);
    CHECK(!parse(BASE).has_s5);
    put_s5(no_package, sizeof no_package);
    CHECK(!parse(BASE).has_s5);
    put_s5(no_integer, sizeof no_integer);
    CHECK(!parse(BASE).has_s5);
}

TEST(acpi_takes_an_s5_of_one_element)
{
    static const uint8_t one[] = {0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x01, 0x0a, 0x05};
    static const uint8_t none[] = {0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x00, 0x0a, 0x05};
    static const uint8_t one_and_more[] = {0x08, '_',  'S',  '5',  '_',  0x12,
                                           0x04, 0x01, 0x0a, 0x05, 0x0a, 0x06};

    make_tables(2);
    put_s5(one, sizeof one);
    CHECK(parse(BASE).has_s5 && parse(BASE).s5_type_a == 5 && parse(BASE).s5_type_b == 0);
    put_s5(one_and_more, sizeof one_and_more); /* what follows is no part of it */
    CHECK(parse(BASE).has_s5 && parse(BASE).s5_type_b == 0);
    put_s5(none, sizeof none);
    CHECK(!parse(BASE).has_s5);
    put_s5(one, sizeof one);
    for (size_t len = 0; len <= sizeof one; len++) {
        seal(DSDT, "DSDT", (uint32_t)(36 + 10 + len));
        CHECK_EQ(parse(BASE).has_s5, len == sizeof one);
    }
}

/* Its last byte, the compiler's revision, is no Name() for what follows. */
TEST(acpi_takes_no_byte_of_the_header_for_aml)
{
    static const uint8_t rooted[] = {'\\', '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x01, 0x00};

    make_tables(2);
    memset(window + DSDT, 0, 0x100);
    window[DSDT + 35] = 0x08;
    memcpy(window + DSDT + 36, rooted, sizeof rooted);
    seal(DSDT, "DSDT", 36 + sizeof rooted);
    CHECK(parse(BASE).found && !parse(BASE).has_s5);
    memmove(window + DSDT + 37, window + DSDT + 36, sizeof rooted);
    window[DSDT + 36] = 0x08; /* but the first byte of AML is */
    seal(DSDT, "DSDT", 37 + sizeof rooted);
    CHECK(parse(BASE).has_s5);
}

TEST(acpi_stops_where_the_dsdt_ends)
{
    static const uint8_t ones[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x01, 0x01};

    make_tables(2);
    /* Both types are there from 12 bytes of the declaration on; one less, and there is nothing. */
    for (size_t len = 0; len <= sizeof s5; len++) {
        put_s5(s5, sizeof s5);
        seal(DSDT, "DSDT", (uint32_t)(36 + 10 + len));
        CHECK_EQ(parse(BASE).has_s5, len >= 12);
    }
    for (size_t len = 0; len <= sizeof ones; len++) {
        put_s5(ones, sizeof ones);
        seal(DSDT, "DSDT", (uint32_t)(36 + 10 + len));
        CHECK_EQ(parse(BASE).has_s5, len >= 10);
    }
}

/* The last of memory: one byte too far, and the sanitizers stop the test. */
TEST(acpi_reads_tables_at_the_end_of_memory)
{
    make_tables(2);
    for (uint32_t len = 36; len <= 36 + 10 + sizeof s5; len++) {
        const size_t end = BYTES - len;

        put_s5(s5, sizeof s5);
        memmove(window + end, window + DSDT, len);
        seal(end, "DSDT", len);
        put(FADT + 40, BASE + end, 4);
        seal(FADT, "FACP", 244);
        CHECK_EQ(parse(BASE).has_s5, len >= 36 + 10 + 12);
    }
    for (uint32_t len = 36; len <= 244; len++) {
        const size_t end = BYTES - len;

        memmove(window + end, window + FADT, len);
        seal(end, "FACP", len);
        put(ROOT + 36 + 8, BASE + end, 8);
        seal(ROOT, "XSDT", 36 + 24);
        CHECK_EQ(parse(BASE).found, len >= 116);
    }
}

static void put_ecam(unsigned index, uint64_t address, uint16_t segment, uint8_t bus_last)
{
    const size_t entry = MCFG + 44 + 16 * index;

    put(entry, address, 8);
    put(entry + 8, segment, 2);
    window[entry + 10] = 0;
    window[entry + 11] = bus_last;
    seal(MCFG, "MCFG", 60 + 16 * index);
}

TEST(acpi_takes_configuration_space_of_every_segment)
{
    make_tables(2);
    put_ecam(0, 0x11100000, 0x1234, 0);
    put_ecam(1, 0x22200000, 0, 7);
    CHECK_EQ(parse(BASE).ecam_count, 2);
    CHECK_EQ(parse(BASE).ecam[0].segment, 0x1234);
    CHECK_EQ(parse(BASE).ecam[1].address, 0x22200000);
    CHECK_EQ(parse(BASE).ecam[1].bus_last, 7);
    seal(MCFG, "MCFG", 75); /* the second entry is cut */
    CHECK_EQ(parse(BASE).ecam_count, 1);
    CHECK_EQ(parse(BASE).ecam_left_out, 0);
    for (unsigned i = 0; i < ACPI_ECAM_MAX + 3; i++)
        put_ecam(i, 0xe8000000 + (i << 20), (uint16_t)i, 0);
    CHECK_EQ(parse(BASE).ecam_count, ACPI_ECAM_MAX);
    CHECK_EQ(parse(BASE).ecam_left_out, 3);
}

TEST(acpi_takes_no_configuration_space_where_none_can_be)
{
    static const uint64_t addresses[] = {0, 0xe8080000, 1ULL << 52, UINT64_MAX - 0xfffff};

    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        make_tables(2);
        put_ecam(0, addresses[i], 0, 0);
        CHECK_EQ(parse(BASE).ecam_count, 0);
    }
    put_ecam(0, (1ULL << 52) - (1 << 20), 0, 0);
    CHECK_EQ(parse(BASE).ecam_count, 1);
}

TEST(acpi_takes_the_buses_of_host_bridges)
{
    static const uint8_t bridges[] = {0x08, '_',  'B',  'B', 'N',  0x0a, 0x40, 0x08, '_', 'B', 'B',
                                      'N',  0x00, 0x08, '_', 'B',  'B',  'N',  0x0b, 1,   1,   0x14,
                                      '_',  'B',  'B',  'N', 0x0a, 0x50, 0x08, '_',  'B', 'B', 'N'};
    static const uint8_t bridge[] = {0x08, '_', 'B', 'B', 'N', 0x01};

    make_tables(2);
    put_s5(bridges, sizeof bridges);
    CHECK_EQ(parse(BASE).root_bus_count, 2);
    CHECK_EQ(parse(BASE).root_buses[0], 0x40);
    CHECK_EQ(parse(BASE).root_buses[1], 0);
    memset(window + DSDT, 0, 0x200);
    for (unsigned i = 0; i <= ACPI_ROOT_BUSES_MAX; i++)
        memcpy(window + DSDT + 40 + i * sizeof bridge, bridge, sizeof bridge);
    seal(DSDT, "DSDT", 0x200);
    CHECK_EQ(parse(BASE).root_bus_count, ACPI_ROOT_BUSES_MAX);
}

TEST(acpi_takes_no_port_above_what_ports_there_are)
{
    make_tables(2);
    put(FADT + 64, 0x10604, 4);
    put(FADT + 76, 0xffff, 4);
    seal(FADT, "FACP", 244);
    CHECK_EQ(parse(BASE).pm1a_control_port, 0);
    CHECK_EQ(parse(BASE).pm_timer_port, 0xffff);
    window[FADT + 91] = 0; /* there is no timer */
    seal(FADT, "FACP", 244);
    CHECK_EQ(parse(BASE).pm_timer_port, 0);
}

TEST(acpi_prefers_the_wide_address_of_the_dsdt)
{
    make_tables(2);
    put(FADT + 40, BASE + OTHER, 4);
    put(FADT + 140, BASE + DSDT, 8);
    seal(FADT, "FACP", 244);
    CHECK(parse(BASE).has_s5);
    put(FADT + 140, 0, 8);
    seal(FADT, "FACP", 244);
    CHECK(!parse(BASE).has_s5);
    put(FADT + 40, 0, 4); /* none at all */
    seal(FADT, "FACP", 244);
    CHECK(parse(BASE).found && !parse(BASE).has_s5);
}

TEST(acpi_believes_no_extension_of_the_root_with_a_wrong_checksum)
{
    make_tables(2);
    window[RSDP + 33] ^= 1;
    CHECK(!parse(BASE).found); /* as an RSDT it does not carry the signature */
    make_tables(0);
    window[RSDP + 15] = 2;
    fix_sum(RSDP, 20, 8);
    window[RSDP + 33] ^= 1;
    CHECK(parse(BASE).found);
}

TEST(acpi_looks_at_so_many_tables_and_no_more)
{
    static const unsigned counts[] = {64, 65};

    for (size_t i = 0; i < 2; i++) {
        make_tables(2);
        for (unsigned n = 0; n < counts[i]; n++)
            put(0x2000 + 36 + 8 * n, BASE + (n + 1 == counts[i] ? FADT : OTHER), 8);
        seal(0x2000, "XSDT", 36 + 8 * counts[i]);
        put(RSDP + 24, BASE + 0x2000, 8);
        put(RSDP + 16, 0, 4);
        fix_sum(RSDP, 20, 8);
        fix_sum(RSDP, 36, 32);
        CHECK_EQ(parse(BASE).found, i == 0);
    }
}

TEST(acpi_takes_no_buses_in_reverse)
{
    make_tables(2);
    window[MCFG + 54] = 8;
    window[MCFG + 55] = 7;
    seal(MCFG, "MCFG", 60);
    CHECK_EQ(parse(BASE).ecam_count, 0);
}

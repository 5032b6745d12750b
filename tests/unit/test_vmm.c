/*
 * What VMMs that cannot be had here hand over, as their public sources have it: Firecracker
 * (src/vmm/src/arch/x86_64, src/acpi-tables) and Cloud Hypervisor (arch/src/x86_64, and acpi.rs in
 * vmm/src). Both write hvm_start_info version 1; where their devices lie is in host_memory.c.
 */
#include "boot/pvh.h"
#include "kernel/mem/ram.h"
#include "kernel/plat/acpi.h"
#include "tests/test.h"
#include "tests/unit/acpi_tables.h"

#define KIB (1ULL << 10)
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* ---- memory maps ---- */

static struct hvm_memmap_table_entry map[8];
static uint32_t map_entries;
static struct boot_info info;
static struct ram_range found[RAM_RANGES_MAX];

static void map_add(uint64_t address, uint64_t bytes, uint32_t kind)
{
    map[map_entries++] = (struct hvm_memmap_table_entry){address, bytes, kind, 0};
}

/* The ranges of RAM beside an image at 1 MiB, in `found`. */
static size_t ranges_of_map(uint64_t rsdp)
{
    const struct hvm_start_info start = {
        .magic = HVM_START_MAGIC,
        .version = 1,
        .rsdp_paddr = rsdp,
        .memmap_paddr = (uintptr_t)map,
        .memmap_entries = map_entries,
    };

    map_entries = 0;
    pvh_translate(&start, UINT64_MAX, &info);
    if (info.problem != NULL || info.rsdp != rsdp)
        return 0;
    return ram_find(&info, (struct ram_range){1 * MIB, 2 * MIB}, found);
}

static bool is_found(uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < 2; i++)
        if (found[i].start == from && found[i].end == to)
            return true;
    return false;
}

/* RAM ends at 3 GiB and goes on at 4; the piece above comes first. It names no RSDP. */
static size_t firecracker_map(uint64_t bytes)
{
    const uint64_t low = bytes < 3 * GIB ? bytes : 3 * GIB;

    map_add(0, 0x9fc00, BOOT_MEMORY_RAM);
    map_add(0x9fc00, 0xe0000 - 0x9fc00, BOOT_MEMORY_RESERVED); /* MP table, ACPI */
    map_add(0xeec00000, 256 * MIB, BOOT_MEMORY_RESERVED);      /* ECAM */
    if (bytes > low)
        map_add(4 * GIB, bytes - low, BOOT_MEMORY_RAM);
    map_add(1 * MIB, low - 1 * MIB, BOOT_MEMORY_RAM);
    return ranges_of_map(0);
}

static size_t cloud_hypervisor_map(uint64_t bytes)
{
    const uint64_t low = bytes < 3 * GIB ? bytes : 3 * GIB;

    map_add(0, 640 * KIB, BOOT_MEMORY_RAM);
    map_add(1 * MIB, low - 1 * MIB, BOOT_MEMORY_RAM);
    if (bytes > low)
        map_add(4 * GIB, bytes - low, BOOT_MEMORY_RAM);
    map_add(0xe8000000, 256 * MIB, BOOT_MEMORY_RESERVED); /* ECAM */
    return ranges_of_map(0xa0000);
}

TEST(vmm_firecrackers_memory_is_found)
{
    CHECK_EQ(firecracker_map(128 * MIB), 1);
    CHECK(is_found(2 * MIB, 128 * MIB));
    CHECK_EQ(firecracker_map(5 * GIB), 2);
    CHECK(is_found(4 * GIB, 6 * GIB));
    CHECK(is_found(2 * MIB, 3 * GIB));
}

TEST(vmm_cloud_hypervisors_memory_is_found)
{
    CHECK_EQ(cloud_hypervisor_map(512 * MIB), 1);
    CHECK(is_found(2 * MIB, 512 * MIB));
    CHECK_EQ(cloud_hypervisor_map(5 * GIB), 2);
    CHECK(is_found(2 * MIB, 3 * GIB));
    CHECK(is_found(4 * GIB, 6 * GIB));
}

/* ---- ACPI ---- */

/* The end of the first MiB, where both keep their tables. */
#define BASE 0x9f000u
#define END  0x100000u

static uint8_t memory[END - BASE];

static const uint8_t *read_memory(uint64_t address, size_t bytes)
{
    if (address < BASE || address >= END || bytes > END - address)
        return NULL;
    return memory + (address - BASE);
}

static uint8_t *at(uint32_t address)
{
    return memory + (address - BASE);
}

/* An FADT of revision 6, hardware-reduced. */
static void put_fadt(uint32_t address, uint32_t dsdt, uint32_t flags)
{
    at(address)[8] = 6;
    acpi_put(at(address + 112), 1 << 20 | flags, 4);
    acpi_put(at(address + 140), dsdt, 8);
}

/* A generic address in port space. */
static void put_port(uint32_t address, uint16_t port, uint8_t bits)
{
    at(address)[0] = ACPI_SPACE_IO;
    at(address)[1] = bits;
    acpi_put(at(address + 4), port, 8);
}

static struct acpi_facts parse(uint64_t rsdp)
{
    struct acpi_facts facts;

    memset(&facts, 0xff, sizeof facts);
    acpi_parse(read_memory, rsdp, &facts);
    return facts;
}

/* The RSDP is where BIOSes put it; no S5, no fixed register: it goes off by the i8042's reset. */
TEST(vmm_firecrackers_acpi_is_read)
{
    enum { DSDT = 0xa0000, FADT = 0xa1000, MADT = 0xa2000, MCFG = 0xa3000, XSDT = 0xa4000 };

    memset(memory, 0, sizeof memory);
    acpi_seal(at(DSDT), "DSDT", 36 + 500);
    put_fadt(FADT, DSDT, 1 << 4 | 1 << 5);
    acpi_seal(at(FADT), "FACP", 276);
    acpi_seal(at(MADT), "APIC", 64);
    acpi_put(at(MCFG + 44), 0xeec00000, 8); /* with PCI enabled: bus 0 alone */
    acpi_seal(at(MCFG), "MCFG", 60);
    acpi_put(at(XSDT + 36), FADT, 8);
    acpi_put(at(XSDT + 44), MADT, 8);
    acpi_put(at(XSDT + 52), MCFG, 8);
    acpi_seal(at(XSDT), "XSDT", 60);
    acpi_seal_rsdp(at(0xe0000), 2, 0, XSDT);

    const struct acpi_facts facts = parse(0);

    CHECK(facts.found && !facts.has_s5);
    CHECK_EQ(facts.sleep_control.address, 0);
    CHECK_EQ(facts.pm_timer_port, 0);
    CHECK_EQ(facts.pm1a_control_port, 0);
    CHECK(!facts.has_power_button);
    CHECK_EQ(facts.century_register, 0);
    CHECK_EQ(facts.ecam_count, 1);
    CHECK_EQ(facts.ecam[0].address, 0xeec00000);
    CHECK_EQ(facts.ecam[0].bus_last, 0);
}

/* One after the other from the RSDP on. It has no PIT: the timer is what there is to measure by. */
TEST(vmm_cloud_hypervisors_acpi_is_read)
{
    enum { RSDP = 0xa0000, DSDT = 0xa0024, FADT = 0xa1333, MADT = 0xa1447, MCFG = 0xa1500 };
    enum { XSDT = 0xa1600, SEGMENTS = 3 };
    static const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x01, 0x0a, 0x05, 0x5b};

    memset(memory, 0, sizeof memory);
    memcpy(at(DSDT + 4000), s5, sizeof s5);
    acpi_seal(at(DSDT), "DSDT", FADT - DSDT);
    put_fadt(FADT, DSDT, 1 << 10 | 1 << 8);
    acpi_put(at(FADT + 76), 0x608, 4);
    put_port(FADT + 208, 0x608, 32);
    put_port(FADT + 244, 0x600, 8);
    put_port(FADT + 256, 0x600, 8);
    acpi_seal(at(FADT), "FACP", 276);
    acpi_seal(at(MADT), "APIC", 64);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        acpi_put(at(MCFG + 44 + 16 * i), 0xe8000000 + i * MIB, 8);
        acpi_put(at(MCFG + 52 + 16 * i), i, 2);
    }
    acpi_seal(at(MCFG), "MCFG", 44 + 16 * SEGMENTS);
    acpi_put(at(XSDT + 36), FADT, 8);
    acpi_put(at(XSDT + 44), MADT, 8);
    acpi_put(at(XSDT + 52), MCFG, 8);
    acpi_seal(at(XSDT), "XSDT", 60);
    acpi_seal_rsdp(at(RSDP), 2, 0, XSDT);

    const struct acpi_facts facts = parse(RSDP);

    CHECK(facts.found && facts.has_s5);
    CHECK(!facts.has_power_button);
    CHECK_EQ(facts.s5_type_a, 5);
    CHECK_EQ(facts.sleep_control.space, ACPI_SPACE_IO);
    CHECK_EQ(facts.sleep_control.address, 0x600);
    CHECK_EQ(facts.pm_timer_port, 0x608);
    CHECK(facts.pm_timer_32bit);
    CHECK_EQ(facts.ecam_count, SEGMENTS);
    CHECK_EQ(facts.ecam[2].address, 0xe8200000);
    CHECK_EQ(facts.ecam[2].segment, 2);
}

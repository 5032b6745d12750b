/* Where ACPI's tables are read in physical memory: on the host, some of it below 4 GiB. */
#include <sys/mman.h>

#include "kernel/plat/acpi.h"
#include "tests/test.h"
#include "tests/unit/acpi_tables.h"

#define PAGE 0x28000000u

static uint8_t *map_page(void)
{
    static uint8_t *page;

    if (page == NULL)
        page = mmap((void *)(uintptr_t)PAGE, 4096, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return page;
}

/* ACPI 1: a root, and the description of fixed hardware with the DSDT at `dsdt`. */
static bool is_found(uint32_t dsdt)
{
    uint8_t *const page = map_page();

    memset(page, 0, 4096);
    acpi_seal_rsdp(page, 0, PAGE + 0x100, 0);
    acpi_put(page + 0x100 + 36, PAGE + 0x200, 4);
    acpi_seal(page + 0x100, "RSDT", 40);
    acpi_put(page + 0x200 + 40, dsdt, 4);
    acpi_seal(page + 0x200, "FACP", 116);
    acpi_init(PAGE);
    return acpi_get_facts()->found;
}

TEST(acpi_reads_the_machines_own_tables)
{
    CHECK(map_page() == (void *)(uintptr_t)PAGE);
    CHECK(is_found(0));
    CHECK(!acpi_get_facts()->has_s5);
}

TEST(acpi_reads_nothing_in_page_0_nor_beyond_4_gib)
{
    CHECK(map_page() == (void *)(uintptr_t)PAGE);
    CHECK(is_found(4095));
    CHECK(is_found(UINT32_MAX)); /* no header fits there */
    acpi_init(1ULL << 32);
    CHECK(!acpi_get_facts()->found);
    acpi_init(UINT64_MAX);
    CHECK(!acpi_get_facts()->found);
    acpi_init(16);
    CHECK(!acpi_get_facts()->found);
}

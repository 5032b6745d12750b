/* Where ACPI's tables are read in physical memory: on the host, some of it below 4 GiB. */
#include <sys/mman.h>

#include "kernel/acpi.h"
#include "tests/test.h"

#define PAGE 0x28000000u

static uint8_t *map_page(void)
{
    static uint8_t *page;

    if (page == NULL)
        page = mmap((void *)(uintptr_t)PAGE, 4096, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return page;
}

static void seal(uint8_t *bytes, size_t len, size_t sum_at)
{
    bytes[sum_at] = 0;
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + bytes[i]);
    bytes[sum_at] = (uint8_t)-sum;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

static void put_table(uint8_t *at, const char *signature, uint32_t len)
{
    memcpy(at, signature, 4);
    put32(at + 4, len);
    seal(at, len, 9);
}

/* ACPI 1: a root, and the description of fixed hardware with the DSDT at `dsdt`. */
static bool is_found(uint32_t dsdt)
{
    uint8_t *const page = map_page();

    memset(page, 0, 4096);
    memcpy(page, "RSD PTR ", 8);
    put32(page + 16, PAGE + 0x100);
    seal(page, 20, 8);
    put32(page + 0x100 + 36, PAGE + 0x200);
    put_table(page + 0x100, "RSDT", 40);
    put32(page + 0x200 + 40, dsdt);
    put_table(page + 0x200, "FACP", 116);
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

/* ACPI tables made by tests: little-endian fields, and the sums that make bytes a table. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ACPI_HEADER_BYTES 36

static inline void acpi_put(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* Makes the sum of `len` bytes zero by the one at `sum_at`. */
static inline void acpi_fix_sum(uint8_t *at, size_t len, size_t sum_at)
{
    uint8_t sum = 0;

    at[sum_at] = 0;
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + at[i]);
    at[sum_at] = (uint8_t)-sum;
}

static inline void acpi_seal(uint8_t *table, const char *signature, uint32_t len)
{
    memcpy(table, signature, 4);
    acpi_put(table + 4, len, 4);
    acpi_fix_sum(table, len, 9);
}

/* A root pointer at `rsdp`; revision 2 names an XSDT, revision 0 an RSDT. */
static inline void acpi_seal_rsdp(uint8_t *rsdp, uint8_t revision, uint64_t rsdt, uint64_t xsdt)
{
    memcpy(rsdp, "RSD PTR ", 8);
    rsdp[15] = revision;
    acpi_put(rsdp + 16, rsdt, 4);
    acpi_put(rsdp + 20, 36, 4);
    acpi_put(rsdp + 24, xsdt, 8);
    acpi_fix_sum(rsdp, 20, 8);
    acpi_fix_sum(rsdp, 36, 32);
}

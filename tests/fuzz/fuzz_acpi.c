/*
 * The VMM's ACPI tables (kernel/plat/acpi.c) under libFuzzer. The input is what lies at 0xe0000; a
 * first byte of flags says how it is helped: sums are made right, for nothing else gets past the
 * first.
 * Held to be true: nothing is read but what was asked for, and acpi_parse() comes to an end.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/plat/acpi.h"
#include "tests/fuzz/input.h"

#define BASE       0xe0000ull
#define BYTES_MAX  4096
#define READS_MAX  100000 /* more than any walk is bounded by */
#define HEADER     36     /* of a table, with its sum at offset 9 */
#define TABLES_MAX 16

static uint8_t *memory; /* of exactly its size */
static size_t memory_bytes;
static unsigned reads;

/* What is read is a copy of exactly the bytes that were asked for, until the next input. */
static uint8_t *copies[READS_MAX];

static const uint8_t *read_memory(uint64_t address, size_t bytes)
{
    if (address < BASE || address - BASE > memory_bytes || bytes > memory_bytes - (address - BASE))
        return NULL;
    if (reads == READS_MAX)
        abort();
    uint8_t *const copy = malloc(bytes == 0 ? 1 : bytes);
    memcpy(copy, memory + (address - BASE), bytes);
    return copies[reads++] = copy;
}

static void fix_sum(size_t at, size_t len, size_t sum_at)
{
    uint8_t sum = 0;
    if (at > memory_bytes || len > memory_bytes - at || sum_at >= len)
        return;
    memory[at + sum_at] = 0;
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + memory[at + i]);
    memory[at + sum_at] = (uint8_t)-sum;
}

/* Whatever has the signature of a table gets the sum of one. */
static void fix_sums(void)
{
    static const char signatures[][5] = {"RSDT", "XSDT", "FACP", "DSDT", "MCFG", "SSDT"};
    unsigned tables = 0;
    for (size_t at = 0; at + HEADER <= memory_bytes && tables < TABLES_MAX; at += 4)
        for (unsigned i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
            uint32_t len;
            if (memcmp(memory + at, signatures[i], 4) != 0)
                continue;
            memcpy(&len, memory + at + 4, sizeof len);
            fix_sum(at, len, 9);
            tables++;
        }
    fix_sum(0, 20, 8);
    fix_sum(0, 36, 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct acpi_facts facts;
    if (size == 0 || size > BYTES_MAX)
        return 0;
    memory_bytes = size - 1;
    memory = malloc(memory_bytes + 1);
    memcpy(memory, data + 1, memory_bytes);
    if ((data[0] & 1) == 0)
        fix_sums();
    acpi_parse(read_memory, (data[0] & 2) != 0 ? 0 : BASE, &facts);
    for (; reads > 0; reads--)
        free(copies[reads - 1]);
    free(memory);
    return 0;
}

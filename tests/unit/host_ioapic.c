/* The I/O APIC on the host: the source compiled into this file, over registers of ours. */
#define memory_map_device vioapic_memory_map_device
#define sleep_message     vioapic_sleep_message
#define ioapic_route      vioapic_route

#include "kernel/cpu/ioapic.c"

#include <stdbool.h>

#include "tests/test.h"

/* Mere memory: what is shown is the register of the version, whatever was selected. */
static _Alignas(4096) uint32_t page[8];
static unsigned maps;

void *vioapic_memory_map_device(uint64_t address, size_t bytes)
{
    maps += address == 0xfec00000 && bytes >= 0x14;
    return page;
}

struct sleep_message vioapic_sleep_message(void)
{
    return (struct sleep_message){.address = 0xfee05000, .data = 0xf0, .apic_id = 5};
}

static bool routes(unsigned line, uint32_t version)
{
    memset(page, 0, sizeof page);
    page[WINDOW] = version;
    return ioapic_route(line);
}

TEST(ioapic_sends_a_lines_edges_to_the_processor)
{
    registers = NULL;
    maps = 0;
    CHECK(routes(12, 0x170020));
    CHECK_EQ(maps, 1);
    CHECK_EQ(page[SELECT], 0x10 + 2 * 12); /* the last that is written: then it is on */
    CHECK_EQ(page[WINDOW], 0xf0);
    CHECK(routes(23, 0x170020));
    CHECK_EQ(maps, 1);
}

TEST(ioapic_has_no_line_beyond_its_last_or_where_it_is_not)
{
    registers = NULL;
    CHECK(!routes(24, 0x170020));
    CHECK_EQ(page[WINDOW], 0x170020); /* nothing was written */
    CHECK(!routes(UINT32_MAX, 0x170020));
    CHECK(!routes(5, 0));
    CHECK(!routes(5, UINT32_MAX));
}

#include "kernel/cpu/ioapic.h"

#include <stddef.h>
#include <stdint.h>

#include "kernel/mem/memory.h"
#include "kernel/plat/sleep.h"

#define IOAPIC_ADDRESS 0xfec00000u
#define IOAPIC_BYTES   0x20u

/* Which register WINDOW shows is written to SELECT. */
enum { SELECT = 0x00 / 4, WINDOW = 0x10 / 4 };
enum { VERSION = 0x01, REDIRECTION = 0x10 /* two registers for each line */ };

#define VERSION_LINE_MAX_SHIFT 16
#define MASKED                 (1u << 16)
#define DESTINATION_SHIFT      24

static volatile uint32_t *registers;

static uint32_t read_register(uint32_t index)
{
    registers[SELECT] = index;
    return registers[WINDOW];
}

static void write_register(uint32_t index, uint32_t value)
{
    registers[SELECT] = index;
    registers[WINDOW] = value;
}

/* The last line that it has; 0, which is no device's: there is none. */
static unsigned last_line(void)
{
    const uint32_t version = read_register(VERSION);

    return version == UINT32_MAX ? 0 : version >> VERSION_LINE_MAX_SHIFT & 0xff;
}

bool ioapic_route(unsigned line)
{
    const struct sleep_message message = sleep_message();
    const uint32_t entry = REDIRECTION + 2 * line;

    if (registers == NULL)
        registers = memory_map_device(IOAPIC_ADDRESS, IOAPIC_BYTES);
    if (line > last_line())
        return false;
    write_register(entry, MASKED);
    write_register(entry + 1, (uint32_t)message.apic_id << DESTINATION_SHIFT);
    write_register(entry, message.data); /* by edges, to one processor, not masked */
    return true;
}

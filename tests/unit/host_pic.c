/* The interrupt controllers on the host: the source compiled into this file, over ports of ours. */
#include "kernel/cpu/cpu.h"

#define cpu_out8     fake_out8
#define pic_mask_all vpic_mask_all

static void fake_out8(uint16_t port, uint8_t value);

#include "kernel/cpu/pic.c"

#include "tests/test.h"

static uint8_t ports[256];
static unsigned writes;

static void fake_out8(uint16_t port, uint8_t value)
{
    writes++;
    if (port < sizeof ports)
        ports[port] = value;
}

TEST(pic_lets_no_interrupt_through)
{
    pic_mask_all();
    CHECK_EQ(writes, 2);
    CHECK(ports[0x21] == 0xff && ports[0xa1] == 0xff);
}

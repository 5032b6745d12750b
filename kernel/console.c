#include "kernel/console.h"

#include <stdbool.h>

#include "kernel/cpu.h"

/* The 16550's registers. */
enum {
    COM1 = 0x3f8,
    DATA = COM1 + 0,             /* divisor's low byte while LINE_CONTROL_DLAB */
    INTERRUPT_ENABLE = COM1 + 1, /* divisor's high byte while LINE_CONTROL_DLAB */
    FIFO_CONTROL = COM1 + 2,
    LINE_CONTROL = COM1 + 3,
    MODEM_CONTROL = COM1 + 4,
    LINE_STATUS = COM1 + 5,
};

enum {
    FIFO_ENABLE_AND_CLEAR = 0x07,
    LINE_CONTROL_8N1 = 0x03,
    LINE_CONTROL_DLAB = 0x80,
    MODEM_CONTROL_DTR_RTS = 0x03,
    LINE_STATUS_DATA_READY = 0x01,
    LINE_STATUS_FIFO_EMPTY = 0x20, /* THRE: with the FIFO on, all of it is free */
    LINE_STATUS_IDLE = 0x40,
    LINE_STATUS_ABSENT = 0xff, /* what a bus without a device reads */
};

#define DIVISOR_115200 1
#define FIFO_BYTES     16

/* Each poll is a VM exit of 0.2 µs or more: at least 20 ms, and 1.4 ms drain a FIFO at 115200. */
#define POLLS_MAX 100000u

static bool console_present;
static bool console_stalled; /* the last wait ran out: do not wait again until there is room */

void console_init(void)
{
    console_present = cpu_in8(LINE_STATUS) != LINE_STATUS_ABSENT;
    if (!console_present)
        return;
    cpu_out8(INTERRUPT_ENABLE, 0);
    cpu_out8(LINE_CONTROL, LINE_CONTROL_DLAB);
    cpu_out8(DATA, DIVISOR_115200);
    cpu_out8(INTERRUPT_ENABLE, 0);
    cpu_out8(LINE_CONTROL, LINE_CONTROL_8N1);
    cpu_out8(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
    cpu_out8(MODEM_CONTROL, MODEM_CONTROL_DTR_RTS);
}

static bool wait_for(uint8_t status, unsigned polls)
{
    while ((cpu_in8(LINE_STATUS) & status) == 0) {
        if (--polls == 0)
            return false;
        cpu_pause();
    }
    return true;
}

void console_write(const char *bytes, size_t len)
{
    if (!console_present)
        return;
    for (size_t i = 0; i < len; i++) {
        /* One look at the status for each FIFO's worth. */
        if (i % FIFO_BYTES == 0) {
            console_stalled = !wait_for(LINE_STATUS_FIFO_EMPTY, console_stalled ? 1 : POLLS_MAX);
            if (console_stalled)
                return;
        }
        cpu_out8(DATA, (uint8_t)bytes[i]);
    }
}

int console_read(void)
{
    if (!console_present || (cpu_in8(LINE_STATUS) & LINE_STATUS_DATA_READY) == 0)
        return -1;
    return cpu_in8(DATA);
}

void console_flush(void)
{
    if (console_present && !console_stalled)
        (void)wait_for(LINE_STATUS_IDLE, POLLS_MAX);
}

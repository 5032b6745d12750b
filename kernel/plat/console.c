#include "kernel/plat/console.h"

#include "kernel/cpu/cpu.h"

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

#define QUEUE_BYTES    4096u /* all that a boot says, and the list of options */

/* How long a flush may take: TSC cycles, 0.2 s or more. At 115200 the queue drains in 0.36 s. */
#define FLUSH_CYCLES 1000000000ULL

static bool console_present;

/* What was written and the device has not taken yet. Both only grow, and are indexes modulo. */
static char queue[QUEUE_BYTES];
static size_t queue_written, queue_sent;

_Static_assert((QUEUE_BYTES & (QUEUE_BYTES - 1)) == 0, "indexes wrap where size_t does");

void console_init(void)
{
    if (cpu_in8(LINE_STATUS) == LINE_STATUS_ABSENT)
        return;
    cpu_out8(INTERRUPT_ENABLE, 0);
    cpu_out8(LINE_CONTROL, LINE_CONTROL_DLAB);
    cpu_out8(DATA, DIVISOR_115200);
    cpu_out8(INTERRUPT_ENABLE, 0);
    cpu_out8(LINE_CONTROL, LINE_CONTROL_8N1);
    cpu_out8(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
    cpu_out8(MODEM_CONTROL, MODEM_CONTROL_DTR_RTS);
    /* Under KVM an empty port may read as 0, as the status of a stalled console does. */
    console_present = cpu_in8(LINE_CONTROL) == LINE_CONTROL_8N1;
}

static size_t queue_len(void)
{
    return queue_written - queue_sent;
}

/* Sends up to a FIFO's worth, for which there is room, in one go. */
static void send_fifo(void)
{
    const size_t at = queue_sent % QUEUE_BYTES, until_end = QUEUE_BYTES - at;
    size_t len = queue_len() < FIFO_BYTES ? queue_len() : FIFO_BYTES;

    if (len > until_end)
        len = until_end;
    cpu_out8_string(DATA, &queue[at], len);
    queue_sent += len;
}

/* Sends what the device takes without a wait. */
static void drain(void)
{
    while (queue_len() > 0 && (cpu_in8(LINE_STATUS) & LINE_STATUS_FIFO_EMPTY) != 0)
        send_fifo();
}

void console_write(const char *bytes, size_t len)
{
    if (!console_present || len > QUEUE_BYTES - queue_len())
        return;
    for (size_t i = 0; i < len; i++)
        queue[queue_written++ % QUEUE_BYTES] = bytes[i];
    drain();
}

int console_read(void)
{
    drain();
    if (!console_present || (cpu_in8(LINE_STATUS) & LINE_STATUS_DATA_READY) == 0)
        return -1;
    return cpu_in8(DATA);
}

bool console_is_sending(void)
{
    return queue_len() > 0;
}

void console_flush(void)
{
    const uint64_t start = cpu_tsc();

    while (console_present && cpu_tsc() - start < FLUSH_CYCLES) {
        drain();
        if (queue_len() == 0 && (cpu_in8(LINE_STATUS) & LINE_STATUS_IDLE) != 0)
            return;
        cpu_pause();
    }
}

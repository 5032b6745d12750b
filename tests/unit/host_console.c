/* Console and log on the host: the sources compiled into this file, over a UART of ours. */
#include "kernel/cpu/cpu.h"

#define cpu_in8            fake_in8
#define cpu_out8           fake_out8
#define cpu_out8_string    fake_out8_string
#define cpu_tsc            fake_tsc
#define clock_ns           vconsole_clock_ns
#define console_init       vconsole_init
#define console_write      vconsole_write
#define console_read       vconsole_read
#define console_flush      vconsole_flush
#define console_is_sending vconsole_is_sending
#define log_set_level      vconsole_log_set_level
#define log_line           vconsole_log_line

static uint8_t fake_in8(uint16_t port);
static void fake_out8(uint16_t port, uint8_t value);
static void fake_out8_string(uint16_t port, const void *bytes, uint64_t count);
static uint64_t fake_tsc(void);

#include "kernel/plat/console.c"
#include "kernel/plat/log.c"

#include <string.h>

#include "tests/test.h"

static struct {
    bool absent, stalled;
    uint8_t absent_reads; /* what a port without a device reads as */
    uint8_t typed;        /* 0: nothing */
    unsigned fifo;        /* bytes in it that were not sent */
    unsigned sent_a_look; /* so many go with each look at the status */
    unsigned overruns, polls;
    uint8_t registers[8];
    char out[QUEUE_BYTES + 64];
    size_t out_len;
    uint64_t now_ns, tsc;
} uart;

static uint64_t fake_tsc(void)
{
    return uart.tsc += FLUSH_CYCLES / 100;
}

static uint8_t fake_in8(uint16_t port)
{
    if (uart.absent)
        return uart.absent_reads;
    if (port == DATA) {
        const uint8_t typed = uart.typed;
        uart.typed = 0;
        return typed;
    }
    if (port != LINE_STATUS)
        return uart.registers[port - COM1];
    uart.polls++;
    if (!uart.stalled)
        uart.fifo -= uart.fifo < uart.sent_a_look ? uart.fifo : uart.sent_a_look;
    return (uint8_t)((uart.typed != 0 ? LINE_STATUS_DATA_READY : 0) |
                     (uart.fifo == 0 ? LINE_STATUS_FIFO_EMPTY | LINE_STATUS_IDLE : 0));
}

static void fake_out8(uint16_t port, uint8_t value)
{
    const bool to_divisor = (uart.registers[LINE_CONTROL - COM1] & LINE_CONTROL_DLAB) != 0;

    if (port != DATA || to_divisor) {
        uart.registers[port - COM1] = value;
        return;
    }
    if (++uart.fifo > FIFO_BYTES)
        uart.overruns++;
    if (uart.out_len < sizeof uart.out - 1)
        uart.out[uart.out_len++] = (char)value;
}

/* Ring 0 takes a FIFO's worth at once. */
static void fake_out8_string(uint16_t port, const void *bytes, uint64_t count)
{
    uart.overruns += count > FIFO_BYTES;
    for (uint64_t i = 0; i < count; i++)
        fake_out8(port, ((const uint8_t *)bytes)[i]);
}

uint64_t vconsole_clock_ns(void)
{
    return uart.now_ns;
}

static void plug_in(void)
{
    memset(&uart, 0, sizeof uart);
    uart.sent_a_look = FIFO_BYTES;
    console_present = false;
    queue_written = queue_sent = 0;
    log_set_level(LOG_INFO);
    console_init();
    uart.polls = 0;
}

static bool has_printed(const char *text)
{
    const bool same = uart.out_len == strlen(text) && memcmp(uart.out, text, uart.out_len) == 0;
    memset(uart.out, 0, sizeof uart.out);
    uart.out_len = 0;
    return same;
}

TEST(console_runs_at_115200_8n1_without_interrupts)
{
    plug_in();
    CHECK_EQ(uart.registers[0], DIVISOR_115200);
    CHECK_EQ(uart.registers[LINE_CONTROL - COM1], LINE_CONTROL_8N1);
    CHECK_EQ(uart.registers[INTERRUPT_ENABLE - COM1], 0);
    CHECK(has_printed(""));
}

TEST(console_fills_the_fifo_and_never_overruns_it)
{
    static const char text[] = "exactly sixteen!and sixteen moreand an end";

    plug_in();
    for (size_t len = 0; len < sizeof text; len++) {
        char part[sizeof text] = "";
        memcpy(part, text, len);
        console_write(text, len);
        CHECK(has_printed(part));
    }
    console_flush();
    CHECK_EQ(uart.fifo, 0);
    CHECK_EQ(uart.overruns, 0);
}

TEST(console_looks_at_the_status_once_for_each_fifos_worth)
{
    plug_in();
    console_write("0123456789abcdef0123456789abcdef0", 33);
    CHECK(has_printed("0123456789abcdef0123456789abcdef0"));
    CHECK_EQ(uart.polls, 3);
    uart.polls = 0;
    CHECK_EQ(console_read(), -1); /* nothing is queued: one look */
    CHECK_EQ(uart.polls, 1);
}

TEST(console_that_is_slow_or_stuck_is_never_waited_for)
{
    plug_in();
    uart.stalled = true;
    console_write("0123456789abcdef", 16);
    uart.polls = 0;
    console_write("queued", 6);
    console_write(", too", 5);
    CHECK(has_printed("0123456789abcdef"));
    CHECK_EQ(uart.polls, 2);
    CHECK_EQ(console_read(), -1);
    CHECK(has_printed(""));
    uart.stalled = false; /* and goes on when it reads again, without anything to write */
    uart.sent_a_look = 1;
    for (unsigned looks = 0; looks < 16; looks++)
        CHECK_EQ(console_read(), -1);
    CHECK(has_printed("queued, too"));
    CHECK_EQ(uart.overruns, 0);
}

TEST(console_says_without_a_look_whether_something_is_queued)
{
    plug_in();
    CHECK(!console_is_sending());
    console_write("0123456789abcdef", 16);
    CHECK(!console_is_sending());
    uart.stalled = true;
    console_write("queued", 6);
    uart.polls = 0;
    CHECK(console_is_sending());
    CHECK_EQ(uart.polls, 0);
    uart.stalled = false;
    CHECK_EQ(console_read(), -1);
    CHECK(!console_is_sending());
}

TEST(console_that_is_stuck_for_long_loses_whole_lines)
{
    static char line[1000], rest[1000];

    plug_in();
    memset(line, 'x', sizeof line);
    uart.stalled = true;
    console_write("0123456789abcdef", 16);
    CHECK(has_printed("0123456789abcdef"));
    for (unsigned i = 0; i < 4; i++)
        console_write(line, sizeof line);
    console_write(line, QUEUE_BYTES - 4 * sizeof line + 1); /* lost: a byte too long */
    console_write("fits\n", 5);
    uart.stalled = false;
    console_flush();
    CHECK_EQ(uart.out_len, 4 * sizeof line + 5);
    CHECK(memcmp(uart.out + 4 * sizeof line, "fits\n", 5) == 0);
    uart.out_len = 0;
    for (unsigned i = 0; i < 50; i++) { /* around the end of the queue, many times */
        memset(rest, 'a' + (int)i % 26, sizeof rest);
        console_write(rest, sizeof rest - i);
        CHECK_EQ(uart.out_len, sizeof rest - i);
        CHECK(memcmp(uart.out, rest, uart.out_len) == 0);
        uart.out_len = 0;
    }
    CHECK_EQ(uart.overruns, 0);
}

TEST(console_is_flushed_to_the_last_byte_but_not_for_ever)
{
    plug_in();
    uart.sent_a_look = 1;
    console_write("0123456789abcdef and some more", 30);
    console_flush();
    CHECK(has_printed("0123456789abcdef and some more"));
    CHECK_EQ(uart.fifo, 0);
    uart.stalled = true;
    console_write("0123456789abcdef0", 17);
    const uint64_t start = uart.tsc;
    console_flush();
    CHECK(has_printed("0123456789abcdef"));
    CHECK(uart.tsc - start >= FLUSH_CYCLES && uart.tsc - start < 2 * FLUSH_CYCLES);
}

/* QEMU's bus reads as all ones where nobody answers; under KVM, it may be zeros. */
TEST(console_that_is_not_there_costs_nothing)
{
    static const uint8_t reads[] = {0xff, 0x00};

    for (unsigned i = 0; i < 2; i++) {
        plug_in();
        uart.absent = true;
        uart.absent_reads = reads[i];
        console_present = false;
        console_init();
        console_write("lost", 4);
        console_flush();
        CHECK_EQ(console_read(), -1);
        CHECK_EQ(queue_len(), 0);
        CHECK_EQ(uart.polls, 0);
    }
}

TEST(console_reads_what_is_typed)
{
    plug_in();
    CHECK_EQ(console_read(), -1);
    uart.typed = 3;
    CHECK_EQ(console_read(), 3);
    CHECK_EQ(console_read(), -1);
}

/* ---- the log ---- */

TEST(log_lines_have_time_level_and_subsystem)
{
    plug_in();
    uart.now_ns = 12003456789;
    log_warn("net", "%u of %s", 2, "those");
    CHECK(has_printed("[   12.003456] warn  net     2 of those\n"));
    log_error("longer than room", "x");
    CHECK(has_printed("[   12.003456] error longer than room x\n"));
}

TEST(log_drops_what_is_above_its_level)
{
    plug_in();
    log_debug("a", "b");
    CHECK(has_printed(""));
    log_set_level(LOG_DEBUG);
    log_debug("a", "b");
    CHECK(has_printed("[    0.000000] debug a       b\n"));
    log_set_level(LOG_ERROR);
    log_warn("a", "b");
    CHECK(has_printed(""));
}

TEST(log_lines_are_cut_and_their_control_bytes_masked)
{
    static char text[LOG_LINE_BYTES_MAX + 10], want[LOG_LINE_BYTES_MAX + 40];

    plug_in();
    log_info("a", "%s", "\x1b[2J\r\n\x7f \xc3\xa9");
    CHECK(has_printed("[    0.000000] info  a       ?[2J??? \xc3\xa9\n"));
    for (size_t len = LOG_LINE_BYTES_MAX - 1; len < sizeof text; len++) {
        memset(text, 'x', len);
        text[len] = '\0';
        log_info("a", "%s", text);
        (void)strcpy(want, "[    0.000000] info  a       ");
        (void)strncat(want, text, LOG_LINE_BYTES_MAX);
        (void)strcat(want, "\n");
        CHECK(has_printed(want));
    }
    /* Text that the C library cannot print is left out. */
    log_info("a", "%ls", L"\xffffff");
    CHECK(has_printed("[    0.000000] info  a       \n"));
    /* A subsystem without end takes no more than its own room. */
    memset(text, 's', sizeof text - 1);
    log_info(text, "x");
    (void)strcpy(want, "[    0.000000] info  ");
    (void)strncat(want, text, 63 - strlen(want));
    (void)strcat(want, "x\n");
    CHECK(has_printed(want));
}

#include "kernel/plat/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "kernel/plat/console.h"
#include "kernel/time/clock.h"

static enum log_level log_level_max = LOG_INFO;

void log_set_level(enum log_level level)
{
    log_level_max = level;
}

/* One byte a character on any terminal, whatever a peer managed to get into the text. */
static void mask_controls(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7f)
            text[i] = '?';
    }
}

/* What snprintf() says it would have written, against the room there was. */
static size_t length_written(int wanted, size_t room)
{
    if (wanted < 0)
        return 0;
    return (size_t)wanted < room ? (size_t)wanted : room - 1;
}

void log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[64 + LOG_LINE_BYTES_MAX + 1];
    va_list arguments;

    if (level > log_level_max)
        return;

    const uint64_t now_us = clock_ns() / 1000;
    size_t len = length_written(
        snprintf(line, 64, "[%5lu.%06lu] %-5s %-7s ", (unsigned long)(now_us / 1000000),
                 (unsigned long)(now_us % 1000000), names[level], subsystem),
        64);

    va_start(arguments, format);
    len += length_written(vsnprintf(line + len, LOG_LINE_BYTES_MAX + 1, format, arguments),
                          LOG_LINE_BYTES_MAX + 1);
    va_end(arguments);

    mask_controls(line, len);
    line[len++] = '\n';
    console_write(line, len);
}

#include "tests/sim/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static void need(const struct bytes *bytes, size_t len)
{
    SIM_CHECK(len <= BYTES_ROOM - bytes->len, "too long a request for the simulator");
}

void bytes_put(struct bytes *bytes, const void *more, size_t len)
{
    need(bytes, len);
    memcpy(bytes->at + bytes->len, more, len);
    bytes->len += len;
}

void bytes_text(struct bytes *bytes, const char *text)
{
    bytes_put(bytes, text, strlen(text));
}

void bytes_fill(struct bytes *bytes, uint8_t byte, size_t count)
{
    need(bytes, count);
    memset(bytes->at + bytes->len, byte, count);
    bytes->len += count;
}

void bytes_format(struct bytes *bytes, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    const int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    SIM_CHECK(len >= 0 && (size_t)len < sizeof text, "too long a text for the simulator");
    bytes_put(bytes, text, (size_t)len);
}

/* A run of bytes being put together; room for the longest request there is, and no check beyond. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BYTES_ROOM 262144

struct bytes {
    size_t len;
    uint8_t at[BYTES_ROOM];
};

void bytes_put(struct bytes *bytes, const void *more, size_t len);
void bytes_text(struct bytes *bytes, const char *text);
void bytes_fill(struct bytes *bytes, uint8_t byte, size_t count);
void bytes_format(struct bytes *bytes, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

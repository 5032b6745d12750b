/*
 * The console: COM1, a 16550 at 0x3f8, 115200 8N1, polled. Every VMM has one.
 *
 * Lines end in a bare '\n'. A console that is absent swallows what is written; one whose reader
 * has stalled costs a bounded wait once, then what does not fit is lost until it reads again.
 */
#pragma once

#include <stddef.h>

void console_init(void);

void console_write(const char *bytes, size_t len);

/*
 * The next byte that came in (0 to 255), or -1. An access to the device, hence a VM exit: call it
 * some tens of times a second, not in every turn of a loop.
 */
int console_read(void);

/* Waits, not for ever, until the last byte written has left. */
void console_flush(void);

/*
 * The console: COM1, a 16550 at 0x3f8, 115200 8N1, polled. Every VMM has one.
 *
 * Lines end in a bare '\n'. Nobody waits for the console: what the device does not take at once is
 * queued, and goes on its way when there is something else to write, and at each console_read(). A
 * console that is absent swallows what is written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

void console_init(void);

/* When the queue has no room for all of it, because the reader has stalled, all of it is lost. */
void console_write(const char *bytes, size_t len);

/*
 * The next byte that came in (0 to 255), or -1. An access to the device, hence a VM exit: call it
 * some tens of times a second while there is nothing else to do, not in every turn of a loop.
 */
int console_read(void);

/* True while the queue holds something that the device has not taken. No access to the device. */
bool console_is_sending(void);

/* Waits until the last byte written has left; up to about a second if the reader has stalled. */
void console_flush(void);

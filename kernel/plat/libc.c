/*
 * What picolibc asks of the machine beneath it: three streams on the console, a way out, random
 * bytes, the stack protector's two symbols. No sbrk(): whoever calls malloc() fails to link.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel/cpu/panic.h"
#include "kernel/plat/console.h"
#include "kernel/plat/entropy.h"
#include "kernel/plat/power.h"

/* libc.a refers to these names, partly from code that the compiler calls only after link-time
   optimisation has decided what is needed. */
#define FOR_LIBC __attribute__((used))

/* ---- streams ---- */

#define STREAM_BYTES 128

static char stream_bytes[STREAM_BYTES];
static size_t stream_len;

static int stream_flush(FILE *stream)
{
    (void)stream;
    console_write(stream_bytes, stream_len);
    stream_len = 0;
    return 0;
}

/* Buffered by the line: the console moves a run of bytes with fewer VM exits than single ones. */
static int stream_put(char c, FILE *stream)
{
    stream_bytes[stream_len++] = c;
    if (c == '\n' || stream_len == sizeof stream_bytes)
        (void)stream_flush(stream);
    return (unsigned char)c;
}

static int stream_get(FILE *stream)
{
    (void)stream;
    return _FDEV_EOF;
}

static FILE console_stream =
    FDEV_SETUP_STREAM(stream_put, stream_get, stream_flush, _FDEV_SETUP_RW);

FOR_LIBC FILE *const stdin = &console_stream;
FOR_LIBC FILE *const stdout = &console_stream;
FOR_LIBC FILE *const stderr = &console_stream;

/* ---- the end ---- */

FOR_LIBC void _exit(int status)
{
    (void)stream_flush(stdout);
    power_off(status);
}

FOR_LIBC void abort(void)
{
    panic("abort() was called");
}

FOR_LIBC void __assert_func(const char *file, int line, const char *function,
                            const char *expression)
{
    panic("assertion failed: %s, %s:%d, %s()", expression, file, line,
          function != NULL ? function : "?");
}

/* ---- random bytes ---- */

FOR_LIBC int getentropy(void *bytes, size_t len)
{
    const size_t len_max = 256; /* POSIX: GETENTROPY_MAX */

    if (len > len_max) {
        errno = EIO;
        return -1;
    }
    entropy_fill(bytes, len);
    return 0;
}

/* ---- the stack protector (-mstack-protector-guard=global) ---- */

/* Set by kernel_start(). */
FOR_LIBC uintptr_t __stack_chk_guard;

FOR_LIBC __attribute__((noreturn)) void __stack_chk_fail(void);

void __stack_chk_fail(void)
{
    panic("a stack frame was overwritten (__stack_chk_fail)");
}

#include "kernel/virtio/virtio_mmio_windows.h"

struct mmio_window mmio_windows[MMIO_WINDOWS_MAX];
size_t mmio_window_count;

/* Reads digits, decimal or after 0x, from *at, and stands *at behind them. */
static bool parse_number(const char **at, uint64_t *number)
{
    const bool hex = (*at)[0] == '0' && (*at)[1] == 'x';
    const uint64_t base = hex ? 16 : 10;
    const char *const start = *at += hex ? 2 : 0;
    uint64_t value = 0;

    for (;; ++*at) {
        const char c = **at;
        uint64_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint64_t)(c - '0');
        else if (hex && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            digit = (uint64_t)((c | 0x20) - 'a' + 10);
        else
            break;
        if (value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *number = value;
    return *at != start;
}

bool virtio_mmio_parse(const char *text, void *target)
{
    uint64_t bytes, base, line, unused;
    const char *at = text;

    (void)target;
    if (!parse_number(&at, &bytes))
        return false;
    if (*at == 'K') {
        bytes = bytes > UINT32_MAX ? 0 : bytes * 1024;
        at++;
    }
    if (*at++ != '@' || !parse_number(&at, &base) || *at++ != ':' || !parse_number(&at, &line))
        return false;
    if (*at == ':') {
        at++;
        if (!parse_number(&at, &unused))
            return false;
    }
    if (*at != '\0' || bytes < MMIO_WINDOW_BYTES_MIN || bytes > UINT32_MAX || base == 0 ||
        base % 4 != 0 || base > UINT64_MAX - bytes || mmio_window_count == MMIO_WINDOWS_MAX)
        return false;
    mmio_windows[mmio_window_count++] =
        (struct mmio_window){base, bytes, line < MMIO_NO_LINE ? (unsigned)line : MMIO_NO_LINE};
    return true;
}

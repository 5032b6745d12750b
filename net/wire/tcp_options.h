/* Options of a TCP header (RFC 9293 section 3.1): how one goes through them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TCP_OPTION_END       0
#define TCP_OPTION_NOP       1
#define TCP_OPTION_MSS       2
#define TCP_OPTION_MSS_BYTES 4

/*
 * How long the option is that begins at options[0], of `len` bytes (not 0) that are left. 0: it is
 * the end of the list, or is not whole. All but the two of one byte have a length of at least 2.
 */
static inline size_t tcp_option_bytes(const uint8_t *options, size_t len)
{
    if (options[0] == TCP_OPTION_END)
        return 0;
    if (options[0] == TCP_OPTION_NOP)
        return 1;
    return len < 2 || options[1] < 2 || options[1] > len ? 0 : options[1];
}

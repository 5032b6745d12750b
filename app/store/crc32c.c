/*
 * Slicing by 8 (Kounavis and Berry 2008): eight tables turn eight bytes into eight loads that do
 * not wait for each other. That is some 14,000 instructions for 4 KiB; the CRC32 instruction of
 * SSE4.2 would take a tenth of them, and is not on every processor that the image runs on.
 */
#include "app/store/crc32c.h"

#include "kernel/lib/bytes.h"

#define POLYNOMIAL 0x82f63b78u
#define SLICES     8

/* table[n][b]: the CRC of byte b with n bytes of zeros behind it. */
static uint32_t table[SLICES][256];

static void fill_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (POLYNOMIAL & -(crc & 1));
        table[0][byte] = crc;
    }
    for (unsigned slice = 1; slice < SLICES; slice++)
        for (unsigned byte = 0; byte < 256; byte++) {
            const uint32_t crc = table[slice - 1][byte];
            table[slice][byte] = crc >> 8 ^ table[0][crc & 0xff];
        }
}

static uint32_t slice_low(uint32_t word, unsigned slice)
{
    return table[slice][word & 0xff] ^ table[slice - 1][word >> 8 & 0xff] ^
           table[slice - 2][word >> 16 & 0xff] ^ table[slice - 3][word >> 24];
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    if (table[0][1] == 0)
        fill_table();

    const uint8_t *at = bytes;
    crc = ~crc;
    for (; len >= SLICES; at += SLICES, len -= SLICES)
        crc = slice_low(crc ^ bytes_load32(at), 7) ^ slice_low(bytes_load32(at + 4), 3);
    for (; len > 0; at++, len--)
        crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xff];
    return ~crc;
}

/*
 * Slicing by 8 (Kounavis and Berry 2008): eight tables turn eight bytes into eight loads that do
 * not wait for each other. That is some 14,000 instructions for 4 KiB; the CRC32 instruction of
 * SSE4.2 would take a tenth of them, and is not on every processor that the image runs on.
 *
 * A slot is mostly zeros. A run of them changes the CRC by a linear map, for which there are tables
 * as well: four loads for 64 bytes.
 */
#include "app/store/crc32c.h"

#include "kernel/lib/bytes.h"

#define POLYNOMIAL 0x82f63b78u
#define SLICES     8
#define RUN_BYTES  64u

/* table[n][b]: the CRC of byte b with n bytes of zeros behind it. */
static uint32_t table[SLICES][256];

/* run[n][b]: what becomes of byte b of a CRC, the nth, by RUN_BYTES of zeros. */
static uint32_t run[4][256];

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
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t crc = 1u << bit;
        for (unsigned i = 0; i < RUN_BYTES; i++)
            crc = crc >> 8 ^ table[0][crc & 0xff];
        /* Of a byte with this bit as its highest: what the bits below it become, and this one. */
        const unsigned highest = 1u << bit % 8;
        for (unsigned below = 0; below < highest; below++)
            run[bit / 8][highest | below] = run[bit / 8][below] ^ crc;
    }
}

static uint32_t slice_low(uint32_t word, unsigned slice)
{
    return table[slice][word & 0xff] ^ table[slice - 1][word >> 8 & 0xff] ^
           table[slice - 2][word >> 16 & 0xff] ^ table[slice - 3][word >> 24];
}

static bool is_run(const uint8_t *bytes)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < RUN_BYTES; i += sizeof any)
        any |= bytes_load64(bytes + i);
    return any == 0;
}

static uint32_t skip_run(uint32_t crc)
{
    return run[0][crc & 0xff] ^ run[1][crc >> 8 & 0xff] ^ run[2][crc >> 16 & 0xff] ^
           run[3][crc >> 24];
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    if (table[0][1] == 0)
        fill_table();

    const uint8_t *at = bytes;
    crc = ~crc;
    while (len >= SLICES) {
        const uint64_t word = bytes_load64(at);
        const bool skips = word == 0 && len >= RUN_BYTES && is_run(at);
        const unsigned taken = skips ? RUN_BYTES : SLICES;
        crc = skips ? skip_run(crc)
                    : slice_low(crc ^ (uint32_t)word, 7) ^ slice_low((uint32_t)(word >> 32), 3);
        at += taken;
        len -= taken;
    }
    for (; len > 0; at++, len--)
        crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xff];
    return ~crc;
}

#include "app/store/gpt.h"

#include <stdbool.h>
#include <string.h>

#include "app/store/format.h"
#include "kernel/blockdev.h"
#include "kernel/lib/bytes.h"

#define TYPE_BYTES      16
#define HEADER_BYTES    92
#define HEADER_CRC_AT   16
#define ENTRY_BYTES_MIN 128
#define ENTRIES_BYTES   (32u << 10) /* twice what everybody makes: 128 entries of 128 bytes */
#define POLYNOMIAL      0xedb88320u /* CRC-32 of ISO-HDLC, not the one of crc32c.h */

struct table {
    uint64_t entries_lba;
    uint32_t count, entry_bytes, entries_crc;
};

static uint8_t block[FORMAT_BLOCK_BYTES_MAX];
static uint8_t entries[ENTRIES_BYTES + FORMAT_BLOCK_BYTES_MAX];

static uint32_t crc32(const uint8_t *bytes, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (POLYNOMIAL & -(crc & 1));
    }
    return ~crc;
}

/* Reads the header at this logical block. False: there is none that is whole. */
static bool read_header(struct blocking *disk, uint64_t lba, uint32_t lba_bytes,
                        struct table *table)
{
    if (!blocking_read(disk, lba * (lba_bytes / FORMAT_SECTOR_BYTES), block, lba_bytes) ||
        memcmp(block, "EFI PART", 8) != 0)
        return false;
    const uint32_t header_bytes = bytes_load32(block + 12);
    const uint32_t crc = bytes_load32(block + HEADER_CRC_AT);
    if (header_bytes < HEADER_BYTES || header_bytes > lba_bytes)
        return false;
    memset(block + HEADER_CRC_AT, 0, sizeof crc);
    if (crc32(block, header_bytes) != crc || bytes_load64(block + 24) != lba)
        return false;
    *table = (struct table){
        .entries_lba = bytes_load64(block + 72),
        .count = bytes_load32(block + 80),
        .entry_bytes = bytes_load32(block + 84),
        .entries_crc = bytes_load32(block + 88),
    };
    return true;
}

static bool read_entries(struct blocking *disk, uint64_t lbas, uint32_t lba_bytes,
                         const struct table *table)
{
    if (table->entry_bytes < ENTRY_BYTES_MIN || table->entry_bytes > ENTRIES_BYTES ||
        table->count > ENTRIES_BYTES / table->entry_bytes)
        return false;
    const uint32_t len = table->count * table->entry_bytes;
    const uint32_t blocks = (len + lba_bytes - 1) / lba_bytes;
    return blocks != 0 && table->entries_lba < lbas && blocks <= lbas - table->entries_lba &&
           blocking_read(disk, table->entries_lba * (lba_bytes / FORMAT_SECTOR_BYTES), entries,
                         blocks * lba_bytes) &&
           crc32(entries, len) == table->entries_crc;
}

static enum gpt_found search(uint64_t lbas, uint32_t lba_bytes, const struct table *table,
                             struct gpt_partition *partition)
{
    static const uint8_t type[TYPE_BYTES] = GPT_TYPE;
    enum gpt_found found = GPT_NONE;
    for (uint32_t i = 0; i < table->count; i++) {
        const uint8_t *const entry = entries + i * table->entry_bytes;
        const uint64_t first = bytes_load64(entry + 32), last = bytes_load64(entry + 40);
        if (memcmp(entry, type, sizeof type) != 0 || first > last || last >= lbas)
            continue;
        if (found != GPT_NONE)
            return GPT_SEVERAL;
        found = GPT_FOUND;
        partition->first_sector = first * (lba_bytes / FORMAT_SECTOR_BYTES);
        partition->sectors = (last - first + 1) * (lba_bytes / FORMAT_SECTOR_BYTES);
    }
    return found;
}

enum gpt_found gpt_find(struct blocking *disk, uint64_t sectors, struct gpt_partition *partition)
{
    const uint32_t lba_bytes = blockdev_get_info(disk->device)->logical_block_bytes;
    const uint64_t lbas = sectors / (lba_bytes / FORMAT_SECTOR_BYTES);
    const uint64_t headers[] = {1, lbas - 1};
    for (unsigned i = 0; i < 2; i++) {
        struct table table;
        if (read_header(disk, headers[i], lba_bytes, &table) &&
            read_entries(disk, lbas, lba_bytes, &table))
            return search(lbas, lba_bytes, &table, partition);
    }
    return GPT_NONE;
}

/*
 * The GUID Partition Table (UEFI 2.10, section 5.3), as far as one question needs it: where on this
 * disk is the partition that is Tally's?
 */
#pragma once

#include <stdint.h>

#include "app/store/blocking.h"

/* The partition's type, 7a5c2e34-9f1b-4d0e-8b6a-54616c6c7901, as it stands in an entry. */
#define GPT_TYPE                                                                                   \
    {                                                                                              \
        0x34, 0x2e, 0x5c, 0x7a, 0x1b, 0x9f, 0x0e, 0x4d, 0x8b, 0x6a, 0x54, 0x61, 0x6c, 0x6c, 0x79,  \
            0x01                                                                                   \
    }

enum gpt_found {
    GPT_NONE,    /* there is no partition of this type, or no table that is whole */
    GPT_FOUND,   /* there is one */
    GPT_SEVERAL, /* there are more */
};

struct gpt_partition {
    uint64_t first_sector, sectors; /* of 512 bytes */
};

/*
 * `sectors`: of the disk. The second table, at its end, is looked at if the first is not whole: its
 * CRCs decide, of the header and of the entries. A partition that is not within the disk is none.
 */
enum gpt_found gpt_find(struct blocking *disk, uint64_t sectors, struct gpt_partition *partition);

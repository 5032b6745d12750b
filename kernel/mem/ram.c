#include "kernel/mem/ram.h"

#include <stdbool.h>

static const struct ram_range first_mib = {0, 1 << 20};

struct ram_list {
    struct ram_range *ranges;
    size_t count;
};

static uint64_t range_bytes(struct ram_range range)
{
    return range.end - range.start;
}

/* The entry as a range: outwards to whole pages, or inwards. False if nothing is left. */
static bool entry_range(const struct boot_memory *entry, bool outwards, struct ram_range *range)
{
    const uint64_t mask = RAM_PAGE_BYTES - 1;
    const uint64_t start = entry->address;

    if (start >= RAM_ADDRESS_END || entry->bytes == 0)
        return false;

    const uint64_t end =
        entry->bytes > RAM_ADDRESS_END - start ? RAM_ADDRESS_END : start + entry->bytes;

    range->start = outwards ? start & ~mask : (start + mask) & ~mask;
    range->end = outwards ? (end + mask) & ~mask : end & ~mask;
    return range->start < range->end;
}

/* When the list is full the smallest piece gives way. */
static void list_add(struct ram_list *list, struct ram_range range)
{
    if (list->count < RAM_RANGES_MAX) {
        list->ranges[list->count++] = range;
        return;
    }

    size_t smallest = 0;

    for (size_t i = 1; i < list->count; i++) {
        if (range_bytes(list->ranges[i]) < range_bytes(list->ranges[smallest]))
            smallest = i;
    }
    if (range_bytes(list->ranges[smallest]) < range_bytes(range))
        list->ranges[smallest] = range;
}

/* Cuts `hole` out of every range. A piece split off goes to the end: it does not meet the hole. */
static void list_cut(struct ram_list *list, struct ram_range hole)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct ram_range range = list->ranges[i];

        if (hole.end <= range.start || range.end <= hole.start)
            continue;

        const struct ram_range below = {range.start, hole.start};
        const struct ram_range above = {hole.end, range.end};
        const bool keep_below = range.start < hole.start, keep_above = hole.end < range.end;

        if (keep_below) {
            list->ranges[i] = below;
            if (keep_above)
                list_add(list, above);
        } else if (keep_above) {
            list->ranges[i] = above;
        } else {
            list->ranges[i--] = list->ranges[--list->count];
        }
    }
}

size_t ram_find(const struct boot_info *info, struct ram_range image,
                struct ram_range ranges[RAM_RANGES_MAX])
{
    struct ram_list list = {ranges, 0};
    struct ram_range range;

    for (size_t i = 0; i < info->memory_count; i++) {
        if (info->memory[i].kind == BOOT_MEMORY_RAM &&
            entry_range(&info->memory[i], false, &range)) {
            list_cut(&list, range); /* the same RAM named twice counts once */
            list_add(&list, range);
        }
    }
    for (size_t i = 0; i < info->memory_count; i++) {
        if (info->memory[i].kind != BOOT_MEMORY_RAM && entry_range(&info->memory[i], true, &range))
            list_cut(&list, range);
    }
    list_cut(&list, first_mib);
    list_cut(&list, image);
    return list.count;
}

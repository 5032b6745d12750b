/* The VMM's hvm_start_info into struct boot_info. */
#include "boot/pvh.h"

#include <stdbool.h>

static bool is_mapped(uint64_t address, size_t bytes, uint64_t mapped_end)
{
    return address < mapped_end && bytes <= mapped_end - address;
}

static void copy_command_line(uint64_t address, uint64_t mapped_end, struct boot_info *info)
{
    const char *const text = (const char *)(uintptr_t)address;

    for (size_t i = 0; i < BOOT_COMMAND_LINE_BYTES_MAX; i++) {
        if (!is_mapped(address, i + 1, mapped_end)) {
            info->command_line[0] = '\0';
            info->problem = "the VMM's command line is not below 4 GiB";
            return;
        }
        info->command_line[i] = text[i];
        if (text[i] == '\0')
            return;
    }
    info->command_line[0] = '\0';
    info->problem = "the command line is longer than 2,047 bytes";
}

static void copy_memory_map(const struct hvm_start_info *start, uint64_t mapped_end,
                            struct boot_info *info)
{
    if (start->version < 1 || start->memmap_paddr == 0 || start->memmap_entries == 0) {
        info->problem = "the VMM handed over no memory map (PVH version 1 has one)";
        return;
    }
    /* Half a map is worse than none: what is left out may reserve what is kept. */
    if (start->memmap_entries > BOOT_MEMORY_MAX) {
        info->problem = "the VMM's memory map has more than 64 entries";
        return;
    }

    if (!is_mapped(start->memmap_paddr,
                   start->memmap_entries * sizeof(struct hvm_memmap_table_entry), mapped_end)) {
        info->problem = "the VMM's memory map is not below 4 GiB";
        return;
    }

    const struct hvm_memmap_table_entry *const map =
        (const struct hvm_memmap_table_entry *)(uintptr_t)start->memmap_paddr;

    for (size_t i = 0; i < start->memmap_entries; i++) {
        info->memory[i].address = map[i].addr;
        info->memory[i].bytes = map[i].size;
        info->memory[i].kind = map[i].type;
    }
    info->memory_count = start->memmap_entries;
}

void pvh_translate(const struct hvm_start_info *start, uint64_t mapped_end, struct boot_info *info)
{
    info->rsdp = 0;
    info->problem = NULL;
    info->memory_count = 0;
    info->command_line[0] = '\0';

    if (start == NULL || !is_mapped((uintptr_t)start, sizeof *start, mapped_end) ||
        start->magic != HVM_START_MAGIC) {
        info->problem = "this was not booted by the PVH protocol (no hvm_start_info in EBX)";
        return;
    }
    info->rsdp = start->rsdp_paddr;
    copy_memory_map(start, mapped_end, info);
    if (start->cmdline_paddr != 0)
        copy_command_line(start->cmdline_paddr, mapped_end, info);
}

#include "tests/vhost/guest_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    uint32_t count;
    struct guest_mapping {
        struct guest_region region;
        uint8_t *bytes; /* where region.guest_address is */
        void *map;
        size_t map_bytes;
    } mapping[GUEST_MEMORY_REGIONS_MAX];
} guest;

/* Maps from the start of the file, since file_offset need not lie on a page. */
static bool map_region(struct guest_mapping *mapping, const struct guest_region *region, int file,
                       const char **why)
{
    struct stat status;
    uint64_t end, ignored;

    if (region->bytes == 0 || __builtin_add_overflow(region->file_offset, region->bytes, &end) ||
        __builtin_add_overflow(region->guest_address, region->bytes, &ignored) ||
        __builtin_add_overflow(region->user_address, region->bytes, &ignored)) {
        *why = "a memory region is empty or wraps";
        return false;
    }
    /* A shorter file would be a SIGBUS later. */
    if (fstat(file, &status) != 0 || status.st_size < 0 || (uint64_t)status.st_size < end) {
        *why = "a memory region is larger than its file";
        return false;
    }
    void *const map = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) {
        *why = "a memory region cannot be mapped";
        return false;
    }
    *mapping = (struct guest_mapping){.region = *region,
                                      .bytes = (uint8_t *)map + region->file_offset,
                                      .map = map,
                                      .map_bytes = end};
    return true;
}

bool guest_memory_map(const struct guest_region *regions, const int *files, uint32_t count,
                      const char **why)
{
    bool good = count >= 1 && count <= GUEST_MEMORY_REGIONS_MAX;

    if (!good)
        *why = "an impossible number of memory regions";
    guest_memory_unmap();
    for (uint32_t i = 0; i < count; i++) {
        if (good) {
            good = map_region(&guest.mapping[i], &regions[i], files[i], why);
            guest.count += good;
        }
        close(files[i]);
    }
    if (!good)
        guest_memory_unmap();
    return good;
}

void guest_memory_unmap(void)
{
    for (uint32_t i = 0; i < guest.count; i++)
        munmap(guest.mapping[i].map, guest.mapping[i].map_bytes);
    guest.count = 0;
}

void *guest_memory_at(uint64_t guest_address, uint64_t len)
{
    for (uint32_t i = 0; i < guest.count; i++) {
        const struct guest_mapping *const mapping = &guest.mapping[i];
        const uint64_t offset = guest_address - mapping->region.guest_address;
        if (offset < mapping->region.bytes && len <= mapping->region.bytes - offset)
            return mapping->bytes + offset;
    }
    return NULL;
}

void *guest_memory_at_user(uint64_t user_address, uint64_t len)
{
    for (uint32_t i = 0; i < guest.count; i++) {
        const struct guest_mapping *const mapping = &guest.mapping[i];
        const uint64_t offset = user_address - mapping->region.user_address;
        if (offset < mapping->region.bytes && len <= mapping->region.bytes - offset)
            return mapping->bytes + offset;
    }
    return NULL;
}

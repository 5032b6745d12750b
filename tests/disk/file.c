/* Each request is carried out when it is submitted. Writes and flushes fail. */
#include "tests/disk/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/blockdev.h"

static struct {
    int fd;
    struct blockdev_info info;
    struct blockdev_counters counters;
    bool is_done;
    struct blockdev_completion done;
} file = {.fd = -1};

bool file_open(const char *path)
{
    file.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file.fd < 0)
        return false;
    struct stat status;
    const off_t bytes = lseek(file.fd, 0, SEEK_END);
    if (bytes < 0 || fstat(file.fd, &status) != 0)
        return false;
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        errno = ENOTBLK;
        return false;
    }
    file.info = (struct blockdev_info){.sectors = (uint64_t)bytes / BLOCKDEV_SECTOR_BYTES,
                                       .logical_block_bytes = BLOCKDEV_SECTOR_BYTES,
                                       .physical_block_bytes = BLOCKDEV_SECTOR_BYTES};
    return true;
}

size_t blockdev_count(void)
{
    return file.fd >= 0;
}

const struct blockdev_info *blockdev_get_info(size_t device)
{
    (void)device;
    return &file.info;
}

const struct blockdev_counters *blockdev_get_counters(size_t device)
{
    (void)device;
    return &file.counters;
}

static bool read_all(const struct blockdev_buffer *buffer, off_t *at)
{
    for (uint32_t have = 0; have < buffer->len;) {
        const ssize_t count =
            pread(file.fd, (uint8_t *)buffer->bytes + have, buffer->len - have, *at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        have += (uint32_t)count;
        *at += count;
    }
    return true;
}

bool blockdev_submit(size_t device, const struct blockdev_request *request)
{
    (void)device;
    if (file.is_done)
        return false;
    bool good = request->operation == BLOCKDEV_READ;
    off_t at = (off_t)(request->sector * BLOCKDEV_SECTOR_BYTES);
    for (unsigned i = 0; i < request->buffer_count && good; i++)
        good = read_all(&request->buffers[i], &at);
    file.done = (struct blockdev_completion){.token = request->token,
                                             .status = good ? BLOCKDEV_OK : BLOCKDEV_FAILED};
    file.is_done = true;
    return true;
}

void blockdev_kick(size_t device)
{
    (void)device;
}

size_t blockdev_completed(size_t device, struct blockdev_completion *completions, size_t max)
{
    (void)device;
    if (!file.is_done || max == 0)
        return 0;
    file.is_done = false;
    completions[0] = file.done;
    return 1;
}

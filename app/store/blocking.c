/* See blocking.h. The disk has nothing else to do: what completes is what was asked for. */
#include "app/store/blocking.h"

#include "kernel/blockdev.h"

static bool carry_out(struct blocking *disk, const struct blockdev_request *request)
{
    const uint64_t begun_ns = disk->now_ns();
    bool submitted = false;
    while (!disk->hangs) {
        if (!submitted && (submitted = blockdev_submit(disk->device, request)))
            blockdev_kick(disk->device);
        struct blockdev_completion done;
        if (blockdev_completed(disk->device, &done, 1) != 0)
            return done.status == BLOCKDEV_OK;
        disk->hangs = disk->now_ns() - begun_ns > BLOCKING_PATIENCE_NS;
    }
    return false;
}

bool blocking_read(struct blocking *disk, uint64_t sector, void *bytes, uint32_t len)
{
    return carry_out(disk, &(struct blockdev_request){.operation = BLOCKDEV_READ,
                                                      .sector = disk->first_sector + sector,
                                                      .buffers = {{bytes, len}},
                                                      .buffer_count = 1});
}

bool blocking_write(struct blocking *disk, uint64_t sector, const void *bytes, uint32_t len)
{
    return carry_out(disk, &(struct blockdev_request){.operation = BLOCKDEV_WRITE,
                                                      .sector = disk->first_sector + sector,
                                                      .buffers = {{(void *)(uintptr_t)bytes, len}},
                                                      .buffer_count = 1});
}

bool blocking_flush(struct blocking *disk)
{
    return !blockdev_get_info(disk->device)->flush ||
           carry_out(disk, &(struct blockdev_request){.operation = BLOCKDEV_FLUSH});
}

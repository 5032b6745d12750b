/*
 * The face that the machine shows to app/store/: block devices, polled and asynchronous.
 *
 *     virtio/virtio_blk.c   the devices below
 *
 * app/store/ includes this header and nothing else of kernel/. Tests put a simulated disk behind
 * the same names.
 *
 * The devices have no interrupts: nothing happens outside of these calls. They MUST NOT be made
 * from more than one core. No call blocks, none allocates.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCKDEV_DEVICES_MAX      8
#define BLOCKDEV_SECTOR_BYTES     512
#define BLOCKDEV_BUFFERS_MAX      16
#define BLOCKDEV_BUFFER_BYTES_MAX (256u << 10)

struct blockdev_info {
    uint64_t sectors;              /* of BLOCKDEV_SECTOR_BYTES, now; may change */
    uint32_t logical_block_bytes;  /* VIRTIO_BLK_F_BLK_SIZE, else 512 */
    uint32_t physical_block_bytes; /* VIRTIO_BLK_F_TOPOLOGY, else logical_block_bytes */
    bool read_only;                /* VIRTIO_BLK_F_RO */
    /*
     * VIRTIO_BLK_F_FLUSH was negotiated: a write is stable only after a BLOCKDEV_FLUSH that was
     * submitted after the write had completed. Without it, a write is stable when it completes.
     */
    bool flush;
    char serial[21]; /* VIRTIO_BLK_T_GET_ID, terminated; "" if there is none */
};

/* Devices found at boot, numbered from 0. */
size_t blockdev_count(void);
const struct blockdev_info *blockdev_get_info(size_t device);

enum blockdev_operation { BLOCKDEV_READ, BLOCKDEV_WRITE, BLOCKDEV_FLUSH };

struct blockdev_buffer {
    void *bytes; /* only read, for a write */
    uint32_t len;
};

struct blockdev_request {
    enum blockdev_operation operation;
    uint64_t sector;
    /* In all a multiple of BLOCKDEV_SECTOR_BYTES, each of any length. None for a flush. */
    struct blockdev_buffer buffers[BLOCKDEV_BUFFERS_MAX];
    uint16_t buffer_count;
    void *token; /* comes back from blockdev_completed() */
};

/*
 * Queues a request, of which *request is copied. The buffers belong to the device until the token
 * comes back. False: no room now; nothing was queued. Requests may be carried out in any order.
 */
__attribute__((warn_unused_result)) bool blockdev_submit(size_t device,
                                                         const struct blockdev_request *request);

/* Publishes what was submitted, and notifies the device where it asks for it. */
void blockdev_kick(size_t device);

enum blockdev_status { BLOCKDEV_OK, BLOCKDEV_FAILED, BLOCKDEV_UNSUPPORTED };

struct blockdev_completion {
    void *token;
    enum blockdev_status status;
};

/*
 * Takes requests that the device is done with, in any order; returns how many (<= max). A device
 * that breaks its contract or says NEEDS_RESET is broken for good (it is not started again: what it
 * held is unknown): every outstanding and every later request comes back BLOCKDEV_FAILED. Nothing
 * of memory is given to it again.
 */
size_t blockdev_completed(size_t device, struct blockdev_completion *completions, size_t max);

struct blockdev_counters {
    uint64_t reads, writes, flushes; /* completed */
    uint64_t read_bytes, written_bytes;
    uint64_t failures; /* requests that came back with another status than BLOCKDEV_OK */
};

const struct blockdev_counters *blockdev_get_counters(size_t device);

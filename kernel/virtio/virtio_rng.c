#include "kernel/virtio/virtio_rng.h"

#include <string.h>

#include "kernel/cpu/cpu.h"
#include "kernel/plat/log.h"
#include "kernel/time/clock.h"
#include "kernel/virtio/virtio.h"

#define REQUEST_QUEUE 0
#define QUEUE_SIZE    8
#define BUFFER_BYTES  64

/* The host may have to gather, or be busy; QEMU's default source, getrandom(), answers at once. */
#define REQUEST_NS_MAX (2 * CLOCK_NS_PER_S)

static _Alignas(VIRTQ_ALIGN_BYTES) uint8_t queue_memory[VIRTQ_BYTES(QUEUE_SIZE)];
static _Alignas(VIRTQ_ALIGN_BYTES) uint8_t buffer[BUFFER_BYTES];
static struct virtq queue;

static bool start(struct virtio_device *device)
{
    uint64_t offered;

    if (!virtio_begin(device, &offered) ||
        !virtio_accept(device, offered & VIRTIO_FEATURES_PLATFORM))
        return false;
    const uint16_t size = virtio_queue_size(device, REQUEST_QUEUE, QUEUE_SIZE);
    if (!virtio_add_queue(device, REQUEST_QUEUE, &queue, queue_memory, size))
        return false;
    virtio_run(device);
    return true;
}

/* One request: fills `buffer`; returns how many bytes came, 0 on failure. */
static uint32_t request(struct virtio_device *device)
{
    const uint64_t deadline_ns = clock_ns() + REQUEST_NS_MAX;
    uint32_t len;

    const uint16_t head = virtq_chain_begin(&queue);
    const uint16_t after =
        virtq_link(&queue, head, (uintptr_t)buffer, BUFFER_BYTES, VIRTQ_DESC_WRITE);
    virtq_chain_end(&queue, after, 1);
    virtq_publish(&queue);
    if (virtq_kick_due(&queue))
        device->transport->notify(device, REQUEST_QUEUE);
    while (virtq_used_count(&queue) == 0) {
        if (queue.fault != NULL || clock_ns() > deadline_ns)
            return 0;
        if (virtq_kick_due(&queue))
            device->transport->notify(device, REQUEST_QUEUE);
        cpu_pause();
    }
    const uint16_t used = virtq_peek(&queue, &len);
    if (used == VIRTQ_NONE || len > BUFFER_BYTES)
        return 0;
    virtq_take_chain(&queue, used);
    return len;
}

bool virtio_rng_fill(void *bytes, size_t len)
{
    struct virtio_device *const device = virtio_find(VIRTIO_ID_RNG);
    uint8_t *to = bytes;

    if (device == NULL)
        return false;
    bool good = start(device);
    while (good && len > 0) { /* each round brings a byte at least */
        const uint32_t got = request(device);
        const size_t taken = got < len ? got : len;
        memcpy(to, buffer, taken);
        to += taken;
        len -= taken;
        good = got > 0;
    }
    if (!good)
        log_warn("virtio", "%s: no random bytes came", device->name);
    virtio_give_up(device);
    memset(buffer, 0, sizeof(buffer));
    return good;
}

/*
 * virtio devices at fixed addresses (virtio 1.2, 4.2), as microvm and Firecracker have them. They
 * cannot be enumerated: the VMM names each on the command line,
 * `virtio_mmio.device=512@0xfeb02a00:12`. Where it names none and there is no PCI, the slots of
 * QEMU's microvm are probed.
 */
#pragma once

#include "kernel/virtio/virtio.h"

/*
 * The usable devices with this id, at most `max`; returns their number, and adds the number of
 * those seen to *seen.
 */
size_t virtio_mmio_find(enum virtio_id id, struct virtio_device **found, size_t max,
                        unsigned *seen);

/* In how many places the last search looked. */
unsigned virtio_mmio_places(void);

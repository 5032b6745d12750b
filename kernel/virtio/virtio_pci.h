/* virtio devices on the PCI bus, through the modern interface only (virtio 1.2, 4.1). */
#pragma once

#include "kernel/virtio/virtio.h"

/*
 * The usable devices with this id, at most `max`; returns their number, and adds the number of
 * those seen to *seen.
 */
size_t virtio_pci_find(enum virtio_id id, struct virtio_device **found, size_t max, unsigned *seen);

/* How many buses the last search went through. */
unsigned virtio_pci_buses(void);

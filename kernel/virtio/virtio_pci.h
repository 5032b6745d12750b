/* virtio devices on the PCI bus, through the modern interface only (virtio 1.2, 4.1). */
#pragma once

#include "kernel/virtio/virtio.h"

/* The first usable device with this id, or NULL; adds the number of those seen to *count. */
struct virtio_device *virtio_pci_find(enum virtio_id id, unsigned *count);

/* How many buses the last search went through. */
unsigned virtio_pci_buses(void);

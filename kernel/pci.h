/*
 * PCI configuration space through ports 0xcf8 and 0xcfc (PCI Local Bus 3.0, 3.2.2.3.2: mechanism
 * 1), which every VMM with PCI for x86 has. Bus 0 and what lies behind its bridges, as far as the
 * firmware has numbered them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_VENDOR_VIRTIO     0x1af4
#define PCI_CAPABILITY_VENDOR 0x09

/* Registers of the configuration header. */
#define PCI_COMMAND      0x04
#define PCI_SUBSYSTEM_ID 0x2e

/* Bits of PCI_COMMAND. */
#define PCI_COMMAND_MEMORY       0x0002
#define PCI_COMMAND_MASTER       0x0004
#define PCI_COMMAND_INTX_DISABLE 0x0400

#define PCI_BARS                 6

struct pci_device {
    uint8_t bus, slot, function;
    uint16_t vendor_id, device_id;
};

/* False where nothing answers at 0xcf8: microvm, Firecracker. */
bool pci_is_present(void);

/* Fills `found` with the functions of this vendor in bus order; returns how many (at most max). */
size_t pci_find(uint16_t vendor_id, struct pci_device *found, size_t max);

/* Offsets are of the whole field, which MUST be aligned to its size. */
uint8_t pci_read8(const struct pci_device *device, uint8_t offset);
uint16_t pci_read16(const struct pci_device *device, uint8_t offset);
uint32_t pci_read32(const struct pci_device *device, uint8_t offset);
void pci_write16(const struct pci_device *device, uint8_t offset, uint16_t value);

/* Fills `offsets` with those of the capabilities with this id; returns how many (at most max). */
size_t pci_capabilities(const struct pci_device *device, uint8_t id, uint8_t *offsets, size_t max);

/*
 * Where memory BAR `index` (0 to 5) lies. False when it is an I/O BAR, does not exist, or was left
 * without an address by the firmware. How long it is is not asked: to find out one has to move
 * the BAR about, which costs an emulator milliseconds.
 */
__attribute__((warn_unused_result)) bool pci_memory_bar(const struct pci_device *device,
                                                        unsigned index, uint64_t *address);

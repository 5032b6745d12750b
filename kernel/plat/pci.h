/*
 * PCI configuration space through ports 0xcf8 and 0xcfc (PCI Local Bus 3.0, 3.2.2.3.2: mechanism
 * 1), and in memory (PCI Express 3.0, 7.2.2: ECAM), where ACPI's MCFG has it. Memory is for
 * segments other than 0, and for all of them where nobody answers at the ports. Looked at are the
 * buses that begin at a host bridge (bus 0, and those that ACPI names), and what lies behind their
 * bridges, as the firmware has numbered them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_VENDOR_VIRTIO     0x1af4
#define PCI_CAPABILITY_VENDOR 0x09
#define PCI_CAPABILITY_MSIX   0x11

/* Registers of the configuration header. */
#define PCI_COMMAND      0x04
#define PCI_SUBSYSTEM_ID 0x2e

/* Bits of PCI_COMMAND. */
#define PCI_COMMAND_MEMORY       0x0002
#define PCI_COMMAND_MASTER       0x0004
#define PCI_COMMAND_INTX_DISABLE 0x0400

#define PCI_BARS                 6

struct pci_device {
    uint16_t segment;
    uint8_t bus, slot, function;
    uint16_t vendor_id, device_id;
    volatile uint8_t *ecam; /* its configuration space in memory; NULL: by ports */
};

/* What was looked at, and what could not be. */
struct pci_reach {
    unsigned buses;
    unsigned bridges_left_out;  /* to buses without a number, or beyond what the ECAM reaches */
    unsigned segments_left_out; /* more of them than ACPI_ECAM_MAX */
};

/* False where nothing answers at 0xcf8: microvm, Firecracker without PCI. */
bool pci_is_present(void);

/* Calls `visit` for each function of this vendor; of a segment those of bus 0 come first. */
struct pci_reach pci_visit(uint16_t vendor_id,
                           void (*visit)(const struct pci_device *device, void *context),
                           void *context);

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

#include "kernel/pci.h"

#include <assert.h>

#include "kernel/cpu.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  0x80000000u

/* Registers of the configuration header (PCI 3.0, 6.1; bridges: PCI-to-PCI Bridge 1.2, 3.2). */
#define PCI_VENDOR_ID            0x00
#define PCI_STATUS               0x06
#define PCI_CLASS                0x0a
#define PCI_HEADER_TYPE          0x0e
#define PCI_BAR0                 0x10
#define PCI_SECONDARY_BUS        0x19
#define PCI_CAPABILITIES         0x34

#define PCI_STATUS_CAPABILITIES  0x0010
#define PCI_HEADER_MULTIFUNCTION 0x80
#define PCI_CLASS_BRIDGE_PCI     0x0604

#define PCI_BAR_IO               0x1u
#define PCI_BAR_TYPE             0x6u
#define PCI_BAR_TYPE_64          0x4u
#define PCI_BAR_FLAGS            0xfu

#define PCI_SLOTS                32
#define PCI_FUNCTIONS            8
#define PCI_BUSES_MAX            16 /* looked at; a hypervisor that has more is not ours */
#define PCI_CAPABILITIES_MAX     48 /* what fits behind the header, four bytes each */
#define PCI_CAPABILITY_FIRST     0x40

static void select_register(const struct pci_device *device, uint8_t offset)
{
    cpu_out32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)device->bus << 16 |
                                  (uint32_t)device->slot << 11 | (uint32_t)device->function << 8 |
                                  (offset & 0xfcu));
}

uint8_t pci_read8(const struct pci_device *device, uint8_t offset)
{
    select_register(device, offset);
    return cpu_in8((uint16_t)(CONFIG_DATA + (offset & 3)));
}

uint16_t pci_read16(const struct pci_device *device, uint8_t offset)
{
    assert((offset & 1) == 0);
    select_register(device, offset);
    return cpu_in16((uint16_t)(CONFIG_DATA + (offset & 2)));
}

uint32_t pci_read32(const struct pci_device *device, uint8_t offset)
{
    assert((offset & 3) == 0);
    select_register(device, offset);
    return cpu_in32(CONFIG_DATA);
}

void pci_write16(const struct pci_device *device, uint8_t offset, uint16_t value)
{
    assert((offset & 1) == 0);
    select_register(device, offset);
    cpu_out16((uint16_t)(CONFIG_DATA + (offset & 2)), value);
}

bool pci_is_present(void)
{
    const struct pci_device host_bridge = {0};

    /* The register reads back what was written to it; an empty port reads as all ones. */
    cpu_out32(CONFIG_ADDRESS, CONFIG_ENABLE);
    return cpu_in32(CONFIG_ADDRESS) == CONFIG_ENABLE &&
           pci_read16(&host_bridge, PCI_VENDOR_ID) != 0xffff;
}

struct scan {
    uint16_t vendor_id;
    struct pci_device *found;
    size_t count, max;
    uint8_t buses[PCI_BUSES_MAX];
    size_t bus_count;
};

static void scan_add_bus(struct scan *scan, uint8_t bus)
{
    for (size_t i = 0; i < scan->bus_count; i++)
        if (scan->buses[i] == bus) /* bus 0: a bridge that the firmware has not numbered */
            return;
    if (scan->bus_count < PCI_BUSES_MAX)
        scan->buses[scan->bus_count++] = bus;
}

/* False when there is no such function. */
static bool scan_function(struct scan *scan, struct pci_device *device)
{
    const uint32_t ids = pci_read32(device, PCI_VENDOR_ID);

    device->vendor_id = (uint16_t)ids;
    device->device_id = (uint16_t)(ids >> 16);
    if (device->vendor_id == 0xffff)
        return false;
    if (pci_read16(device, PCI_CLASS) == PCI_CLASS_BRIDGE_PCI)
        scan_add_bus(scan, pci_read8(device, PCI_SECONDARY_BUS));
    if (device->vendor_id == scan->vendor_id && scan->count < scan->max)
        scan->found[scan->count++] = *device;
    return true;
}

static void scan_bus(struct scan *scan, uint8_t bus)
{
    for (uint8_t slot = 0; slot < PCI_SLOTS; slot++) {
        struct pci_device device = {.bus = bus, .slot = slot};
        if (!scan_function(scan, &device) ||
            (pci_read8(&device, PCI_HEADER_TYPE) & PCI_HEADER_MULTIFUNCTION) == 0)
            continue;
        for (device.function = 1; device.function < PCI_FUNCTIONS; device.function++)
            scan_function(scan, &device);
    }
}

size_t pci_find(uint16_t vendor_id, struct pci_device *found, size_t max)
{
    struct scan scan = {.vendor_id = vendor_id, .found = found, .max = max, .bus_count = 1};

    for (size_t i = 0; i < scan.bus_count; i++)
        scan_bus(&scan, scan.buses[i]);
    return scan.count;
}

size_t pci_capabilities(const struct pci_device *device, uint8_t id, uint8_t *offsets, size_t max)
{
    size_t count = 0;

    if ((pci_read16(device, PCI_STATUS) & PCI_STATUS_CAPABILITIES) == 0)
        return 0;
    uint8_t at = pci_read8(device, PCI_CAPABILITIES) & 0xfc;
    for (int hops = 0; hops < PCI_CAPABILITIES_MAX && at >= PCI_CAPABILITY_FIRST; hops++) {
        const uint16_t header = pci_read16(device, at); /* id, then the offset of the next */
        if ((header & 0xff) == id && count < max)
            offsets[count++] = at;
        at = (uint8_t)(header >> 8 & 0xfc);
    }
    return count;
}

bool pci_memory_bar(const struct pci_device *device, unsigned index, uint64_t *address)
{
    if (index >= PCI_BARS)
        return false;
    const uint8_t offset = (uint8_t)(PCI_BAR0 + 4 * index);
    const uint32_t low = pci_read32(device, offset);

    if ((low & PCI_BAR_IO) != 0)
        return false;
    *address = low & ~PCI_BAR_FLAGS;
    if ((low & PCI_BAR_TYPE) == PCI_BAR_TYPE_64) {
        if (index + 1 >= PCI_BARS)
            return false;
        *address |= (uint64_t)pci_read32(device, (uint8_t)(offset + 4)) << 32;
    }
    return *address != 0; /* a BAR that does not exist reads as 0 */
}

#include "kernel/plat/pci.h"

#include <assert.h>

#include "kernel/cpu/cpu.h"
#include "kernel/mem/memory.h"
#include "kernel/plat/acpi.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc }; /* ports */

#define CONFIG_ENABLE 0x80000000u

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
#define PCI_BUSES                256 /* of a segment */
#define PCI_CAPABILITIES_MAX     48  /* what fits behind the header, four bytes each */
#define PCI_CAPABILITY_FIRST     0x40

static void select_register(const struct pci_device *device, uint8_t offset)
{
    cpu_out32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)device->bus << 16 |
                                  (uint32_t)device->slot << 11 | (uint32_t)device->function << 8 |
                                  (offset & 0xfcu));
}

uint8_t pci_read8(const struct pci_device *device, uint8_t offset)
{
    if (device->ecam != NULL)
        return device->ecam[offset];
    select_register(device, offset);
    return cpu_in8((uint16_t)(CONFIG_DATA + (offset & 3)));
}

uint16_t pci_read16(const struct pci_device *device, uint8_t offset)
{
    assert((offset & 1) == 0);
    if (device->ecam != NULL)
        return *(volatile uint16_t *)(device->ecam + offset);
    select_register(device, offset);
    return cpu_in16((uint16_t)(CONFIG_DATA + (offset & 2)));
}

uint32_t pci_read32(const struct pci_device *device, uint8_t offset)
{
    assert((offset & 3) == 0);
    if (device->ecam != NULL)
        return *(volatile uint32_t *)(device->ecam + offset);
    select_register(device, offset);
    return cpu_in32(CONFIG_DATA);
}

void pci_write16(const struct pci_device *device, uint8_t offset, uint16_t value)
{
    assert((offset & 1) == 0);
    if (device->ecam != NULL) {
        *(volatile uint16_t *)(device->ecam + offset) = value;
        return;
    }
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

/* ---- what is there ---- */

/* Configuration space of some buses of a segment. */
struct space {
    uint16_t segment;
    uint8_t bus_first, bus_last;
    uint64_t ecam; /* address of bus 0; 0: by ports */
};

struct scan {
    uint16_t vendor_id;
    void (*visit)(const struct pci_device *device, void *context);
    void *context;
    struct pci_reach reach;
    struct space space;
    uint8_t buses[PCI_BUSES];
    size_t bus_count;
};

static bool scan_reaches(const struct scan *scan, uint8_t bus)
{
    return bus >= scan->space.bus_first && bus <= scan->space.bus_last;
}

static void scan_add_bus(struct scan *scan, uint8_t bus)
{
    for (size_t i = 0; i < scan->bus_count; i++)
        if (scan->buses[i] == bus)
            return;
    scan->buses[scan->bus_count++] = bus;
}

static void scan_bridge(struct scan *scan, const struct pci_device *bridge)
{
    const uint8_t bus = pci_read8(bridge, PCI_SECONDARY_BUS);

    if (bus != 0 && scan_reaches(scan, bus))
        scan_add_bus(scan, bus);
    else
        scan->reach.bridges_left_out++;
}

/* False when there is no such function. */
static bool scan_function(struct scan *scan, struct pci_device *device)
{
    if (scan->space.ecam != 0)
        device->ecam =
            (volatile uint8_t *)(uintptr_t)(scan->space.ecam + ((uint64_t)device->bus << 20 |
                                                                (uint64_t)device->slot << 15 |
                                                                (uint64_t)device->function << 12));

    const uint32_t ids = pci_read32(device, PCI_VENDOR_ID);

    device->vendor_id = (uint16_t)ids;
    device->device_id = (uint16_t)(ids >> 16);
    if (device->vendor_id == 0xffff)
        return false;
    if (pci_read16(device, PCI_CLASS) == PCI_CLASS_BRIDGE_PCI)
        scan_bridge(scan, device);
    if (device->vendor_id == scan->vendor_id)
        scan->visit(device, scan->context);
    return true;
}

static void scan_bus(struct scan *scan, uint8_t bus)
{
    scan->reach.buses++;
    for (uint8_t slot = 0; slot < PCI_SLOTS; slot++) {
        struct pci_device device = {.segment = scan->space.segment, .bus = bus, .slot = slot};
        if (!scan_function(scan, &device) ||
            (pci_read8(&device, PCI_HEADER_TYPE) & PCI_HEADER_MULTIFUNCTION) == 0)
            continue;
        for (device.function = 1; device.function < PCI_FUNCTIONS; device.function++)
            scan_function(scan, &device);
    }
}

/* ACPI's root buses may be of any segment: one that is not there has no function. */
static void scan_space(struct scan *scan, struct space space)
{
    const struct acpi_facts *const acpi = acpi_get_facts();

    scan->space = space;
    scan->bus_count = 0;
    scan_add_bus(scan, space.bus_first);
    for (unsigned i = 0; i < acpi->root_bus_count; i++)
        if (scan_reaches(scan, acpi->root_buses[i]))
            scan_add_bus(scan, acpi->root_buses[i]);
    for (size_t i = 0; i < scan->bus_count; i++)
        scan_bus(scan, scan->buses[i]);
}

static struct space map_ecam(const struct acpi_ecam *ecam)
{
    const uint64_t offset = (uint64_t)ecam->bus_first * ACPI_ECAM_BUS_BYTES;
    const size_t bytes = (size_t)(ecam->bus_last - ecam->bus_first + 1) * ACPI_ECAM_BUS_BYTES;
    const void *const first = memory_map_device(ecam->address + offset, bytes);

    return (struct space){ecam->segment, ecam->bus_first, ecam->bus_last,
                          (uint64_t)(uintptr_t)first - offset};
}

struct pci_reach pci_visit(uint16_t vendor_id,
                           void (*visit)(const struct pci_device *device, void *context),
                           void *context)
{
    const struct acpi_facts *const acpi = acpi_get_facts();
    const bool by_ports = pci_is_present();
    struct scan scan = {.vendor_id = vendor_id, .visit = visit, .context = context};

    scan.reach.segments_left_out = acpi->ecam_left_out;
    if (by_ports)
        scan_space(&scan, (struct space){0, 0, PCI_BUSES - 1, 0});
    for (unsigned i = 0; i < acpi->ecam_count; i++)
        if (!by_ports || acpi->ecam[i].segment != 0)
            scan_space(&scan, map_ecam(&acpi->ecam[i]));
    return scan.reach;
}

/* ---- what a function says of itself ---- */

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

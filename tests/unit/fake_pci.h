/*
 * PCI and virtio's PCI transport on the host, over ports that lead to configuration spaces in
 * memory, which say what firmware or a lying device may say.
 *
 * The sources are compiled into the file that includes this one, every name that the linker sees
 * prefixed by VPCI(): so their statics can be looked at, and several files can do so.
 */
#pragma once

#include "kernel/cpu/cpu.h"

#define cpu_in8           fake_in8
#define cpu_in16          fake_in16
#define cpu_in32          fake_in32
#define cpu_out16         fake_out16
#define cpu_out32         fake_out32
#define acpi_get_facts    VPCI(acpi_get_facts)
#define log_line          VPCI(log_line)
#define memory_map_device VPCI(memory_map_device)
#define virtio_pci_find   VPCI(virtio_pci_find)
#define virtio_pci_buses  VPCI(virtio_pci_buses)
#define pci_is_present    VPCI(pci_is_present)
#define pci_visit         VPCI(pci_visit)
#define pci_read8         VPCI(pci_read8)
#define pci_read16        VPCI(pci_read16)
#define pci_read32        VPCI(pci_read32)
#define pci_write16       VPCI(pci_write16)
#define pci_capabilities  VPCI(pci_capabilities)
#define pci_memory_bar    VPCI(pci_memory_bar)
#define sleep_message     VPCI(sleep_message)

static uint8_t fake_in8(uint16_t port);
static uint16_t fake_in16(uint16_t port);
static uint32_t fake_in32(uint16_t port);
static void fake_out16(uint16_t port, uint16_t value);
static void fake_out32(uint16_t port, uint32_t value);

#include "kernel/plat/pci.c"
#include "kernel/virtio/virtio_pci.c"

#include "tests/test.h"

#define FUNCTIONS_AT_MOST (PCI_BUSES + 1)
#define BAR_ADDRESS       0xfe000000u
#define BAR_BYTES         0x4000u
#define ECAM_ADDRESS      0xe8000000u
#define ECAM_BUSES        3u

struct function {
    uint8_t bus, slot, function;
    uint32_t config[64];
};

static struct {
    bool present;
    uint32_t address;
    struct function functions[FUNCTIONS_AT_MOST];
    size_t count;
    unsigned log_lines;
    struct acpi_facts acpi;
} bus;

static _Alignas(4096) uint8_t bar_memory[BAR_BYTES];
static _Alignas(4096) uint8_t ecam_memory[ECAM_BUSES * ACPI_ECAM_BUS_BYTES];

const struct acpi_facts *VPCI(acpi_get_facts)(void)
{
    return &bus.acpi;
}

static struct function *selected(void)
{
    for (size_t i = 0; i < bus.count; i++) {
        const struct function *const f = &bus.functions[i];
        if ((bus.address >> 8 & 0xffff) ==
            ((uint32_t)f->bus << 8 | (uint32_t)f->slot << 3 | f->function))
            return &bus.functions[i];
    }
    return NULL;
}

static uint32_t fake_in32(uint16_t port)
{
    const struct function *const f = selected();

    if (!bus.present)
        return ~0u;
    if (port == CONFIG_ADDRESS)
        return bus.address;
    return f != NULL ? f->config[bus.address >> 2 & 63] : ~0u;
}

static uint16_t fake_in16(uint16_t port)
{
    return (uint16_t)(fake_in32(port & 0xfffc) >> 8 * (port & 3));
}

static uint8_t fake_in8(uint16_t port)
{
    return (uint8_t)(fake_in32(port & 0xfffc) >> 8 * (port & 3));
}

static void fake_out32(uint16_t port, uint32_t value)
{
    const uint32_t index = bus.address >> 2 & 63;
    struct function *const f = selected();

    if (port == CONFIG_ADDRESS) {
        bus.address = value;
        return;
    }
    if (f == NULL)
        return;
    f->config[index] = value;
}

static void fake_out16(uint16_t port, uint16_t value)
{
    const unsigned shift = 8 * (port & 3);
    const uint32_t old = fake_in32(port & 0xfffc);

    fake_out32(port & 0xfffc, (old & ~(0xffffu << shift)) | (uint32_t)value << shift);
}

void VPCI(log_line)(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)level;
    (void)subsystem;
    (void)format;
    bus.log_lines++;
}

void *VPCI(memory_map_device)(uint64_t address, size_t bytes)
{
    const uint32_t low = (uint32_t)address; /* BAR 5, when it is one, is the upper half of BAR 4 */

    if (address >= ECAM_ADDRESS && address - ECAM_ADDRESS < sizeof(ecam_memory)) {
        assert(bytes <= sizeof(ecam_memory) - (address - ECAM_ADDRESS));
        return ecam_memory + (address - ECAM_ADDRESS);
    }
    assert(low >= BAR_ADDRESS && low + bytes <= BAR_ADDRESS + BAR_BYTES);
    return bar_memory + (low - BAR_ADDRESS);
}

struct sleep_message VPCI(sleep_message)(void)
{
    return (struct sleep_message){.address = 0xfee05000, .data = 0xf0, .apic_id = 5};
}

/* ---- a bus to look at ---- */

static inline struct function *add_function(uint8_t at_bus, uint8_t slot, uint8_t function,
                                            uint32_t ids)
{
    struct function *const f = &bus.functions[bus.count++];

    *f = (struct function){.bus = at_bus, .slot = slot, .function = function};
    f->config[0] = ids;
    return f;
}

static inline void set_byte(struct function *f, unsigned offset, uint8_t value)
{
    ((uint8_t *)f->config)[offset] = value;
}

static inline void add_cap(struct function *f, uint8_t at, uint8_t next, uint8_t type, uint8_t bar,
                           uint32_t offset, uint32_t length)
{
    set_byte(f, at, PCI_CAPABILITY_VENDOR);
    set_byte(f, at + 1u, next);
    set_byte(f, at + 2u, 20);
    set_byte(f, at + 3u, type);
    set_byte(f, at + 4u, bar);
    f->config[at / 4 + 2] = offset;
    f->config[at / 4 + 3] = length;
    if (at + 20u <= sizeof f->config)
        f->config[at / 4 + 4] = 4; /* the multiplier, in a notify capability */
}

/* A modern network device with everything in BAR 4, 64 bits wide, as QEMU has it. */
static inline struct function *add_net(uint8_t at_bus, uint8_t slot)
{
    struct function *const f = add_function(at_bus, slot, 0, 0x10411af4);

    f->config[1] = PCI_STATUS_CAPABILITIES << 16;
    set_byte(f, PCI_CAPABILITIES, 0x40);
    add_cap(f, 0x40, 0x54, CAP_COMMON, 4, 0x0000, 0x1000);
    add_cap(f, 0x54, 0x68, CAP_DEVICE, 4, 0x1000, 0x1000);
    add_cap(f, 0x68, 0x00, CAP_NOTIFY, 4, 0x2000, 0x1000);
    f->config[PCI_BAR0 / 4 + 4] = BAR_ADDRESS | 0xc;
    return f;
}

/* MSI-X, its table at an offset in a BAR: the last of the capabilities. */
static inline void add_msix(struct function *f, uint8_t bar, uint32_t offset)
{
    set_byte(f, 0x69, 0x7c);
    f->config[0x7c / 4] = PCI_CAPABILITY_MSIX | 0x4002u << 16; /* all of its three masked */
    f->config[0x7c / 4 + 1] = offset | bar;
}

static inline struct function *add_bridge(uint8_t at_bus, uint8_t slot, uint8_t to_bus)
{
    struct function *const bridge = add_function(at_bus, slot, 0, 0x000c1b36);

    bridge->config[PCI_CLASS / 4] = (uint32_t)PCI_CLASS_BRIDGE_PCI << 16;
    set_byte(bridge, PCI_HEADER_TYPE, 1);
    set_byte(bridge, PCI_SECONDARY_BUS, to_bus);
    return bridge;
}

/* Moves the functions of that bus, and all that follow, into memory, `ecam_bus` of it. */
static inline void move_to_ecam(uint8_t ecam_bus)
{
    for (size_t i = 0; i < bus.count; i++) {
        const struct function *const f = &bus.functions[i];
        const size_t at =
            (size_t)(ecam_bus + f->bus) << 20 | (size_t)f->slot << 15 | (size_t)f->function << 12;
        memcpy(ecam_memory + at, f->config, sizeof(f->config));
    }
    bus.count = 0;
}

static inline void set_up(void)
{
    memset(&bus, 0, sizeof(bus));
    memset(bar_memory, 0, sizeof(bar_memory));
    memset(ecam_memory, 0xff, sizeof(ecam_memory));
    device_count = 0;
    bus.present = true;
    add_function(0, 0, 0, 0x12378086);
}

static inline struct virtio_device *find_net(unsigned *count)
{
    struct virtio_device *device;
    *count = 0;
    return virtio_pci_find(VIRTIO_ID_NET, &device, 1, count) == 1 ? device : NULL;
}

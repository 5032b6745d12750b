/* PCI on the host: what is on the buses, and what a function says of itself. */
#define VPCI(name) vpci_bus_##name

#include "tests/unit/fake_pci.h"

TEST(pci_capabilities_are_told_apart_by_their_kind)
{
    uint8_t offsets[4];
    const struct pci_device device = {.slot = 3};
    const uint8_t msi_x = 0x11;

    set_up();
    struct function *const f = add_net(0, 3);
    set_byte(f, 0x54, msi_x);
    CHECK_EQ(pci_capabilities(&device, PCI_CAPABILITY_VENDOR, offsets, 4), 2);
    CHECK(offsets[0] == 0x40 && offsets[1] == 0x68);
    CHECK_EQ(pci_capabilities(&device, msi_x, offsets, 4), 1);
    CHECK_EQ(offsets[0], 0x54);
}

TEST(pci_capabilities_that_go_in_circles_end)
{
    uint8_t offsets[4];
    const struct pci_device device = {.slot = 3};

    set_up();
    struct function *const f = add_net(0, 3);
    set_byte(f, 0x69, 0x40); /* back to the first */
    CHECK_EQ(pci_capabilities(&device, PCI_CAPABILITY_VENDOR, offsets, 4), 4);
    set_byte(f, 0x69, 0x10); /* into the header */
    CHECK_EQ(pci_capabilities(&device, PCI_CAPABILITY_VENDOR, offsets, 4), 3);
    CHECK(offsets[0] == 0x40 && offsets[1] == 0x54 && offsets[2] == 0x68);
}

TEST(pci_looks_behind_bridges_and_at_every_function)
{
    unsigned count;

    set_up();
    /* Not numbered: bus 0 is not gone through twice. */
    struct function *const bridge = add_bridge(0, 2, 0);
    add_net(7, 0);
    CHECK(find_net(&count) == NULL);
    set_byte(bridge, PCI_SECONDARY_BUS, 7);
    CHECK(strcmp(find_net(&count)->name, "pci 07:00.0") == 0);
    set_byte(bridge, PCI_SECONDARY_BUS, 0);
    add_net(0, 8);
    CHECK(strcmp(find_net(&count)->name, "pci 00:08.0") == 0);
    CHECK_EQ(count, 1);
    set_up();
    struct function *const first = add_function(0, 9, 0, 0x00011b36);
    add_net(0, 9)->function = 5;
    CHECK(find_net(&count) == NULL); /* it does not say that it has more functions */
    set_byte(first, PCI_HEADER_TYPE, PCI_HEADER_MULTIFUNCTION);
    CHECK(strcmp(find_net(&count)->name, "pci 00:09.5") == 0);
}

TEST(pci_is_absent_where_nothing_answers)
{
    unsigned count;

    set_up();
    add_net(0, 3);
    bus.present = false;
    CHECK(!pci_is_present());
    CHECK(find_net(&count) == NULL);
}

TEST(pci_tells_where_a_bar_is)
{
    const struct pci_device device = {.slot = 3};
    uint64_t address;

    set_up();
    struct function *const f = add_net(0, 3);
    CHECK(pci_memory_bar(&device, 4, &address));
    CHECK_EQ(address, BAR_ADDRESS);
    f->config[PCI_BAR0 / 4 + 5] = 0x38; /* above 4 GiB */
    CHECK(pci_memory_bar(&device, 4, &address));
    CHECK_EQ(address, 0x38fe000000);
    f->config[PCI_BAR0 / 4 + 1] = 0xfd000008; /* 32 bits wide, prefetchable */
    CHECK(pci_memory_bar(&device, 1, &address));
    CHECK_EQ(address, 0xfd000000);
    f->config[PCI_BAR0 / 4] = 0xc001; /* I/O */
    CHECK(!pci_memory_bar(&device, 0, &address));
    CHECK(!pci_memory_bar(&device, 2, &address)); /* not implemented */
    CHECK(!pci_memory_bar(&device, PCI_BARS, &address));
}

TEST(pci_gives_no_more_capabilities_than_were_asked_for)
{
    const struct pci_device device = {.slot = 3};
    uint8_t offsets[3] = {9, 9, 9};

    set_up();
    add_net(0, 3);
    CHECK_EQ(pci_capabilities(&device, PCI_CAPABILITY_VENDOR, offsets, 2), 2);
    CHECK_EQ(offsets[2], 9);
    bus.functions[0].config[0] = ~0u; /* no host bridge: no bus */
    CHECK(!pci_is_present());
}

static struct pci_device visited[PCI_BUSES];
static size_t visits;

static void note_visit(const struct pci_device *device, void *context)
{
    CHECK(context == &visits);
    visited[visits++] = *device;
}

static struct pci_reach visit(uint16_t vendor_id)
{
    visits = 0;
    return pci_visit(vendor_id, note_visit, &visits);
}

TEST(pci_looks_at_every_bus_there_can_be)
{
    set_up();
    for (unsigned i = 0; i + 1 < PCI_BUSES; i++) /* a bridge on each bus leads to the next */
        add_bridge((uint8_t)i, 2, (uint8_t)(i + 1));
    add_net(PCI_BUSES - 1, 1);
    const struct pci_reach reach = visit(PCI_VENDOR_VIRTIO);
    CHECK(visits == 1 && visited[0].bus == PCI_BUSES - 1 && visited[0].slot == 1);
    CHECK_EQ(reach.buses, PCI_BUSES);
    CHECK_EQ(reach.bridges_left_out, 0);
}

/* More of them than anybody would keep a list of. */
TEST(pci_visits_every_function)
{
    set_up();
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++)
        for (unsigned function = 0; function < PCI_FUNCTIONS; function++)
            set_byte(add_function(0, (uint8_t)slot, (uint8_t)function, 0x10421af4), PCI_HEADER_TYPE,
                     PCI_HEADER_MULTIFUNCTION);
    (void)visit(PCI_VENDOR_VIRTIO);
    CHECK_EQ(visits, (PCI_SLOTS - 1) * PCI_FUNCTIONS);
}

TEST(pci_tells_of_bridges_that_lead_nowhere)
{
    unsigned count;

    set_up();
    add_bridge(0, 2, 0);
    add_bridge(0, 3, 0);
    add_bridge(0, 4, 9);
    const struct pci_reach reach = visit(PCI_VENDOR_VIRTIO);
    CHECK(reach.buses == 2 && reach.bridges_left_out == 2);
    CHECK(find_net(&count) == NULL);
    CHECK_EQ(bus.log_lines, 1);
    CHECK_EQ(virtio_pci_buses(), 2);
    add_net(9, 0);
    CHECK(find_net(&count) != NULL);
    CHECK_EQ(bus.log_lines, 1);
}

/* QEMU's pxb-pcie: host bridges beside the first, which ACPI alone tells of. */
TEST(pci_looks_at_the_root_buses_that_acpi_names)
{
    unsigned count;

    set_up();
    add_bridge(64, 0, 65);
    add_net(65, 0);
    CHECK(find_net(&count) == NULL);
    bus.acpi.root_buses[0] = 0;
    bus.acpi.root_buses[1] = 64;
    bus.acpi.root_bus_count = 2;
    CHECK(strcmp(find_net(&count)->name, "pci 41:00.0") == 0);
    CHECK_EQ(visit(PCI_VENDOR_VIRTIO).buses, 3);
}

/* ---- in memory ---- */

static void add_ecam(uint32_t address, uint16_t segment, uint8_t bus_first, uint8_t bus_last)
{
    bus.acpi.ecam[bus.acpi.ecam_count++] =
        (struct acpi_ecam){address, segment, bus_first, bus_last};
}

TEST(pci_is_read_in_memory_where_nobody_answers_at_the_ports)
{
    unsigned count;

    set_up();
    add_bridge(0, 2, 1);
    add_bridge(0, 3, ECAM_BUSES); /* one too far */
    add_net(1, 4);
    move_to_ecam(0);
    bus.present = false;
    CHECK(find_net(&count) == NULL);
    add_ecam(ECAM_ADDRESS, 0, 0, ECAM_BUSES - 1);
    const struct pci_reach reach = visit(PCI_VENDOR_VIRTIO);
    CHECK(reach.buses == 2 && reach.bridges_left_out == 1);
    CHECK(visits == 1 && visited[0].bus == 1 && visited[0].slot == 4);
    uint8_t *const config = ecam_memory + (1 << 20 | 4 << 15);
    CHECK(visited[0].ecam == config);
    CHECK_EQ(pci_read8(&visited[0], PCI_CAPABILITIES), 0x40);
    CHECK_EQ(pci_read16(&visited[0], 2), 0x1041);
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL && strcmp(device->name, "pci 01:04.0") == 0);
    CHECK_EQ(config[PCI_COMMAND], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    CHECK_EQ(config[PCI_COMMAND + 1], PCI_COMMAND_INTX_DISABLE >> 8);
}

/* MCFG's address is that of bus 0, also where bus 0 is not there. */
TEST(pci_in_memory_begins_at_its_first_bus)
{
    unsigned count;

    set_up();
    add_bridge(0, 1, 2);
    add_bridge(0, 2, 1);
    add_net(1, 4);
    move_to_ecam(1);
    bus.present = false;
    add_ecam(ECAM_ADDRESS, 0, 1, 2);
    CHECK(find_net(&count) != NULL);
    CHECK(strcmp(find_net(&count)->name, "pci 02:04.0") == 0);
    CHECK_EQ(visit(PCI_VENDOR_VIRTIO).bridges_left_out, 0);
    bus.acpi.ecam[0].bus_first = 2;
    bus.acpi.root_buses[0] = 1; /* below it, as what the second bridge leads to */
    bus.acpi.root_bus_count = 1;
    memcpy(ecam_memory + (2 << 20) + (1 << 15), ecam_memory + (1 << 20) + (2 << 15), 256);
    const struct pci_reach reach = visit(PCI_VENDOR_VIRTIO);
    CHECK(reach.buses == 1 && reach.bridges_left_out == 1);
}

/* Cloud Hypervisor's: each has one bus. Of segment 0 the ports are used, where there are any. */
TEST(pci_looks_at_other_segments_in_memory)
{
    unsigned count;

    set_up();
    add_net(0, 4);
    move_to_ecam(0);
    add_net(0, 4);
    move_to_ecam(2);
    add_function(0, 0, 0, 0x12378086);
    add_ecam(ECAM_ADDRESS, 0, 0, 0);
    add_ecam(ECAM_ADDRESS + (1 << 20), 1, 0, 0);
    add_ecam(ECAM_ADDRESS + (2 << 20), 2, 0, 0);
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL && strcmp(device->name, "pci 0002:00:04.0") == 0);
    CHECK_EQ(count, 1);
    CHECK_EQ(visit(PCI_VENDOR_VIRTIO).buses, 3);
    CHECK(visits == 1 && visited[0].segment == 2);
    add_net(0, 4); /* at the same place in segment 0, by ports */
    CHECK(strcmp(find_net(&count)->name, "pci 00:04.0") == 0);
    CHECK_EQ(count, 2);
    CHECK(find_net(&count) != device);
}

TEST(pci_tells_of_segments_that_it_did_not_look_at)
{
    unsigned count;

    set_up();
    bus.acpi.ecam_left_out = 88;
    CHECK(find_net(&count) == NULL);
    CHECK_EQ(bus.log_lines, 1);
    add_net(0, 3);
    CHECK(find_net(&count) != NULL);
    CHECK_EQ(bus.log_lines, 1);
}

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
    struct function *const bridge = add_function(0, 2, 0, 0x000c1b36);
    bridge->config[PCI_CLASS / 4] = (uint32_t)PCI_CLASS_BRIDGE_PCI << 16;
    set_byte(bridge, PCI_HEADER_TYPE, 1);
    set_byte(bridge, PCI_SECONDARY_BUS, 0); /* not numbered: bus 0 is not gone through twice */
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

TEST(pci_gives_no_more_than_was_asked_for)
{
    struct pci_device found[2] = {{.slot = 99}, {.slot = 99}};
    uint8_t offsets[3] = {9, 9, 9};

    set_up();
    add_net(0, 3);
    add_net(0, 4);
    CHECK_EQ(pci_find(PCI_VENDOR_VIRTIO, found, 1), 1);
    CHECK(found[0].slot == 3 && found[1].slot == 99);
    CHECK_EQ(pci_capabilities(found, PCI_CAPABILITY_VENDOR, offsets, 2), 2);
    CHECK_EQ(offsets[2], 9);
    bus.functions[0].config[0] = ~0u; /* no host bridge: no bus */
    CHECK(!pci_is_present());
}

TEST(pci_looks_at_so_many_buses_and_no_more)
{
    struct pci_device found[4];

    for (unsigned chain = PCI_BUSES_MAX - 1; chain <= PCI_BUSES_MAX; chain++) {
        set_up();
        for (unsigned i = 0; i < chain; i++) { /* a bridge on each bus leads to the next */
            struct function *const bridge = add_function((uint8_t)i, 2, 0, 0x000c1b36);
            bridge->config[PCI_CLASS / 4] = (uint32_t)PCI_CLASS_BRIDGE_PCI << 16;
            set_byte(bridge, PCI_SECONDARY_BUS, (uint8_t)(i + 1));
        }
        add_net((uint8_t)chain, 1);
        CHECK_EQ(pci_find(PCI_VENDOR_VIRTIO, found, 4), chain < PCI_BUSES_MAX);
    }
}

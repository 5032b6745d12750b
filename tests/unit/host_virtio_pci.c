/* virtio's PCI transport on the host: which devices are taken, and what is believed of them. */
#define VPCI(name) vpci_##name

#include "tests/unit/fake_pci.h"

TEST(virtio_pci_finds_a_device_and_switches_it_on)
{
    unsigned count;

    set_up();
    struct function *const f = add_net(0, 3);
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL && count == 1);
    CHECK(strcmp(device->name, "pci 00:03.0") == 0);
    CHECK_EQ(f->config[1] & 0xffff,
             PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    CHECK_EQ(f->config[PCI_BAR0 / 4 + 4], BAR_ADDRESS | 0xc);
    CHECK(find_net(&count) == device);
    struct virtio_device *other;
    CHECK_EQ(virtio_pci_find(VIRTIO_ID_RNG, &other, 1, &count), 0);
    CHECK_EQ(bus.log_lines, 0);
}

TEST(virtio_pci_knows_transitional_devices_by_their_subsystem)
{
    unsigned count;

    set_up();
    struct function *const f = add_net(0, 3);
    f->config[0] = 0x10001af4;
    f->config[PCI_SUBSYSTEM_ID / 4] = 1u << 16;
    CHECK(find_net(&count) != NULL);
    f->config[PCI_SUBSYSTEM_ID / 4] = 2u << 16;
    CHECK(find_net(&count) == NULL);
    f->config[PCI_SUBSYSTEM_ID / 4] = 1u << 16;
    f->config[0] = 0x0fff1af4; /* no virtio device, this one and the next */
    CHECK(find_net(&count) == NULL && count == 0);
    f->config[0] = 0x11101af4;
    CHECK(find_net(&count) == NULL && count == 0);
}

TEST(virtio_pci_takes_the_first_of_several)
{
    unsigned count;

    set_up();
    add_net(0, 4);
    add_net(0, 5);
    CHECK(strcmp(find_net(&count)->name, "pci 00:04.0") == 0);
    CHECK_EQ(count, 2);
}

TEST(virtio_pci_passes_over_capabilities_it_cannot_use)
{
    unsigned count;

    set_up();
    struct function *const f = add_net(0, 3);
    f->config[PCI_BAR0 / 4] = 0xc001; /* an I/O BAR; notify lies there first, then in memory */
    add_cap(f, 0x68, 0x7c, CAP_NOTIFY, 0, 0, 2);
    add_cap(f, 0x7c, 0x00, CAP_NOTIFY, 4, 0x3000, 0x1000);
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL);
    CHECK(of(device)->notify == bar_memory + 0x3000);
}

/* virtio 1.2, 4.1.4: 16 bytes; only notify has more. */
TEST(virtio_pci_takes_capabilities_as_long_as_they_must_be)
{
    unsigned count;

    set_up();
    struct function *const f = add_net(0, 3);
    set_byte(f, 0x42, 16);
    set_byte(f, 0x56, 16);
    set_byte(f, 0x55, 0xec); /* the last place for 20 bytes */
    add_cap(f, 0xec, 0x00, CAP_NOTIFY, 4, 0x3000, 0x1000);
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL);
    CHECK(of(device)->notify == bar_memory + 0x3000);
    CHECK(of(device)->config != NULL);
    CHECK_EQ(of(device)->notify_multiplier, 4);
}

TEST(virtio_pci_refuses_registers_that_are_not_there)
{
    unsigned count;

    for (int fault = 0; fault < 11; fault++) {
        set_up();
        struct function *const f = add_net(0, 3);
        switch (fault) {
        case 0: /* the firmware gave it no address */
            f->config[PCI_BAR0 / 4 + 4] = 0xc;
            break;
        case 1: /* past the end of memory */
            f->config[PCI_BAR0 / 4 + 5] = ~0u;
            add_cap(f, 0x40, 0x54, CAP_COMMON, 4, 0x2000000, 0x1000);
            add_cap(f, 0x54, 0x68, 0, 4, 0, 0); /* and nothing else to be looked at */
            add_cap(f, 0x68, 0x00, 0, 4, 0, 0);
            break;
        case 2: /* larger than anything */
            add_cap(f, 0x40, 0x54, CAP_COMMON, 4, 0, 0xfffff000);
            break;
        case 3: /* too short */
            add_cap(f, 0x40, 0x54, CAP_COMMON, 4, 0, 32);
            break;
        case 4: /* no such BAR */
            add_cap(f, 0x40, 0x54, CAP_COMMON, 6, 0, 0x1000);
            break;
        case 5: /* a BAR that is not implemented */
            add_cap(f, 0x68, 0, CAP_NOTIFY, 1, 0, 0x1000);
            break;
        case 6: /* legacy: no capabilities at all */
            f->config[1] = 0;
            break;
        case 7: /* a capability that ends before its length */
            set_byte(f, 0x42, 15);
            break;
        case 8: /* a notify capability that ends before its multiplier */
            set_byte(f, 0x6a, 19);
            break;
        case 9: /* one whose multiplier would lie behind the configuration space */
            set_byte(f, 0x55, 0xf0);
            add_cap(f, 0xf0, 0x00, CAP_NOTIFY, 4, 0x2000, 0x1000);
            break;
        default: /* a 64-bit BAR without its upper half */
            f->config[PCI_BAR0 / 4 + 5] = BAR_ADDRESS | 0xc;
            add_cap(f, 0x40, 0x54, CAP_COMMON, 5, 0, 0x1000);
            break;
        }
        CHECK(find_net(&count) == NULL);
        CHECK_EQ(count, 1);
        CHECK_EQ(bus.log_lines, 1);
        CHECK_EQ(f->config[1] & PCI_COMMAND_MASTER, 0);
    }
}

TEST(virtio_pci_refuses_a_notify_register_outside_of_its_structure)
{
    static _Alignas(VIRTQ_ALIGN_BYTES) uint8_t memory[VIRTQ_BYTES(8)];
    static struct virtq q;
    unsigned count;

    set_up();
    add_net(0, 3);
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL);
    struct common *const common = (struct common *)bar_memory;
    common->num_queues = 1;
    common->queue_size = 8;
    virtq_init(&q, memory, 8, false);
    CHECK_EQ(device->transport->queue_size_max(device, 0), 8);
    CHECK_EQ(device->transport->queue_size_max(device, 1), 0);
    common->queue_notify_off = 0x3ff; /* times 4: the last two bytes but two */
    CHECK(device->transport->queue_enable(device, 0, &q));
    CHECK_EQ(common->queue_desc[0], (uint32_t)(uintptr_t)q.desc);
    CHECK_EQ(common->queue_desc[1], (uint32_t)((uintptr_t)q.desc >> 32));
    device->transport->notify(device, 0);
    common->queue_notify_off = 0x400;
    CHECK(!device->transport->queue_enable(device, 0, &q));
}

TEST(virtio_pci_reads_no_configuration_past_its_end)
{
    unsigned count;
    uint16_t value = 0x5555;

    set_up();
    struct function *const f = add_net(0, 3);
    add_cap(f, 0x54, 0x68, CAP_DEVICE, 4, 0x1000, 12);
    memset(bar_memory + 0x1000, 0xee, 64);
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL);
    device->transport->config_read(device, 10, &value, 2);
    CHECK_EQ(value, 0xeeee);
    device->transport->config_read(device, 12, &value, 2);
    CHECK_EQ(value, 0);
}

TEST(virtio_pci_selects_the_halves_of_features)
{
    unsigned count;

    set_up();
    add_net(0, 3);
    struct virtio_device *const device = find_net(&count);
    struct common *const common = (struct common *)bar_memory;
    CHECK(device != NULL);
    common->device_feature = 5; /* mere memory: both halves read the same */
    CHECK_EQ(device->transport->read_features(device), 0x500000005);
    CHECK_EQ(common->device_feature_select, 1);
    device->transport->write_features(device, 0x700000001);
    CHECK_EQ(common->driver_feature_select, 1);
    CHECK_EQ(common->driver_feature, 7);
    device->transport->write_status(device, 3);
    CHECK_EQ(device->transport->read_status(device), 3);
    common->config_generation = 9;
    CHECK_EQ(device->transport->config_generation(device), 9);
}

TEST(virtio_pci_keeps_devices_apart_and_as_many_as_it_has_room_for)
{
    unsigned count;

    set_up();
    struct function *const f = add_net(0, 3);
    for (size_t i = 0; i <= DEVICES_MAX; i++) {
        f->slot = (uint8_t)(3 + i / 2);
        f->function = i % 2;
        if (f->function == 1)
            set_byte(add_function(0, f->slot, 0, 0x1b36), PCI_HEADER_TYPE, 0x80);
        for (unsigned twice = 0; twice < 2; twice++)
            CHECK(find_net(&count) == (i < DEVICES_MAX ? &devices[i].device : NULL));
    }
}

TEST(virtio_pci_refuses_capabilities_and_registers_at_odd_places)
{
    static _Alignas(VIRTQ_ALIGN_BYTES) uint8_t memory[VIRTQ_BYTES(8)];
    static struct virtq q;
    unsigned count;
    uint8_t value = 1;

    set_up();
    struct function *const f = add_net(0, 3);
    add_cap(f, 0x40, 0x54, CAP_COMMON, 4, 2, 0x1000);
    CHECK(find_net(&count) == NULL);
    add_cap(f, 0x40, 0x54, CAP_COMMON, 4, 0, 0x1000);
    set_byte(f, 0x42, CAP_BYTES - 1); /* shorter than what it must say */
    CHECK(find_net(&count) == NULL);
    set_byte(f, 0x42, CAP_BYTES);
    f->config[0x68 / 4 + 4] = 1; /* a multiplier by which notify registers overlap */
    set_byte(f, 0x57, 0);        /* and no configuration of its own */
    struct virtio_device *const device = find_net(&count);
    CHECK(device != NULL);
    device->transport->config_read(device, 0, &value, 1);
    CHECK_EQ(value, 0);
    struct common *const common = (struct common *)bar_memory;
    common->num_queues = 100;
    common->queue_size = 8;
    CHECK_EQ(device->transport->queue_size_max(device, QUEUES_MAX - 1), 8);
    CHECK_EQ(device->transport->queue_size_max(device, QUEUES_MAX), 0);
    virtq_init(&q, memory, 8, false);
    common->queue_notify_off = 3;
    CHECK(!device->transport->queue_enable(device, 0, &q));
    common->queue_notify_off = 2;
    CHECK(device->transport->queue_enable(device, 0, &q));
}

/* ---- interrupts ---- */

static bool routes(struct virtio_device *device, uint16_t index)
{
    return device->transport->route_interrupt(device, index);
}

TEST(virtio_pci_sends_the_message_that_ends_a_sleep)
{
    struct common *const common = (struct common *)bar_memory;
    const uint32_t *const entry = (const uint32_t *)(bar_memory + 0x3000);
    unsigned count;

    set_up();
    struct function *const f = add_net(0, 3);
    add_msix(f, 4, 0x3000);
    memset(bar_memory + 0x3000, 0xff, 32);
    struct virtio_device *const device = find_net(&count);
    CHECK_EQ(f->config[0x7c / 4] >> 16, 0x4002); /* nobody has asked yet */
    common->queue_msix_vector = 0xffff;
    CHECK(routes(device, 1));
    CHECK_EQ(common->queue_select, 1);
    CHECK_EQ(common->queue_msix_vector, 0);
    CHECK(entry[0] == 0xfee05000 && entry[1] == 0 && entry[2] == 0xf0 && entry[3] == 0);
    CHECK_EQ(entry[4], UINT32_MAX);
    CHECK_EQ(f->config[0x7c / 4] >> 16, 0x8002);
    /* Once the boot is over the configuration space is out of reach. */
    bus.present = false;
    common->queue_msix_vector = 0xffff;
    CHECK(routes(device, 0));
    CHECK_EQ(common->queue_msix_vector, 0);
    device->transport->acknowledge(device);
}

TEST(virtio_pci_has_no_interrupt_without_a_table_that_can_be_reached)
{
    unsigned count;

    for (unsigned fault = 0; fault < 3; fault++) {
        set_up();
        struct function *const f = add_net(0, 3);
        if (fault == 1)
            add_msix(f, 1, 0x3000); /* a BAR that does not exist */
        if (fault == 2)
            add_msix(f, 4, 0x3000); /* past the end of memory */
        struct virtio_device *const device = find_net(&count);
        CHECK(device != NULL);
        if (fault == 2)
            f->config[PCI_BAR0 / 4 + 4] = 0xfffff00c;
        f->config[PCI_BAR0 / 4 + 5] = fault == 2 ? ~0u : 0;
        CHECK(!routes(device, 0));
        CHECK(fault == 0 || f->config[0x7c / 4] >> 16 == 0x4002);
    }
}

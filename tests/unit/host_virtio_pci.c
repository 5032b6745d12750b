/*
 * PCI and virtio's PCI transport on the host: the sources compiled into this file, over ports that
 * lead to configuration spaces in memory, which say what firmware or a lying device may say.
 */
#include "kernel/cpu.h"

#define cpu_in8           fake_in8
#define cpu_in16          fake_in16
#define cpu_in32          fake_in32
#define cpu_out16         fake_out16
#define cpu_out32         fake_out32
#define log_line          vpci_log_line
#define memory_map_device vpci_memory_map_device
#define virtio_pci_find   vpci_find_device
#define pci_is_present    vpci_is_present
#define pci_find          vpci_find
#define pci_read8         vpci_read8
#define pci_read16        vpci_read16
#define pci_read32        vpci_read32
#define pci_write16       vpci_write16
#define pci_capabilities  vpci_capabilities
#define pci_memory_bar    vpci_memory_bar

static uint8_t fake_in8(uint16_t port);
static uint16_t fake_in16(uint16_t port);
static uint32_t fake_in32(uint16_t port);
static void fake_out16(uint16_t port, uint16_t value);
static void fake_out32(uint16_t port, uint32_t value);

#include "kernel/pci.c"
#include "kernel/virtio_pci.c"

#include "tests/test.h"

#define FUNCTIONS_AT_MOST 20
#define BAR_ADDRESS       0xfe000000u
#define BAR_BYTES         0x4000u

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
} bus;

static _Alignas(4096) uint8_t bar_memory[BAR_BYTES];

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

void vpci_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)level;
    (void)subsystem;
    (void)format;
    bus.log_lines++;
}

void *vpci_memory_map_device(uint64_t address, size_t bytes)
{
    const uint32_t low = (uint32_t)address; /* BAR 5, when it is one, is the upper half of BAR 4 */

    assert(low >= BAR_ADDRESS && low + bytes <= BAR_ADDRESS + BAR_BYTES);
    return bar_memory + (low - BAR_ADDRESS);
}

/* ---- a bus to look at ---- */

static struct function *add_function(uint8_t at_bus, uint8_t slot, uint8_t function, uint32_t ids)
{
    struct function *const f = &bus.functions[bus.count++];

    *f = (struct function){.bus = at_bus, .slot = slot, .function = function};
    f->config[0] = ids;
    return f;
}

static void set_byte(struct function *f, unsigned offset, uint8_t value)
{
    ((uint8_t *)f->config)[offset] = value;
}

static void add_cap(struct function *f, uint8_t at, uint8_t next, uint8_t type, uint8_t bar,
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
static struct function *add_net(uint8_t at_bus, uint8_t slot)
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

static void set_up(void)
{
    memset(&bus, 0, sizeof(bus));
    memset(bar_memory, 0, sizeof(bar_memory));
    device_count = 0;
    bus.present = true;
    add_function(0, 0, 0, 0x12378086);
}

static struct virtio_device *find_net(unsigned *count)
{
    *count = 0;
    return virtio_pci_find(VIRTIO_ID_NET, count);
}

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
    CHECK(virtio_pci_find(VIRTIO_ID_RNG, &count) == NULL);
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

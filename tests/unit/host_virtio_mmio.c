/* virtio's memory-mapped transport on the host, over registers that are mere memory. */
#define log_line           vmmio_log_line
#define memory_map_device  vmmio_memory_map_device
#define pci_is_present     vmmio_pci_is_present
#define virtio_mmio_find   vmmio_find
#define virtio_mmio_places vmmio_places
#define ioapic_route       vmmio_ioapic_route

#include "kernel/virtio/virtio_mmio.c"

#include "tests/test.h"

static _Alignas(4096) uint32_t windows_memory[3][MMIO_WINDOW_BYTES_MIN / 4];
static _Alignas(4096) uint32_t slots_memory[MICROVM_SLOTS][MICROVM_SLOT / 4];
static bool pci_present, ioapic_has_lines;
static unsigned line_routed;
static unsigned log_lines, slots_mapped;

void vmmio_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)level;
    (void)subsystem;
    (void)format;
    log_lines++;
}

void *vmmio_memory_map_device(uint64_t address, size_t bytes)
{
    const uint64_t offset = address - MICROVM_BASE;

    if (offset >= sizeof(slots_memory))
        return (void *)(uintptr_t)address;
    assert(bytes <= sizeof(slots_memory) - offset);
    slots_mapped++;
    return (uint8_t *)slots_memory + offset;
}

bool vmmio_ioapic_route(unsigned line)
{
    line_routed = line;
    return ioapic_has_lines;
}

bool vmmio_pci_is_present(void)
{
    return pci_present;
}

static void set_up(void)
{
    memset(windows_memory, 0, sizeof(windows_memory));
    memset(slots_memory, 0, sizeof(slots_memory));
    mmio_window_count = device_count = 0;
    log_lines = slots_mapped = 0;
    pci_present = true;
}

static void put_device(uint32_t *registers, uint32_t version, uint32_t id)
{
    registers[REG_MAGIC / 4] = MAGIC;
    registers[REG_VERSION / 4] = version;
    registers[REG_DEVICE_ID / 4] = id;
}

static void add_window(unsigned index, uint32_t version, uint32_t id)
{
    put_device(windows_memory[index], version, id);
    mmio_windows[mmio_window_count++] =
        (struct mmio_window){(uintptr_t)windows_memory[index], MMIO_WINDOW_BYTES_MIN, 12 + index};
}

static struct virtio_device *find(enum virtio_id id, unsigned *seen)
{
    struct virtio_device *device;
    return virtio_mmio_find(id, &device, 1, seen) == 1 ? device : NULL;
}

TEST(virtio_mmio_words_are_parsed)
{
    set_up();
    CHECK(virtio_mmio_parse("512@0xfeb02a00:12", NULL));
    CHECK(virtio_mmio_parse("4K@0xd0000000:5", NULL)); /* as Firecracker writes it; 1.14 as well: */
    CHECK(virtio_mmio_parse("4K@0xc0001000:5", NULL));
    CHECK(virtio_mmio_parse("0x200@0xFEB00000:0:3", NULL));
    CHECK(virtio_mmio_parse("512@4096:1", NULL));
    CHECK_EQ(mmio_window_count, 5);
    CHECK(mmio_windows[0].base == 0xfeb02a00 && mmio_windows[0].bytes == 512);
    CHECK(mmio_windows[1].base == 0xd0000000 && mmio_windows[1].bytes == 4096);
    CHECK(mmio_windows[2].base == 0xc0001000 && mmio_windows[2].bytes == 4096);
    CHECK(mmio_windows[3].base == 0xfeb00000 && mmio_windows[3].bytes == 512);
    CHECK(mmio_windows[0].line == 12 && mmio_windows[2].line == 5 && mmio_windows[3].line == 0);
    CHECK(virtio_mmio_parse("512@4096:0xffffffff", NULL));
    CHECK(virtio_mmio_parse("512@4096:0x100000005", NULL));
    CHECK(mmio_windows[5].line == MMIO_NO_LINE && mmio_windows[6].line == MMIO_NO_LINE);
}

TEST(virtio_mmio_words_that_are_malformed_are_refused)
{
    static const char *const bad[] = {"",
                                      "512",
                                      "512@",
                                      "512@0xfeb00000",
                                      "512@0xfeb00000:",
                                      "512@0x:5",
                                      "@0xfeb00000:5",
                                      "K@0xfeb00000:5",
                                      "512@0xfeb00000:5:",
                                      "512@0xfeb00000:5:1:1",
                                      "512@0xfeb00000:5x",
                                      "512@feb00000:5",
                                      "512@0xfeb0000g:5",
                                      "512@0xFEB0000G:5",
                                      "512@0xfeb0000/:5",
                                      "512@0xfeb0000@:5",
                                      "4294967296@0xfeb00000:5",
                                      "4294967296K@0xfeb00000:5",
                                      "-512@0xfeb00000:5",
                                      "256@0xfeb00000:5",
                                      "512@0:5",
                                      "512@0xfeb00001:5",
                                      "512@0xffffffffffffff00:5",
                                      "512@0x100000000feb00000:5",
                                      "99999999999999999999@0xfeb00000:5",
                                      "18014398509481984K@0xfeb00000:5"};
    set_up();
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!virtio_mmio_parse(bad[i], NULL));
    CHECK_EQ(mmio_window_count, 0);
    for (unsigned i = 0; i < MMIO_WINDOWS_MAX; i++)
        CHECK(virtio_mmio_parse("512@0xfeb02a00:12", NULL));
    CHECK(!virtio_mmio_parse("512@0xfeb02a00:12", NULL));
}

TEST(virtio_mmio_finds_the_first_modern_device)
{
    unsigned count = 0;

    set_up();
    add_window(0, VERSION_MODERN, VIRTIO_ID_RNG);
    add_window(1, VERSION_MODERN, VIRTIO_ID_NET);
    add_window(2, VERSION_MODERN, VIRTIO_ID_NET);
    struct virtio_device *const device = find(VIRTIO_ID_NET, &count);
    CHECK(device != NULL);
    CHECK_EQ(count, 2);
    CHECK_EQ(virtio_mmio_places(), 3);
    CHECK(of(device)->registers == (uint8_t *)windows_memory[1]);
    CHECK(find(VIRTIO_ID_NET, &count) == device);
    CHECK_EQ(log_lines, 0);
}

TEST(virtio_mmio_tells_of_versions_it_cannot_use)
{
    unsigned count = 0;

    set_up();
    add_window(0, VERSION_LEGACY, VIRTIO_ID_NET);
    add_window(1, 3, VIRTIO_ID_NET);
    add_window(2, VERSION_LEGACY, VIRTIO_ID_RNG);
    CHECK(find(VIRTIO_ID_NET, &count) == NULL);
    CHECK_EQ(log_lines, 2);
    windows_memory[0][REG_MAGIC / 4] = 0;
    count = 0;
    CHECK(find(VIRTIO_ID_NET, &count) == NULL);
    CHECK_EQ(count, 1);
}

TEST(virtio_mmio_looks_into_the_slots_of_microvm_up_to_the_last)
{
    unsigned count = 0;

    set_up();
    pci_present = false;
    CHECK(find(VIRTIO_ID_NET, &count) == NULL);
    CHECK_EQ(slots_mapped, MICROVM_SLOTS);
    CHECK_EQ(virtio_mmio_places(), MICROVM_SLOTS);
    for (unsigned slot = 0; slot < MICROVM_SLOTS; slot++) /* QEMU's: no device in them */
        put_device(slots_memory[slot], VERSION_MODERN, 0);
    put_device(slots_memory[22], VERSION_MODERN, VIRTIO_ID_RNG);
    put_device(slots_memory[MICROVM_SLOTS - 1], VERSION_MODERN, VIRTIO_ID_NET);
    struct virtio_device *const last = find(VIRTIO_ID_NET, &count);
    CHECK(last != NULL && count == 1);
    CHECK(strcmp(last->name, "mmio 0xfeb02e00") == 0);
    CHECK(of(last)->registers == (uint8_t *)slots_memory[MICROVM_SLOTS - 1]);
    put_device(slots_memory[5], VERSION_MODERN, VIRTIO_ID_NET);
    count = 0;
    struct virtio_device *const first = find(VIRTIO_ID_NET, &count);
    CHECK(first != NULL && first != last && count == 2);
    CHECK(of(first)->registers == (uint8_t *)slots_memory[5]);
    CHECK(find(VIRTIO_ID_NET, &count) == first);
}

TEST(virtio_mmio_looks_into_no_slots_beside_pci_or_what_it_was_told)
{
    unsigned count = 0;

    set_up();
    put_device(slots_memory[0], VERSION_MODERN, VIRTIO_ID_NET);
    CHECK(find(VIRTIO_ID_NET, &count) == NULL);
    pci_present = false;
    add_window(0, VERSION_MODERN, VIRTIO_ID_RNG);
    CHECK(find(VIRTIO_ID_NET, &count) == NULL);
    CHECK_EQ(count, 0);
    CHECK_EQ(slots_mapped, 0);
}

/* The slots, and later as many windows elsewhere as it takes: each device is one of its own. */
TEST(virtio_mmio_has_room_for_a_device_in_every_place)
{
    static _Alignas(4096) uint32_t memory[MMIO_WINDOWS_MAX][MMIO_WINDOW_BYTES_MIN / 4];
    unsigned count = 0;

    set_up();
    pci_present = false;
    for (unsigned slot = 0; slot < MICROVM_SLOTS; slot++)
        put_device(slots_memory[slot], VERSION_MODERN, VIRTIO_ID_RNG);
    CHECK(find(VIRTIO_ID_RNG, &count) != NULL);
    for (unsigned i = 0; i < MMIO_WINDOWS_MAX; i++) {
        put_device(memory[i], VERSION_MODERN, VIRTIO_ID_NET);
        mmio_windows[mmio_window_count++] =
            (struct mmio_window){(uintptr_t)memory[i], MMIO_WINDOW_BYTES_MIN, 5};
    }
    struct virtio_device *const device = find(VIRTIO_ID_NET, &count);
    CHECK(device != NULL && of(device)->registers == (uint8_t *)memory[0]);
    CHECK_EQ(count, MICROVM_SLOTS + MMIO_WINDOWS_MAX);
    CHECK_EQ(device_count, DEVICES_MAX);
}

TEST(virtio_mmio_hands_a_queue_over)
{
    static _Alignas(VIRTQ_ALIGN_BYTES) uint8_t memory[VIRTQ_BYTES(8)];
    static struct virtq q;
    unsigned count = 0;
    uint32_t *const registers = windows_memory[0];

    set_up();
    add_window(0, VERSION_MODERN, VIRTIO_ID_NET);
    struct virtio_device *const device = find(VIRTIO_ID_NET, &count);
    CHECK(device != NULL);
    virtq_init(&q, memory, 8, false);
    registers[REG_QUEUE_SIZE_MAX / 4] = 100000;
    CHECK_EQ(device->transport->queue_size_max(device, 0), VIRTQ_SIZE_MAX);
    CHECK(device->transport->queue_enable(device, 1, &q));
    CHECK_EQ(registers[REG_QUEUE_SEL / 4], 1);
    CHECK_EQ(registers[REG_QUEUE_SIZE / 4], 8);
    CHECK_EQ(registers[REG_QUEUE_DESC / 4], (uint32_t)(uintptr_t)q.desc);
    CHECK_EQ(registers[REG_QUEUE_DRIVER / 4], (uint32_t)(uintptr_t)q.avail);
    CHECK_EQ(registers[REG_QUEUE_DEVICE / 4], (uint32_t)(uintptr_t)q.used);
    CHECK_EQ(registers[REG_QUEUE_DEVICE / 4 + 1], (uint32_t)((uintptr_t)q.used >> 32));
    CHECK(!device->transport->queue_enable(device, 1, &q)); /* it is in use already */
    device->transport->notify(device, 1);
    CHECK_EQ(registers[REG_QUEUE_NOTIFY / 4], 1);
}

TEST(virtio_mmio_reads_no_configuration_past_its_end)
{
    unsigned count = 0;
    uint8_t mac[6];
    uint16_t value = 1;
    uint32_t word;

    set_up();
    add_window(0, VERSION_MODERN, VIRTIO_ID_NET);
    struct virtio_device *const device = find(VIRTIO_ID_NET, &count);
    CHECK(device != NULL);
    memcpy(&windows_memory[0][REG_CONFIG / 4], "abcdefgh", 8);
    device->transport->config_read(device, 0, mac, 6);
    CHECK(memcmp(mac, "abcdef", 6) == 0);
    device->transport->config_read(device, 6, &value, 2);
    CHECK_EQ(value, 'g' | 'h' << 8);
    device->transport->config_read(device, 4, &word, 4);
    CHECK(memcmp(&word, "efgh", 4) == 0);
    device->transport->config_read(device, MMIO_WINDOW_BYTES_MIN - REG_CONFIG, &value, 2);
    CHECK_EQ(value, 0);
}

TEST(virtio_mmio_selects_the_halves_of_features)
{
    unsigned count = 0;
    uint32_t *const registers = windows_memory[0];

    set_up();
    add_window(0, VERSION_MODERN, VIRTIO_ID_NET);
    struct virtio_device *const device = find(VIRTIO_ID_NET, &count);
    CHECK(device != NULL);
    registers[REG_DEVICE_FEATURES / 4] = 5; /* mere memory: both halves read the same */
    CHECK_EQ(device->transport->read_features(device), 0x500000005);
    CHECK_EQ(registers[REG_DEVICE_FEATURES_SEL / 4], 1);
    device->transport->write_features(device, 0x700000001);
    CHECK_EQ(registers[REG_DRIVER_FEATURES_SEL / 4], 1);
    CHECK_EQ(registers[REG_DRIVER_FEATURES / 4], 7);
    device->transport->write_status(device, 3);
    CHECK_EQ(registers[REG_STATUS / 4], 3);
    CHECK_EQ(device->transport->read_status(device), 3);
    registers[REG_CONFIG_GENERATION / 4] = 9;
    CHECK_EQ(device->transport->config_generation(device), 9);
    registers[REG_QUEUE_SIZE_MAX / 4] = 5;
    CHECK_EQ(device->transport->queue_size_max(device, 2), 5);
    CHECK_EQ(registers[REG_QUEUE_SEL / 4], 2);
}

TEST(virtio_mmio_interrupts_by_the_line_it_was_named_with)
{
    unsigned count = 0;

    set_up();
    add_window(0, VERSION_LEGACY, VIRTIO_ID_NET);
    add_window(1, VERSION_MODERN, VIRTIO_ID_NET);
    struct virtio_device *const device = find(VIRTIO_ID_NET, &count);
    for (unsigned has = 0; has < 2; has++) {
        ioapic_has_lines = has != 0;
        line_routed = 0;
        CHECK_EQ(device->transport->route_interrupt(device, 0), has != 0);
        CHECK_EQ(line_routed, 13);
    }
    device->transport->acknowledge(device);
    CHECK_EQ(windows_memory[1][REG_INTERRUPT_ACK / 4], 3);
}

TEST(virtio_mmio_has_no_interrupt_where_nobody_names_its_line)
{
    unsigned count = 0;

    set_up();
    pci_present = false;
    ioapic_has_lines = true;
    put_device(slots_memory[3], VERSION_MODERN, VIRTIO_ID_NET);
    struct virtio_device *const device = find(VIRTIO_ID_NET, &count);
    CHECK(device != NULL);
    CHECK(!device->transport->route_interrupt(device, 0));
}

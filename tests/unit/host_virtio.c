/* Which of several virtio devices is taken: the source compiled into this file, over no devices. */
#define virtio_find        vfind_virtio_find
#define virtio_find_all    vfind_virtio_find_all
#define virtio_reset       vfind_virtio_reset
#define virtio_begin       vfind_virtio_begin
#define virtio_accept      vfind_virtio_accept
#define virtio_queue_size  vfind_virtio_queue_size
#define virtio_add_queue   vfind_virtio_add_queue
#define virtio_run         vfind_virtio_run
#define virtio_give_up     vfind_virtio_give_up
#define virtio_needs_reset vfind_virtio_needs_reset
#define virtio_config_read vfind_virtio_config_read
#define virtio_pci_find    vfind_virtio_pci_find
#define virtio_mmio_find   vfind_virtio_mmio_find
#define log_line           vfind_log_line
#define clock_ns           vfind_clock_ns
#define virtq_init         vfind_virtq_init

#include "kernel/virtio/virtio.c"

#include "tests/test.h"

static struct virtio_device *usable;
static unsigned devices, log_lines;

/* Of the devices half are on PCI, one more if they are odd; all can be used or none. */
static size_t find_some(unsigned here, struct virtio_device **found, size_t max, unsigned *seen)
{
    size_t count = 0;
    *seen += here;
    while (usable != NULL && count < here && count < max)
        found[count++] = usable;
    return count;
}

size_t vfind_virtio_pci_find(enum virtio_id id, struct virtio_device **found, size_t max,
                             unsigned *seen)
{
    (void)id;
    return find_some((devices + 1) / 2, found, max, seen);
}

size_t vfind_virtio_mmio_find(enum virtio_id id, struct virtio_device **found, size_t max,
                              unsigned *seen)
{
    (void)id;
    return find_some(devices / 2, found, max, seen);
}

void vfind_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)subsystem;
    (void)format;
    log_lines += level < LOG_DEBUG;
}

uint64_t vfind_clock_ns(void)
{
    return 0;
}

void vfind_virtq_init(struct virtq *q, void *memory, uint16_t size, bool event_idx)
{
    (void)q;
    (void)memory;
    (void)size;
    (void)event_idx;
}

TEST(virtio_finds_none_of_several_that_cannot_be_used)
{
    static struct virtio_device device = {.name = "one"};

    usable = NULL;
    devices = 3; /* legacy ones, say */
    log_lines = 0;
    CHECK(virtio_find(VIRTIO_ID_NET) == NULL);
    CHECK_EQ(log_lines, 0);
    usable = &device;
    CHECK(virtio_find(VIRTIO_ID_NET) == &device);
    CHECK_EQ(log_lines, 1);
}

TEST(virtio_finds_all_devices_there_are_or_as_many_as_there_is_room_for)
{
    static struct virtio_device device = {.name = "one"};
    struct virtio_device *found[4];

    usable = &device;
    devices = 3;
    log_lines = 0;
    CHECK_EQ(virtio_find_all(VIRTIO_ID_BLK, found, 4), 3);
    CHECK_EQ(log_lines, 0);
    devices = 9;
    CHECK_EQ(virtio_find_all(VIRTIO_ID_BLK, found, 4), 4);
    CHECK_EQ(log_lines, 1);
}

/* ---- the steps, with a device that takes none of them ---- */

static uint16_t queue_entries;
static unsigned generations_left, reads; /* so often it changes between two looks */
static uint32_t generation;

static uint16_t fake_queue_size_max(struct virtio_device *device, uint16_t index)
{
    (void)device;
    return index == 0 ? queue_entries : 0;
}

static bool fake_queue_enable(struct virtio_device *device, uint16_t index, const struct virtq *q)
{
    (void)device;
    (void)index;
    (void)q;
    return true;
}

static uint32_t fake_config_generation(struct virtio_device *device)
{
    (void)device;
    return generation;
}

static void fake_config_read(struct virtio_device *device, uint32_t offset, void *to, size_t len)
{
    (void)device;
    (void)offset;
    memset(to, (int)generation, len);
    reads++;
    if (generations_left > 0) {
        generations_left--;
        generation++;
    }
}

static const struct virtio_transport transport = {
    .queue_size_max = fake_queue_size_max,
    .queue_enable = fake_queue_enable,
    .config_generation = fake_config_generation,
    .config_read = fake_config_read,
};

TEST(virtio_adds_no_queue_that_the_device_does_not_have)
{
    static struct virtio_device device = {.name = "one", .transport = &transport};
    struct virtq q;

    queue_entries = 8;
    log_lines = 0;
    CHECK_EQ(virtio_queue_size(&device, 0, 64), 8);
    CHECK(virtio_add_queue(&device, 0, &q, NULL, 8));
    CHECK_EQ(log_lines, 0);
    CHECK(!virtio_add_queue(&device, 0, &q, NULL, 16));
    CHECK_EQ(virtio_queue_size(&device, 1, 64), 0);
    CHECK(!virtio_add_queue(&device, 1, &q, NULL, 0));
    CHECK_EQ(log_lines, 2);
}

TEST(virtio_reads_configuration_again_when_it_changed_meanwhile)
{
    static struct virtio_device device = {.name = "one", .transport = &transport};
    uint8_t value = 0;

    generation = 1;
    reads = 0;
    generations_left = 3;
    virtio_config_read(&device, 0, &value, 1);
    CHECK_EQ(value, 4);
    CHECK_EQ(reads, 4);
    /* But not for ever. */
    reads = 0;
    generations_left = 1000;
    virtio_config_read(&device, 0, &value, 1);
    CHECK_EQ(reads, CONFIG_READ_ATTEMPTS_MAX);
}

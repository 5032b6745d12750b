/* Which of several virtio devices is taken: the source compiled into this file, over no devices. */
#define virtio_find        vfind_virtio_find
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

#include "kernel/virtio.c"

#include "tests/test.h"

static struct virtio_device *usable;
static unsigned devices, log_lines;

struct virtio_device *vfind_virtio_pci_find(enum virtio_id id, unsigned *count)
{
    (void)id;
    *count += devices;
    return usable;
}

struct virtio_device *vfind_virtio_mmio_find(enum virtio_id id, unsigned *count)
{
    (void)id;
    (void)count;
    return NULL;
}

void vfind_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)level;
    (void)subsystem;
    (void)format;
    log_lines++;
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
    devices = 2; /* two legacy ones, say */
    log_lines = 0;
    CHECK(virtio_find(VIRTIO_ID_NET) == NULL);
    CHECK_EQ(log_lines, 0);
    usable = &device;
    CHECK(virtio_find(VIRTIO_ID_NET) == &device);
    CHECK_EQ(log_lines, 1);
}

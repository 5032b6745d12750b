/* virtio-rng on the host: the source compiled into this file, over a device that may lie. */
#define clock_ns          vrng_clock_ns
#define log_line          vrng_log_line
#define virtio_find       vrng_virtio_find
#define virtio_begin      vrng_virtio_begin
#define virtio_accept     vrng_virtio_accept
#define virtio_queue_size vrng_virtio_queue_size
#define virtio_add_queue  vrng_virtio_add_queue
#define virtio_run        vrng_virtio_run
#define virtio_give_up    vrng_virtio_give_up
#define virtio_rng_fill   vrng_fill

#include "kernel/virtio/virtio_rng.c"

#include "tests/test.h"

enum step { NOTHING, FIND, BEGIN, ACCEPT, QUEUE };

static struct {
    struct virtio_device device;
    enum step fails;
    bool busy, silent, runs, gave_up;
    uint32_t id;              /* it returns, instead of the buffer's */
    uint32_t len;             /* it says that it wrote */
    uint16_t more;            /* buffers that it claims to have used, and was never given */
    uint64_t offers, insists; /* features; without some it does not work */
    unsigned kicks, requests, log_lines;
    uint16_t seen;
    uint64_t now_ns;
    uint8_t next;
} fake;

#define OWN_ID UINT32_MAX

static void fake_notify(struct virtio_device *device, uint16_t index)
{
    (void)device;
    (void)index;
    fake.kicks++;
    if (fake.silent)
        return;
    const uint16_t head = queue.avail->ring[fake.seen++ & queue.mask];
    uint8_t *const to = (uint8_t *)(uintptr_t)queue.desc[head].address;
    for (uint32_t i = 0; i < fake.len && i < queue.desc[head].len; i++)
        to[i] = fake.next++;
    queue.used->ring[queue.used->idx & queue.mask] =
        (struct virtq_used_elem){fake.id == OWN_ID ? head : fake.id, fake.len};
    queue.used->idx = (uint16_t)(queue.used->idx + 1 + fake.more);
    fake.requests++;
}

static const struct virtio_transport transport = {.notify = fake_notify};

uint64_t vrng_clock_ns(void)
{
    if (fake.now_ns > 10000000)
        queue.used->flags = 0;
    return fake.now_ns += 1000000;
}

void vrng_log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    (void)level;
    (void)subsystem;
    (void)format;
    fake.log_lines++;
}

struct virtio_device *vrng_virtio_find(enum virtio_id id)
{
    return id != VIRTIO_ID_RNG || fake.fails == FIND ? NULL : &fake.device;
}

bool vrng_virtio_begin(struct virtio_device *device, uint64_t *offered)
{
    (void)device;
    *offered = fake.offers;
    return fake.fails != BEGIN;
}

bool vrng_virtio_accept(struct virtio_device *device, uint64_t features)
{
    (void)device;
    return (features & ~fake.offers) == 0 && (features & fake.insists) == fake.insists &&
           (features & VIRTIO_F_EVENT_IDX) == 0 && fake.fails != ACCEPT;
}

uint16_t vrng_virtio_queue_size(struct virtio_device *device, uint16_t index, uint16_t limit)
{
    (void)device;
    (void)index;
    return limit;
}

bool vrng_virtio_add_queue(struct virtio_device *device, uint16_t index, struct virtq *q,
                           void *memory, uint16_t size)
{
    (void)device;
    (void)index;
    virtq_init(q, memory, size, false);
    q->used->flags = fake.busy; /* VIRTQ_USED_F_NO_NOTIFY */
    return fake.fails != QUEUE;
}

void vrng_virtio_run(struct virtio_device *device)
{
    (void)device;
    fake.runs = true;
}

void vrng_virtio_give_up(struct virtio_device *device)
{
    (void)device;
    fake.gave_up = true;
}

static void set_up(void)
{
    memset(&fake, 0, sizeof fake);
    fake.device.transport = &transport;
    fake.id = OWN_ID;
    fake.len = BUFFER_BYTES;
    fake.offers = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX;
    fake.insists = VIRTIO_F_VERSION_1;
}

/* Whatever comes of it: the device is stopped, and what it wrote is not kept. */
static bool left_nothing(void)
{
    static const uint8_t zeros[BUFFER_BYTES];
    return fake.gave_up && memcmp(buffer, zeros, sizeof zeros) == 0;
}

TEST(virtio_rng_fills_in_as_many_requests_as_it_takes)
{
    static const uint32_t lens[] = {1, 7, 63, 64};
    uint8_t bytes[200 + 1];

    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        set_up();
        fake.len = lens[i];
        bytes[200] = 0xa5;
        CHECK(virtio_rng_fill(bytes, 200));
        for (unsigned at = 0; at < 200; at++)
            CHECK_EQ(bytes[at], at);
        CHECK_EQ(bytes[200], 0xa5);
        CHECK_EQ(fake.requests, (200 + lens[i] - 1) / lens[i]);
        CHECK(fake.runs && left_nothing());
        CHECK_EQ(fake.log_lines, 0);
    }
}

TEST(virtio_rng_starts_a_device_that_insists_on_the_platforms_addresses_and_order)
{
    uint8_t bytes[32];

    set_up();
    fake.offers = ~0ULL;
    fake.insists |= 1ULL << 33 | 1ULL << 36; /* virtio 1.2, 6 */
    CHECK(virtio_rng_fill(bytes, sizeof bytes));
    CHECK_EQ(fake.log_lines, 0);
}

TEST(virtio_rng_says_so_when_the_device_cannot_be_started)
{
    uint8_t bytes[32];

    set_up();
    fake.fails = FIND;
    CHECK(!virtio_rng_fill(bytes, sizeof bytes));
    CHECK_EQ(fake.log_lines, 0); /* a machine without is no fault */
    for (enum step fails = BEGIN; fails <= QUEUE; fails++) {
        set_up();
        fake.fails = fails;
        CHECK(!virtio_rng_fill(bytes, sizeof bytes));
        CHECK(!fake.runs && left_nothing());
        CHECK_EQ(fake.log_lines, 1);
    }
}

TEST(virtio_rng_waits_two_seconds_for_a_device_that_is_silent)
{
    uint8_t bytes[32];

    set_up();
    fake.silent = true;
    CHECK(!virtio_rng_fill(bytes, sizeof bytes));
    CHECK(fake.now_ns >= REQUEST_NS_MAX && fake.now_ns < REQUEST_NS_MAX + 10000000);
    CHECK(left_nothing());
    CHECK_EQ(fake.log_lines, 1);
}

TEST(virtio_rng_kicks_a_device_that_asks_for_it_late)
{
    uint8_t bytes[32];

    set_up();
    fake.busy = true;
    CHECK(virtio_rng_fill(bytes, sizeof bytes));
    CHECK_EQ(fake.kicks, 1);
    CHECK(fake.now_ns < 20000000);
}

TEST(virtio_rng_does_not_believe_a_device_that_lies)
{
    static const struct {
        uint32_t id, len;
        uint16_t more;
    } lies[] = {{OWN_ID, 0, 0},      {OWN_ID, 65, 0}, {OWN_ID, UINT32_MAX, 0},
                {QUEUE_SIZE, 64, 0}, {3, 64, 0},      {OWN_ID, 64, 1}};
    uint8_t bytes[200 + 1];

    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        set_up();
        fake.id = lies[i].id;
        fake.len = lies[i].len;
        fake.more = lies[i].more;
        bytes[200] = 0xa5;
        CHECK(!virtio_rng_fill(bytes, 200));
        CHECK_EQ(bytes[200], 0xa5);
        CHECK(left_nothing());
        CHECK_EQ(fake.log_lines, 1);
        CHECK(fake.now_ns < REQUEST_NS_MAX / 2); /* noticed, not waited out */
    }
}

/* virtio-blk with devices that keep the contract, and with those that do not. */
#include "tests/unit/fake_virtio_blk.h"

static uint8_t bytes[4 * 512];

static bool submit(enum blockdev_operation operation, uint64_t sector, void *token)
{
    struct blockdev_request request = {.operation = operation, .sector = sector, .token = token};
    if (operation != BLOCKDEV_FLUSH) {
        request.buffers[0] = (struct blockdev_buffer){bytes, 1000};
        request.buffers[1] = (struct blockdev_buffer){bytes + 1000, 24};
        request.buffer_count = 2;
    }
    return blockdev_submit(0, &request);
}

/* Submits one request and has it carried out. */
static enum blockdev_status run(enum blockdev_operation operation, uint64_t sector)
{
    struct blockdev_completion done = {0};
    const bool submitted = submit(operation, sector, bytes);
    blockdev_kick(0);
    const size_t count = blockdev_completed(0, &done, 1);
    assert(submitted && count == 1 && done.token == bytes);
    return done.status;
}

static void start_one(void)
{
    set_up(1);
    blockdev_init();
    CHECK_EQ(blockdev_count(), 1);
    CHECK_EQ(log_lines, 1);
}

TEST(virtio_blk_says_what_the_device_is)
{
    start_one();
    const struct blockdev_info *const info = blockdev_get_info(0);
    CHECK_EQ(info->sectors, SECTORS);
    CHECK_EQ(info->logical_block_bytes, 512);
    CHECK_EQ(info->physical_block_bytes, 4096);
    CHECK(!info->read_only && info->flush);
    CHECK(strcmp(info->serial, "tally-0") == 0);
    CHECK(strstr(said, "flush, event-idx, serial tally-0") != NULL);
}

TEST(virtio_blk_reads_nothing_that_was_not_offered)
{
    set_up(1);
    fakes[0].offered = VIRTIO_F_VERSION_1 | F_RO;
    fakes[0].config.blk_size = 7;
    fakes[0].config.physical_block_exp = 7;
    fakes[0].config.seg_max = 0;
    fakes[0].serial = NULL;
    blockdev_init();
    const struct blockdev_info *const info = blockdev_get_info(0);
    CHECK_EQ(blockdev_count(), 1);
    CHECK_EQ(info->logical_block_bytes, 512);
    CHECK_EQ(info->physical_block_bytes, 512);
    CHECK(info->read_only && !info->flush);
    CHECK(strcmp(info->serial, "") == 0);
    CHECK(strstr(said, "blocks of 512/512, read-only") != NULL);
}

TEST(virtio_blk_takes_a_serial_of_full_length_and_no_control_characters)
{
    set_up(3);
    fakes[0].serial = "12345678901234567890";
    fakes[1].serial = "a\x1b[31m";
    fakes[2].serial = "b\x7f";
    blockdev_init();
    CHECK(strcmp(blockdev_get_info(0)->serial, "12345678901234567890") == 0);
    CHECK(strcmp(blockdev_get_info(1)->serial, "a") == 0);
    CHECK(strcmp(blockdev_get_info(2)->serial, "b") == 0);
}

TEST(virtio_blk_writes_flushes_and_reads_back)
{
    start_one();
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    CHECK_EQ(run(BLOCKDEV_WRITE, 5), BLOCKDEV_OK);
    CHECK_EQ(run(BLOCKDEV_FLUSH, 0), BLOCKDEV_OK);
    CHECK_EQ(fakes[0].flushes, 1);
    CHECK(memcmp(fakes[0].media + 5 * 512, bytes, 1024) == 0);
    memset(bytes, 0, sizeof bytes);
    CHECK_EQ(run(BLOCKDEV_READ, 5), BLOCKDEV_OK);
    CHECK(memcmp(fakes[0].media + 5 * 512, bytes, 1024) == 0);
    const struct blockdev_counters *const counters = blockdev_get_counters(0);
    CHECK_EQ(counters->reads, 1);
    CHECK_EQ(counters->writes, 1);
    CHECK_EQ(counters->flushes, 1);
    CHECK_EQ(counters->read_bytes, 1024);
    CHECK_EQ(counters->written_bytes, 1024);
    CHECK_EQ(counters->failures, 0);
}

TEST(virtio_blk_hands_on_what_the_device_says_of_a_request)
{
    static const struct {
        uint8_t said;
        enum blockdev_status status;
    } rows[] = {{STATUS_IOERR, BLOCKDEV_FAILED}, {STATUS_UNSUPP, BLOCKDEV_UNSUPPORTED}};
    for (unsigned i = 0; i < 2; i++) {
        struct blockdev_completion done;
        uint16_t head;
        start_one();
        fakes[0].answers = false;
        CHECK(submit(BLOCKDEV_WRITE, 0, bytes));
        blockdev_kick(0);
        CHECK_EQ(blockdev_completed(0, &done, 1), 0);
        CHECK(fake_take(&fakes[0], &head));
        fake_serve(&fakes[0], head, rows[i].said);
        CHECK_EQ(blockdev_completed(0, &done, 1), 1);
        CHECK_EQ(done.status, rows[i].status);
        CHECK_EQ(blockdev_get_counters(0)->failures, 1);
        fakes[0].answers = true;
        CHECK_EQ(run(BLOCKDEV_READ, 0), BLOCKDEV_OK);
    }
}

TEST(virtio_blk_returns_requests_in_the_device_s_order)
{
    struct blockdev_completion done[REQUESTS_MAX];
    uint16_t heads[3];
    start_one();
    fakes[0].answers = false;
    for (uintptr_t i = 0; i < 3; i++)
        CHECK(submit(i == 1 ? BLOCKDEV_FLUSH : BLOCKDEV_WRITE, i, (void *)(i + 1)));
    blockdev_kick(0);
    CHECK_EQ(fakes[0].notified, 2); /* the serial's, and one for all three */
    for (unsigned i = 0; i < 3; i++)
        CHECK(fake_take(&fakes[0], &heads[i]));
    for (unsigned i = 3; i > 0; i--)
        fake_serve(&fakes[0], heads[i - 1], STATUS_OK);
    CHECK_EQ(blockdev_completed(0, done, 2), 2);
    CHECK(done[0].token == (void *)3 && done[1].token == (void *)2);
    CHECK_EQ(blockdev_completed(0, done, 2), 1);
    CHECK(done[0].token == (void *)1);
}

TEST(virtio_blk_has_no_room_when_all_requests_are_out)
{
    struct blockdev_completion done[REQUESTS_MAX];
    start_one();
    fakes[0].answers = false;
    for (unsigned i = 0; i < REQUESTS_MAX; i++)
        CHECK(submit(BLOCKDEV_WRITE, 0, bytes));
    CHECK(!submit(BLOCKDEV_WRITE, 0, bytes));
    blockdev_kick(0);
    fake_serve_all(&fakes[0]);
    CHECK_EQ(blockdev_completed(0, done, REQUESTS_MAX), REQUESTS_MAX);
    CHECK(submit(BLOCKDEV_WRITE, 0, bytes));
}

TEST(virtio_blk_has_no_room_when_descriptors_are_out)
{
    set_up(1);
    fakes[0].size_max = 32;
    blockdev_init();
    fakes[0].answers = false;
    struct blockdev_request request = {.operation = BLOCKDEV_WRITE,
                                       .buffer_count = BLOCKDEV_BUFFERS_MAX};
    for (unsigned i = 0; i < BLOCKDEV_BUFFERS_MAX; i++)
        request.buffers[i] = (struct blockdev_buffer){bytes, 32};
    CHECK(blockdev_submit(0, &request));
    CHECK(!blockdev_submit(0, &request));
    CHECK(submit(BLOCKDEV_FLUSH, 0, bytes));
}

TEST(virtio_blk_kicks_again_where_the_device_may_have_missed_it)
{
    struct blockdev_completion done;
    start_one();
    fakes[0].answers = false;
    *(uint16_t *)&fakes[0].used->ring[fakes[0].size] = 1000; /* awake, it says */
    CHECK(submit(BLOCKDEV_FLUSH, 0, bytes));
    blockdev_kick(0);
    CHECK_EQ(fakes[0].notified, 1);
    *(uint16_t *)&fakes[0].used->ring[fakes[0].size] = fakes[0].seen; /* asleep all the same */
    CHECK_EQ(blockdev_completed(0, &done, 1), 0);
    CHECK_EQ(fakes[0].notified, 2);
}

TEST(virtio_blk_follows_a_change_of_size)
{
    struct blockdev_completion done;
    start_one();
    fakes[0].answers = false;
    CHECK(submit(BLOCKDEV_FLUSH, 0, bytes));
    CHECK_EQ(blockdev_completed(0, &done, 1), 0);
    fakes[0].config.capacity = 32;
    const unsigned reads = fakes[0].config_reads;
    CHECK_EQ(blockdev_completed(0, &done, 1), 0);
    CHECK_EQ(fakes[0].config_reads, reads); /* not more than once a second */
    now_ns += CONFIG_LOOK_NS;
    CHECK_EQ(blockdev_completed(0, &done, 1), 0);
    CHECK_EQ(blockdev_get_info(0)->sectors, 32);
}

/* ---- what does not start ---- */

static void no_reset(struct fake *fake)
{
    fake->resets = false;
    fake->status = 1;
    step_ns = CLOCK_NS_PER_MS;
}

static void legacy(struct fake *fake)
{
    fake->offered &= ~VIRTIO_F_VERSION_1;
}

static void refuses_features(struct fake *fake)
{
    fake->accepts = false;
}

static void short_queue(struct fake *fake)
{
    fake->size_max = 16;
}

static void no_queue(struct fake *fake)
{
    fake->enables = false;
}

static void small_buffers(struct fake *fake)
{
    fake->config.size_max = 4096;
}

static void few_buffers(struct fake *fake)
{
    fake->config.seg_max = BLOCKDEV_BUFFERS_MAX - 1;
}

static void odd_blocks(struct fake *fake)
{
    fake->config.blk_size = 520;
}

static void tiny_blocks(struct fake *fake)
{
    fake->config.blk_size = 256;
}

TEST(virtio_blk_leaves_out_what_does_not_start)
{
    static void (*const faults[])(struct fake *) = {no_reset,    legacy,     refuses_features,
                                                    short_queue, no_queue,   small_buffers,
                                                    few_buffers, odd_blocks, tiny_blocks};
    for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        set_up(2);
        faults[i](&fakes[0]);
        fakes[1].serial = "second";
        blockdev_init();
        CHECK_EQ(blockdev_count(), 1);
        CHECK(strcmp(blockdev_get_info(0)->serial, "second") == 0);
    }
}

TEST(virtio_blk_has_nothing_to_say_where_there_is_no_disk)
{
    set_up(0);
    blockdev_init();
    CHECK_EQ(blockdev_count(), 0);
    CHECK_EQ(log_lines, 0);
}

TEST(virtio_blk_says_so_when_there_are_more_than_it_has_room_for)
{
    set_up(BLOCKDEV_DEVICES_MAX + 2);
    blockdev_init();
    CHECK_EQ(blockdev_count(), BLOCKDEV_DEVICES_MAX);
    CHECK_EQ(log_lines, BLOCKDEV_DEVICES_MAX + 1);
}

TEST(virtio_blk_does_not_wait_for_ever_for_a_serial)
{
    set_up(1);
    fakes[0].answers = false;
    step_ns = CLOCK_NS_PER_MS;
    blockdev_init();
    CHECK_EQ(blockdev_count(), 1);
    CHECK_EQ(run(BLOCKDEV_READ, 0), BLOCKDEV_FAILED);
}

TEST(virtio_blk_believes_no_topology_beyond_reason)
{
    set_up(1);
    fakes[0].config.physical_block_exp = 200;
    blockdev_init();
    CHECK_EQ(blockdev_get_info(0)->physical_block_bytes, 512);
}

/* ---- lies ---- */

static void lie_used_index_ahead(struct fake *fake, uint16_t head)
{
    (void)head;
    fake->used->idx = (uint16_t)(fake->used->idx + 7);
}

static void lie_head_it_does_not_have(struct fake *fake, uint16_t head)
{
    fake_return(fake, (head + 5u) % fake->size, 1);
}

static void lie_head_beyond_the_queue(struct fake *fake, uint16_t head)
{
    (void)head;
    fake_return(fake, 0x12345678, 1);
}

static void lie_no_status(struct fake *fake, uint16_t head)
{
    fake_return(fake, head, 1);
}

static void lie_more_than_there_is_room_for(struct fake *fake, uint16_t head)
{
    fake_serve(fake, head, STATUS_OK);
    fake->used->ring[(fake->used->idx - 1) & (fake->size - 1)].len = 5000;
}

static void lie_returned_twice(struct fake *fake, uint16_t head)
{
    fake_serve(fake, head, STATUS_OK);
    fake_return(fake, head, 1);
}

static void lie_needs_reset(struct fake *fake, uint16_t head)
{
    (void)head;
    fake->status |= STATUS_NEEDS_RESET;
    now_ns += CONFIG_LOOK_NS;
}

TEST(virtio_blk_breaks_for_good_with_a_device_that_lies)
{
    static void (*const lies[])(struct fake *, uint16_t) = {
        lie_used_index_ahead, lie_head_it_does_not_have,       lie_head_beyond_the_queue,
        lie_no_status,        lie_more_than_there_is_room_for, lie_returned_twice,
        lie_needs_reset};
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct blockdev_completion done[8];
        uint16_t head;
        start_one();
        fakes[0].answers = false;
        for (uintptr_t token = 1; token <= 3; token++)
            CHECK(submit(BLOCKDEV_WRITE, 0, (void *)token));
        blockdev_kick(0);
        CHECK(fake_take(&fakes[0], &head));
        lies[i](&fakes[0], head);
        size_t count = blockdev_completed(0, done, 2);
        while (count < 3)
            count += blockdev_completed(0, done + count, 1);
        uintptr_t tokens = 0, failed = 0;
        for (unsigned n = 0; n < 3; n++) {
            tokens |= 1u << (uintptr_t)done[n].token;
            failed += done[n].status == BLOCKDEV_FAILED;
        }
        CHECK_EQ(tokens, 2 + 4 + 8);
        CHECK_EQ(failed, lies[i] == lie_returned_twice ? 2 : 3);
        CHECK_EQ(blockdev_completed(0, done, 8), 0);
        CHECK(strstr(said, "failed: ") != NULL);
        CHECK_EQ(fakes[0].status, 0);
        /* And stays so, without a look at the device. */
        const unsigned notified = fakes[0].notified;
        fakes[0].answers = true;
        CHECK_EQ(run(BLOCKDEV_FLUSH, 0), BLOCKDEV_FAILED);
        CHECK_EQ(fakes[0].notified, notified);
    }
}

TEST(virtio_blk_says_so_when_a_broken_device_does_not_reset)
{
    struct blockdev_completion done;
    start_one();
    fakes[0].answers = false;
    CHECK(submit(BLOCKDEV_FLUSH, 0, bytes));
    blockdev_kick(0);
    lie_used_index_ahead(&fakes[0], 0);
    fakes[0].resets = false;
    step_ns = CLOCK_NS_PER_MS;
    CHECK_EQ(blockdev_completed(0, &done, 1), 1);
    CHECK_EQ(done.status, BLOCKDEV_FAILED);
    CHECK(strstr(said, "does not reset") != NULL);
}

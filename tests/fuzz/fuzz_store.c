/*
 * A disk with anything on it, under what recovers it at boot (app/store/), by libFuzzer.
 *
 * The input changes a store that is sound, byte by byte or field by field with the CRCs put right,
 * and says what the disk is and does besides. Held to be true:
 *
 *   - nothing is read or written out of bounds, of memory or of the disk (AddressSanitizer);
 *   - it comes to an end, after a bounded number of requests;
 *   - a refusal has a reason, and a disk that is refused before it is formatted is not written to;
 *   - what is recovered adds up, can be counted on, and is there in the next life, to the last bit.
 */
#include <stdalign.h>
#include <string.h>

#include "app/store/crc32c.h"
#include "app/store/gpt.h"
#include "app/store/store.h"
#include "kernel/blockdev.h"
#include "tests/fuzz/input.h"

#define SECTORS      8192u /* 4 MiB */
#define BYTES        ((size_t)SECTORS * BLOCKDEV_SECTOR_BYTES)
#define PAGE_BYTES   4096u
#define PART_SECTOR  2048u
#define PART_SECTORS 5120u
#define USERS        1000u
#define MEMORY_BYTES (256u << 10)
#define CHANGES_MAX  40
#define DONE_MAX     16
#define REQUESTS_MAX 100000
#define POLLS_MAX    10000

enum change {
    CHANGE_BYTE,       /* anywhere where something stands */
    CHANGE_SUPERBLOCK, /* a byte of either; its CRC is put right */
    CHANGE_SLOT,       /* likewise */
    CHANGE_BLOCK,      /* likewise, of ids */
    CHANGE_STATE,      /* a field of a slot's; what hangs on it is put right */
    CHANGE_COPY,       /* a slot or block goes where another is */
    CHANGE_CLEAR,      /* a range becomes zeros */
    CHANGE_TABLE,      /* a byte of the partition tables; their CRCs are put right */
    CHANGE_DEVICE,     /* size, blocks, read-only, flush, serial number */
    CHANGE_FAULT,      /* reads that fail; a request that fails or is never answered */
    CHANGES
};

static struct input input;

/* ---- the disk ---- */

static struct {
    struct blockdev_info info;
    uint8_t bytes[BYTES];
    bool is_changed[BYTES / PAGE_BYTES]; /* since base[] */
    struct blockdev_completion done[DONE_MAX];
    size_t done_count;
    unsigned requests, writes;
    bool is_faulty;
    uint64_t bad_from, bad_to; /* sectors that cannot be read */
    unsigned hang_in, fail_in; /* requests from now; 0: never */
} disk;

enum { BASE_WHOLE, BASE_PARTITION, BASES };
static uint8_t base[BASES][BYTES];
static uint64_t now_ns;
static struct blockdev_counters counters;

static void mark(size_t at, size_t len)
{
    for (size_t page = at / PAGE_BYTES; page <= (at + len - 1) / PAGE_BYTES; page++)
        disk.is_changed[page] = true;
}

static void put(size_t at, const void *bytes, size_t len)
{
    memcpy(disk.bytes + at, bytes, len);
    mark(at, len);
}

static void put8(size_t at, uint8_t byte)
{
    put(at, &byte, 1);
}

static void restore(unsigned which)
{
    static unsigned last = BASES;
    for (size_t page = 0; page < BYTES / PAGE_BYTES; page++)
        if (disk.is_changed[page] || which != last)
            memcpy(disk.bytes + page * PAGE_BYTES, base[which] + page * PAGE_BYTES, PAGE_BYTES);
    memset(disk.is_changed, 0, sizeof disk.is_changed);
    last = which;
    disk.is_faulty = false;
    disk.done_count = disk.requests = disk.writes = 0;
    disk.bad_from = disk.bad_to = disk.hang_in = disk.fail_in = 0;
    disk.info = (struct blockdev_info){
        .sectors = SECTORS, .logical_block_bytes = 512, .physical_block_bytes = 512, .flush = true};
}

size_t blockdev_count(void)
{
    return 1;
}

const struct blockdev_info *blockdev_get_info(size_t device)
{
    REQUIRE(device == 0);
    return &disk.info;
}

static bool counts_down(unsigned *in)
{
    return *in != 0 && --*in == 0;
}

static enum blockdev_status carry_out(const struct blockdev_request *request)
{
    size_t at = (size_t)request->sector * BLOCKDEV_SECTOR_BYTES, len = 0;
    for (unsigned i = 0; i < request->buffer_count; i++)
        len += request->buffers[i].len;
    REQUIRE(request->sector <= SECTORS && len <= BYTES - at);
    REQUIRE(at + len <= disk.info.sectors * BLOCKDEV_SECTOR_BYTES);
    if (counts_down(&disk.fail_in))
        return BLOCKDEV_FAILED;
    if (request->operation == BLOCKDEV_READ && request->sector < disk.bad_to &&
        request->sector + len / 512 > disk.bad_from)
        return BLOCKDEV_FAILED;
    for (unsigned i = 0; i < request->buffer_count; i++) {
        const struct blockdev_buffer *const buffer = &request->buffers[i];
        if (request->operation == BLOCKDEV_READ)
            memcpy(buffer->bytes, disk.bytes + at, buffer->len);
        else
            put(at, buffer->bytes, buffer->len);
        at += buffer->len;
    }
    disk.writes += request->operation == BLOCKDEV_WRITE;
    return BLOCKDEV_OK;
}

bool blockdev_submit(size_t device, const struct blockdev_request *request)
{
    REQUIRE(device == 0 && ++disk.requests < REQUESTS_MAX);
    REQUIRE(request->operation != BLOCKDEV_WRITE || !disk.info.read_only);
    if (disk.done_count == DONE_MAX || disk.hang_in == 1)
        return disk.hang_in == 1;
    if (disk.hang_in > 1)
        disk.hang_in--;
    disk.done[disk.done_count++] = (struct blockdev_completion){request->token, carry_out(request)};
    return true;
}

void blockdev_kick(size_t device)
{
    REQUIRE(device == 0);
}

size_t blockdev_completed(size_t device, struct blockdev_completion *completions, size_t max)
{
    size_t count = 0;
    REQUIRE(device == 0);
    if (disk.done_count == 0)
        now_ns += 100000000; /* who waits should not have to do so for long */
    while (count < max && disk.done_count > 0)
        completions[count++] = disk.done[--disk.done_count];
    return count;
}

const struct blockdev_counters *blockdev_get_counters(size_t device)
{
    REQUIRE(device == 0);
    return &counters;
}

/* ---- a machine ---- */

static struct store_disk chosen;
static struct stats stats;
static char error[STORE_ERROR_BYTES_MAX];

static uint64_t clock_ns(void)
{
    return now_ns += 1000;
}

static bool wall_s(int64_t *unix_s)
{
    *unix_s = 1764590000;
    return true;
}

static void fill(void *bytes, size_t len)
{
    memset(bytes, 0x5a, len);
}

static void tell(const char *line)
{
    REQUIRE(line[0] != '\0');
}

static const struct store_config config = {
    .choice = STORE_AUTO, .now_ns = clock_ns, .wall_s = wall_s, .fill_random = fill, .tell = tell};

static enum store_opened boot(void)
{
    static alignas(64) uint8_t memory[MEMORY_BYTES];
    const struct siphash_key key = {1, 2};
    memset(error, 'x', sizeof error);
    const unsigned writes = disk.writes;
    enum store_opened opened = store_choose(&config, &chosen, error);
    REQUIRE(disk.writes == writes);
    if (opened == STORE_OPEN) {
        stats_init(&stats, users_init(memory, sizeof memory, USERS, &key));
        opened = store_recover(&config, &chosen, &stats, error);
    }
    REQUIRE(memchr(error, '\0', sizeof error) != NULL);
    REQUIRE(opened != STORE_REFUSED || error[0] != '\0');
    return opened;
}

static void count_users(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        uint8_t id[40] = "user";
        memcpy(id + 4, &i, sizeof i);
        const struct event event = {
            .user_id = id, .user_id_len = 8 + i % 32, .value = (double)i * 0.5};
        (void)stats_add(&stats, &event);
    }
}

/* False: the disk failed. */
static bool stop(void)
{
    store_finish();
    for (unsigned i = 0; i < POLLS_MAX && !store_is_clean(); i++)
        store_poll(clock_ns());
    return store_is_clean();
}

/* ---- what a sound store looks like ---- */

static uint32_t crc32(const uint8_t *bytes, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

/* Both headers' CRCs, and the one of the entries; each as far as it lies on the disk. */
static void fix_tables(void)
{
    static const size_t headers[] = {512, BYTES - 512}, entries[] = {1024, BYTES - 33 * 512};
    for (unsigned i = 0; i < 2; i++) {
        uint32_t crc = crc32(disk.bytes + entries[i], 128 * 128);
        put(headers[i] + 88, &crc, sizeof crc);
        put(headers[i] + 16, &(uint32_t){0}, sizeof crc);
        crc = crc32(disk.bytes + headers[i], 92);
        put(headers[i] + 16, &crc, sizeof crc);
    }
}

static void make_tables(void)
{
    static const uint8_t type[16] = GPT_TYPE;
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t lba = i == 0 ? 1 : SECTORS - 1, entries = i == 0 ? 2 : SECTORS - 33;
        const uint64_t first = PART_SECTOR, last = PART_SECTOR + PART_SECTORS - 1;
        const size_t header = (size_t)lba * 512, entry = (size_t)entries * 512 + 128;
        put(header, "EFI PART", 8);
        put(header + 12, &(uint32_t){92}, 4);
        put(header + 24, &lba, 8);
        put(header + 72, &entries, 8);
        put(header + 80, &(uint32_t){128}, 4);
        put(header + 84, &(uint32_t){128}, 4);
        put(entry, type, sizeof type);
        put(entry + 32, &first, 8);
        put(entry + 40, &last, 8);
    }
    fix_tables();
}

static void make_bases(void)
{
    static bool is_made;
    if (is_made)
        return;
    is_made = true;
    for (unsigned which = 0; which < BASES; which++) {
        restore(which); /* blank */
        if (which == BASE_PARTITION)
            make_tables();
        for (unsigned life = 0; life < 2; life++) {
            REQUIRE(boot() == STORE_OPEN);
            count_users(life * 300, 300);
            REQUIRE(stop());
        }
        memcpy(base[which], disk.bytes, BYTES);
    }
}

/* ---- changes ---- */

static struct format_superblock superblock; /* as it was, and where */
static size_t begin_at;

static size_t slot_at(uint64_t slot)
{
    return begin_at + (size_t)format_slot_sector(&superblock, slot) * BLOCKDEV_SECTOR_BYTES;
}

static size_t block_at(uint64_t block)
{
    return begin_at + (size_t)format_arena_sector(&superblock, block) * BLOCKDEV_SECTOR_BYTES;
}

/* Of those that are written. */
static uint64_t some_slot(void)
{
    return take8(&input) % 12;
}

static uint64_t some_block(void)
{
    return take8(&input) % 5;
}

static void fix_slot(uint64_t slot)
{
    const size_t len = format_slot_bytes(&superblock) - 4;
    const uint64_t block = superblock.slots_block + slot * superblock.slot_blocks;
    uint32_t crc = crc32c(0, superblock.uuid, sizeof superblock.uuid);
    crc = crc32c(crc32c(crc, &block, sizeof block), disk.bytes + slot_at(slot), len);
    put(slot_at(slot) + len, &crc, sizeof crc);
}

static void fix_block(uint64_t block)
{
    const uint32_t payload_bytes = format_payload_bytes(&superblock);
    const uint32_t crc = format_arena_block_crc(&superblock, block, disk.bytes + block_at(block));
    put(block_at(block) + payload_bytes, &crc, sizeof crc);
}

static void change_superblock(void)
{
    const uint8_t which = take8(&input);
    const size_t at = begin_at + ((which & 1) != 0 ? FORMAT_COPY_AT : 0);
    put8(at + take16(&input) % offsetof(struct format_superblock, crc), take8(&input));
    const uint32_t crc = crc32c(0, disk.bytes + at, offsetof(struct format_superblock, crc));
    put(at + offsetof(struct format_superblock, crc), &crc, sizeof crc);
}

/* Its fields, its sum, or what is behind them. */
static void change_slot(void)
{
    const uint64_t slot = some_slot();
    const uint16_t at = take16(&input);
    put8(slot_at(slot) + (at < 0x8000 ? at % 192 : at % (format_slot_bytes(&superblock) - 4)),
         take8(&input));
    fix_slot(slot);
}

static void change_block(void)
{
    const uint64_t block = some_block();
    put8(block_at(block) + take16(&input) % format_payload_bytes(&superblock), take8(&input));
    fix_block(block);
}

static uint64_t any_number(uint64_t near)
{
    const uint8_t how = take8(&input);
    return how < 200 ? near + (uint64_t)(int64_t)(int8_t)take8(&input)
                     : (uint64_t)take32(&input) << (how % 33);
}

static void change_state(void)
{
    static uint8_t ids[BYTES];
    static struct format_state state;
    const uint32_t payload_bytes = format_payload_bytes(&superblock);
    const uint64_t slot = some_slot();
    if (!format_slot_decode(&superblock, slot, disk.bytes + slot_at(slot), &state))
        return;
    uint64_t *const fields[] = {&state.boots, &state.seq,         &state.durable_seq, &state.count,
                                &state.users, &state.arena_bytes, &state.arena_from};
    uint64_t *const field = fields[take8(&input) % 7];
    *field = any_number(*field);
    if (state.arena_bytes >= sizeof ids - payload_bytes)
        return;
    memset(ids, 0, (size_t)state.arena_bytes + 1);
    for (uint64_t i = 0; i < state.arena_bytes / payload_bytes && i < superblock.arena_blocks; i++)
        memcpy(ids + i * payload_bytes, disk.bytes + block_at(i), payload_bytes);
    memcpy(ids + state.arena_bytes / payload_bytes * payload_bytes,
           format_slot_tail(disk.bytes + slot_at(slot)), state.arena_bytes % payload_bytes);
    state.arena_crc = 0;
    for (uint64_t i = state.arena_from;
         i < state.arena_bytes / payload_bytes && i < superblock.arena_blocks; i++)
        state.arena_crc = format_arena_crc_append(
            state.arena_crc, format_arena_block_crc(&superblock, i, disk.bytes + block_at(i)));
    const uint64_t to = state.seq % FORMAT_SLOTS;
    format_slot_encode(&superblock, &state, ids, disk.bytes + slot_at(to));
    mark(slot_at(to), format_slot_bytes(&superblock));
}

static void copy(void)
{
    static uint8_t bytes[FORMAT_SLOT_BYTES_MAX];
    const uint8_t how = take8(&input);
    const size_t len = (how & 1) != 0 ? format_slot_bytes(&superblock) : superblock.block_bytes;
    const size_t from = (how & 1) != 0 ? slot_at(some_slot()) : block_at(some_block());
    const uint64_t to = (how & 1) != 0 ? some_slot() : some_block();
    memcpy(bytes, disk.bytes + from, len);
    put((how & 1) != 0 ? slot_at(to) : block_at(to), bytes, len);
    if ((how & 2) != 0)
        (how & 1) != 0 ? fix_slot(to) : fix_block(to);
}

static void clear(void)
{
    const size_t page = take16(&input) % (BYTES / PAGE_BYTES), pages = 1 + take8(&input);
    const size_t end = page + pages < BYTES / PAGE_BYTES ? page + pages : BYTES / PAGE_BYTES;
    memset(disk.bytes + page * PAGE_BYTES, 0, (end - page) * PAGE_BYTES);
    mark(page * PAGE_BYTES, (end - page) * PAGE_BYTES);
}

static void change_table(void)
{
    static const size_t places[] = {512, 1024 + 128, BYTES - 512, BYTES - 33 * 512 + 128};
    const uint8_t which = take8(&input);
    put8(places[which & 3] + take8(&input) % ((which & 1) != 0 ? 128 : 92), take8(&input));
    fix_tables();
}

static void change_device(void)
{
    const uint8_t how = take8(&input);
    if ((how & 1) != 0)
        disk.info.sectors = take16(&input) % (SECTORS + 1);
    if ((how & 2) != 0)
        disk.info.logical_block_bytes = 512u << take8(&input) % 8;
    if ((how & 4) != 0)
        disk.info.physical_block_bytes = (how & 0x80) != 0 ? take16(&input) : 512u << how / 16 % 8;
    disk.info.read_only = (how & 8) != 0;
    disk.info.flush = (how & 16) == 0;
}

static void change_faults(void)
{
    const uint8_t how = take8(&input);
    disk.is_faulty = true;
    if ((how & 1) != 0)
        disk.bad_to = (disk.bad_from = take16(&input) % SECTORS) + 1 + how / 8;
    if ((how & 2) != 0)
        disk.hang_in = 1 + take8(&input);
    if ((how & 4) != 0)
        disk.fail_in = 1 + take8(&input);
}

static void change_byte(void)
{
    const uint32_t at = take32(&input);
    put8(at % 2 == 0 ? at / 2 % BYTES : begin_at + FORMAT_COPY_AT + at / 2 % (1u << 20),
         take8(&input));
}

static void change(enum change what)
{
    static void (*const changes[CHANGES])(void) = {
        [CHANGE_BYTE] = change_byte,     [CHANGE_SUPERBLOCK] = change_superblock,
        [CHANGE_SLOT] = change_slot,     [CHANGE_BLOCK] = change_block,
        [CHANGE_STATE] = change_state,   [CHANGE_COPY] = copy,
        [CHANGE_CLEAR] = clear,          [CHANGE_TABLE] = change_table,
        [CHANGE_DEVICE] = change_device, [CHANGE_FAULT] = change_faults,
    };
    changes[what]();
}

/* ---- all of it ---- */

/* Counts on, stops, and is there again. */
static void go_on(void)
{
    uint8_t sum[2][SUM_ENCODED_BYTES_MAX];
    REQUIRE(stats.count >= users_count(stats.users));
    REQUIRE((stats.count == 0) == (users_count(stats.users) == 0));
    count_users(take8(&input), take8(&input));
    if (!stop()) {
        REQUIRE(disk.hang_in != 0 || store_health(now_ns) == STORE_FAILED);
        return;
    }
    if (disk.is_faulty)
        return;
    const uint64_t count = stats.count, users = users_count(stats.users);
    const size_t len = sum_encode(&stats.sum, sum[0]);
    const bool is_back = boot() == STORE_OPEN;
    fputs(is_back ? "" : error, stderr);
    REQUIRE(is_back);
    REQUIRE(stats.count == count && users_count(stats.users) == users);
    REQUIRE(sum_encode(&stats.sum, sum[1]) == len && memcmp(sum[0], sum[1], len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_bases();
    input = (struct input){data, size};
    now_ns = 0;
    const unsigned which = take8(&input) % BASES;
    restore(which);
    begin_at = which == BASE_PARTITION ? (size_t)PART_SECTOR * BLOCKDEV_SECTOR_BYTES : 0;
    memcpy(&superblock, disk.bytes + begin_at, sizeof superblock);
    for (unsigned i = 0; i < CHANGES_MAX && input.left > 2; i++)
        change((enum change)(take8(&input) % CHANGES));
    if (boot() == STORE_OPEN)
        go_on();
    return 0;
}

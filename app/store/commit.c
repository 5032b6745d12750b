/*
 * A commit makes the aggregate of one moment survive. It is absolute, not a log of events: the
 * count, the exact sum, and the ids that are new since the commit before. Its steps:
 *
 *     1. begin   Note the count, the sum, and how many bytes of ids there are.
 *     2. write   Write the arena blocks that have become full since the last commit, from where the
 *                ids lie in memory. Write the slot: the numbers, the ids that do not fill a block,
 *                a CRC of the blocks' CRCs, and which commit is stable now.
 *     3. wait    for all of these writes to complete.
 *     4. flush   and wait for it to complete. A flush covers only writes that had completed when
 *                it was sent, hence step 3.
 *     5. stable  The machine may answer for what was counted before step 1.
 *
 * One commit is in flight at a time. What is counted meanwhile is in the next one, which begins at
 * once: the busier the machine, the more events share a commit.
 *
 * Why a crash at any step is safe. Until step 4 is done any sector of step 2 may be on the disk,
 * or not, or be on it in part, in any order. Let n be the stable commit, n + 1 the one in flight.
 *
 *   - Nothing of n is written again. Its slot is another one (seq mod 64). The arena blocks that it
 *     needs are full, and later commits begin behind them. Its tail is in its slot. So n can always
 *     be recovered.
 *   - The blocks and the slot of n + 1 may be there only in part. Then the slot's CRC, a block's
 *     CRC or the CRC of these does not hold, and recovery falls back to n (slots.c).
 *   - All of n + 1 may be there. Then it is recovered, though nobody was answered for it. It is a
 *     state that the machine was in, so that is as good. It is flushed before the next life writes
 *     anything (recover.c).
 *   - A life that ends in a crash leaves arena blocks and perhaps a slot of a commit that never
 *     became stable. The next life overwrites the blocks with other ids. The slot's CRC of blocks
 *     then does not hold, and (boots, seq) puts it below what that life has made stable.
 *
 * After IDLE_NS without work the same state is written once more, to the next slot: a seal. From
 * then on no single bad sector hides the newest commit, and none hides that it was stable.
 *
 * A write or flush that fails is never tried again. What the device had cached may be gone, and a
 * second flush that succeeds says nothing about the first one's writes. The store has failed.
 */
#include "app/store/commit.h"

#include <assert.h>
#include <string.h>

#include "kernel/blockdev.h"

#define NS_PER_S          UINT64_C(1000000000)
#define IDLE_NS           (10 * NS_PER_S / 1000)
#define STALLED_NS        NS_PER_S
#define DURATION_FIRST_NS (100 * NS_PER_S / 1000000)
#define WRITE_BLOCKS      (BLOCKDEV_BUFFERS_MAX / 2) /* each of them its ids and its CRC */
#define WRITES_MAX        8                          /* of arena blocks, in flight */

enum phase {
    PHASE_IDLE,
    PHASE_WRITING, /* there is something left to submit */
    PHASE_WAITING, /* for all writes to complete, and then for room for a flush */
    PHASE_FLUSHING,
};

/* A request of arena blocks; `crc` is what the device reads behind the ids of each. */
struct arena_write {
    bool in_flight;
    uint32_t crc[WRITE_BLOCKS];
};

static struct {
    size_t device;
    uint64_t first_sector;
    struct format_superblock superblock;
    struct stats *stats;
    bool (*wall_s)(int64_t *unix_s);

    enum phase phase;
    bool is_seal;              /* the commit in flight */
    struct format_state begun; /* the newest commit; its slot is encoded when all blocks are out */
    const uint8_t *ids;
    uint64_t next_block; /* to be submitted */
    unsigned outstanding;
    struct arena_write writes[WRITES_MAX];
    uint8_t slot[FORMAT_SLOT_BYTES_MAX];

    uint64_t stable_seq;
    struct stats_snapshot stable;
    bool is_sealed; /* the stable commit is a seal */
    bool is_finishing;
    bool has_failed;

    uint64_t begun_ns;
    uint64_t stable_ns;
    uint64_t
        progress_ns; /* the device last answered, or was given something while it had nothing */
    struct store_counters counters;
} store;

static uint64_t full_blocks(uint64_t arena_bytes)
{
    return arena_bytes / format_payload_bytes(&store.superblock);
}

static bool is_dirty(void)
{
    return store.stats->count != store.begun.count;
}

/* ---- 1. begin ---- */

static void begin(bool is_seal, uint64_t now_ns)
{
    struct format_state *const begun = &store.begun;
    const struct users_arena arena = users_arena(store.stats->users);
    begun->seq++;
    begun->durable_seq = store.stable_seq;
    begun->arena_from = full_blocks(begun->arena_bytes);
    begun->arena_crc = 0;
    if (!store.wall_s(&begun->wall_s))
        begun->wall_s = 0;
    begun->count = store.stats->count;
    begun->users = users_count(store.stats->users);
    begun->sum = store.stats->sum;
    begun->arena_bytes = arena.len;
    store.next_block = begun->arena_from;
    store.ids = arena.bytes;
    store.is_seal = is_seal;
    store.phase = PHASE_WRITING;
    store.begun_ns = store.progress_ns = now_ns;
}

/* ---- 2. write ---- */

static bool submit(struct blockdev_request *request, uint64_t now_ns)
{
    request->sector += store.first_sector;
    if (!blockdev_submit(store.device, request))
        return false;
    for (unsigned i = 0; i < request->buffer_count; i++)
        store.counters.written_bytes += request->buffers[i].len;
    if (store.outstanding++ == 0)
        store.progress_ns = now_ns;
    return true;
}

static struct arena_write *free_write(void)
{
    for (unsigned i = 0; i < WRITES_MAX; i++)
        if (!store.writes[i].in_flight)
            return &store.writes[i];
    return NULL;
}

/* The next few full blocks as one request. The device reads the ids from where they lie. */
static bool write_blocks(uint64_t blocks, uint64_t now_ns)
{
    struct arena_write *const write = free_write();
    if (write == NULL)
        return false;
    const uint32_t payload_bytes = format_payload_bytes(&store.superblock);
    struct blockdev_request request = {
        .operation = BLOCKDEV_WRITE,
        .sector = format_arena_sector(&store.superblock, store.next_block),
        .buffer_count = (uint16_t)(2 * blocks),
        .token = write,
    };
    uint32_t arena_crc = store.begun.arena_crc;
    for (unsigned i = 0; i < blocks; i++) {
        const uint64_t block = store.next_block + i;
        const uint8_t *const payload = store.ids + block * payload_bytes;
        write->crc[i] = format_arena_block_crc(&store.superblock, block, payload);
        arena_crc = format_arena_crc_append(arena_crc, write->crc[i]);
        request.buffers[2 * i] =
            (struct blockdev_buffer){(void *)(uintptr_t)payload, payload_bytes};
        request.buffers[2 * i + 1] = (struct blockdev_buffer){&write->crc[i], sizeof write->crc[i]};
    }
    if (!submit(&request, now_ns))
        return false;
    write->in_flight = true;
    store.begun.arena_crc = arena_crc;
    store.next_block += blocks;
    return true;
}

static bool write_slot(uint64_t now_ns)
{
    format_slot_encode(&store.superblock, &store.begun, store.ids, store.slot);
    return submit(
        &(struct blockdev_request){
            .operation = BLOCKDEV_WRITE,
            .sector = format_slot_sector(&store.superblock, store.begun.seq % FORMAT_SLOTS),
            .buffers = {{store.slot, (uint32_t)format_slot_bytes(&store.superblock)}},
            .buffer_count = 1,
            .token = store.slot,
        },
        now_ns);
}

/* As much as one call may, and as there is room for. */
static void go_on_writing(uint64_t now_ns)
{
    const uint64_t end = full_blocks(store.begun.arena_bytes);
    uint64_t may = STORE_POLL_BYTES / store.superblock.block_bytes;
    while (may > 0 && store.next_block < end) {
        uint64_t blocks = end - store.next_block;
        if (blocks > may)
            blocks = may;
        if (blocks > WRITE_BLOCKS)
            blocks = WRITE_BLOCKS;
        if (!write_blocks(blocks, now_ns))
            return;
        may -= blocks;
    }
    if (store.next_block == end && write_slot(now_ns))
        store.phase = PHASE_WAITING;
}

/* ---- 3. wait, 4. flush ---- */

static void fail(void)
{
    store.has_failed = true;
    store.counters.errors++;
}

static void take_completions(uint64_t now_ns)
{
    struct blockdev_completion done[8];
    const size_t count = blockdev_completed(store.device, done, sizeof done / sizeof done[0]);
    assert(count <= store.outstanding);
    for (size_t i = 0; i < count; i++) {
        for (unsigned j = 0; j < WRITES_MAX; j++)
            if (done[i].token == &store.writes[j])
                store.writes[j].in_flight = false;
        store.outstanding--;
        store.progress_ns = now_ns;
        if (done[i].status != BLOCKDEV_OK)
            fail();
    }
}

static void flush(uint64_t now_ns)
{
    if (!blockdev_get_info(store.device)->flush) {
        store.phase = PHASE_FLUSHING; /* and done */
        return;
    }
    if (submit(&(struct blockdev_request){.operation = BLOCKDEV_FLUSH, .token = &store}, now_ns)) {
        store.counters.flushes++;
        store.phase = PHASE_FLUSHING;
    }
}

/* ---- 5. stable ---- */

static void count_commit(uint64_t duration_ns)
{
    struct store_counters *const counters = &store.counters;
    unsigned bucket = 0;
    while (bucket < STORE_DURATION_BUCKETS - 1 && duration_ns > DURATION_FIRST_NS << bucket)
        bucket++;
    counters->commits++;
    counters->events += store.begun.count - store.stable.count;
    counters->duration_ns += duration_ns;
    counters->durations[bucket]++;
}

static void become_stable(uint64_t now_ns)
{
    if (store.is_seal)
        store.counters.seals++;
    else
        count_commit(now_ns - store.begun_ns);
    store.stable_seq = store.begun.seq;
    store.stable = (struct stats_snapshot){store.begun.count, store.begun.users, store.begun.sum};
    store.counters.arena_bytes = store.begun.arena_bytes;
    store.is_sealed = store.is_seal;
    store.stable_ns = now_ns;
    store.phase = PHASE_IDLE;
}

/* ---- all of it ---- */

static void begin_what_is_due(uint64_t now_ns)
{
    if (is_dirty())
        begin(false, now_ns);
    else if (!store.is_sealed && (store.is_finishing || now_ns - store.stable_ns >= IDLE_NS))
        begin(true, now_ns);
}

void store_poll(uint64_t now_ns)
{
    if (store.has_failed)
        return;
    if (store.outstanding > 0)
        take_completions(now_ns);
    if (store.has_failed)
        return;
    if (store.phase == PHASE_FLUSHING && store.outstanding == 0)
        become_stable(now_ns);
    if (store.phase == PHASE_IDLE)
        begin_what_is_due(now_ns);
    if (store.phase == PHASE_WRITING)
        go_on_writing(now_ns);
    if (store.phase == PHASE_WAITING && store.outstanding == 0)
        flush(now_ns);
    if (store.outstanding > 0)
        blockdev_kick(store.device);
}

void commit_begin_life(const struct store_config *config, const struct store_disk *disk,
                       struct stats *stats, uint64_t seq, uint64_t now_ns)
{
    memset(&store, 0, sizeof store);
    store.wall_s = config->wall_s;
    store.device = disk->device;
    store.first_sector = disk->first_sector;
    store.superblock = disk->superblock;
    store.stats = stats;
    store.counters.boots = disk->boots_seen + 1;
    store.counters.recovered_count = disk->state.count;
    store.counters.recovered_users = disk->state.users;
    store.counters.arena_bytes_max = format_arena_bytes_max(&disk->superblock);
    store.stable = (struct stats_snapshot){disk->state.count, disk->state.users, disk->state.sum};
    store.begun = disk->state;
    store.begun.boots = store.counters.boots;
    store.begun.seq = seq - 1; /* the next is `seq` */
    store.stable_seq = disk->state.seq;
    begin(false, now_ns);
    store.begun.wall_s = disk->state.wall_s; /* it is the same state */
}

uint64_t store_epoch(void)
{
    return store.begun.seq + 1;
}

uint64_t store_begun(void)
{
    return store.begun.seq;
}

uint64_t store_stable(void)
{
    return store.stable_seq;
}

const struct stats_snapshot *store_snapshot(void)
{
    return &store.stable;
}

enum store_health store_health(uint64_t now_ns)
{
    if (store.has_failed)
        return STORE_FAILED;
    return store.phase != PHASE_IDLE && now_ns - store.progress_ns > STALLED_NS ? STORE_STALLED
                                                                                : STORE_HEALTHY;
}

void store_finish(void)
{
    store.is_finishing = true;
}

bool store_is_at_rest(void)
{
    return store.phase == PHASE_IDLE && store.is_sealed && !is_dirty();
}

bool store_is_clean(void)
{
    return store.is_finishing && store_is_at_rest();
}

void store_get_counters(struct store_counters *counters)
{
    *counters = store.counters;
}

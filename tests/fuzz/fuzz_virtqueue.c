/*
 * A device that lies, behind the whole virtio-net driver (virtio.c, virtio_net.c, receive_ring.c,
 * virtqueue.c), under libFuzzer.
 *
 * The input says what the device is, then what it and the driver's user do, operation by operation.
 * Held to be true:
 *
 *   - the driver reads and writes nothing but what is its own (AddressSanitizer);
 *   - what it hands out lies in its buffers, and in none that is handed out already;
 *   - each token comes back once, and once only;
 *   - a device that has become honest again is used again, whatever it did before.
 */
#define VNET(name) vnet_fuzz_##name

#include "tests/fuzz/input.h"
#include "tests/unit/fake_virtio_net.h"

enum operation {
    OP_DELIVER,      /* a frame, as it should be */
    OP_USED,         /* any entry in either used ring */
    OP_USED_INDEX,   /* any used index */
    OP_HEADER,       /* any bytes as a buffer's header */
    OP_SHARED,       /* any byte of what is shared: descriptors, rings, buffers */
    OP_STATUS,       /* any status, also NEEDS_RESET */
    OP_CONFIG,       /* any byte of the configuration */
    OP_OFFER,        /* features and queue sizes, as they are found at the next reset */
    OP_OBEY,         /* what it does of what it is told */
    OP_SENT,         /* takes a frame and says that it has sent it */
    OP_TIME,         /* passes */
    OP_RECEIVE,      /* the driver's user takes frames, and keeps or returns them */
    OP_RECYCLE,      /* returns one that was kept */
    OP_TRANSMIT,     /* sends frames of several buffers */
    OP_FETCH_TOKENS, /* of frames that were sent */
    OP_FLUSH,        /* and looks at the link */
    OPERATIONS
};

#define HELD_MAX       64
#define TOKENS         300
#define OPERATIONS_MAX 500

static struct input input;
static struct netdev_piece held[HELD_MAX];
static size_t held_count;
static bool is_out[TOKENS]; /* tokens */
static struct netdev_piece pieces[PIECES];
static bool is_handed_out[RECEIVE_RING_SIZE_MAX]; /* slots */
static uint64_t offered_first;
static uint16_t sizes_first[2];

/* ---- the device ---- */

static bool has_queue(unsigned index)
{
    return fake.queues[index].desc != NULL;
}

/* Whether what the device itself has scribbled on still lets it take so many buffers. */
static bool can_take(unsigned index, unsigned buffers)
{
    const struct fake_queue *const queue = &fake.queues[index];
    if (!has_queue(index) || device_waiting(index) < buffers || device_waiting(index) > queue->size)
        return false;
    for (unsigned i = 0; i < buffers; i++) {
        const uint16_t id = queue->avail->ring[(queue->seen + i) % queue->size];
        if (id >= queue->size)
            return false;
        const struct virtq_desc *const desc = &queue->desc[id];
        if (index == 0 &&
            (desc->len != SLOT || desc->address != (uintptr_t)(receive.arena + id * SLOT)))
            return false;
    }
    return true;
}

static void deliver(void)
{
    const uint32_t bytes = 14 + take16(&input) % (receive.merges ? 65522u : SLOT - HEADER - 14u);
    const uint8_t flags = take8(&input);
    if (can_take(0, (bytes + HEADER + SLOT - 1) / SLOT))
        (void)device_deliver(bytes, bytes, flags);
}

/* The queue's next buffer, or any; its length, or any. */
static void use(void)
{
    const uint8_t how = take8(&input);
    const unsigned index = how & 1;
    if (!has_queue(index))
        return;
    uint32_t id = (how & 2) != 0 ? take16(&input) : (how & 4) != 0 ? take32(&input) : 0;
    if ((how & 6) == 0 && can_take(index, 1))
        id = device_take(index);
    device_use(index, id, (how & 8) != 0 ? take32(&input) : take16(&input) % (SLOT + 2));
}

static void set_used_index(void)
{
    const uint8_t how = take8(&input);
    const uint16_t value = take16(&input);
    struct virtq_used *const used = fake.queues[how & 1].used;
    if (used != NULL)
        used->idx = (uint16_t)((how & 2) != 0 ? value : used->idx + (int8_t)value);
}

static void write_header(void)
{
    const uint16_t slot = (uint16_t)(take16(&input) % receive.size);
    const uint8_t flags = take8(&input);
    *(struct virtio_net_header *)(void *)(receive.arena + slot * SLOT) =
        (struct virtio_net_header){.flags = flags, .num_buffers = take16(&input)};
}

static void scribble(void)
{
    const uint8_t where = take8(&input);
    const uint32_t at = take32(&input);
    const uint8_t value = take8(&input);
    if (where < 0x40)
        receive.arena[at % (receive.size * SLOT)] = value;
    else if ((where & 1) != 0)
        ((uint8_t *)net.receive_memory)[at % VIRTQ_BYTES(receive.size)] = value;
    else
        ((uint8_t *)net.transmit_memory)[at % VIRTQ_BYTES(transmit.size)] = value;
}

static void offer(void)
{
    const uint8_t how = take8(&input);
    if ((how & 1) != 0)
        fake.offered ^= 1ull << (take8(&input) % 64);
    if ((how & 2) != 0)
        fake.queues[how >> 7].size_max = take16(&input);
}

static void obey(void)
{
    const uint8_t what = take8(&input);
    fake.resets = (what & 1) == 0;
    fake.accepts = (what & 2) == 0;
    fake.enables[0] = fake.enables[1] = (what & 4) == 0;
}

static void send_honestly(void)
{
    if (can_take(1, 1))
        device_use(1, device_take(1), take8(&input));
}

/* ---- the driver's user ---- */

static void check_pieces(size_t count)
{
    REQUIRE(count <= PIECES);
    for (size_t i = 0; i < count; i++) {
        const struct netdev_piece *const piece = &pieces[i];
        const bool is_first = i == 0 || !pieces[i - 1].more;
        REQUIRE(piece->ring_count > 0 && piece->ring_first + piece->ring_count <= receive.size);
        REQUIRE(piece->bytes == receive.arena + piece->ring_first * SLOT + (is_first ? HEADER : 0));
        REQUIRE(piece->len > 0 && piece->len <= piece->ring_count * SLOT - (is_first ? HEADER : 0));
        REQUIRE(i + 1 < count || !piece->more);
        for (unsigned slot = 0; slot < piece->ring_count; slot++) {
            REQUIRE(!is_handed_out[piece->ring_first + slot]);
            is_handed_out[piece->ring_first + slot] = true;
        }
    }
}

static void give_back(const struct netdev_piece *piece)
{
    for (unsigned slot = 0; slot < piece->ring_count; slot++)
        is_handed_out[piece->ring_first + slot] = false;
    netdev_recycle(piece);
}

static void receive_some(uint8_t kept)
{
    const size_t count = netdev_receive(pieces, PIECES);
    check_pieces(count);
    for (size_t i = 0; i < count; i++) {
        if (held_count < HELD_MAX && kept > i)
            held[held_count++] = pieces[i];
        else
            give_back(&pieces[i]);
    }
}

static void recycle_one(void)
{
    if (held_count == 0)
        return;
    const size_t which = take8(&input) % held_count;
    give_back(&held[which]);
    held[which] = held[--held_count];
}

static void transmit_some(void)
{
    static uint8_t bytes[NETDEV_HEADROOM_BYTES + 100];
    struct netdev_frame frame = {.buffer_count = (uint16_t)(1 + take8(&input) % 8)};
    const uint8_t frames = take8(&input);
    for (unsigned i = 0; i < frame.buffer_count; i++)
        frame.buffers[i] = (struct netdev_buffer){bytes + NETDEV_HEADROOM_BYTES, 60};
    for (uintptr_t token = 1; token < TOKENS && token <= frames; token++) {
        if (is_out[token] || netdev_transmit_space() < frame.buffer_count)
            continue;
        is_out[token] = true;
        frame.token = (void *)token;
        netdev_transmit(&frame);
    }
}

static void fetch_tokens(void)
{
    void *tokens[8];
    const size_t count = netdev_transmitted(tokens, 8);
    REQUIRE(count <= 8);
    for (size_t i = 0; i < count; i++) {
        REQUIRE((uintptr_t)tokens[i] < TOKENS && is_out[(uintptr_t)tokens[i]]);
        is_out[(uintptr_t)tokens[i]] = false;
    }
}

static void operate(enum operation operation)
{
    static void (*const simple[OPERATIONS])(void) = {
        [OP_DELIVER] = deliver,
        [OP_USED] = use,
        [OP_USED_INDEX] = set_used_index,
        [OP_HEADER] = write_header,
        [OP_SHARED] = scribble,
        [OP_OFFER] = offer,
        [OP_OBEY] = obey,
        [OP_SENT] = send_honestly,
        [OP_RECYCLE] = recycle_one,
        [OP_TRANSMIT] = transmit_some,
        [OP_FETCH_TOKENS] = fetch_tokens,
    };
    switch (operation) {
    case OP_STATUS:
        fake.status = take8(&input);
        return;
    case OP_CONFIG:
        ((uint8_t *)&fake.config)[take8(&input) % sizeof fake.config] = take8(&input);
        return;
    case OP_TIME:
        fake.now_ns += take8(&input) * (CLOCK_NS_PER_S / 100);
        return;
    case OP_RECEIVE:
        receive_some(take8(&input));
        return;
    case OP_FLUSH:
        netdev_flush();
        (void)netdev_link_is_up();
        return;
    default:
        simple[operation]();
    }
}

/* ---- in the end ---- */

/* Honest from now on, once more reset: then a frame comes through, and every token back. */
static void be_honest(void)
{
    fake.offered = offered_first;
    fake.resets = fake.accepts = true;
    fake.enables[0] = fake.enables[1] = true;
    for (unsigned i = 0; i < 2; i++)
        fake.queues[i].size_max = sizes_first[i];
    virtq_break(&receive.q, "the input has ended");
    fake.now_ns += 2 * CLOCK_NS_PER_S;
    receive_some(0);
    REQUIRE(net.running && fake.status == 15);
    for (unsigned i = 0; i < TOKENS; i++)
        fetch_tokens();
    for (unsigned token = 0; token < TOKENS; token++)
        REQUIRE(!is_out[token]);
    REQUIRE(netdev_transmit_space() == transmit.size);
    while (held_count > 0)
        give_back(&held[--held_count]);
    netdev_flush();
    REQUIRE(virtq_in_flight(&receive.q) + receive.idle_count == receive.size);
    REQUIRE(device_deliver(1, 200, 0));
    const size_t count = netdev_receive(pieces, PIECES);
    check_pieces(count);
    REQUIRE(is_frame(pieces, count, 1, 200));
}

static bool begin(void)
{
    set_up();
    memset(is_out, 0, sizeof is_out);
    memset(is_handed_out, 0, sizeof is_handed_out);
    held_count = 0;
    const uint8_t how = take8(&input);
    if ((how & 1) != 0)
        fake.offered = take32(&input) | VIRTIO_F_VERSION_1;
    if ((how & 2) != 0)
        for (unsigned i = 0; i < sizeof fake.config; i++)
            ((uint8_t *)&fake.config)[i] = take8(&input);
    for (unsigned i = 0; i < 2; i++) /* small as a rule: faster */
        fake.queues[i].size_max = (how & 4) != 0 ? take16(&input) : 64;
    offered_first = fake.offered;
    for (unsigned i = 0; i < 2; i++)
        sizes_first[i] = fake.queues[i].size_max;
    return netdev_init();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = (struct input){data, size};
    if (begin()) {
        for (unsigned i = 0; i < OPERATIONS_MAX && input.left > 0; i++)
            operate((enum operation)(take8(&input) % OPERATIONS));
        be_honest();
    }
    tear_down();
    return 0;
}

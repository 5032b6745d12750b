#include "tests/fake_netdev.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/netdev.h"
#include "tests/octets.h"

/* Under AddressSanitizer a buffer ends where the frame in it does: who reads on is found out. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(bytes, len)   ASAN_POISON_MEMORY_REGION(bytes, len)
#define UNPOISON(bytes, len) ASAN_UNPOISON_MEMORY_REGION(bytes, len)
#else
#define POISON(bytes, len)   ((void)(bytes), (void)(len))
#define UNPOISON(bytes, len) ((void)(bytes), (void)(len))
#endif

#define RING_MAX   4096
#define FRAMES_MAX 8192 /* transmitted and not taken by the test */

/* What is in front of a frame that the driver may write to. */
#define HEADROOM_BYTES 64

#define STOP_UNLESS(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: the contract of netdev.h is broken: %s\n", __FILE__, __LINE__, \
                    #condition);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

const struct fake_netdev_config fake_netdev_default = {
    .mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
    .mtu_bytes = 1500,
    .transmit_checksum = true,
    .receive_checksum = true,
    .transmit_ring = 256,
    .receive_ring = 256,
    .receive_buffer_bytes = 2048,
};

struct sent {
    uint8_t *bytes;
    size_t len;
};

static struct {
    struct fake_netdev_config config;
    struct netdev_info info;
    struct netdev_counters counters;
    bool link_up, stalled;
    bool armed, mute, interrupted;
    unsigned link_looks;
    unsigned scatter;
    uint64_t now_ns, random;
    char log[LOG_LINE_BYTES_MAX];

    /* The receive ring: buffers lie side by side; `owned` by the device, else by net/. */
    uint8_t *buffers;
    bool owned[RING_MAX];
    bool to_own[RING_MAX]; /* recycled, until the flush */
    unsigned next_buffer;
    struct netdev_piece arrived[RING_MAX];
    size_t arrived_first, arrived_count;
    uint8_t *newest_bytes; /* of the frame that arrived last */

    /* The transmit ring: descriptors used, and tokens that may be reaped. */
    unsigned descriptors_used;
    void *tokens[RING_MAX];
    unsigned token_buffers[RING_MAX];
    size_t token_first, token_count, tokens_flushed;

    struct sent sent[FRAMES_MAX];
    size_t sent_first, sent_count, sent_flushed;
} fake;

void fake_netdev_reset(const struct fake_netdev_config *config)
{
    for (; fake.sent_count > 0; fake.sent_count--)
        free(fake.sent[fake.sent_first++ % FRAMES_MAX].bytes);
    if (fake.buffers != NULL)
        UNPOISON(fake.buffers, fake.config.receive_ring * fake.config.receive_buffer_bytes);
    free(fake.buffers);
    memset(&fake, 0, sizeof fake);

    STOP_UNLESS(config->receive_ring <= RING_MAX && config->transmit_ring <= RING_MAX);
    fake.config = *config;
    memcpy(fake.info.mac, config->mac, sizeof fake.info.mac);
    fake.info.mtu_bytes = config->mtu_bytes;
    fake.info.receive_buffers = (uint16_t)config->receive_ring;
    fake.info.transmit_checksum = config->transmit_checksum;
    fake.info.receive_checksum = config->receive_checksum;
    fake.buffers = malloc(HEADROOM_BYTES + config->receive_ring * config->receive_buffer_bytes);
    STOP_UNLESS(fake.buffers != NULL);
    for (unsigned i = 0; i < config->receive_ring; i++)
        fake.owned[i] = true;
    fake.link_up = true;
    fake.now_ns = CLOCK_NS_PER_S;
    fake.random = 1;
}

/* ---- the device's constants ---- */

const struct netdev_info *netdev_get_info(void)
{
    return &fake.info;
}

bool netdev_link_is_up(void)
{
    fake.link_looks++;
    return fake.link_up;
}

const struct netdev_counters *netdev_get_counters(void)
{
    return &fake.counters;
}

unsigned fake_netdev_link_looks(void)
{
    return fake.link_looks;
}

void fake_netdev_set_link(bool up)
{
    fake.link_up = up;
}

void fake_netdev_stall(bool stalled)
{
    fake.stalled = stalled;
}

void fake_netdev_scatter(unsigned buffers_max)
{
    fake.scatter = buffers_max;
}

/* ---- receiving ---- */

unsigned fake_netdev_receive_free(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < fake.config.receive_ring; i++)
        count += fake.owned[i];
    return count;
}

static uint8_t *buffer_at(unsigned index)
{
    return fake.buffers + HEADROOM_BYTES + index * fake.config.receive_buffer_bytes;
}

/* The first of `count` adjacent buffers that the device owns; receive_ring if there are none. */
static unsigned find_buffers(unsigned count)
{
    const unsigned ring = fake.config.receive_ring;
    for (unsigned tried = 0; tried < ring; tried++) {
        const unsigned first = (fake.next_buffer + tried) % ring;
        unsigned n = 0;
        while (n < count && first + n < ring && fake.owned[first + n])
            n++;
        if (n == count)
            return first;
    }
    return ring;
}

static void add_piece(const uint8_t *bytes, size_t len, unsigned first, unsigned count, bool more,
                      bool checksum_valid)
{
    memcpy(buffer_at(first), bytes, len);
    POISON(buffer_at(first) + len, (size_t)count * fake.config.receive_buffer_bytes - len);
    fake.arrived[(fake.arrived_first + fake.arrived_count++) % RING_MAX] = (struct netdev_piece){
        .bytes = buffer_at(first),
        .len = (uint32_t)len,
        .ring_first = (uint16_t)first,
        .ring_count = (uint16_t)count,
        .more = more,
        .checksum_valid = checksum_valid,
    };
}

bool fake_netdev_arrive(const void *frame, size_t len, bool checksum_valid)
{
    const unsigned size = fake.config.receive_buffer_bytes;
    const unsigned buffers = (unsigned)((len + size - 1) / size);
    const unsigned piece_max = fake.scatter == 0 ? buffers : fake.scatter;
    const unsigned first = find_buffers(buffers);

    if (!fake.link_up || first == fake.config.receive_ring)
        return false;
    const size_t newest = (fake.arrived_first + fake.arrived_count) % RING_MAX;
    for (unsigned i = 0; i < buffers; i += piece_max) {
        const unsigned count = buffers - i < piece_max ? buffers - i : piece_max;
        const size_t offset = (size_t)i * size;
        const size_t left = len - offset;
        const size_t here = left < (size_t)count * size ? left : (size_t)count * size;
        add_piece((const uint8_t *)frame + offset, here, first + i, count, offset + here < len,
                  i == 0 && checksum_valid && fake.config.receive_checksum);
    }
    fake.interrupted = fake.interrupted || (fake.armed && !fake.mute);
    fake.newest_bytes = fake.arrived[newest].bytes;
    for (unsigned i = 0; i < buffers; i++)
        fake.owned[first + i] = false;
    fake.next_buffer = (first + buffers) % fake.config.receive_ring;
    fake.counters.received_frames++;
    fake.counters.received_bytes += len;
    return true;
}

void fake_netdev_overwrite(size_t offset, size_t len)
{
    memset(fake.newest_bytes + offset, 0, len);
}

size_t netdev_receive(struct netdev_piece *pieces, size_t pieces_max)
{
    size_t count = 0;
    STOP_UNLESS(pieces_max >= NETDEV_PIECES_MAX);
    while (fake.arrived_count > 0) {
        size_t frame = 1;
        while (fake.arrived[(fake.arrived_first + frame - 1) % RING_MAX].more)
            frame++;
        if (count + frame > pieces_max)
            break;
        for (; frame > 0; frame--) {
            pieces[count++] = fake.arrived[fake.arrived_first++ % RING_MAX];
            fake.arrived_count--;
        }
    }
    return count;
}

void netdev_recycle(const struct netdev_piece *piece)
{
    for (unsigned i = piece->ring_first; i < piece->ring_first + (unsigned)piece->ring_count; i++) {
        STOP_UNLESS(i < fake.config.receive_ring && !fake.owned[i] && !fake.to_own[i]);
        /* What is read of it from now on is not what was received. */
        UNPOISON(buffer_at(i), fake.config.receive_buffer_bytes);
        memset(buffer_at(i), 0xa5, fake.config.receive_buffer_bytes);
        fake.to_own[i] = true;
    }
}

/* ---- before a sleep ---- */

bool netdev_arm(void)
{
    fake.armed = true;
    fake.interrupted = false;
    return true;
}

bool netdev_is_quiet(void)
{
    return fake.arrived_count == 0;
}

void netdev_disarm(void)
{
    fake.armed = false;
}

bool fake_netdev_has_interrupted(void)
{
    return fake.interrupted;
}

void fake_netdev_mute(bool mute)
{
    fake.mute = mute;
}

/* ---- transmitting ---- */

size_t netdev_transmit_space(void)
{
    return fake.config.transmit_ring - fake.descriptors_used;
}

unsigned fake_netdev_transmit_held(void)
{
    return fake.descriptors_used;
}

static void complete_checksum(const struct netdev_frame *frame, uint8_t *bytes, size_t len)
{
    if (frame->checksum_start == 0)
        return;
    const size_t field = (size_t)frame->checksum_start + frame->checksum_offset;
    STOP_UNLESS(fake.info.transmit_checksum && field + 2 <= len);
    const uint16_t sum = checksum16(bytes + frame->checksum_start, len - frame->checksum_start, 0);
    bytes[field] = (uint8_t)(sum >> 8);
    bytes[field + 1] = (uint8_t)sum;
}

void netdev_transmit(const struct netdev_frame *frame)
{
    size_t len = 0;

    STOP_UNLESS(frame->token != NULL && fake.sent_count < FRAMES_MAX);
    STOP_UNLESS(frame->buffer_count > 0 && frame->buffer_count <= NETDEV_TRANSMIT_BUFFERS_MAX);
    STOP_UNLESS(frame->buffer_count <= netdev_transmit_space());
    for (unsigned i = 0; i < frame->buffer_count; i++)
        len += frame->buffers[i].len;
    STOP_UNLESS(len >= 14 && len <= (size_t)fake.info.mtu_bytes + 14);

    uint8_t *const bytes = malloc(len);
    STOP_UNLESS(bytes != NULL);
    size_t at = 0;
    for (unsigned i = 0; i < frame->buffer_count; i++) {
        memcpy(bytes + at, frame->buffers[i].bytes, frame->buffers[i].len);
        at += frame->buffers[i].len;
    }
    complete_checksum(frame, bytes, len);
    /* The driver's header goes here; AddressSanitizer says if the room does not exist. */
    memset((uint8_t *)(uintptr_t)frame->buffers[0].bytes - NETDEV_HEADROOM_BYTES, 0xee,
           NETDEV_HEADROOM_BYTES);

    fake.sent[(fake.sent_first + fake.sent_count++) % FRAMES_MAX] = (struct sent){bytes, len};
    const size_t slot = (fake.token_first + fake.token_count++) % RING_MAX;
    fake.tokens[slot] = frame->token;
    fake.token_buffers[slot] = frame->buffer_count;
    fake.descriptors_used += frame->buffer_count;
    fake.counters.transmitted_frames++;
    fake.counters.transmitted_bytes += len;
}

size_t netdev_transmitted(void **tokens, size_t max)
{
    size_t count = 0;
    while (count < max && fake.tokens_flushed > 0 && !fake.stalled) {
        const size_t slot = fake.token_first++ % RING_MAX;
        tokens[count++] = fake.tokens[slot];
        fake.descriptors_used -= fake.token_buffers[slot];
        fake.token_count--;
        fake.tokens_flushed--;
    }
    return count;
}

void netdev_flush(void)
{
    fake.counters.kicks++;
    fake.sent_flushed = fake.sent_count;
    fake.tokens_flushed = fake.token_count;
    for (unsigned i = 0; i < fake.config.receive_ring; i++) {
        fake.owned[i] |= fake.to_own[i];
        fake.to_own[i] = false;
    }
}

size_t fake_netdev_take(uint8_t frame[FAKE_FRAME_BYTES_MAX])
{
    if (fake.sent_flushed == 0)
        return 0;
    const struct sent sent = fake.sent[fake.sent_first++ % FRAMES_MAX];
    fake.sent_count--;
    fake.sent_flushed--;
    memcpy(frame, sent.bytes, sent.len);
    free(sent.bytes);
    return sent.len;
}

/* ---- clock.h, entropy.h, log.h ---- */

uint64_t clock_ns(void)
{
    return fake.now_ns;
}

bool clock_wall(int64_t *unix_s)
{
    (void)unix_s;
    return false;
}

void fake_clock_advance_ns(uint64_t ns)
{
    fake.now_ns += ns;
}

void fake_clock_advance_ms(uint64_t ms)
{
    fake.now_ns += ms * CLOCK_NS_PER_MS;
}

void fake_entropy_seed(uint64_t seed)
{
    fake.random = seed;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(void)
{
    uint64_t z = fake.random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void entropy_fill(void *bytes, size_t len)
{
    uint8_t *const out = bytes;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)next_random();
}

uint32_t entropy_u32(void)
{
    return (uint32_t)next_random();
}

void log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list args;
    (void)level;
    (void)subsystem;
    va_start(args, format);
    (void)vsnprintf(fake.log, sizeof fake.log, format, args);
    va_end(args);
}

const char *fake_log_last(void)
{
    return fake.log;
}

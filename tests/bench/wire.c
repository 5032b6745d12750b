#include "tests/bench/wire.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernel/netdev.h"

#define SLOTS        256u
#define SLOT_BYTES   4032u
#define HEADER_BYTES 12u /* the virtio header, in front of a frame */
#define DESCRIPTORS  256u

#define EPOCH_UNIX_S                                                                               \
    1700000000 /* so that answers carry a Date, as they do on a machine with an RTC */

const uint8_t wire_server_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

static const struct netdev_info info = {
    .mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
    .mtu_bytes = 1500,
    .receive_buffers = SLOTS,
    .transmit_checksum = true,
    .receive_checksum = true,
};

static struct {
    struct netdev_counters counters;
    uint64_t now_ns;

    bool slot_busy[SLOTS];
    unsigned cursor; /* the slot that is filled next */
    struct netdev_piece arrived[SLOTS];
    unsigned arrived_first, arrived_end; /* free-running */

    struct netdev_frame sent[DESCRIPTORS];
    unsigned sent_first, sent_end, sent_flushed; /* free-running; what was taken may be reaped */
    unsigned reaped, descriptors_used;
    _Alignas(64) uint8_t arena[SLOTS * SLOT_BYTES];
} wire;

void wire_init(void)
{
    wire.now_ns = CLOCK_NS_PER_S;
    memset(wire.arena, 1, sizeof wire.arena); /* its pages are touched now, not when measured */
}

/* ---- the device's constants, and the clock ---- */

const struct netdev_info *netdev_get_info(void)
{
    return &info;
}

bool netdev_link_is_up(void)
{
    return true;
}

const struct netdev_counters *netdev_get_counters(void)
{
    return &wire.counters;
}

uint64_t clock_ns(void)
{
    return wire.now_ns;
}

bool clock_wall(int64_t *unix_s)
{
    *unix_s = EPOCH_UNIX_S + (int64_t)(wire.now_ns / CLOCK_NS_PER_S);
    return true;
}

void wire_advance_ns(uint64_t ns)
{
    wire.now_ns += ns;
}

/* entropy.c says that it is not seeded, which is on purpose; what net/ says is of no interest. */
void log_line(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list args;
    if (level != LOG_ERROR)
        return;
    va_start(args, format);
    fprintf(stderr, "%s: ", subsystem);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* ---- receiving ---- */

static unsigned slots_for(size_t len)
{
    return (unsigned)((HEADER_BYTES + len + SLOT_BYTES - 1) / SLOT_BYTES);
}

uint8_t *wire_room(size_t len)
{
    const unsigned count = slots_for(len);
    const unsigned first = wire.cursor + count <= SLOTS ? wire.cursor : 0;
    for (unsigned i = first; i < first + count; i++)
        if (wire.slot_busy[i])
            return NULL;
    wire.cursor = first;
    return wire.arena + first * SLOT_BYTES + HEADER_BYTES;
}

void wire_arrive(size_t len)
{
    const unsigned count = slots_for(len);
    memset(wire.slot_busy + wire.cursor, true, count);
    wire.arrived[wire.arrived_end++ % SLOTS] = (struct netdev_piece){
        .bytes = wire.arena + wire.cursor * SLOT_BYTES + HEADER_BYTES,
        .len = (uint32_t)len,
        .ring_first = (uint16_t)wire.cursor,
        .ring_count = (uint16_t)count,
        .more = false,
        .checksum_valid = true,
    };
    wire.cursor = (wire.cursor + count) % SLOTS;
    wire.counters.received_frames++;
    wire.counters.received_bytes += len;
}

size_t netdev_receive(struct netdev_piece *pieces, size_t pieces_max)
{
    size_t count = 0;
    while (count < pieces_max && wire.arrived_first != wire.arrived_end)
        pieces[count++] = wire.arrived[wire.arrived_first++ % SLOTS];
    return count;
}

void netdev_recycle(const struct netdev_piece *piece)
{
    bool *const busy = &wire.slot_busy[piece->ring_first];
    busy[0] = false; /* alone, mostly: gcc makes a call of memset() of the loop */
    for (unsigned i = 1; i < piece->ring_count; i++)
        busy[i] = false;
}

/* ---- transmitting ---- */

size_t netdev_transmit_space(void)
{
    return DESCRIPTORS - wire.descriptors_used;
}

void netdev_transmit(const struct netdev_frame *frame)
{
    struct netdev_frame *const sent = &wire.sent[wire.sent_end++ % DESCRIPTORS];
    assert(frame->buffer_count <= netdev_transmit_space());
    /* The driver's header, in front of the frame. */
    memset((uint8_t *)(uintptr_t)frame->buffers[0].bytes - HEADER_BYTES, 0, HEADER_BYTES);
    for (unsigned i = 0; i < frame->buffer_count; i++) {
        sent->buffers[i] = frame->buffers[i];
        wire.counters.transmitted_bytes += frame->buffers[i].len;
    }
    sent->buffer_count = frame->buffer_count;
    sent->token = frame->token;
    wire.descriptors_used += frame->buffer_count;
    wire.counters.transmitted_frames++;
}

size_t netdev_transmitted(void **tokens, size_t max)
{
    size_t count = 0;
    while (count < max && wire.reaped != wire.sent_first) {
        const struct netdev_frame *const sent = &wire.sent[wire.reaped++ % DESCRIPTORS];
        wire.descriptors_used -= sent->buffer_count;
        tokens[count++] = sent->token;
    }
    return count;
}

void netdev_flush(void)
{
    wire.counters.kicks++;
    wire.sent_flushed = wire.sent_end;
}

size_t wire_take(uint8_t frame[WIRE_FRAME_BYTES_MAX])
{
    size_t len = 0;
    if (wire.sent_first == wire.sent_flushed)
        return 0;
    const struct netdev_frame *const sent = &wire.sent[wire.sent_first++ % DESCRIPTORS];
    for (unsigned i = 0; i < sent->buffer_count; i++) {
        memcpy(frame + len, sent->buffers[i].bytes, sent->buffers[i].len);
        len += sent->buffers[i].len;
    }
    return len;
}

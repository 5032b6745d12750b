#include "tests/sim/wire.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/prng.h"
#include "tests/sim/profile.h"
#include "tests/sim/sim.h"

#define FRAMES_MAX 65536

struct passing {
    uint64_t due_ns;
    uint64_t order; /* of those due at the same time, the first to enter leaves first */
    size_t len;
    bool damaged;
    uint8_t bytes[];
};

/* A binary heap for each direction. */
struct lane {
    struct passing *heap[FRAMES_MAX];
    size_t count;
    uint64_t last_due_ns;
};

static struct lane lanes[2];
static uint64_t entered;
static bool is_cut;

static bool is_before(const struct passing *a, const struct passing *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void push(struct lane *lane, struct passing *frame)
{
    SIM_CHECK(lane->count < FRAMES_MAX, "the simulator's wire is full");
    size_t at = lane->count++;
    while (at > 0 && is_before(frame, lane->heap[(at - 1) / 2])) {
        lane->heap[at] = lane->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    lane->heap[at] = frame;
}

static struct passing *pop(struct lane *lane)
{
    struct passing *const first = lane->heap[0];
    struct passing *const last = lane->heap[--lane->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= lane->count)
            break;
        if (child + 1 < lane->count && is_before(lane->heap[child + 1], lane->heap[child]))
            child++;
        if (!is_before(lane->heap[child], last))
            break;
        lane->heap[at] = lane->heap[child];
        at = child;
    }
    lane->heap[at] = last;
    return first;
}

static uint64_t draw_due(struct lane *lane)
{
    uint64_t due_ns = sim_now() + profile.delay_us * 1000ULL;
    if (profile.jitter_us != 0)
        due_ns += prng_below(profile.jitter_us) * 1000ULL;
    if (profile.quantum_us != 0) {
        const uint64_t quantum_ns = profile.quantum_us * 1000ULL;
        due_ns = (due_ns + quantum_ns - 1) / quantum_ns * quantum_ns;
    }
    if (prng_ppm(profile.reorder))
        return due_ns + prng_scale(100, 200000) * 1000ULL;
    /* Those that nothing happens to stay in order. */
    if (due_ns < lane->last_due_ns)
        due_ns = lane->last_due_ns;
    lane->last_due_ns = due_ns;
    return due_ns;
}

static void corrupt(struct passing *frame)
{
    const unsigned flips = prng_scale(1, 16);
    for (unsigned i = 0; i < flips; i++)
        frame->bytes[prng_below((uint32_t)frame->len)] ^= (uint8_t)(1u << prng_below(8));
    /* Two flips may cancel in a sum. */
    while (frame_is_sound(frame->bytes, frame->len))
        frame->bytes[ETHERNET_BYTES + prng_below((uint32_t)(frame->len - ETHERNET_BYTES))] ^=
            (uint8_t)(1u << prng_below(8));
    frame->damaged = true;
}

static void enter(struct lane *lane, const uint8_t *bytes, size_t len)
{
    struct passing *const frame = malloc(sizeof *frame + len);
    SIM_CHECK(frame != NULL, "the simulator is out of memory");
    frame->due_ns = draw_due(lane);
    frame->order = entered++;
    frame->len = len;
    frame->damaged = false;
    memcpy(frame->bytes, bytes, len);
    /* ARP has no checksum by which it could be told. */
    const bool has_sum = bytes[12] == 0x08 && bytes[13] == 0x00;
    if (has_sum && prng_ppm(profile.corrupt))
        corrupt(frame);
    if (prng_ppm(profile.truncate)) {
        frame->len = prng_range(1, (uint32_t)len - 1);
        frame->damaged = true;
    }
    push(lane, frame);
}

void wire_send(enum wire_end end, const uint8_t *frame, size_t len)
{
    sim_shared->frames++;
    sim_mix(&end, sizeof end);
    sim_mix(frame, len);
    if (is_cut || prng_ppm(profile.loss))
        return;
    enter(&lanes[end], frame, len);
    while (prng_ppm(profile.repeat))
        enter(&lanes[end], frame, len);
}

size_t wire_take(enum wire_end end, uint8_t frame[FRAME_BYTES_MAX], bool *damaged)
{
    struct lane *const lane = &lanes[end];
    if (lane->count == 0 || lane->heap[0]->due_ns > sim_now())
        return 0;
    struct passing *const passing = pop(lane);
    const size_t len = passing->len;
    memcpy(frame, passing->bytes, len);
    *damaged = passing->damaged;
    free(passing);
    return len;
}

uint64_t wire_next_ns(void)
{
    uint64_t next_ns = UINT64_MAX;
    for (unsigned i = 0; i < 2; i++)
        if (lanes[i].count > 0 && lanes[i].heap[0]->due_ns < next_ns)
            next_ns = lanes[i].heap[0]->due_ns;
    return next_ns;
}

void wire_cut(bool cut)
{
    is_cut = cut;
    for (unsigned i = 0; cut && i < 2; i++)
        while (lanes[i].count > 0)
            free(pop(&lanes[i]));
}

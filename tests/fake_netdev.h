/*
 * The machine under net/, in memory: another implementation of everything in kernel/netdev.h (the
 * device, clock.h, entropy.h, log.h), for host tests, the simulator, fuzzers and the native
 * benchmark.
 *
 * The test is the wire and the host: it puts frames into the receive ring, takes frames from the
 * transmit ring, and moves the clock. Nothing happens by itself.
 *
 * The device is strict: it aborts when net/ breaks the contract (a frame beyond the free
 * descriptors, a buffer recycled twice, a token of NULL, headroom that is not there).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_FRAME_BYTES_MAX 65549

struct fake_netdev_config {
    uint8_t mac[6];
    uint16_t mtu_bytes;
    bool transmit_checksum; /* the device completes checksums when asked */
    bool receive_checksum;
    unsigned transmit_ring; /* descriptors */
    unsigned receive_ring;  /* buffers */
    unsigned receive_buffer_bytes;
};

/* 52:54:00:12:34:56, MTU 1,500, both checksums, rings of 256, buffers of 2,048 bytes. */
extern const struct fake_netdev_config fake_netdev_default;

/* A new device; what the old one held is gone. The clock stands at 1 s, the link is up. */
void fake_netdev_reset(const struct fake_netdev_config *config);

/* ---- the wire ---- */

/*
 * A frame arrives. False if the ring has no buffers for it: then it is lost, as on a real wire.
 * A frame longer than a buffer becomes several adjacent ones, given as one piece; with
 * fake_netdev_scatter(n) in pieces of at most n buffers.
 */
bool fake_netdev_arrive(const void *frame, size_t len, bool checksum_valid);
void fake_netdev_scatter(unsigned buffers_max);

/* The device breaks its contract: it writes zeros into the frame that arrived last. */
void fake_netdev_overwrite(size_t offset, size_t len);

/*
 * Takes the oldest frame that was transmitted and flushed, as one run of bytes, checksum completed.
 * Returns its length; 0 when there is none.
 */
size_t fake_netdev_take(uint8_t frame[FAKE_FRAME_BYTES_MAX]);

/* While true, the device does not say that it is done with frames: tokens do not come back. */
void fake_netdev_stall(bool stalled);

void fake_netdev_set_link(bool up);

/* How often net/ has asked for the link. */
unsigned fake_netdev_link_looks(void);

/* Buffers that the device could fill now; descriptors that wait for their token to be reaped. */
unsigned fake_netdev_receive_free(void);
unsigned fake_netdev_transmit_held(void);

/* ---- interrupts ---- */

/* There was one since the last netdev_arm(). */
bool fake_netdev_has_interrupted(void);

/* While true, the device breaks its contract: it does not interrupt. */
void fake_netdev_mute(bool mute);

/* ---- time, chance, the log ---- */

void fake_clock_advance_ns(uint64_t ns);
void fake_clock_advance_ms(uint64_t ms);

/* Entropy is a generator with this seed: a run can be repeated. */
void fake_entropy_seed(uint64_t seed);

/* The last line logged; "" if none. */
const char *fake_log_last(void);

/*
 * A wire without a device: kernel/netdev.h over memory, as lean as a ring can be, so that what is
 * measured is net/, lwIP and app/. (tests/fake_netdev.c is its strict brother, for tests.)
 *
 * Like the driver's, the receive ring is an arena of slots of 4,032 bytes, a frame lies in as many
 * adjacent ones as it needs and is handed out as one piece; frames for sending are descriptors that
 * point at lwIP's buffers. Nothing is copied on the server's side.
 *
 * Time stands still unless wire_advance_ns() moves it, and entropy is a fixed stream: the same run
 * executes the same instructions each time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define WIRE_FRAME_BYTES_MAX (14 + 65535)

extern const uint8_t wire_server_mac[6];

void wire_init(void);

/*
 * Where the next frame of `len` bytes is to be written; NULL while the ring has no room for it. It
 * arrives with wire_arrive().
 */
uint8_t *wire_room(size_t len);
void wire_arrive(size_t len);

/*
 * The oldest frame that the server has flushed, copied into one run of bytes; 0 when there is none.
 * Its buffers go back to the server then. The TCP checksum is not filled in.
 */
size_t wire_take(uint8_t frame[WIRE_FRAME_BYTES_MAX]);

void wire_advance_ns(uint64_t ns);

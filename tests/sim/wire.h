/*
 * The wire between the appliance and its clients: frames on their way, in both directions, and what
 * happens to them there (profile.h says how often): lost, repeated, overtaken, delayed, cut short,
 * corrupted. What a corrupted frame had of checksums is wrong: else it could not be told.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/frame.h"

enum wire_end { WIRE_TO_SERVER, WIRE_TO_CLIENTS };

/* A frame enters the wire. */
void wire_send(enum wire_end end, const uint8_t *frame, size_t len);

/*
 * Takes the next frame that is due at its end; 0 when there is none. *damaged: not as it was sent.
 */
size_t wire_take(enum wire_end end, uint8_t frame[FRAME_BYTES_MAX], bool *damaged);

/* When the next is due, at either end; UINT64_MAX: none is on its way. */
uint64_t wire_next_ns(void);

/* While cut, whatever enters is lost; and what is on its way at that moment. */
void wire_cut(bool cut);

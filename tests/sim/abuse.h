/*
 * Frames out of nowhere: floods of SYNs from addresses that nobody has, segments made by someone
 * who guesses (RFC 5961), and all that is no TCP at all. None of it may do anything to anybody.
 */
#pragma once

#include <stdint.h>

/* Sends what is due; profile.h says how much of what a second. */
void abuse_run(void);

/* UINT64_MAX: nothing is due. */
uint64_t abuse_next_ns(void);

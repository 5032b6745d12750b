/*
 * One run: the appliance (net/, app/ and lwIP, all but app/main.c) behind a device, a clock and a
 * wire that are simulated, and those who talk to it.
 *
 *     chaos    all that the seed has chosen happens at once
 *     calm     the wire is good, those who are not honest leave, the others end what they began
 *     last     one more client counts one more event, and finds /stats exact
 *     empty    nobody is left; when the deadlines have passed, all memory is where it was
 */
#pragma once

#include <stdint.h>

/* `chaos_steps` 0: as long as the seed says. Ends the process on a violation. */
void world_run(uint64_t seed, uint64_t chaos_steps);

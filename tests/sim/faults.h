/*
 * What goes wrong at the appliance itself: memory that runs out, a device that does not come back,
 * a link that is down, a machine that stands still, a clock that jumps; and initial sequence
 * numbers that are about to wrap.
 *
 * The simulator is linked with --wrap=pool_alloc, --wrap=tcp_write and --wrap=isn_hash: nothing of
 * it is in the image. Memory is taken in two ways. A hoard takes blocks out of the pool and gives
 * them back later: the pool is short, and says so. A refusal is one allocation that fails although
 * there is memory: everywhere but in tcp_write(), which is promised the memory that it needs
 * (room.h) and gets it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Begins and ends faults; once a step, whose length is given. */
void faults_run(uint64_t step_ns);

/* Ends all of them. */
void faults_end(void);

/* True while the machine stands still: it must not be polled. */
bool faults_machine_is_paused(void);

/* What the appliance's clock is ahead of the world's. */
uint64_t faults_clock_offset_ns(void);

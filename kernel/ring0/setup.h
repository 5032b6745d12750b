/* The processor's tables, and the end of the machine. See setup.c. */
#pragma once

struct trap_frame;

/* Called by boot/start.S. */
void ring0_init(void);

/* Called by entry.S. What *frame says on return is where it goes on. */
void ring0_trap(struct trap_frame *frame);

/* Resets the machine: by the 8042 where there is one, else by a triple fault. */
__attribute__((noreturn)) void setup_reset(void);

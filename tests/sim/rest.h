/*
 * What the machine does when there is nothing to do: app/idle.c, over the device of
 * tests/fake_netdev.c. As app/main.c does it, but that time passes between any two of its steps,
 * too, and frames arrive in it.
 */
#pragma once

#include <stdbool.h>

/* `pass` lets time pass to the next event of the world, without the machine. */
void rest_begin(void (*pass)(void));

/* In place of a turn of the loop that had nothing to do. A wake-up that is lost is a violation. */
void rest_turn(void);

/* The mutant: it does not look once more before it sleeps. */
extern bool rest_is_blind;

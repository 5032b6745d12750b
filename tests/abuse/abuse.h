/*
 * tally-abuse: what a hostile network does at a rate that a script cannot reach. Three tools in one
 * program; the tests in tests/e2e/test_abuse_*.py run it inside of a network namespace of their
 * own.
 *
 *     flood.c    frames from forged addresses, onto an interface
 *     slow.c     thousands of connections that hold on to what they have
 *     relay.c    a wire that loses, repeats, reorders, corrupts and delays
 *     packet.c   headers and their sums
 *
 * Each is bounded in time and count by its arguments, and those by constants. What a tool decides
 * at random comes from a fixed seed.
 */
#pragma once

#include <stdint.h>

#define ABUSE_SECONDS_MAX 120

__attribute__((noreturn, format(printf, 1, 2))) void abuse_fail(const char *format, ...);

/* Ends the program if `text` is not a number from min to max. */
uint64_t abuse_number(const char *name, const char *text, uint64_t min, uint64_t max);

/* CLOCK_MONOTONIC. */
uint64_t abuse_now_ns(void);

/* xorshift64*: the same numbers in every run with the same seed, which MUST NOT be 0. */
static inline uint32_t abuse_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)(*state * 0x2545f4914f6cdd1dULL >> 32);
}

/* A raw socket on the interface, for sending and receiving whole frames. */
int abuse_packet_socket(const char *interface);

/* Each takes what follows its name on the command line, and returns the exit status. */
int flood_main(int argc, char **argv);
int slow_main(int argc, char **argv);
int relay_main(int argc, char **argv);

/*
 * Initial sequence numbers that nobody can guess and that grow from one incarnation of a connection
 * to the next (RFC 6528): ISN = a clock of 4 µs + F(addresses and ports, secret), with F being
 * SipHash-2-4.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernel/lib/siphash.h"

/* Draws the secret. */
void isn_init(void);

/*
 * The next connection takes the place of one in TIME-WAIT that sent up to `used`: its number will
 * be above that, whatever the clock says (RFC 9293 section 3.6.1).
 */
void isn_stay_above(uint32_t used);

/* The next connection's number is `number`: its peer has told it already (handshake.h). */
void isn_choose(uint32_t number);

/*
 * Takes either back: the SYN was not what it seemed, and the number of some other connection must
 * not be one that its peer can tell.
 */
void isn_choose_freely(void);

/* F of RFC 6528. */
uint64_t isn_hash(const struct siphash_key *key, const uint8_t *bytes, size_t len);

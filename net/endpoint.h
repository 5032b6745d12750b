/* The side of a connection that faces lwIP: its callbacks, and the checks it lacks. */
#pragma once

#include <stdint.h>

/* Listens on `port`. Called once. */
void endpoint_listen(uint16_t port);

uint64_t endpoint_retransmissions(void);

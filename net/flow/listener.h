/* The listening PCB, and the callbacks by which lwIP tells of its connections. */
#pragma once

#include <stdint.h>

/* Listens on `port`. Called once, after link_init(). */
void listener_open(uint16_t port);

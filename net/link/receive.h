/* The receiving half of link.h, as link.c sets it up. */
#pragma once

#include "net/link/link.h"

void receive_init(const struct link_upcalls *upcalls);

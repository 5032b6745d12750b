/* Who may come in: three of the link's upcalls (link.h says when they are called). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/link/link.h"

bool admission_answer(const struct guard_segment *segment, const uint8_t *packet, size_t len,
                      bool sound);
enum link_verdict admission_admit(const struct guard_segment *segment, struct pbuf *p, bool sound);
void admission_done(void);

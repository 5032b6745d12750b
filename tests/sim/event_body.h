/* Bodies of POST /event: JSON in all its spellings, and what only looks like it. */
#pragma once

#include <stdbool.h>

#include "tests/sim/bytes.h"

/* The plain form, or with `varied` any that means the same; padded to `padding` bytes more. */
void event_body_good(struct bytes *body, uint32_t event, bool varied, size_t padding);

/* What must be refused with a 400. *offset: of the byte that the answer has to name, or -1. */
void event_body_bad(struct bytes *body, uint32_t event, int32_t *offset);

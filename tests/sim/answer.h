/* Answers, read off a client's stream and held against what the request should get. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/request.h"

struct answer {
    uint16_t status;
    bool close, has_allow, has_codings, has_length;
    const char *type; /* of the content; NULL: none was named */
    const uint8_t *content;
    size_t content_len;
    size_t len; /* of all of it */
};

/*
 * Reads the answer that begins at `bytes`. False while it is incomplete; anything that is no answer
 * is a violation. `head_only`: it is that of a HEAD request.
 */
bool answer_read(const uint8_t *bytes, size_t len, bool head_only, struct answer *answer);

/* Whether it is what the request must be answered with; else a violation. */
void answer_check(const struct request *request, const struct answer *answer);

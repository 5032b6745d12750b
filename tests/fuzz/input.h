/* What fuzzers share: the input, taken piece by piece (zeros when it is over), and what must be. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct input {
    const uint8_t *bytes;
    size_t left;
};

static inline uint8_t take8(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->bytes++;
}

static inline uint16_t take16(struct input *input)
{
    const unsigned high = take8(input);
    return (uint16_t)(high << 8 | take8(input));
}

static inline uint32_t take32(struct input *input)
{
    const uint32_t high = take16(input);
    return high << 16 | take16(input);
}

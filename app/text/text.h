/*
 * Text put together in a buffer of known size: responses, statistics, metrics.
 *
 *     struct text text = text_begin(buffer, sizeof buffer);
 *     text_put(&text, "{\"totalRequests\":");
 *     text_put_u64(&text, count);
 *     len = text_len(&text);
 *
 * Whoever writes knows the most that it can come to and gives a buffer for it: what does not fit is
 * a mistake in the program, and asserted. Nothing is terminated.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct text {
    char *start, *at, *end;
};

struct text text_begin(char *buffer, size_t bytes);
size_t text_len(const struct text *text);

void text_put(struct text *text, const char *string);
void text_put_bytes(struct text *text, const void *bytes, size_t len);
void text_put_u64(struct text *text, uint64_t value);

/* At least `digits` digits (at most 20), filled up with zeros from the left. */
void text_put_padded(struct text *text, uint64_t value, unsigned digits);

/* As decimal_print() writes it. */
void text_put_double(struct text *text, double value);

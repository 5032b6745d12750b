/*
 * The HTTP parser under libFuzzer. The first byte of the input says how the rest, a stream of
 * requests, is cut: 0 at the places marked by the byte 0xff (which is taken out), else at
 * pseudo-random places of which it is the seed. Held to be true:
 *
 *   - it neither crashes nor reads beyond what it was given, nor says what its contract forbids;
 *   - the stream means the same whole, cut, and byte by byte;
 *   - it means the same with heads recalled: from a table that it has filled itself, and from one
 *     that earlier inputs have filled.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/http_transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct transcript whole, other;

static void check(const char *how)
{
    transcript_end(&other);
    if (strcmp(whole.text, other.text) == 0 && !whole.stuck && !other.stuck)
        return;
    fprintf(stderr, "whole: %s\n%s: %s\n", whole.text, how, other.text);
    abort();
}

/* Where the piece that begins at `at` ends. */
static size_t piece_end(const uint8_t *marks, size_t len, size_t at, uint32_t *seed)
{
    if (*seed != 0) {
        *seed = *seed * 1664525 + 1013904223;
        const size_t piece = 1 + (*seed >> 16) % ((*seed >> 8) % 4 == 0 ? 4 : 300);
        return len - at < piece ? len : at + piece;
    }
    for (at++; at < len && marks[at] == 0; at++)
        continue;
    return at;
}

static void feed_cut(const uint8_t *stream, const uint8_t *marks, size_t len, uint32_t seed)
{
    for (size_t at = 0, end; at < len; at = end) {
        end = piece_end(marks, len, at, &seed);
        transcript_feed(&other, stream + at, end - at);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_recall of_all, of_this;
    static bool ready;
    static uint8_t stream[TRANSCRIPT_PIECE_MAX], marks[TRANSCRIPT_PIECE_MAX];
    size_t len = 0;

    if (size < 2 || size > sizeof stream)
        return 0;
    if (!ready)
        http_recall_init(&of_all);
    ready = true;
    const uint32_t seed = data[0];
    memset(marks, 0, size);
    for (size_t i = 1; i < size; i++) {
        if (seed == 0 && data[i] == 0xff)
            marks[len] = 1;
        else
            stream[len++] = data[i];
    }
    transcript_begin(&whole, NULL);
    transcript_feed(&whole, stream, len);
    transcript_end(&whole);

    transcript_begin(&other, NULL);
    feed_cut(stream, marks, len, seed);
    check("cut");
    transcript_begin(&other, NULL);
    for (size_t i = 0; i < len; i++)
        transcript_feed(&other, stream + i, 1);
    check("byte by byte");

    http_recall_init(&of_this);
    for (unsigned turn = 0; turn < 2; turn++) {
        transcript_begin(&other, &of_this);
        transcript_feed(&other, stream, len);
        check("whole, its own heads recalled");
        transcript_begin(&other, &of_all);
        feed_cut(stream, marks, len, seed);
        check("cut, any heads recalled");
    }
    return 0;
}

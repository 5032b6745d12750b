/*
 * Streams of requests and what they should mean (http_transcript.h), however they are cut.
 */
#pragma once

#include "tests/test.h"
#include "tests/unit/http_transcript.h"

struct row {
    const char *bytes;
    size_t len;
    const char *want; /* how the transcript begins if it has a '!', else the whole of it */
};

#define ROW(bytes, want)                                                                           \
    {                                                                                              \
        bytes, sizeof bytes - 1, want                                                              \
    }

/* A request of 1.1 with these fields besides Host; one with this first line; one in chunks. */
#define FIELDS(fields)   "POST /event HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define LINE(line)       line "\r\nHost: a\r\n\r\n"
#define CHUNKED(content) FIELDS("Transfer-Encoding: chunked\r\n") content
#define HOST(value)      "GET / HTTP/1.1\r\nHost:" value "\r\n\r\n"

static struct transcript whole, cut; /* of the stream in hand */

static inline void show(const char *label, const char *bytes, size_t len)
{
    char line[120];
    size_t n = 0;

    for (size_t i = 0; i < len && n < sizeof line - 4; i++) {
        const uint8_t byte = (uint8_t)bytes[i];
        if (byte == '\r' || byte == '\n') {
            line[n++] = '\\';
            line[n++] = byte == '\r' ? 'r' : 'n';
        } else {
            line[n++] = byte >= ' ' && byte < 0x7f ? (char)byte : '?';
        }
    }
    line[n] = '\0';
    test_print("  %s: %s", label, line);
}

static inline bool same_as_whole(const char *bytes, size_t len, const char *how, size_t at)
{
    transcript_end(&cut);
    if (strcmp(whole.text, cut.text) == 0 && !cut.stuck)
        return true;
    show("stream", bytes, len);
    test_print("  %s (%u) it means: %.100s", how, (unsigned)at, cut.text);
    test_print("  and whole: %.100s", whole.text);
    return false;
}

static inline bool as_written(const char *bytes, size_t len, const char *want)
{
    const bool exact = strchr(want, '!') == NULL;

    transcript_begin(&whole, NULL);
    transcript_feed(&whole, bytes, len);
    transcript_end(&whole);
    if (!whole.stuck &&
        (exact ? strcmp(whole.text, want) == 0 : strncmp(whole.text, want, strlen(want)) == 0))
        return true;
    show("stream", bytes, len);
    test_print("  it means: %.100s", whole.text);
    test_print("  it should: %.100s", want);
    return false;
}

static inline bool means_the_same_in_two(const char *bytes, size_t len, size_t at)
{
    transcript_begin(&cut, NULL);
    transcript_feed(&cut, bytes, at);
    transcript_feed(&cut, bytes + at, len - at);
    return same_as_whole(bytes, len, "cut in two", at);
}

/* The meaning wanted, however it is cut. */
static inline bool means(const char *bytes, size_t len, const char *want)
{
    if (!as_written(bytes, len, want))
        return false;
    transcript_begin(&cut, NULL);
    for (size_t i = 0; i < len; i++)
        transcript_feed(&cut, bytes + i, 1);
    if (!same_as_whole(bytes, len, "byte by byte", 0))
        return false;
    for (size_t at = 1; at < len; at++) {
        if (!means_the_same_in_two(bytes, len, at))
            return false;
    }
    return true;
}

#define CHECK_ROWS(rows)                                                                           \
    do {                                                                                           \
        for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)                              \
            CHECK(means(rows[row].bytes, rows[row].len, rows[row].want));                          \
    } while (0)

/*
 * The same for streams too long to cut everywhere: byte by byte, in pieces of a few sizes, and
 * in two near `edge`, where something is to happen.
 */
static inline bool long_means(const char *bytes, size_t len, size_t edge, const char *want)
{
    static const size_t pieces[] = {1, 7, 61, 1460, 4096};

    if (!as_written(bytes, len, want))
        return false;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        transcript_begin(&cut, NULL);
        for (size_t at = 0; at < len; at += pieces[i])
            transcript_feed(&cut, bytes + at, len - at < pieces[i] ? len - at : pieces[i]);
        if (!same_as_whole(bytes, len, "in pieces", pieces[i]))
            return false;
    }
    for (size_t at = edge - 10; at < edge + 10 && at < len; at++) {
        if (!means_the_same_in_two(bytes, len, at))
            return false;
    }
    return true;
}

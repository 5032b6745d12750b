/*
 * What both ways into app/event/event.h look at bytes with: JSON's white space, and finding the end
 * of a run of plain string bytes, many at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernel/lib/bytes.h"

/* RFC 8259 s.2. */
static inline bool event_is_space(uint8_t byte)
{
    return byte <= ' ' && (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t');
}

static inline bool event_is_digit(uint8_t byte)
{
    return (unsigned)byte - (unsigned)'0' <= 9;
}

#define EVENT_EVERY_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/*
 * Bit 7 is set in the first byte of the word that may not simply be copied: a quote, a backslash, a
 * control or a byte that is not ASCII (its bit 7 survives at least one of the subtractions). Where
 * none is, no bit is set at all. Bytes after the first may be marked wrongly (a subtraction borrows
 * only from a byte that is marked itself), those before it are not.
 */
static inline uint64_t event_special_bytes(uint64_t word)
{
    const uint64_t quote = (word ^ EVENT_EVERY_BYTE('"')) - EVENT_EVERY_BYTE(1);
    const uint64_t backslash = (word ^ EVENT_EVERY_BYTE('\\')) - EVENT_EVERY_BYTE(1);
    const uint64_t control = word - EVENT_EVERY_BYTE(' ');
    return (quote | backslash | control) & EVENT_EVERY_BYTE(0x80);
}

/* Which of the word's bytes the first one marked is. */
static inline unsigned event_first_special(uint64_t special)
{
    return (unsigned)__builtin_ctzll(special) / 8;
}

/*
 * The state of an event being parsed, for those who hold one. Its members are event_parser.c's.
 *
 * About 1.4 KiB. What every byte needs, and of the number what every digit needs, lies in the first
 * cache lines; the userId comes last, so that a short event touches four lines or five.
 */
#pragma once

#include "app/event/event.h"

#define EVENT_BRACKET_BYTES ((1 + EVENT_NESTING_MAX + 7) / 8)

struct event_parser {
    size_t offset_bytes; /* fed before the call in progress; after an error: where it was found */
    uint8_t state;
    uint8_t member;          /* enum event_member, by the last name; of meaning at depth 1 only */
    uint8_t text;            /* enum event_text: what the string being read is */
    uint8_t depth;           /* brackets open: 1 within the event's object itself */
    uint8_t literal;         /* which of true, false, null is being read */
    uint8_t literal_matched; /* bytes of it */
    uint8_t name_len;   /* decoded bytes of the member's name; one more than fit: no name of ours */
    uint8_t hex_digits; /* read of \uXXXX */
    uint8_t utf8_left;  /* continuation bytes still to come */
    uint8_t utf8_min, utf8_max; /* bounds of the next of them */
    bool is_object;             /* the whole body is one */
    bool user_id_surrogate;     /* a lone one was in the userId */
    uint8_t error;              /* enum event_error, of syntax */
    uint8_t user_id_error;      /* of the last userId so far */
    uint8_t value_error;        /* of the last value so far */
    uint16_t user_id_len;       /* counts one more than what is kept when it is too long */
    uint16_t code_unit;         /* of \uXXXX */
    uint16_t surrogate;         /* the high half that waits for its low half; 0: none */
    uint8_t name[8];
    uint8_t brackets[EVENT_BRACKET_BYTES]; /* bit i: the bracket of depth i + 1 is a '{' */
    struct decimal value;
    uint8_t user_id[EVENT_USER_ID_BYTES_MAX];
};

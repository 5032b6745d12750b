/*
 * What the strings of an event are once decoded, and what becomes of them: names of members are
 * compared, the userId is kept, the rest is dropped. event_parser.c reads them and calls these.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "app/event/event_parser.h"

enum event_text {
    EVENT_TEXT_NAME, /* of a member, of whatever object */
    EVENT_TEXT_USER_ID,
    EVENT_TEXT_OTHER,
};

/* What a name means, in the event's own object. */
enum event_member { EVENT_MEMBER_OTHER, EVENT_MEMBER_USER_ID, EVENT_MEMBER_VALUE };

void event_text_begin(struct event_parser *parser, enum event_text text);

/* Bytes of UTF-8, at least one. */
void event_text_put(struct event_parser *parser, const uint8_t *bytes, size_t len);

/* What \uXXXX stands for: a code point, or half of a surrogate pair. */
void event_text_put_code_unit(struct event_parser *parser, uint16_t unit);

/*
 * Something follows that is not \uXXXX: the high half of a pair before it, if there is one, is
 * alone.
 */
void event_text_end_surrogate(struct event_parser *parser);

/* A name: parser->member is set. A userId: parser->user_id_error is. */
void event_text_end(struct event_parser *parser);

#include "app/event/event_text.h"

#include <string.h>

void event_text_begin(struct event_parser *parser, enum event_text text)
{
    parser->text = (uint8_t)text;
    if (text == EVENT_TEXT_NAME) {
        parser->name_len = 0;
    } else if (text == EVENT_TEXT_USER_ID) {
        parser->user_id_len = 0;
        parser->user_id_surrogate = false;
    }
}

/* Lengths stop at one more than there is room for. */
void event_text_put(struct event_parser *parser, const uint8_t *bytes, size_t len)
{
    if (parser->text == EVENT_TEXT_NAME) {
        if (parser->name_len + len > sizeof parser->name) {
            parser->name_len = sizeof parser->name + 1;
            return;
        }
        memcpy(parser->name + parser->name_len, bytes, len);
        parser->name_len = (uint8_t)(parser->name_len + len);
    } else if (parser->text == EVENT_TEXT_USER_ID) {
        if (parser->user_id_len + len > sizeof parser->user_id) {
            parser->user_id_len = sizeof parser->user_id + 1;
            return;
        }
        memcpy(parser->user_id + parser->user_id_len, bytes, len);
        parser->user_id_len = (uint16_t)(parser->user_id_len + len);
    }
}

/* RFC 3629 s.3. */
static void put_code_point(struct event_parser *parser, uint32_t code)
{
    uint8_t utf8[4];
    size_t len = 0;
    if (code < 0x80) {
        utf8[len++] = (uint8_t)code;
    } else if (code < 0x800) {
        utf8[len++] = (uint8_t)(0xc0 | code >> 6);
        utf8[len++] = (uint8_t)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        utf8[len++] = (uint8_t)(0xe0 | code >> 12);
        utf8[len++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        utf8[len++] = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        utf8[len++] = (uint8_t)(0xf0 | code >> 18);
        utf8[len++] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        utf8[len++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        utf8[len++] = (uint8_t)(0x80 | (code & 0x3f));
    }
    event_text_put(parser, utf8, len);
}

/* JSON's grammar allows half a surrogate pair, but it is no text: no name of ours, no userId. */
static void note_lone_surrogate(struct event_parser *parser)
{
    if (parser->text == EVENT_TEXT_NAME)
        parser->name_len = sizeof parser->name + 1;
    else if (parser->text == EVENT_TEXT_USER_ID)
        parser->user_id_surrogate = true;
}

void event_text_end_surrogate(struct event_parser *parser)
{
    if (parser->surrogate != 0)
        note_lone_surrogate(parser);
    parser->surrogate = 0;
}

void event_text_put_code_unit(struct event_parser *parser, uint16_t unit)
{
    const bool high = (unit & 0xfc00) == 0xd800, low = (unit & 0xfc00) == 0xdc00;
    if (low && parser->surrogate != 0) {
        put_code_point(parser, 0x10000u + ((parser->surrogate & 0x3ffu) << 10) + (unit & 0x3ffu));
        parser->surrogate = 0;
        return;
    }
    event_text_end_surrogate(parser);
    if (high)
        parser->surrogate = unit;
    else if (low)
        note_lone_surrogate(parser);
    else
        put_code_point(parser, unit);
}

static bool name_is(const struct event_parser *parser, const char *name)
{
    return parser->name_len == strlen(name) && memcmp(parser->name, name, strlen(name)) == 0;
}

static enum event_member member_named(const struct event_parser *parser)
{
    if (name_is(parser, "userId"))
        return EVENT_MEMBER_USER_ID;
    if (name_is(parser, "value"))
        return EVENT_MEMBER_VALUE;
    return EVENT_MEMBER_OTHER;
}

static enum event_error user_id_error(const struct event_parser *parser)
{
    if (parser->user_id_surrogate)
        return EVENT_USER_ID_SURROGATE;
    if (parser->user_id_len == 0)
        return EVENT_USER_ID_EMPTY;
    if (parser->user_id_len > EVENT_USER_ID_BYTES_MAX)
        return EVENT_USER_ID_LONG;
    return EVENT_OK;
}

void event_text_end(struct event_parser *parser)
{
    if (parser->text == EVENT_TEXT_NAME)
        parser->member = (uint8_t)member_named(parser);
    else if (parser->text == EVENT_TEXT_USER_ID)
        parser->user_id_error = (uint8_t)user_id_error(parser);
}

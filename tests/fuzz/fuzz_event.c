/*
 * The body of an event, against itself and against jansson (Debian's libjansson-dev), a strict JSON
 * library.
 *
 * Held: event_parse() is right wherever it says yes; the parser does not care where a body is cut;
 * it accepts what jansson accepts, and finds the same userId and value in it. Where they differ on
 * purpose: jansson refuses lone surrogates, numbers without a finite double and NUL in names
 * anywhere; so nothing is compared then. It nests 2,048 deep.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "app/event/event.h"
#include "app/event/event_parser.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            __builtin_trap();                                                                      \
    } while (0)

struct outcome {
    enum event_error error;
    size_t offset;
    struct event event;
};

/* A copy of exactly its size, so that reading past its end is found out. */
static void feed_copy(struct event_parser *parser, const uint8_t *bytes, size_t len)
{
    uint8_t *const copy = malloc(len);
    memcpy(copy, bytes, len);
    event_feed(parser, copy, len);
    free(copy);
}

/* Pieces of up to `piece_max` bytes, by a generator that the body seeds. */
static struct outcome parse(struct event_parser *parser, const uint8_t *body, size_t len,
                            size_t piece_max)
{
    uint64_t random = 88172645463325252u ^ len;
    for (size_t i = 0; i < len; i++)
        random = random * 31 + body[i];
    event_begin(parser);
    for (size_t at = 0; at < len;) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t piece = (size_t)(random >> 33) % piece_max + 1;
        piece = piece < len - at ? piece : len - at;
        feed_copy(parser, body + at, piece);
        at += piece;
    }
    struct outcome outcome = {0};
    outcome.error = event_end(parser, &outcome.event);
    outcome.offset = event_error_offset(parser);
    return outcome;
}

static bool same_event(const struct event *left, const struct event *right)
{
    const double value = event_value(left), other = event_value(right);
    return left->user_id_len == right->user_id_len &&
           memcmp(left->user_id, right->user_id, left->user_id_len) == 0 &&
           memcmp(&value, &other, sizeof value) == 0;
}

static unsigned depth_of(json_t *json)
{
    unsigned deepest = 0, depth;
    const char *key;
    size_t index;
    json_t *value;
    if (!json_is_object(json) && !json_is_array(json))
        return 0;
    json_object_foreach(json, key, value) deepest =
        (depth = depth_of(value)) > deepest ? depth : deepest;
    json_array_foreach(json, index, value) deepest =
        (depth = depth_of(value)) > deepest ? depth : deepest;
    return deepest + 1;
}

static enum event_error expected(json_t *root, struct event *event)
{
    if (!json_is_object(root))
        return EVENT_NOT_OBJECT;
    json_t *const user_id = json_object_get(root, "userId"),
                  *value = json_object_get(root, "value");
    if (user_id == NULL)
        return EVENT_USER_ID_MISSING;
    if (!json_is_string(user_id))
        return EVENT_USER_ID_TYPE;
    event->user_id = (const uint8_t *)json_string_value(user_id);
    event->user_id_len = json_string_length(user_id);
    if (event->user_id_len == 0)
        return EVENT_USER_ID_EMPTY;
    if (event->user_id_len > EVENT_USER_ID_BYTES_MAX)
        return EVENT_USER_ID_LONG;
    if (value == NULL)
        return EVENT_VALUE_MISSING;
    if (!json_is_real(value))
        return EVENT_VALUE_TYPE;
    event->is_whole = false;
    event->value = json_real_value(value);
    return EVENT_OK;
}

static void compare_with_jansson(const uint8_t *body, size_t len, const struct outcome *ours)
{
    if (memchr(body, 0, len) !=
        NULL) { /* never JSON, but jansson loses one that follows a number */
        REQUIRE(ours->error < EVENT_NOT_OBJECT && ours->error != EVENT_OK);
        return;
    }
    json_error_t error;
    json_t *const root =
        json_loadb((const char *)body, len,
                   JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    if (root == NULL) {
        const enum json_error_code code = json_error_code(&error);
        if (code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
            code == json_error_null_character || code == json_error_stack_overflow ||
            strstr(error.text, "invalid Unicode '") != NULL)
            return;
        REQUIRE(ours->error != EVENT_OK && ours->error < EVENT_NOT_OBJECT);
        return;
    }
    if (ours->error == EVENT_NESTING) {
        /* A repeated member may have hidden the deep one from the tree. */
        json_t *const strict = json_loadb((const char *)body, len,
                                          JSON_DECODE_ANY | JSON_ALLOW_NUL |
                                              JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES,
                                          &error);
        REQUIRE(strict == NULL || depth_of(strict) > 1 + EVENT_NESTING_MAX);
        json_decref(strict);
    } else {
        struct event event;
        REQUIRE(depth_of(root) <= 1 + EVENT_NESTING_MAX);
        REQUIRE(ours->error == expected(root, &event));
        REQUIRE(ours->error != EVENT_OK || same_event(&ours->event, &event));
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *body, size_t len)
{
    static struct event_parser whole_parser, cut_parser;
    static const uint8_t nothing[1];
    body = len == 0 ? nothing : body;
    const struct outcome whole = parse(&whole_parser, body, len, SIZE_MAX);
    static const size_t pieces[] = {1, 3, 16};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        const struct outcome cut = parse(&cut_parser, body, len, pieces[i]);
        REQUIRE(cut.error == whole.error && cut.offset == whole.offset);
        REQUIRE(cut.error != EVENT_OK || same_event(&cut.event, &whole.event));
    }
    REQUIRE(whole.offset <= len);

    uint8_t *const copy = malloc(len);
    memcpy(copy, body, len);
    struct event plain;
    if (event_parse(copy, len, &plain)) {
        REQUIRE(whole.error == EVENT_OK && same_event(&plain, &whole.event));
        REQUIRE(plain.user_id >= copy && plain.user_id + plain.user_id_len < copy + len);
    }
    free(copy);
    compare_with_jansson(body, len, &whole);
    return 0;
}

/*
 * Bodies and what becomes of them. Each is parsed in one piece, cut in two at every place, and byte
 * by byte; and the recogniser may say yes only to those that the parser accepts, with the same
 * result.
 */
#include "app/event/event.h"

#include <stdio.h>

#include "app/event/event_parser.h"
#include "tests/test.h"
#include "tests/unit/number_text.h"

static struct event_parser parser;
static struct event event;

#define BODY(text) (const uint8_t *)(text), sizeof(text) - 1

static enum event_error parse_cut(const uint8_t *body, size_t len, size_t cut)
{
    event_begin(&parser);
    event_feed(&parser, body, cut);
    event_feed(&parser, body + cut, len - cut);
    return event_end(&parser, &event);
}

static enum event_error parse_bytes(const uint8_t *body, size_t len)
{
    event_begin(&parser);
    for (size_t i = 0; i < len; i++)
        event_feed(&parser, body + i, 1);
    return event_end(&parser, &event);
}

static bool is_event(const char *user_id, size_t user_id_len, double value)
{
    return event.user_id_len == user_id_len && memcmp(event.user_id, user_id, user_id_len) == 0 &&
           number_bits(event_value(&event)) == number_bits(value);
}

static bool accepts(const uint8_t *body, size_t len, const char *user_id, size_t user_id_len,
                    double value)
{
    for (size_t cut = 0; cut <= len; cut++)
        if (parse_cut(body, len, cut) != EVENT_OK || !is_event(user_id, user_id_len, value))
            return false;
    if (parse_bytes(body, len) != EVENT_OK || !is_event(user_id, user_id_len, value))
        return false;
    return !event_parse(body, len, &event) || is_event(user_id, user_id_len, value);
}

static bool refuses(const uint8_t *body, size_t len, enum event_error error, size_t offset)
{
    for (size_t cut = 0; cut <= len; cut++)
        if (parse_cut(body, len, cut) != error || event_error_offset(&parser) != offset)
            return false;
    if (parse_bytes(body, len) != error || event_error_offset(&parser) != offset)
        return false;
    return !event_parse(body, len, &event);
}

#define ACCEPTS(text, id, number) accepts(BODY(text), id, sizeof(id) - 1, number)
/* Errors without an offset are found when the body is over. */
#define REFUSES(text, error)            refuses(BODY(text), error, sizeof(text) - 1)
#define REFUSES_AT(text, error, offset) refuses(BODY(text), error, offset)

/* The same, and the recogniser must know it. */
static bool is_plain(const char *text, const char *user_id, double value)
{
    const size_t len = strlen(text);
    const uint8_t *const body = (const uint8_t *)text;
    if (!event_parse(body, len, &event) || !is_event(user_id, strlen(user_id), value))
        return false;
    if (event.user_id < body || event.user_id >= body + len)
        return false;
    return accepts(body, len, user_id, strlen(user_id), value);
}

TEST(event_plain_forms_are_recognised)
{
    CHECK(is_plain("{\"userId\":\"user_42\",\"value\":42.5}", "user_42", 42.5));
    CHECK(is_plain("{\"userId\": \"user_12345\", \"value\": 123}", "user_12345", 123.0));
    CHECK(is_plain("{\"value\":42.5,\"userId\":\"user_42\"}", "user_42", 42.5));
    CHECK(is_plain(" {\n\t\"userId\" : \"u\" ,\r\n \"value\" : -1.25 } \n", "u", -1.25));
    CHECK(is_plain("\n{ \"value\" : 0 , \"userId\" : \"abcdefg\" }\t", "abcdefg", 0.0));
    CHECK(is_plain("{\"userId\":\"a}b{c,:[]'\",\"value\":-0.0}", "a}b{c,:[]'", -0.0));
    CHECK(is_plain("{\"userId\":\"u\",\"value\":0.30000000000000004}", "u", 0.30000000000000004));
    CHECK(is_plain("{\"userId\":\"u\",\"value\":9007199254740993}", "u", 9007199254740992.0));
    CHECK(is_plain("{\"userId\":\"u\",\"value\":9999999999999999999}", "u", 1e19));
}

/* A userId of every length, at every place in a word, in both orders; and too long. */
TEST(event_user_ids_of_every_length_are_recognised)
{
    static char id[EVENT_USER_ID_BYTES_MAX + 2], body[EVENT_USER_ID_BYTES_MAX + 40];
    for (size_t len = 1; len <= EVENT_USER_ID_BYTES_MAX + 1; len++) {
        memset(id, 'a' + (int)(len % 26), len);
        id[len] = '\0';
        for (unsigned order = 0; order < 2; order++) {
            const int written = snprintf(body, sizeof body,
                                         order == 0 ? "{\"userId\":\"%s\",\"value\":7}"
                                                    : "{\"value\":7,\"userId\":\"%s\"}",
                                         id);
            const bool plain = event_parse((const uint8_t *)body, (size_t)written, &event);
            CHECK_EQ(plain, len <= EVENT_USER_ID_BYTES_MAX);
            CHECK(!plain || is_event(id, len, 7.0));
            const enum event_error error =
                parse_cut((const uint8_t *)body, (size_t)written, (size_t)written / 2);
            CHECK_EQ(error, plain ? EVENT_OK : EVENT_USER_ID_LONG);
            CHECK(!plain || is_event(id, len, 7.0));
        }
    }
}

TEST(event_strings_are_decoded)
{
    CHECK(ACCEPTS("{\"userId\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"value\":1}", "\"\\/\b\f\n\r\t", 1));
    CHECK(ACCEPTS("{\"userId\":\"\\u0000\\u0041\\u00e9\\u20aC\",\"value\":1}",
                  "\0A\xc3\xa9\xe2\x82\xac", 1));
    CHECK(ACCEPTS("{\"userId\":\"\\u007f\\u0080\\u07ff\\u0800\\uffff\",\"value\":1}",
                  "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 1));
    CHECK(ACCEPTS("{\"userId\":\"\\ud800\\udc00\\ud83d\\ude00\\uDBFF\\uDFFF\",\"value\":1}",
                  "\xf0\x90\x80\x80\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf", 1));
    CHECK(
        ACCEPTS("{\"userId\":\"\xc2\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf\",\"value\":1}",
                "\xc2\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf", 1));
    CHECK(ACCEPTS("{\"user\\u0049d\":\"a\",\"\\u0076alue\":1}", "a", 1));
}

TEST(event_user_id_is_measured_decoded)
{
    static char body[6 * (EVENT_USER_ID_BYTES_MAX + 1) + 40];
    for (unsigned count = EVENT_USER_ID_BYTES_MAX / 2; count <= EVENT_USER_ID_BYTES_MAX / 2 + 1;
         count++) {
        size_t len = (size_t)snprintf(body, sizeof body, "{\"value\":1,\"userId\":\"");
        for (unsigned i = 0; i < count; i++) /* two bytes each, decoded */
            len += (size_t)snprintf(body + len, sizeof body - len, "\\u00e9");
        len += (size_t)snprintf(body + len, sizeof body - len, "\"}");
        const enum event_error error = parse_bytes((const uint8_t *)body, len);
        if (count == EVENT_USER_ID_BYTES_MAX / 2)
            CHECK(error == EVENT_OK && event.user_id_len == EVENT_USER_ID_BYTES_MAX);
        else
            CHECK_EQ(error, EVENT_USER_ID_LONG);
    }
}

TEST(event_numbers_of_every_form_are_read)
{
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":1e2}", "a", 100));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":-1.5E+2 }", "a", -150));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":0.5e-1}", "a", 0.05));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":-0}", "a", -0.0));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":0e9999999999999999999}", "a", 0));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":1.7976931348623157e308}", "a",
                  0x1.fffffffffffffp1023));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":1e-9999999999999999999}", "a", 0));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":100000000000000000000000}", "a", 1e23));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":0.00000000000000000000000000001}", "a", 1e-29));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":1.7976931348623159e308}", EVENT_VALUE_RANGE));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":-1e9999999999999999999}", EVENT_VALUE_RANGE));
}

TEST(event_other_members_are_ignored)
{
    CHECK(ACCEPTS("{\"a\":[1,-0,2.5e-3,1E+9,true,false,null,{\"userId\":1,\"value\":[]},[],{}],"
                  "\"userId\":\"a\",\"b\":\"\\ud800\",\"value\":1,\"\\udc00\":1e999}",
                  "a", 1));
    CHECK(
        ACCEPTS("{\"UserId\":1,\"userid\":2,\"userI\":3,\"userIdd\":4,\"userIdddd\":5,\"Value\":6,"
                "\"\":7,\"userId\\u0000\":8,\"userId\":\"a\",\"value\":9}",
                "a", 9));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":9,\"UserId\":1,\"userI\":2,\"userIdd\":3,"
                  "\"userIdddd\":4,\"Value\":5,\"valueeeee\":6}",
                  "a", 9));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":3,\"\\ud800userId\":1,\"value\\ud800\":2}", "a", 3));
}

TEST(event_last_of_repeated_members_counts)
{
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":1,\"userId\":\"b\",\"value\":2}", "b", 2));
    CHECK(ACCEPTS("{\"userId\":null,\"userId\":\"a\",\"value\":\"x\",\"value\":1}", "a", 1));
    CHECK(ACCEPTS("{\"userId\":\"\\ud800\",\"userId\":\"a\",\"value\":1e999,\"value\":1}", "a", 1));
    CHECK(
        ACCEPTS("{\"userId\":\"\",\"value\":-12.5e-3,\"value\":1,\"user\\u0049d\":\"a\"}", "a", 1));
    CHECK(ACCEPTS("{\"userId\":\"a\",\"value\":-0.1e-2,\"value\":1e2}", "a", 100));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":1,\"userId\":2}", EVENT_USER_ID_TYPE));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":1,\"value\":null}", EVENT_VALUE_TYPE));
}

TEST(event_members_must_be_there_and_of_their_types)
{
    CHECK(REFUSES("{}", EVENT_USER_ID_MISSING));
    CHECK(REFUSES("{\"value\":1}", EVENT_USER_ID_MISSING));
    CHECK(REFUSES("{\"x\":{\"userId\":\"a\"},\"value\":1}", EVENT_USER_ID_MISSING));
    CHECK(REFUSES("{\"userId\":1,\"value\":1}", EVENT_USER_ID_TYPE));
    CHECK(REFUSES("{\"userId\":[\"a\"],\"value\":1}", EVENT_USER_ID_TYPE));
    CHECK(REFUSES("{\"userId\":{\"userId\":\"a\"},\"value\":1}", EVENT_USER_ID_TYPE));
    CHECK(REFUSES("{\"userId\":\"\",\"value\":1}", EVENT_USER_ID_EMPTY));
    CHECK(REFUSES("{\"userId\":\"\\ud800\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"\\udc00\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"\\ud800\\ud800\\udc00\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"\\udc00\\ud800\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"\\ud800x\\udc00\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"\\ud800\\n\\udc00\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"\\ud800\xc3\xa9\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"\\ud800\\u0041\",\"value\":1}", EVENT_USER_ID_SURROGATE));
    CHECK(REFUSES("{\"userId\":\"a\"}", EVENT_VALUE_MISSING));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":null}", EVENT_VALUE_TYPE));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":\"1\"}", EVENT_VALUE_TYPE));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":[1]}", EVENT_VALUE_TYPE));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":{\"value\":1}}", EVENT_VALUE_TYPE));
    CHECK(REFUSES("{\"userId\":\"a\",\"value\":true}", EVENT_VALUE_TYPE));
}

TEST(event_syntax_errors_say_where)
{
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1,}", EVENT_SYNTAX, 24));
    CHECK(REFUSES_AT("{,\"userId\":\"a\",\"value\":1}", EVENT_SYNTAX, 1));
    CHECK(REFUSES_AT("{\"userId\":\"a\" \"value\":1}", EVENT_SYNTAX, 14));
    CHECK(REFUSES_AT("{\"userId\",\"value\":1}", EVENT_SYNTAX, 9));
    CHECK(REFUSES_AT("{\"userId\":,\"value\":1}", EVENT_SYNTAX, 10));
    CHECK(REFUSES_AT("{userId:\"a\",\"value\":1}", EVENT_SYNTAX, 1));
    CHECK(REFUSES_AT("{'userId':\"a\",\"value\":1}", EVENT_SYNTAX, 1));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1]", EVENT_SYNTAX, 23));
    CHECK(REFUSES_AT("{\"x\":[1,]}", EVENT_SYNTAX, 8));
    CHECK(REFUSES_AT("{\"x\":[1}", EVENT_SYNTAX, 7));
    CHECK(REFUSES_AT("{\"x\":[,1]}", EVENT_SYNTAX, 6));
    CHECK(REFUSES_AT("{\"x\":nul}", EVENT_SYNTAX, 8));
    CHECK(REFUSES_AT("{\"x\":truE}", EVENT_SYNTAX, 8));
    CHECK(REFUSES_AT("{\"x\":False}", EVENT_SYNTAX, 5));
    CHECK(REFUSES_AT("{\"x\":NaN}", EVENT_SYNTAX, 5));
    CHECK(REFUSES_AT("{\"x\":1//\n}", EVENT_SYNTAX, 6));
    CHECK(REFUSES_AT("\xef\xbb\xbf{}", EVENT_SYNTAX, 0));
    CHECK(REFUSES_AT("{\"x\":1\f}", EVENT_SYNTAX, 6));
    CHECK(REFUSES_AT("{\"x\"\v:1}", EVENT_SYNTAX, 4));
    CHECK(REFUSES_AT("{\"x\":1\0}", EVENT_SYNTAX, 6));
}

TEST(event_malformed_numbers_are_refused)
{
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":01}", EVENT_SYNTAX, 23));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":-01}", EVENT_SYNTAX, 24));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":+1}", EVENT_SYNTAX, 22));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":.5}", EVENT_SYNTAX, 22));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1.}", EVENT_SYNTAX, 24));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":-}", EVENT_SYNTAX, 23));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":-.5}", EVENT_SYNTAX, 23));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1e}", EVENT_SYNTAX, 24));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1e+}", EVENT_SYNTAX, 25));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1.e5}", EVENT_SYNTAX, 24));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1.5.5}", EVENT_SYNTAX, 25));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1e5.5}", EVENT_SYNTAX, 25));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1-2}", EVENT_SYNTAX, 23));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":0x10}", EVENT_SYNTAX, 23));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1 2}", EVENT_SYNTAX, 24));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":-Infinity}", EVENT_SYNTAX, 23));
    CHECK(REFUSES_AT("{\"value\":00.5,\"userId\":\"abcdefgh\"}", EVENT_SYNTAX, 10));
}

TEST(event_malformed_strings_are_refused)
{
    CHECK(REFUSES_AT("{\"userId\":\"a\nb\",\"value\":1}", EVENT_SYNTAX, 12));
    CHECK(REFUSES_AT("{\"userId\":\"a\0b\",\"value\":1}", EVENT_SYNTAX, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\x1f\",\"value\":1}", EVENT_SYNTAX, 11));
    CHECK(REFUSES_AT("{\"userId\":\"\\x41\",\"value\":1}", EVENT_SYNTAX, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\\U0041\",\"value\":1}", EVENT_SYNTAX, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\\u004g\",\"value\":1}", EVENT_SYNTAX, 16));
    CHECK(REFUSES_AT("{\"userId\":\"\\u00\",\"value\":1}", EVENT_SYNTAX, 15));
    CHECK(REFUSES_AT("{\"userId\":\"\\u/041\",\"value\":1}", EVENT_SYNTAX, 13));
    CHECK(REFUSES_AT("{\"userId\":\"\\u:041\",\"value\":1}", EVENT_SYNTAX, 13));
    CHECK(REFUSES_AT("{\"userId\":\"\\\0\",\"value\":1}", EVENT_SYNTAX, 12));
}

TEST(event_invalid_utf8_is_refused_anywhere)
{
    CHECK(REFUSES_AT("{\"userId\":\"\x80\",\"value\":1}", EVENT_UTF8, 11));
    CHECK(REFUSES_AT("{\"userId\":\"\xc0\xaf\",\"value\":1}", EVENT_UTF8, 11));
    CHECK(REFUSES_AT("{\"userId\":\"\xc1\xbf\",\"value\":1}", EVENT_UTF8, 11));
    CHECK(REFUSES_AT("{\"userId\":\"\xc3\",\"value\":1}", EVENT_UTF8, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\xc3\xc3\",\"value\":1}", EVENT_UTF8, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\xe0\x9f\xbf\",\"value\":1}", EVENT_UTF8, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\xed\xa0\x80\",\"value\":1}", EVENT_UTF8, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\xe2\x82\",\"value\":1}", EVENT_UTF8, 13));
    CHECK(REFUSES_AT("{\"userId\":\"\xf0\x8f\xbf\xbf\",\"value\":1}", EVENT_UTF8, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\xf4\x90\x80\x80\",\"value\":1}", EVENT_UTF8, 12));
    CHECK(REFUSES_AT("{\"userId\":\"\xf1\x80\x80\xc0\",\"value\":1}", EVENT_UTF8, 14));
    CHECK(REFUSES_AT("{\"userId\":\"\xf5\x80\x80\x80\",\"value\":1}", EVENT_UTF8, 11));
    CHECK(REFUSES_AT("{\"x\xff\":1,\"userId\":\"a\",\"value\":1}", EVENT_UTF8, 3));
    CHECK(REFUSES_AT("{\"x\":[\"\xe9\"],\"userId\":\"a\",\"value\":1}", EVENT_UTF8, 8));
}

/* Every first byte with every second, and the ends of what may follow (RFC 3629 s.3, s.4). */
TEST(event_takes_utf8_and_nothing_that_is_like_it)
{
    static const uint8_t thirds[] = {0x7f, 0x80, 0xbf, 0xc0};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    for (unsigned lead = 0x80; lead < 0x100; lead++) {
        const unsigned len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        for (unsigned i = 0; i < 256 * sizeof thirds; i++) {
            const uint8_t second = (uint8_t)(i / sizeof thirds), third = thirds[i % sizeof thirds];
            const uint8_t text[] = {(uint8_t)lead, second, third, 0x80};
            uint32_t code = lead & (0x7fu >> len);
            bool good = lead >= 0xc0 && lead < 0xf8;
            for (unsigned at = 1; at < len; at++) {
                code = code << 6 | (text[at] & 0x3fu);
                good &= (text[at] & 0xc0) == 0x80;
            }
            good &= code >= least[len] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
            event_begin(&parser);
            event_feed(&parser, BODY("{\"value\":1,\"userId\":\""));
            event_feed(&parser, text, len);
            event_feed(&parser, BODY("\"}"));
            CHECK_EQ(event_end(&parser, &event) == EVENT_OK, good);
        }
    }
}

TEST(event_half_a_surrogate_pair_is_forgotten_with_its_body)
{
    CHECK(REFUSES("{\"userId\":\"\\ud800", EVENT_TRUNCATED));
    CHECK(ACCEPTS("{\"userId\":\"a\x7f\",\"value\":1}", "a\x7f", 1));
}

TEST(event_bodies_that_are_no_object_are_refused)
{
    CHECK(REFUSES("", EVENT_EMPTY));
    CHECK(REFUSES(" \t\r\n", EVENT_EMPTY));
    CHECK(REFUSES("            ", EVENT_EMPTY));
    CHECK(REFUSES("null", EVENT_NOT_OBJECT));
    CHECK(REFUSES(" [{\"userId\":\"a\",\"value\":1}] ", EVENT_NOT_OBJECT));
    CHECK(REFUSES("\"userId\"", EVENT_NOT_OBJECT));
    CHECK(REFUSES("-0.5e1", EVENT_NOT_OBJECT));
    CHECK(REFUSES("0", EVENT_NOT_OBJECT));
    CHECK(REFUSES_AT("1 2", EVENT_SYNTAX, 2));
    CHECK(REFUSES_AT("[1]]", EVENT_SYNTAX, 3));
    CHECK(REFUSES_AT("}", EVENT_SYNTAX, 0));
    CHECK(REFUSES_AT("userId=a", EVENT_SYNTAX, 0));
}

TEST(event_nothing_may_follow_the_object)
{
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1}x", EVENT_TRAILING, 24));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1} {}", EVENT_TRAILING, 25));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1}}", EVENT_TRAILING, 24));
    CHECK(REFUSES_AT("{\"userId\":\"a\",\"value\":1}\0", EVENT_TRAILING, 24));
}

TEST(event_every_beginning_of_a_body_is_truncated)
{
    static const char body[] =
        "{\"userId\":\"a\\n\\ud83d\\ude00\xc3\xa9\",\"x\":[true,{\"y\":null}],\"value\":-1.5e-3}";
    for (size_t len = 1; len < sizeof body - 1; len++) {
        CHECK_EQ(parse_bytes((const uint8_t *)body, len), EVENT_TRUNCATED);
        CHECK_EQ(event_error_offset(&parser), len);
        CHECK(!event_parse((const uint8_t *)body, len, &event));
    }
    CHECK_EQ(parse_bytes((const uint8_t *)body, sizeof body - 1), EVENT_OK);
    CHECK(REFUSES("-", EVENT_TRUNCATED));
    CHECK(REFUSES("1e", EVENT_TRUNCATED));
    CHECK(REFUSES("[1,", EVENT_TRUNCATED));
}

static enum event_error parse_nested(unsigned levels, const char *open, const char *close)
{
    static char body[8 * EVENT_NESTING_MAX + 64];
    size_t len = (size_t)snprintf(body, sizeof body, "{\"x\":");
    for (unsigned i = 0; i < levels; i++)
        len += (size_t)snprintf(body + len, sizeof body - len, "%s", open);
    len += (size_t)snprintf(body + len, sizeof body - len, "0");
    for (unsigned i = 0; i < levels; i++)
        len += (size_t)snprintf(body + len, sizeof body - len, "%s", close);
    len += (size_t)snprintf(body + len, sizeof body - len, ",\"userId\":\"a\",\"value\":1}");
    return parse_cut((const uint8_t *)body, len, len / 3);
}

TEST(event_nesting_is_limited)
{
    CHECK_EQ(parse_nested(EVENT_NESTING_MAX, "[", "]"), EVENT_OK);
    CHECK_EQ(parse_nested(EVENT_NESTING_MAX, "{\"a\":", "}"), EVENT_OK);
    CHECK_EQ(parse_nested(EVENT_NESTING_MAX / 2, "[{\"\":", "}]"), EVENT_OK);
    CHECK_EQ(parse_nested(EVENT_NESTING_MAX / 2, "[{\"\":", "]}"), EVENT_SYNTAX);
    CHECK_EQ(parse_nested(EVENT_NESTING_MAX + 1, "[", "]"), EVENT_NESTING);
    CHECK_EQ(event_error_offset(&parser), sizeof "{\"x\":" - 1 + EVENT_NESTING_MAX);
    CHECK_EQ(parse_nested(EVENT_NESTING_MAX + 1, "{\"\":", "}"), EVENT_NESTING);
}

TEST(event_every_error_has_a_text_that_json_can_hold)
{
    for (int error = EVENT_OK; error <= EVENT_VALUE_RANGE; error++) {
        const char *const text = event_error_text((enum event_error)error);
        CHECK(*text != '\0' && strpbrk(text, "\"\\\n") == NULL);
    }
    CHECK(event_error_has_offset(EVENT_SYNTAX) && event_error_has_offset(EVENT_UTF8));
    CHECK(event_error_has_offset(EVENT_NESTING) && event_error_has_offset(EVENT_TRAILING));
    CHECK(event_error_has_offset(EVENT_TRUNCATED) && !event_error_has_offset(EVENT_EMPTY));
    CHECK(!event_error_has_offset(EVENT_NOT_OBJECT) && !event_error_has_offset(EVENT_VALUE_RANGE));
}

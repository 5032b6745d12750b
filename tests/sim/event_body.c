#include "tests/sim/event_body.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/model.h"
#include "tests/sim/prng.h"

/* ---- numbers: twice the value is whole ---- */

static void put_number(struct bytes *out, int64_t doubled, bool varied)
{
    const uint64_t magnitude = (uint64_t)llabs(doubled);
    const uint64_t whole = magnitude / 2;
    const unsigned tenths = magnitude % 2 != 0 ? 5 : 0;
    if (doubled < 0)
        bytes_text(out, "-");
    switch (varied ? prng_below(7) : 0) {
    case 0:
        bytes_format(out, tenths != 0 ? "%" PRIu64 ".5" : "%" PRIu64, whole);
        break;
    case 1:
        bytes_format(out, "%" PRIu64 ".%u", whole, tenths);
        break;
    case 2:
        bytes_format(out, "%" PRIu64 ".%u", whole, tenths);
        bytes_fill(out, '0', prng_scale(1, 100));
        break;
    case 3:
        bytes_format(out, "%" PRIu64 "e-1", whole * 10 + tenths);
        break;
    case 4:
        bytes_format(out, "0.00%06" PRIu64 "%uE+8", whole, tenths);
        break;
    case 5:
        bytes_format(out, "%" PRIu64 ".%ue0", whole, tenths);
        break;
    default: /* too far from the next double to be another */
        bytes_format(out, "%" PRIu64 ".%u", whole, tenths);
        bytes_fill(out, '0', 20);
        bytes_text(out, "1");
        break;
    }
}

/* ---- strings ---- */

/* The code point at `at`, from UTF-8 that is valid. */
static uint32_t decode(const uint8_t *at, size_t *len)
{
    *len = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (*len == 1)
        return at[0];
    uint32_t code = at[0] & (0x7fu >> *len);
    for (size_t i = 1; i < *len; i++)
        code = code << 6 | (at[i] & 0x3fu);
    return code;
}

static void put_escape(struct bytes *out, uint32_t code)
{
    if (code < 0x10000) {
        bytes_format(out, prng_permille(500) ? "\\u%04x" : "\\u%04X", (unsigned)code);
        return;
    }
    code -= 0x10000;
    bytes_format(out, "\\u%04x\\u%04X", (unsigned)(0xd800 + (code >> 10)),
                 (unsigned)(0xdc00 + (code & 0x3ff)));
}

static void put_user(struct bytes *out, uint32_t user, bool varied)
{
    uint8_t id[MODEL_USER_BYTES_MAX];
    const size_t id_len = model_user_id(user, id);
    size_t len;

    bytes_text(out, "\"");
    for (size_t at = 0; at < id_len; at += len) {
        const uint32_t code = decode(id + at, &len);
        if (code == '"' || code == '\\' || (code == '/' && varied))
            bytes_format(out, "\\%c", (char)code);
        else if (code == '\t')
            bytes_text(out, "\\t");
        else if (varied && prng_permille(code < 0x80 ? 50 : 500))
            put_escape(out, code);
        else
            bytes_put(out, id + at, len);
    }
    bytes_text(out, "\"");
}

/* ---- good ones ---- */

static void put_space(struct bytes *out, bool varied)
{
    static const char spaces[] = " \t\r\n";
    while (varied && prng_permille(300))
        bytes_fill(out, (uint8_t)spaces[prng_below(4)], prng_scale(1, 20));
}

static void put_other_member(struct bytes *out)
{
    static const char *const members[] = {
        "\"x\":{\"userId\":\"nobody\",\"value\":1e3}",
        "\"userid\":\"nobody\"",
        "\"VALUE\":[1,2,{\"value\":3}]",
        "\"\":null",
        "\"a\\\"b\":true",
        "\"userId\":17",
        "\"value\":\"what comes last counts\"",
        "\"deep\":[[[[[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]]]]]",
        "\"number\":-0.0e-999",
        "\"surrogate\":\"\\ud83d\"",
    };
    bytes_text(out, members[prng_below(sizeof members / sizeof members[0])]);
    bytes_text(out, ",");
}

static void put_user_member(struct bytes *out, uint32_t event, bool varied)
{
    bytes_text(out, varied && prng_permille(100) ? "\"user\\u0049d\"" : "\"userId\"");
    put_space(out, varied);
    bytes_text(out, ":");
    put_space(out, varied);
    put_user(out, model_user_of(event), varied);
    put_space(out, varied);
}

static void put_value_member(struct bytes *out, uint32_t event, bool varied)
{
    bytes_text(out, varied && prng_permille(100) ? "\"v\\u0061lue\"" : "\"value\"");
    put_space(out, varied);
    bytes_text(out, ":");
    put_space(out, varied);
    put_number(out, model_doubled_value(event), varied);
    put_space(out, varied);
}

void event_body_good(struct bytes *body, uint32_t event, bool varied, size_t padding)
{
    const bool swapped = varied && prng_permille(300);
    put_space(body, varied);
    bytes_text(body, "{");
    put_space(body, varied);
    while (varied && prng_permille(300))
        put_other_member(body);
    if (padding > 16 && prng_permille(500)) {
        bytes_text(body, "\"pad\":\"");
        bytes_fill(body, 'x', padding - 10);
        bytes_text(body, "\",");
    } else {
        bytes_fill(body, ' ', padding);
    }
    if (swapped)
        put_value_member(body, event, varied);
    else
        put_user_member(body, event, varied);
    bytes_text(body, ",");
    put_space(body, varied);
    if (swapped)
        put_user_member(body, event, varied);
    else
        put_value_member(body, event, varied);
    bytes_text(body, "}");
    put_space(body, varied);
}

/* ---- bad ones ---- */

/* U stands for the user id with its quotes, V for the value, L for something long or deep. */
static const char *const bad_bodies[] = {
    "{@userId@:U,@value@:V",
    "{@userId@:U,@value@:@V@}",
    "{@userId@:U,@value@:null}",
    "{@userId@:U}",
    "{@value@:V}",
    "{@userId@:@@,@value@:V}",
    "{@userId@:17,@value@:V}",
    "{@userId@:U,@value@:V}x",
    "{@userId@:U,@value@:V,}",
    "[{@userId@:U,@value@:V}]",
    "{@userId@:U,@value@:0V}",
    "{@userId@:U,@value@:+V}",
    "{@userId@:U,@value@:V.}",
    "{@userId@:U,@value@:V}{@userId@:U,@value@:V}",
    "{@userId@:@\\ud800@,@value@:V}",
    "{@userId@:@\xff@,@value@:V}",
    "{@userId@:@\xc0\xaf@,@value@:V}",
    "{@UserId@:U,@value@:V}",
    "{'userId':U,@value@:V}",
    "{@userId@:U,@value@:V,@value@:1e999}",
    "{@userId@:U,@value@:V,@value@:null}",
    "{@userId@:U,@value@:V,@userId@:5}",
    "{@userId@:U @value@:V}",
    "{@userId@:@L@,@value@:V}",
    "{@userId@:U,@value@:V,@x@:[L]}",
    "",
    "  ",
    "V",
    "U",
    "{@userId@:U,@value@:V}\x01",
    "\xef\xbb\xbf{@userId@:U,@value@:V}",
};

void event_body_bad(struct bytes *body, uint32_t event, int32_t *offset)
{
    *offset = -1;
    if (prng_permille(300)) {
        /* An answer that can be told from others: it names the byte. */
        *offset = (int32_t)prng_scale(1, 3000);
        bytes_fill(body, ' ', (size_t)*offset);
        bytes_text(body, "x");
        event_body_good(body, event, false, 0);
        return;
    }
    const char *at = bad_bodies[prng_below(sizeof bad_bodies / sizeof bad_bodies[0])];
    for (; *at != '\0'; at++) {
        if (*at == 'U' && at[1] != 's')
            put_user(body, model_user_of(event), false);
        else if (*at == 'V')
            put_number(body, model_doubled_value(event), false);
        else if (*at == 'L')
            bytes_fill(body, '[', prng_range(1025, 1500));
        else
            bytes_fill(body, *at == '@' ? '"' : (uint8_t)*at, 1);
    }
}

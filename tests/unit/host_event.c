/*
 * The recogniser against the parser, on events made at random and damaged a little; each in memory
 * of exactly its size, so that the sanitizers see a byte read too many. tests/fuzz/fuzz_event.c
 * goes further.
 */
#include <stdio.h>
#include <stdlib.h>

#include "app/event/event.h"
#include "app/event/event_parser.h"
#include "tests/test.h"
#include "tests/unit/number_text.h"

#define ROUNDS 40000

static uint64_t below(uint64_t limit)
{
    return random_next(&random_state) % limit;
}

static const char *space(void)
{
    static const char *const spaces[] = {"", "", "", "", " ", "\n", "\t \r"};
    return spaces[below(sizeof spaces / sizeof spaces[0])];
}

static const char *number(void)
{
    static char text[64];
    static const char *const odd[] = {"-0",
                                      "0.0",
                                      "1e5",
                                      "01",
                                      "-",
                                      "1.",
                                      "null",
                                      "1E-7",
                                      "99999999999999999999",
                                      "0.00000000000000000001"};
    switch (below(4)) {
    case 0:
        snprintf(text, sizeof text, "%d", (int)below(2000) - 1000);
        return text;
    case 1:
        snprintf(text, sizeof text, "%.*f", (int)below(18), (double)below(1000000) / 977.0);
        return text;
    case 2:
        snprintf(text, sizeof text, "%.17g", (double)below(UINT64_MAX) / 1e18);
        return text;
    default:
        return odd[below(sizeof odd / sizeof odd[0])];
    }
}

static size_t make_body(char *body, size_t bytes_max)
{
    char id[64];
    const size_t id_len = below(24);
    for (size_t i = 0; i < id_len; i++)
        id[i] = (char)(' ' + below(95));
    if (below(4) != 0)
        for (size_t i = 0; i < id_len; i++)
            id[i] = id[i] == '"' || id[i] == '\\' ? '_' : id[i];
    id[id_len] = '\0';
    const char *const s[] = {space(), space(), space(), space(), space(), space(),
                             space(), space(), space(), space(), space()};
    const int len =
        below(2) == 0
            ? snprintf(body, bytes_max, "%s{%s\"userId\"%s:%s\"%s\"%s,%s\"value\"%s:%s%s%s}%s",
                       s[0], s[1], s[2], s[3], id, s[4], s[5], s[6], s[7], number(), s[8], s[9])
            : snprintf(body, bytes_max, "%s{%s\"value\"%s:%s%s%s,%s\"userId\"%s:%s\"%s\"%s}%s",
                       s[0], s[1], s[2], s[3], number(), s[4], s[5], s[6], s[7], id, s[8], s[9]);
    return (size_t)len;
}

/* A byte changed, one lost, the end lost, or nothing. */
static size_t damage(char *body, size_t len)
{
    static const char bytes[] = "\"\\{}:, \n0e.-a\x80\xc3\x01\x1f";
    const size_t at = below(len);
    switch (below(6)) {
    case 0:
        body[at] = bytes[below(sizeof bytes)];
        return len;
    case 1:
        memmove(body + at, body + at + 1, len - at - 1);
        return len - 1;
    case 2:
        return at + 1;
    default:
        return len;
    }
}

TEST(event_recogniser_agrees_with_the_parser)
{
    static struct event_parser parser;
    unsigned recognised = 0, accepted = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char text[512];
        const size_t len = damage(text, make_body(text, sizeof text));
        uint8_t *const body = malloc(len);
        memcpy(body, text, len);
        struct event plain, parsed;
        const bool yes = event_parse(body, len, &plain);
        event_begin(&parser);
        const size_t cut = below(len + 1);
        event_feed(&parser, body, cut);
        event_feed(&parser, body + cut, len - cut);
        const bool ok = event_end(&parser, &parsed) == EVENT_OK;
        const bool same = yes && ok && plain.user_id_len == parsed.user_id_len &&
                          memcmp(plain.user_id, parsed.user_id, plain.user_id_len) == 0 &&
                          number_bits(event_value(&plain)) == number_bits(event_value(&parsed));
        free(body);
        if (yes && !same)
            test_print("%.*s", (int)len, text);
        CHECK(!yes || same);
        recognised += yes;
        accepted += ok;
    }
    CHECK(accepted > ROUNDS / 3); /* or this would show nothing */
    CHECK(recognised > accepted / 2 && recognised < accepted);
}

/* No byte beyond the body is looked at, for it lies at the end of its memory. */
TEST(event_recogniser_stays_within_a_body_cut_anywhere)
{
    static const char *const bodies[] = {"{\"userId\":\"a\",\"value\":1}",
                                         "{\"userId\": \"aaaaaaaaaaaaaaaa\", \"value\": 1}",
                                         "{\"userId\":\"aaaaaaaaaaaaaaaa\", \"value\":1}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        for (size_t len = 2; len <= strlen(bodies[i]); len++) {
            uint8_t *const body = malloc(len);
            struct event event;
            memcpy(body, bodies[i], len);
            body[len - 1] = '}';
            CHECK_EQ(event_parse(body, len, &event), len == strlen(bodies[i]));
            free(body);
        }
    }
}

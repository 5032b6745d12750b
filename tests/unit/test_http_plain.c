/*
 * Fields in the plain form: what is taken for it and what must not be. That it means what the
 * parser says is held in test_http_recall.c, and by the fuzzers.
 */
#include "app/http/http_plain.h"

#include "app/http/http.h"
#include "tests/test.h"

#define LINE    "POST / HTTP/1.1\r\n"
#define SLACK   "{\"userId\":1}" /* HTTP_PLAIN_SLACK bytes */
#define BYTES   (HTTP_HEAD_BYTES_MAX + 1024)
#define HOST    "Host: a\r\n"
#define ALL(f)  LINE f "\r\n" SLACK
#define WITH(f) ALL(HOST f)

static struct http_plain plain;
static struct http_plain_field field[HTTP_PLAIN_FIELDS_MAX];

/* The bytes lie at the end of their memory, for the sanitizer. */
static bool read_bytes(const char *text, size_t len)
{
    static uint8_t memory[BYTES];
    uint8_t *const bytes = memory + sizeof memory - len;
    memcpy(bytes, text, len);
    return http_plain_read(bytes, len, sizeof LINE - 1, &plain, NULL);
}

static bool read_text(const char *text)
{
    return read_bytes(text, strlen(text));
}

TEST(plain_fields_say_where_the_head_ends_and_how_long_its_content_is)
{
    static const struct {
        const char *text;
        bool has_length;
        size_t content_len;
    } rows[] = {
        {WITH(""), false, 0},
        {WITH("Content-Length: 38\r\n"), true, 38},
        {WITH("content-LENGTH:7\r\n"), true, 7},
        {ALL("Content-Length: 0\r\n" HOST), true, 0},
        {WITH("Content-Length: 65536\r\n"), true, 65536},
        {WITH("Content-Length: 00012\r\n"), true, 12},
        {WITH("Connection: keep-alive\r\n"), false, 0},
        {WITH("CONNECTION:Keep-ALIVE\r\n"), false, 0},
        {WITH("Connect: keep-alive\r\n"), false, 0},
        {WITH("Hosts: \r\nHos: \r\nContent-Type: a/b; c=\"d\"\r\n"), false, 0},
        {WITH("A:\r\n1:2\r\n-: ~\r\n.:  two spaces  \r\n"), false, 0},
        {WITH("X-Forwarded-For-Somebody-Else: 1\r\n"), false, 0},
        {WITH("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"), false,
         0},
        {ALL("HOST:localhost\r\n"), false, 0},
        {ALL("host: 198.18.0.2:8080\r\n"), false, 0},
        {ALL("Host: a-very-long-name.of-some-machine.example.org:65535\r\n"), false, 0},
        {ALL("Host: a:\r\n"), false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(read_text(rows[i].text));
        CHECK_EQ(plain.head_len, strlen(rows[i].text) - HTTP_PLAIN_SLACK);
        CHECK_EQ(plain.has_length, rows[i].has_length);
        CHECK_EQ(plain.content_len, rows[i].content_len);
    }
}

TEST(plain_fields_are_no_others)
{
    static const char *const rows[] = {
        ALL(""),
        ALL("A: b\r\n"),
        WITH(HOST),
        ALL("Host:\r\n"),
        ALL("Host: \r\n"),
        ALL("Host:  a\r\n"),
        ALL("Host: a \r\n"),
        ALL("Host: a b\r\n"),
        ALL("Host: a:8o\r\n"),
        ALL("Host: a:1:2\r\n"),
        ALL("Host: [::1]\r\n"),
        ALL("Host: a_b\r\n"), /* the parser's */
        WITH("Content-Length:\r\n"),
        WITH("Content-Length: \r\n"),
        WITH("Content-Length: 38 \r\n"),
        WITH("Content-Length:  38\r\n"),
        WITH("Content-Length: 3x\r\n"),
        WITH("Content-Length: +3\r\n"),
        WITH("Content-Length: 1,1\r\n"),
        WITH("Content-Length: 65537\r\n"),
        WITH("Content-Length: 000038\r\n"),
        WITH("Content-Length: 1\r\nContent-Length: 1\r\n"),
        WITH("Content-Lengti: 38\r\n"),
        WITH("Contint-Length: 38\r\n"),
        WITH("Content-Encoding: gzip\r\n"),
        WITH("Content-Language: en\r\n"),
        WITH("Connection: close\r\n"),
        WITH("Connection: keep-alivf\r\n"),
        WITH("Connection: keep-blive\r\n"),
        WITH("Connection: keep-alive, close\r\n"),
        WITH("Transfer-Encoding: chunked\r\n"),
        WITH("transfer-encoding: x\r\n"),
        WITH("Expect: 100-continue\r\n"),
        WITH("expect: x\r\n"),
        WITH(": a\r\n"),
        WITH("A : b\r\n"),
        WITH(" A: b\r\n"),
        WITH("\tb\r\n"),
        WITH("A\r\n"),
        WITH("A_: b\r\n"), /* the parser's, too */
        WITH("A/B: b\r\n"),
        WITH("A: b\n"),
        WITH("A: b\r\r\n"),
        WITH("A: b\rc: d\r\n"),
        WITH("A: \tb\r\n"), /* and this */
        WITH("A: \x7f\r\n"),
        WITH("A: \x1f\r\n"),
        WITH("A: \x80\r\n"),
        WITH("A: \xff\r\n"),
        WITH("A\x80: b\r\n"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (read_text(rows[i]))
            test_print("  %s", rows[i]);
        CHECK(!read_text(rows[i]));
    }
}

/* Of every byte it is known where it may stand. */
TEST(plain_names_and_values_have_just_the_bytes_that_they_may_have)
{
    static char name[] = WITH("Aaaaaaaa-8: b\r\n"), value[] = WITH("Name: aaaaaaaaaaaaaaaa\r\n");
    static char host[] = ALL("Host: aaaaaaaaaaaaaaaa\r\n");
    for (unsigned byte = 0; byte < 256; byte++) {
        const bool printable = byte >= ' ' && byte < 0x7f;
        const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        const bool word = letter || (byte >= '0' && byte <= '9') || byte == '-' || byte == '.';
        for (size_t i = 0; i < 8; i++) {
            char *const in_name = name + sizeof LINE HOST + i;
            char *const in_value = value + sizeof LINE HOST "Name:" + i;
            char *const in_host = host + sizeof LINE "Host:" + i;
            *in_name = *in_value = *in_host = (char)byte;
            CHECK_EQ(read_bytes(name, sizeof name - 1), word || byte == ':');
            CHECK_EQ(read_bytes(value, sizeof value - 1), printable);
            CHECK_EQ(read_bytes(host, sizeof host - 1), word);
            *in_name = *in_value = *in_host = 'a';
        }
    }
}

TEST(plain_fields_are_read_only_whole)
{
    static const char text[] =
        WITH("Accept: */*\r\nContent-Length: 38\r\nUser-Agent: somebody/1\r\n");
    for (size_t len = sizeof LINE - 1; len < sizeof text - 1; len++)
        CHECK(!read_bytes(text, len));
    CHECK(read_bytes(text, sizeof text - 1));
}

TEST(plain_fields_are_as_long_as_a_head_may_be)
{
    static const char begin[] = LINE HOST "A: ", end[] = "\r\n\r\n" SLACK;
    static char text[BYTES];
    for (size_t head_len = HTTP_HEAD_BYTES_MAX - 9; head_len < HTTP_HEAD_BYTES_MAX + 9;
         head_len++) {
        const size_t len = head_len + HTTP_PLAIN_SLACK;
        memset(text, 'a', len);
        memcpy(text, begin, sizeof begin - 1);
        memcpy(text + len - (sizeof end - 1), end, sizeof end - 1);
        CHECK_EQ(read_bytes(text, len), head_len <= HTTP_HEAD_BYTES_MAX);
    }
}

TEST(plain_fields_are_told_one_by_one)
{
    static const char text[] = WITH("A:b\r\nContent-Length: 38\r\nName: value\r\n");
    static const struct http_plain_field told[] = {
        {17, 23, 24, HTTP_PLAIN_OTHER},
        {26, 28, 29, HTTP_PLAIN_NOTHING},
        {31, 47, 49, HTTP_PLAIN_LENGTH},
        {51, 57, 62, HTTP_PLAIN_NOTHING},
    };
    CHECK(http_plain_read((const uint8_t *)text, sizeof text - 1, sizeof LINE - 1, &plain, field));
    CHECK_EQ(plain.fields, sizeof told / sizeof *told);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        CHECK_EQ(field[i].begin, told[i].begin);
        CHECK_EQ(field[i].value, told[i].value);
        CHECK_EQ(field[i].end, told[i].end);
        CHECK_EQ(field[i].meaning, told[i].meaning);
    }
}

TEST(plain_fields_that_are_too_many_are_not_told)
{
    static const char begin[] = LINE HOST, end[] = "\r\n" SLACK;
    for (unsigned count = 1; count <= HTTP_PLAIN_FIELDS_MAX + 1; count++) {
        char text[512];
        size_t len = sizeof begin - 1;
        memcpy(text, begin, len);
        for (unsigned i = 1; i < count; i++, len += 6)
            memcpy(text + len, "A: b\r\n", 6);
        memcpy(text + len, end, sizeof end - 1);
        len += sizeof end - 1;
        CHECK(read_bytes(text, len));
        CHECK_EQ(http_plain_read((const uint8_t *)text, len, sizeof LINE - 1, &plain, field),
                 count <= HTTP_PLAIN_FIELDS_MAX);
    }
}

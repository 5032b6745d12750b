/*
 * The head of a request, against every row of the contract that is about its form. Each stream is
 * fed whole, byte by byte, and cut in two at every offset; all must mean the same.
 */
#include "app/http/http.h"

#include <ctype.h>

#include "tests/unit/http_means.h"

TEST(http_request_line)
{
    static const struct row rows[] = {
        ROW(LINE("GET / HTTP/1.1"), "GET / 1k."),
        ROW(LINE("HEAD /stats HTTP/1.1"), "HEAD /stats 1k."),
        ROW(LINE("OPTIONS /event HTTP/1.1"), "OPTIONS /event 1k."),
        ROW(LINE("PUT /event HTTP/1.1"), "OTHER /event 1k."),
        ROW(LINE("get / HTTP/1.1"), "OTHER / 1k."),
        ROW(LINE("XGET / HTTP/1.1"), "OTHER / 1k."),
        ROW(LINE("POSTOPTIONS / HTTP/1.1"), "OTHER / 1k."),
        ROW(LINE("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1"), "OTHER / 1k."),
        ROW(LINE(" / HTTP/1.1"), "!400 malformed method"),
        ROW(LINE(" GET / HTTP/1.1"), "!400 malformed method"),
        ROW(LINE("G\tET / HTTP/1.1"), "!400 malformed method"),
        ROW(LINE("G@T / HTTP/1.1"), "!400 malformed method"),
        ROW(LINE("G\xc3\xa9T / HTTP/1.1"), "!400 malformed method"),
        ROW("GET\r\nHost: a\r\n\r\n", "!400 malformed method"),
        ROW("GET\nHost: a\r\n\r\n", "!400 bare line feed"),
        ROW(LINE("GET  / HTTP/1.1"), "!400 request target"),
        ROW(LINE("GET\t/ HTTP/1.1"), "!400 malformed method"),
        ROW(LINE("GET /  HTTP/1.1"), "!400 malformed HTTP version"),
        ROW(LINE("GET /"), "!400 malformed request target"),
        ROW(LINE("GET / "), "!400 malformed HTTP version"),
        ROW("GET / HTTP/1.1\nHost: a\n\n", "!400 bare line feed"),
        ROW("GET / HTTP/1.1\rHost: a\r\n\r\n", "!400 bare carriage return"),
        ROW("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", "!400 bare carriage return"),
    };
    CHECK_ROWS(rows);
}

TEST(http_target)
{
    static const struct row rows[] = {
        ROW(LINE("GET /a/b;c?d=e/f?g HTTP/1.1"), "GET /a/b;c 1k."),
        ROW(LINE("GET /event? HTTP/1.1"), "GET /event 1k."),
        ROW(LINE("GET //event HTTP/1.1"), "GET //event 1k."),
        ROW(LINE("GET /%65vent HTTP/1.1"), "GET /%65vent 1k."),
        ROW(LINE("GET /0123456789012345678901234567890 HTTP/1.1"),
            "GET /0123456789012345678901234567890 1k."),
        ROW(LINE("GET /0123456789012345678901234567890123 HTTP/1.1"),
            "GET /0123456789012345678901234567890+3 1k."),
        ROW(LINE("GET http://a/event?x HTTP/1.1"), "GET /event 1k."),
        ROW(LINE("GET HTTP://198.18.0.2:8080/event HTTP/1.1"), "GET /event 1k."),
        ROW(LINE("GET http://[::1]:80/event HTTP/1.1"), "GET /event 1k."),
        ROW(LINE("GET http://a HTTP/1.1"), "GET / 1k."),
        ROW(LINE("GET http://a?x/y HTTP/1.1"), "GET / 1k."),
        ROW(LINE("GET http:///event HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET http://a@b/event HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET http://a:8x/event HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET http://[::1/event HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET http:/a/event HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET https://a/event HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET hxxp://a/event HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET http HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET event HTTP/1.1"), "!400 request target is neither"),
        ROW(LINE("GET ?x HTTP/1.1"), "!400 request target is neither"),
        ROW(LINE("CONNECT a:80 HTTP/1.1"), "!400 request target is neither"),
        ROW(LINE("OPTIONS * HTTP/1.1"), "OPTIONS * 1k."),
        ROW(LINE("GET * HTTP/1.1"), "!400 the target *"),
        ROW(LINE("OPTIONS *x HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /a#b HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /?a#b HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /\x01 HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /\0 HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /\x7f HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /\t HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /\xc3\xa9 HTTP/1.1"), "!400 malformed request target"),
        ROW(LINE("GET /?\xff HTTP/1.1"), "!400 malformed request target"),
    };
    CHECK_ROWS(rows);
}

TEST(http_version)
{
    static const struct row rows[] = {
        ROW(LINE("GET / HTTP/1.0"), "GET / 0."),
        ROW(LINE("GET / HTTP/1.2"), "GET / 1k."),
        ROW(LINE("GET / HTTP/1.9"), "GET / 1k."),
        ROW(LINE("GET / HTTP/2.0"), "!505 "),
        ROW(LINE("GET / HTTP/0.9"), "!505 "),
        ROW(LINE("GET / HTTP/9.1"), "!505 "),
        ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "!505 "),
        ROW(LINE("GET / HTTP/1."), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/1"), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/.1"), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/11"), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/12"), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/1.10"), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/1.1 "), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/1,1"), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP/x.1"), "!400 malformed HTTP version"),
        ROW(LINE("GET / HTTP 1.1"), "!400 malformed HTTP version"),
        ROW(LINE("GET / http/1.1"), "!400 malformed HTTP version"),
        ROW(LINE("GET / ICAP/1.1"), "!400 malformed HTTP version"),
        ROW(LINE("GET / x HTTP/1.1"), "!400 malformed HTTP version"),
    };
    CHECK_ROWS(rows);
}

TEST(http_empty_lines_before_a_request)
{
    static const struct row rows[] = {
        ROW("\r\n" HOST("a"), "GET / 1k."),
        ROW("\r\n\r\n\r\n\r\n" HOST("a"), "GET / 1k."),
        ROW("\r\n\r\n\r\n\r\n" LINE("GET http://a/b HTTP/1.1"), "GET /b 1k."),
        ROW("\r\n\r\n\r\n\r\n\r\n" HOST("a"), "!400 too many empty lines"),
        ROW(HOST("a") "\r\n\r\n" HOST("a"), "GET / 1k.GET / 1k."),
        ROW("\r" HOST("a"), "!400 bare carriage return"),
        ROW("\n" HOST("a"), "!400 bare line feed"),
        ROW("\r\n", ""),
    };
    struct http_parser parser;
    struct http_body body;
    size_t taken;

    CHECK_ROWS(rows);
    http_reset(&parser);
    CHECK(http_is_idle(&parser));
    CHECK_EQ(http_next(&parser, (const uint8_t *)"\r\n", 2, &taken, &body), HTTP_MORE);
    CHECK(http_is_idle(&parser));
    CHECK_EQ(http_next(&parser, (const uint8_t *)"\r", 1, &taken, &body), HTTP_MORE);
    CHECK(!http_is_idle(&parser)); /* only a line feed may follow */
    CHECK_EQ(http_next(&parser, (const uint8_t *)"\n", 1, &taken, &body), HTTP_MORE);
    CHECK(http_is_idle(&parser));
    CHECK_EQ(http_next(&parser, (const uint8_t *)"G", 1, &taken, &body), HTTP_MORE);
    CHECK(!http_is_idle(&parser));
}

TEST(http_fields_are_well_formed)
{
    static const struct row rows[] = {
        ROW(FIELDS("X: y\r\nA!#$%&'*+-.^_`|~9:z\r\n"), "POST /event 1k."),
        ROW(FIELDS("X:\r\nY: \t \r\nZ:\ty\t\r\n"), "POST /event 1k."),
        ROW(FIELDS("X: \x80\xff \"quoted\" (comment) ~\r\n"), "POST /event 1k."),
        ROW(FIELDS("X : y\r\n"), "!400 white space before the colon"),
        ROW(FIELDS("X\t: y\r\n"), "!400 white space before the colon"),
        ROW(FIELDS("Content-Length : 5\r\n"), "!400 white space before the colon"),
        ROW(FIELDS("X: y\r\n z\r\n"), "!400 folded"),
        ROW(FIELDS("X: y\r\n\tz\r\n"), "!400 folded"),
        ROW("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "!400 folded"),
        ROW(FIELDS(": y\r\n"), "!400 header field without a name"),
        ROW(FIELDS("X\r\n"), "!400 malformed header field name"),
        ROW(FIELDS("X y: z\r\n"), "!400 white space before the colon"),
        ROW(FIELDS("X(y): z\r\n"), "!400 malformed header field name"),
        ROW(FIELDS("X\xe9: z\r\n"), "!400 malformed header field name"),
        ROW(FIELDS("\0X: z\r\n"), "!400 malformed header field name"),
        ROW(FIELDS("X\0: z\r\n"), "!400 malformed header field name"),
        ROW(FIELDS("X: a\0b\r\n"), "!400 control byte"),
        ROW(FIELDS("X: 12345678\x01zzzzzzzz\r\n"), "!400 control byte"),
        ROW(FIELDS("X: 12345678zzzzzzz\x1f\r\n"), "!400 control byte"),
        ROW(FIELDS("X: 12345678zzz\x7fzzzzz\r\n"), "!400 control byte"),
        ROW(FIELDS("X: \xff\x20\x7e\xfe\x80\x21\xa0\x7f\r\n"), "!400 control byte"),
        ROW(FIELDS("X: a\rb\r\n"), "!400 bare carriage return"),
        ROW(FIELDS("X: a\r\r\n"), "!400 bare carriage return"),
        ROW(FIELDS("X: a\nY: b\r\n"), "!400 bare line feed"),
        ROW(FIELDS("X\nY: b\r\n"), "!400 bare line feed"),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\n", "!400 bare line feed"),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\rX", "!400 bare carriage return"),
        ROW("GET / HTTP/1.1\r\n\rX", "!400 bare carriage return"),
    };
    CHECK_ROWS(rows);
}

TEST(http_host)
{
    static const struct row rows[] = {
        ROW(HOST("a"), "GET / 1k."),
        ROW(HOST(" \t a.b-c_d~e:8080 \t "), "GET / 1k."),
        ROW(HOST(" [::ffff:1.2.3.4]:1"), "GET / 1k."),
        ROW(HOST("[::1]"), "GET / 1k."),
        ROW(HOST("a:"), "GET / 1k."),
        ROW("GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", "GET / 1k."),
        ROW("GET / HTTP/1.1\r\n\r\n", "!400 HTTP/1.1 needs a Host"),
        ROW("GET / HTTP/1.1\r\nHosts: a\r\nHos: a\r\nXHost: a\r\n\r\n", "!400 HTTP/1.1 needs"),
        ROW("GET http://a/ HTTP/1.1\r\n\r\n", "!400 HTTP/1.1 needs a Host"),
        ROW("GET / HTTP/1.0\r\n\r\n", "GET / 0."),
        ROW("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / 0."),
        ROW("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "!400 repeated Host"),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nHOST: a\r\n\r\n", "!400 repeated Host"),
        ROW(HOST(""), "GET / 1k."),
        ROW(HOST(" \t"), "GET / 1k."),
        ROW("GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n", "!400 repeated Host"),
        ROW(HOST("a b"), "!400 malformed Host"),
        ROW(HOST("a, b"), "!400 malformed Host"),
        ROW(HOST("a/b"), "!400 malformed Host"),
        ROW(HOST("a@b"), "!400 malformed Host"),
        ROW(HOST("a:b"), "!400 malformed Host"),
        ROW(HOST("a:1:2"), "!400 malformed Host"),
        ROW(HOST(":80"), "!400 malformed Host"),
        ROW(HOST("[::1"), "!400 malformed Host"),
        ROW(HOST("[]"), "!400 malformed Host"),
        ROW(HOST("[::1]x"), "!400 malformed Host"),
        ROW(HOST("\xc3\xa9"), "!400 malformed Host"),
        ROW(HOST("a\0"), "!400 control byte"),
        ROW(HOST("a\nb"), "!400 bare line feed"),
        ROW(HOST("a\rb"), "!400 bare carriage return"),
    };
    CHECK_ROWS(rows);
}

TEST(http_connection)
{
    static const struct row rows[] = {
        ROW(FIELDS("Connection: close\r\n"), "POST /event 1."),
        ROW(FIELDS("connection:CLOSE\r\n"), "POST /event 1."),
        ROW(FIELDS("Connection: keep-alive\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: foo , Close\t\r\n"), "POST /event 1."),
        ROW(FIELDS("Connection: ,,close,\r\n"), "POST /event 1."),
        ROW(FIELDS("Connection: keep-alive\r\nConnection: close\r\n"), "POST /event 1."),
        ROW(FIELDS("Connection: close, keep-alive\r\n"), "POST /event 1."),
        ROW(FIELDS("Connection: upgrade\r\nUpgrade: h2c\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: closed\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: clos\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: xclose\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: close x\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: close;x\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: \"close\"\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection:\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connections: close\r\nConnectio: close\r\n"), "POST /event 1k."),
        ROW(FIELDS("Connection: a\0\r\n"), "!400 control byte"),
        ROW("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET / 0k."),
        ROW("GET / HTTP/1.0\r\nConnection: x,keep-alive , y\r\n\r\n", "GET / 0k."),
        ROW("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET / 0."),
        ROW("GET / HTTP/1.0\r\nConnection: close\r\n\r\n", "GET / 0."),
        ROW("GET / HTTP/1.0\r\nConnection: keep-alives\r\n\r\n", "GET / 0."),
    };
    CHECK_ROWS(rows);
}

TEST(http_expect)
{
    static const struct row rows[] = {
        ROW(FIELDS("Expect: 100-continue\r\nContent-Length: 1\r\n") "x", "POST /event 1kle{x}."),
        ROW(FIELDS("Content-Length: 1\r\nexpect:\t100-CONTINUE \r\n") "x", "POST /event 1kle{x}."),
        ROW(FIELDS("Expect: x, 100-continue\r\nContent-Length: 1\r\n") "x", "POST /event 1kle{x}."),
        ROW(FIELDS("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n",
            "POST /event 1kle."),
        ROW(FIELDS("Expect: 100-continue\r\nContent-Length: 0\r\n"), "POST /event 1kl."),
        ROW(FIELDS("Expect: 100-continue\r\n"), "POST /event 1k."),
        ROW(FIELDS("Expect: 100-continued\r\nContent-Length: 1\r\n") "x", "POST /event 1kl{x}."),
        ROW(FIELDS("Expect: 200-ok\r\nContent-Length: 1\r\n") "x", "POST /event 1kl{x}."),
        ROW(FIELDS("Expt: 100-continue\r\nContent-Length: 1\r\n") "x", "POST /event 1kl{x}."),
        ROW("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
            "POST / 0l{x}."),
    };
    CHECK_ROWS(rows);
}

#define TOKEN_BYTES  "!#$%&'*+-.^_`|~"
#define HOST_BYTES   "!$%&'()*+,-.;=_~"
#define TARGET_BYTES "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

/* Letters and digits anywhere; of the others those that the grammar names, and no more. */
TEST(http_takes_every_byte_where_it_may_stand_and_only_there)
{
    static const struct {
        const char *before, *after, *others;
    } places[] = {
        {"G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", TOKEN_BYTES},
        {"GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTES},
        {"GET /?a", "b HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTES},
        {"GET http://a", "b/ HTTP/1.1\r\nHost: a\r\n\r\n", HOST_BYTES "/?"},
        {"GET / HTTP/1.1\r\nHost: a", "b\r\n\r\n", HOST_BYTES},
        {"GET / HTTP/1.1\r\nHost: [a", "b]\r\n\r\n", HOST_BYTES ":"},
        {"GET / HTTP/1.1\r\nHost: a\r\n", ": b\r\n\r\n", TOKEN_BYTES},
        {"GET / HTTP/1.1\r\nHost: a\r\nX", ": b\r\n\r\n", TOKEN_BYTES ":"}, /* ends the name */
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            const char text[] = {(char)byte, '\0'};
            const bool other = byte != 0 && strchr(places[i].others, (int)byte) != NULL;
            const bool takes = (byte < 0x80 && isalnum((int)byte)) || other;
            transcript_begin(&whole, NULL);
            transcript_feed(&whole, places[i].before, strlen(places[i].before));
            transcript_feed(&whole, text, 1);
            transcript_feed(&whole, places[i].after, strlen(places[i].after));
            if (whole.failed == takes)
                test_print("byte %u after %s: %s", byte, places[i].before, whole.text);
            CHECK(whole.failed != takes);
        }
    }
}

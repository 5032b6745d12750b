/*
 * The content of a request: where it ends, what of it is refused, and the limits of everything.
 */
#include "app/http/http.h"
#include "tests/unit/http_means.h"

TEST(http_content_length)
{
    static const struct row rows[] = {
        ROW(FIELDS("Content-Length: 5\r\n") "hello", "POST /event 1kl{hello}."),
        ROW(FIELDS("content-LENGTH:\t 5 \t\r\n") "hello", "POST /event 1kl{hello}."),
        ROW(FIELDS("Content-Length: 000000000000000000000005\r\n") "hello",
            "POST /event 1kl{hello}."),
        ROW(FIELDS("Content-Length: 0\r\n"), "POST /event 1kl."),
        ROW(FIELDS("Content-Length: 5\r\n") "hell", "POST /event 1kl{hell}"),
        ROW(FIELDS("Content-Length: 2\r\n") "\r\n" HOST("a"), "POST /event 1kl{\r\n}.GET / 1k."),
        ROW("GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "GET / 0l{x}."),
        ROW(FIELDS(""), "POST /event 1k."),
        ROW(FIELDS("Content-Lengths: x\r\nContent-Lengt: x\r\n"), "POST /event 1k."),
        ROW(FIELDS("Ctntent-Length: x\r\nCottent-Length: x\r\n"), "POST /event 1k."),
        ROW(FIELDS("Conxent-Length: x\r\nTratent-Length: x\r\nExptent-Length: x\r\n"),
            "POST /event 1k."),
        ROW(FIELDS("Content-Length:\r\n"), "!400 empty Content-Length"),
        ROW(FIELDS("Content-Length: \t\r\n"), "!400 empty Content-Length"),
        ROW(FIELDS("Content-Length: +5\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: -5\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: 0x5\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: 5.0\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: 5 5\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: 5, 5\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: 5;x\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: five\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: \xb2\r\n") "hello", "!400 Content-Length is not"),
        ROW(FIELDS("Content-Length: 5\v\r\n") "hello", "!400 control byte"),
        ROW(FIELDS("Content-Length: 5\0\r\n") "hello", "!400 control byte"),
        ROW(FIELDS("Content-Length: 5\r\nContent-Length: 5\r\n") "hello", "!400 repeated"),
        ROW(FIELDS("Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n"), "!400 repeated"),
        ROW(FIELDS("Content-Length: 9223372036854775808\r\n"), "!400 Content-Length is too large"),
        ROW(FIELDS("Content-Length: 18446744073709551621\r\n"), "!400 Content-Length is too"),
        ROW(FIELDS("Content-Length: 9223372036854775807\r\n"), "!413 "),
        ROW(FIELDS("Content-Length: 65537\r\n"), "!413 "),
        ROW("POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", "!400 HTTP/1.1 needs a Host"),
    };
    CHECK_ROWS(rows);
}

TEST(http_transfer_encoding)
{
    static const struct row rows[] = {
        ROW(CHUNKED("5\r\nhello\r\n0\r\n\r\n"), "POST /event 1kl{hello}."),
        ROW(FIELDS("transfer-encoding: \tCHUNKED\t \r\n") "0\r\n\r\n", "POST /event 1kl."),
        ROW(FIELDS("Transfer-Encoding: gzip\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: identity\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: xchunked\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: chunke\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: 'chunked'\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: gzip, chunked\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: gzip;level=1, chunked\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: gzip ; level=1\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), "!501 "),
        ROW(FIELDS("Transfer-Encoding: chunked, gzip\r\n"), "!400 chunked is not the last"),
        ROW(FIELDS("Transfer-Encoding: chunked, chunked\r\n"), "!400 chunked is not the last"),
        ROW(FIELDS("Transfer-Encoding: gzip, chunked, chunked\r\n"), "!400 chunked is not the"),
        ROW(FIELDS("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            "!400 chunked is not the last"),
        ROW(FIELDS("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
            "!400 chunked is not the last"),
        ROW(FIELDS("Transfer-Encoding:\r\n"), "!400 empty element"),
        ROW(FIELDS("Transfer-Encoding: ,chunked\r\n"), "!400 empty element"),
        ROW(FIELDS("Transfer-Encoding: chunked, \r\n"), "!400 empty element"),
        ROW(FIELDS("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"), "!400 empty element"),
        ROW(FIELDS("Transfer-Encoding: chunked foo\r\n"), "!400 malformed Transfer-Encoding"),
        ROW(FIELDS("Transfer-Encoding: ch unked\r\n"), "!400 malformed Transfer-Encoding"),
        ROW(FIELDS("Transfer-Encoding: chunked;x=1\r\n"), "!400 malformed Transfer-Encoding"),
        ROW(FIELDS("Transfer-Encoding: chunked ;x\r\n"), "!400 malformed Transfer-Encoding"),
        ROW(FIELDS("Transfer-Encoding: ;chunked\r\n"), "!400 malformed Transfer-Encoding"),
        ROW(FIELDS("Transfer-Encoding: \"chunked\"\r\n"), "!400 malformed Transfer-Encoding"),
        ROW(FIELDS("Transfer-Encoding: chunked\"\r\n"), "!400 malformed Transfer-Encoding"),
        ROW(FIELDS("Transfer-Encoding: chunked\v\r\n"), "!400 control byte"),
        ROW(FIELDS("Transfer-Encoding: chunked\0\r\n"), "!400 control byte"),
        ROW(FIELDS("Transfer-Encoding : chunked\r\n"), "!400 white space before the colon"),
        ROW(FIELDS("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), "!400 both"),
        ROW(FIELDS("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), "!400 both"),
        ROW(FIELDS("Content-Length: 5\r\nTransfer-Encoding: gzip\r\n"), "!400 both"),
        ROW(FIELDS("Content-Length: 65537\r\nTransfer-Encoding: chunked\r\n"), "!400 both"),
        ROW("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "!400 Transfer-Encoding in"),
        ROW("POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n", "!400 Transfer-Encoding in"),
        ROW("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "!400 HTTP/1.1 needs a Host"),
        ROW(FIELDS("Transfer-Encodings: x\r\nTransfer-Encodin: x\r\nTE: x\r\n"), "POST /event 1k."),
    };
    CHECK_ROWS(rows);
}

TEST(http_content_encoding)
{
    static const struct row rows[] = {
        ROW(FIELDS("Content-Encoding: identity\r\n"), "POST /event 1k."),
        ROW(FIELDS("content-ENCODING:\tIdentity\t \r\n"), "POST /event 1k."),
        ROW(FIELDS("Content-Encoding: ,identity, ,identity\r\n"), "POST /event 1k."),
        ROW(FIELDS("Content-Encoding:\r\nContent-Encoding: ,\r\n"), "POST /event 1k."),
        ROW(FIELDS("Content-Encoding: gzip\r\nContent-Length: 2\r\n") "{}",
            "POST /event 1klc{{}}."),
        ROW(FIELDS("CONTENT-encoding:gzip\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: identity, br\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: br,identity\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: gzip\r\nContent-Encoding: identity\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: identit\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: identityy\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: identity;q=1\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: identity gzip\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: \"identity\"\r\n"), "POST /event 1kc."),
        ROW(FIELDS("Content-Encoding: gzip\0\r\n"), "!400 control byte"),
        ROW(FIELDS("Content-Encoding : gzip\r\n"), "!400 white space before the colon"),
        ROW("POST / HTTP/1.0\r\nContent-Encoding: x\r\n\r\n", "POST / 0c."),
        ROW(FIELDS("Content-Encodin: x\r\nContent-Encodings: x\r\nContent-Engoding: x\r\n"),
            "POST /event 1k."),
        ROW(FIELDS("Connection-Encoding: x\r\nCon-encoding: x\r\nExpeent-Encoding: x\r\n"),
            "POST /event 1k."),
        ROW(FIELDS("Accept-Encoding: gzip\r\nX-Content-Encoding: gzip\r\n"), "POST /event 1k."),
        ROW(CHUNKED("0\r\nContent-Encoding: gzip\r\n\r\n" HOST("a")), "POST /event 1kl.GET / 1k."),
        ROW(FIELDS("Content-Encoding: gzip\r\n") HOST("a"), "POST /event 1kc.GET / 1k."),
    };
    CHECK_ROWS(rows);
}

TEST(http_chunks)
{
    static const struct row rows[] = {
        ROW(CHUNKED("0\r\n\r\n" HOST("a")), "POST /event 1kl.GET / 1k."),
        ROW(CHUNKED("2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n"), "POST /event 1kl{hello}."),
        ROW(CHUNKED("A\r\n0123456789\r\n0b\r\nabcdefghijk\r\n0\r\n\r\n"),
            "POST /event 1kl{0123456789abcdefghijk}."),
        ROW(CHUNKED("0000000000000001\r\nx\r\n0\r\n\r\n"), "POST /event 1kl{x}."),
        ROW(CHUNKED("00000000000000001\r\nx\r\n0\r\n\r\n"),
            "POST /event 1kl!400 chunk size longer than"),
        ROW(CHUNKED("10001\r\n"), "POST /event 1kl!413 "),
        ROW(CHUNKED("FFFFFFFFFFFFFFFFFFFF\r\n"), "POST /event 1kl!413 "),
        ROW(CHUNKED("\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED(";a\r\n\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED("5\r\nhello\r\n\r\n"), "POST /event 1kl{hello}!400 malformed chunk size"),
        ROW(CHUNKED("g\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED("0x5\r\nhello\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED("-5\r\nhello\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED("+5\r\nhello\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED(" 5\r\nhello\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED("5 \r\nhello\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED("5_0\r\nhello\r\n"), "POST /event 1kl!400 malformed chunk size"),
        ROW(CHUNKED("5\nhello\r\n0\r\n\r\n"), "POST /event 1kl!400 bare line feed"),
        ROW(CHUNKED("5\rhello\r\n0\r\n\r\n"), "POST /event 1kl!400 bare carriage return"),
        ROW(CHUNKED("5\r\nhello\n0\r\n\r\n"), "POST /event 1kl{hello}!400 bare line feed"),
        ROW(CHUNKED("5\r\nhello\r0\r\n\r\n"), "POST /event 1kl{hello}!400 bare carriage return"),
        ROW(CHUNKED("5\r\nhello0\r\n\r\n"), "POST /event 1kl{hello}!400 chunk longer than"),
        ROW(CHUNKED("5\r\nhell\r\n0\r\n\r\n"), "POST /event 1kl{hell\r}!400 bare line feed"),
        ROW(CHUNKED("5\r\nhello\r\n0\r\n"), "POST /event 1kl{hello}"),
        ROW(CHUNKED("1;a\r\nx\r\n1;b=c;d=\"\\\"e;\"\t\r\ny\r\n0 ; f\r\n\r\n"),
            "POST /event 1kl{xy}."),
        ROW(CHUNKED("1;\r\nx\r\n0\r\n\r\n"), "POST /event 1kl!400 malformed chunk extension"),
        ROW(CHUNKED("1;=x\r\nx\r\n0\r\n\r\n"), "POST /event 1kl!400 malformed chunk extension"),
        ROW(CHUNKED("1;a\nx\r\n0\r\n\r\n"), "POST /event 1kl!400 bare line feed"),
        ROW(CHUNKED("1;a\rx\r\n0\r\n\r\n"), "POST /event 1kl!400 bare carriage return"),
        ROW(CHUNKED("1;a\0\r\nx\r\n0\r\n\r\n"),
            "POST /event 1kl!400 control byte in a chunk extension"),
        ROW(CHUNKED("1;a=\"\r\n\"\r\nx\r\n"), "POST /event 1kl{\"}!400 malformed chunk size"),
        ROW(CHUNKED("0\r\nX: y\r\nContent-Length: x\r\nHost: b c\r\nTransfer-Encoding:\r\n\r\n"),
            "POST /event 1kl."),
        ROW(CHUNKED("0\r\nConnection: close\r\n\r\n" HOST("a")), "POST /event 1kl.GET / 1k."),
        ROW(CHUNKED("0\r\nX : y\r\n\r\n"), "POST /event 1kl!400 white space before the colon"),
        ROW(CHUNKED("0\r\n X: y\r\n\r\n"), "POST /event 1kl!400 folded"),
        ROW(CHUNKED("0\r\nX: y\0\r\n\r\n"), "POST /event 1kl!400 control byte"),
        ROW(CHUNKED("0\r\nX: y\n\r\n"), "POST /event 1kl!400 bare line feed"),
        ROW(CHUNKED("0\r\nX\r\n\r\n"), "POST /event 1kl!400 malformed header field name"),
        ROW(CHUNKED("0\r\n\n"), "POST /event 1kl!400 bare line feed"),
        ROW(CHUNKED("0\r\n\rx"), "POST /event 1kl!400 bare carriage return"),
    };
    CHECK_ROWS(rows);
}

TEST(http_pipelined_requests_keep_their_order)
{
    static const struct row rows[] = {
        ROW(HOST("a") "HEAD /stats HTTP/1.1\r\nHost: a\r\n\r\n" CHUNKED(
                "1\r\nx\r\n0\r\nT: u\r\n\r\n")
                FIELDS("Content-Length: 3\r\n") "GET" FIELDS("Connection: close\r\n"),
            "GET / 1k.HEAD /stats 1k.POST /event 1kl{x}.POST /event 1kl{GET}.POST /event 1."),
        ROW("GET /a HTTP/1.0\r\n\r\nGET /bc?d HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * "
            "HTTP/1.0\r\n\r\n",
            "GET /a 0.GET /bc 1k.OPTIONS * 0."),
        ROW(FIELDS("Content-Length: 1\r\n") "xx" HOST("a"), "POST /event 1kl{x}.OTHER / 1k."),
    };
    CHECK_ROWS(rows);
}

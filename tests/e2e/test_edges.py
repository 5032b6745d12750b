"""The protocol's edges: what is refused, with which status, and what becomes of the connection.

After each refused request /stats is what it was before.
"""

from harness import expect, expect_error
from wire import EVENT, Client, event, get, request

POST = b"POST /event HTTP/1.1\r\nHost: t\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(EVENT)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT)


def post(fields, body=EVENT):
    return POST + fields + b"\r\n" + body


def padded(total):
    """A valid GET whose head is `total` bytes long."""
    frame = b"GET /health HTTP/1.1\r\nHost: t\r\n%s\r\n"
    filler = b""
    left = total - len(frame % b"")
    while left > 0:
        take = min(left, 1000)
        if 0 < left - take < 10:
            take -= 10
        filler += b"X: " + b"a" * (take - 5) + b"\r\n"
        left -= take
    return frame % filler


def long_target(total):
    """A valid GET whose request target is `total` bytes long."""
    return request("GET", "/health?" + "q" * (total - 8))


# name, bytes, status; all of them close the connection.
REFUSED = [
    # the request line
    ("request line of one word", b"GET\r\nHost: t\r\n\r\n", 400),
    ("request line of two words", b"GET /stats\r\nHost: t\r\n\r\n", 400),
    ("request line of four words", b"GET /stats x HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("two spaces after the method", b"GET  /stats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("two spaces before the version", b"GET /stats  HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("tab for space", b"GET\t/stats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("leading space", b" GET /stats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("space after the version", b"GET /stats HTTP/1.1 \r\nHost: t\r\n\r\n", 400),
    ("target without slash", b"GET stats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("asterisk with GET", b"GET * HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("control byte in the target", b"GET /st\x01ats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("NUL in the target", b"GET /st\0ats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("byte over 127 in the target", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("method not a token", b"G(T /stats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("method empty", b" /stats HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("lower-case version", b"GET /stats http/1.1\r\nHost: t\r\n\r\n", 400),
    ("version of one number", b"GET /stats HTTP/1\r\nHost: t\r\n\r\n", 400),
    ("version of two digits", b"GET /stats HTTP/1.10\r\nHost: t\r\n\r\n", 400),
    ("version word", b"GET /stats ICY/1.1\r\nHost: t\r\n\r\n", 400),
    ("bare CR in the request line", b"GET /stats\r HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("version 2.0", b"GET /stats HTTP/2.0\r\nHost: t\r\n\r\n", 505),
    ("version 3.1", b"GET /stats HTTP/3.1\r\nHost: t\r\n\r\n", 505),
    ("version 0.9", b"GET /stats HTTP/0.9\r\nHost: t\r\n\r\n", 505),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    # fields
    ("no Host", b"GET /stats HTTP/1.1\r\n\r\n", 400),
    ("no Host, other field", b"GET /stats HTTP/1.1\r\nX: y\r\n\r\n", 400),
    ("two Hosts", b"GET /stats HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("two equal Hosts", b"GET /stats HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400),
    ("two Hosts in 1.0", b"GET /stats HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("Host that is none", b"GET /stats HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("Host with a path", b"GET /stats HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("space before a colon", b"GET /stats HTTP/1.1\r\nHost : t\r\n\r\n", 400),
    ("tab before a colon", b"GET /stats HTTP/1.1\r\nHost\t: t\r\n\r\n", 400),
    ("space before the colon of a field unknown",
     b"GET / HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n", 400),
    ("field without colon", b"GET /stats HTTP/1.1\r\nHost: t\r\nfoo\r\n\r\n", 400),
    ("field without name", b"GET /stats HTTP/1.1\r\nHost: t\r\n: x\r\n\r\n", 400),
    ("field name not a token", b"GET /stats HTTP/1.1\r\nHost: t\r\nX(y): z\r\n\r\n", 400),
    ("field name with a byte over 127", b"GET / HTTP/1.1\r\nHost: t\r\nX\xe9: z\r\n\r\n", 400),
    ("obs-fold with space", b"GET /stats HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n", 400),
    ("obs-fold with tab", b"GET /stats HTTP/1.1\r\nHost: t\r\nX: a\r\n\tb\r\n\r\n", 400),
    ("space before the first field", b"GET /stats HTTP/1.1\r\n Host: t\r\n\r\n", 400),
    ("NUL in a value", b"GET /stats HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n", 400),
    ("bare CR in a value", b"GET /stats HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n", 400),
    ("control byte in a value", b"GET /stats HTTP/1.1\r\nHost: t\r\nX: a\x0bb\r\n\r\n", 400),
    ("DEL in a value", b"GET /stats HTTP/1.1\r\nHost: t\r\nX: a\x7fb\r\n\r\n", 400),
    ("CR alone at the end of the head", b"GET /stats HTTP/1.1\r\nHost: t\r\n\rx\r\n\r\n", 400),
    # the body's length
    ("Content-Length of letters", post(b"Content-Length: abc\r\n"), 400),
    ("Content-Length empty", post(b"Content-Length:\r\n"), 400),
    ("Content-Length blank", post(b"Content-Length:   \r\n"), 400),
    ("Content-Length with plus", post(b"Content-Length: +24\r\n"), 400),
    ("Content-Length negative", post(b"Content-Length: -1\r\n"), 400),
    ("Content-Length hexadecimal", post(b"Content-Length: 0x18\r\n"), 400),
    ("Content-Length with a fraction", post(b"Content-Length: 24.0\r\n"), 400),
    ("Content-Length with a blank in it", post(b"Content-Length: 2 4\r\n"), 400),
    ("Content-Length a list", post(b"Content-Length: 24, 24\r\n"), 400),
    ("Content-Length with a comma", post(b"Content-Length: 24,\r\n"), 400),
    ("Content-Length repeated", post(LENGTH + LENGTH), 400),
    ("Content-Length repeated, differing", post(LENGTH + b"Content-Length: 3\r\n"), 400),
    ("Content-Length 2^63", post(b"Content-Length: 9223372036854775808\r\n"), 400),
    ("Content-Length 2^64", post(b"Content-Length: 18446744073709551616\r\n"), 400),
    ("Content-Length 2^64 + 24", post(b"Content-Length: 18446744073709551640\r\n"), 400),
    ("Content-Length of 30 digits", post(b"Content-Length: " + b"9" * 30 + b"\r\n"), 400),
    ("Content-Length 2^63 - 1", post(b"Content-Length: 9223372036854775807\r\n"), 413),
    ("Content-Length 65537", post(b"Content-Length: 65537\r\n"), 413),
    ("Content-Length and chunked", post(LENGTH + CHUNKED), 400),
    ("chunked and Content-Length", post(CHUNKED + LENGTH), 400),
    ("Content-Length 0 and chunked", post(b"Content-Length: 0\r\n" + CHUNKED, CHUNKS), 400),
    ("Content-Length with space before the colon", post(b"Content-Length : 24\r\n"), 400),
    # transfer codings
    ("gzip", post(b"Transfer-Encoding: gzip\r\n"), 501),
    ("identity", post(b"Transfer-Encoding: identity\r\n"), 501),
    ("gzip before chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS), 501),
    ("gzip before chunked in two fields",
     post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", CHUNKS), 501),
    ("xchunked", post(b"Transfer-Encoding: xchunked\r\n", CHUNKS), 501),
    ("chunked in 1.0",
     b"POST /event HTTP/1.0\r\nHost: t\r\n" + CHUNKED + b"\r\n" + CHUNKS, 400),
    # limits
    ("head of 8193 bytes", padded(8193), 431),
    ("head of 20000 bytes", padded(20000), 431),
    ("one field of 9000 bytes", request("GET", "/", fields=["X: " + "y" * 9000]), 431),
    ("a head without end", b"GET / HTTP/1.1\r\nHost: t\r\n" + b"A: b\r\n" * 2000, 431),
    ("target of 2049 bytes", long_target(2049), 414),
    ("target of 7000 bytes", long_target(7000), 414),
    ("a target without end", b"GET /" + b"a" * 10000, 414),
    ("body of 65537 bytes", request("POST", "/event", b" " * 65537), 413),
    ("body of 65537 bytes on an unknown path", request("POST", "/nothing", b" " * 65537), 413),
]

# name, bytes, status; the connection goes on.
ANSWERED = [
    ("head of 8192 bytes", padded(8192), 200),
    ("target of 2048 bytes", long_target(2048), 200),
    ("POST without a length", POST + b"\r\n", 400),
    ("POST with Content-Length 0", post(b"Content-Length: 0\r\n", b""), 400),
    ("empty line before a request", b"\r\n" + get("/health"), 200),
    ("blanks around a value", b"GET /health HTTP/1.1\r\nHost: \t t \t\r\n\r\n", 200),
    ("no blank after the colon", b"GET /health HTTP/1.1\r\nHost:t\r\n\r\n", 200),
    ("names in any case", b"GET /health HTTP/1.1\r\nhOsT: t\r\n\r\n", 200),
    ("an empty value", b"GET /health HTTP/1.1\r\nHost: t\r\nX:\r\n\r\n", 200),
    ("bytes over 127 in a value", b"GET /health HTTP/1.1\r\nHost: t\r\nX: \xe9\xff\r\n\r\n", 200),
    ("Connection: keep-alive", get("/health", "Connection: keep-alive"), 200),
    ("Connection: Upgrade", get("/health", "Connection: Upgrade", "Upgrade: h2c"), 200),
    ("body with GET", request("GET", "/health", b"0123456789"), 200),
    ("version 1.2", b"GET /health HTTP/1.2\r\nHost: t\r\n\r\n", 200),
    ("Content-Length with leading zeros", request("GET", "/health", None,
                                                  ["Content-Length: 000"]), 200),
    ("HTTP/1.0 with keep-alive",
     b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
    ("body of 65536 blanks", request("POST", "/event", b" " * 65536), 400),
    ("unknown expectation", get("/health", "Expect: something"), 200),
    ("Content-Encoding: gzip", event(EVENT, "Content-Encoding: gzip"), 415),
    ("Content-Encoding: br in chunks", post(b"Content-Encoding: br\r\n" + CHUNKED, CHUNKS), 415),
    ("Content-Encoding: identity, gzip", event(EVENT, "Content-Encoding: identity, gzip"), 415),
    ("Content-Encoding where no event is", request("GET", "/health", b"x",
                                                   ["Content-Encoding: gzip"]), 200),
]

# name, bytes; answered 200, then closed.
CLOSING = [
    ("Connection: close", get("/health", "Connection: close")),
    ("Connection: CLOSE", get("/health", "Connection: CLOSE")),
    ("close in a list", get("/health", "Connection: keep-alive, close")),
    ("close in the second of two fields", get("/health", "Connection: x", "Connection: close")),
    ("HTTP/1.0", b"GET /health HTTP/1.0\r\nHost: t\r\n\r\n"),
    ("HTTP/1.0 without Host", b"GET /health HTTP/1.0\r\n\r\n"),
    ("HTTP/1.0 with close", b"GET /health HTTP/1.0\r\nConnection: close\r\n\r\n"),
]


def check_refused(suite, data, status):
    with Client(suite.shared()) as client:
        client.send(data)
        expect_error(client.response(), status, closes=True)
        client.expect_closed()
    suite.expect_stats()


def check_answered(suite, data, status):
    with Client(suite.shared()) as client:
        answer = client.ask(data)
        expect(answer.status, status, "status")
        expect(answer.field("connection") in (None, "keep-alive"), True, "Connection")
        client.expect_open()
    suite.expect_stats()


def check_closing(suite, data):
    with Client(suite.shared()) as client:
        client.send(data + get("/stats"))  # what follows is not answered
        answer = client.response()
        expect(answer.status, 200, "status")
        expect(answer.field("connection"), "close", "Connection")
        client.expect_closed()
    suite.expect_stats()


def check_nothing_smuggled(suite):
    """What stands behind a refused request is never taken for another."""
    for fields in (LENGTH + CHUNKED, CHUNKED + LENGTH, b"Content-Length: 0\r\n" * 2,
                   b"Transfer-Encoding: chunked, identity\r\n",
                   b"Transfer-Encoding:\x0bchunked\r\n"):
        with Client(suite.shared()) as client:
            client.send(post(fields, CHUNKS + event()))
            answer = client.response()
            expect(answer.status in (400, 501), True, f"{fields} {answer.status}")
            client.expect_closed()
        suite.expect_stats()


def check_largest_body(suite):
    machine = suite.shared()
    with Client(machine) as client:
        expect(client.ask(event(EVENT.ljust(65536))).status, 200)
        machine.model.add("u", 1)
        client.expect_open()
    suite.expect_stats()


def check_expect(suite):
    machine = suite.shared()
    with Client(machine) as client:
        client.send(request("POST", "/event", None,
                            [f"Content-Length: {len(EVENT)}", "Expect: 100-continue"]))
        expect(client.response().status, 100, "interim")
        suite.expect_stats()
        expect(client.ask(EVENT).status, 200)
        machine.model.add("u", 1)
        suite.expect_stats()
        client.send(request("POST", "/event", None,
                            ["Transfer-Encoding: chunked", "Expect: 100-Continue"]))
        expect(client.response().status, 100, "interim")
        expect(client.ask(CHUNKS).status, 200)
        machine.model.add("u", 1)
        # One that sends the body at once may be told to go on, or not.
        client.send(event(EVENT, "Expect: 100-continue"))
        answer = client.response()
        if answer.status == 100:
            answer = client.response()
        expect(answer.status, 200)
        machine.model.add("u", 1)
        client.expect_open()
    suite.expect_stats()


def check_expect_refused(suite):
    """A body that would be refused is not asked for."""
    with Client(suite.shared()) as client:
        client.send(request("POST", "/event", None,
                            ["Content-Length: 70000", "Expect: 100-continue"]))
        expect_error(client.response(), 413, closes=True)
        client.expect_closed()
    with Client(suite.shared()) as client:  # HTTP/1.0 knows no 100 (RFC 9110 10.1.1)
        client.send(b"POST /event HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        client.send(b"{}")
        expect(client.response().status, 400)
    suite.expect_stats()


def check_content_encoding(suite):
    """Content in a coding that is not known is not counted; it is read past, though, and the
    client is told which is. Who asks before sending it need not."""
    machine = suite.shared()
    coded = event(EVENT, "Content-Encoding: gzip")
    with Client(machine) as client:
        for _ in range(3):  # its head is recalled from the second on
            client.send(coded + event() + coded)
            answers = [client.response() for _ in range(3)]
            expect([answer.status for answer in answers], [415, 200, 415])
            expect([answer.field("accept-encoding") for answer in answers],
                   ["identity", None, "identity"], "Accept-Encoding")
            machine.model.add("u", 1)
        expect(client.ask(event(EVENT, "Content-Encoding: identity")).status, 200)
        machine.model.add("u", 1)
        client.send(coded[:-5])
        client.send_pieces([b"", coded[-5:]], 0.05)
        expect_error(client.response(), 415, closes=False)
        client.expect_open()
    with Client(machine) as client:
        client.send(request("POST", "/event", None, [
            f"Content-Length: {len(EVENT)}", "Content-Encoding: gzip", "Expect: 100-continue"]))
        answer = client.response()
        expect_error(answer, 415, closes=True)
        expect(answer.field("accept-encoding"), "identity", "Accept-Encoding")
        client.expect_closed()
    suite.expect_stats()


def check_http10_event(suite):
    machine = suite.shared()
    with Client(machine) as client:
        client.send(b"POST /event HTTP/1.0\r\nConnection: Keep-Alive\r\n" + LENGTH
                    + b"\r\n" + EVENT)
        answer = client.response()
        expect(answer.status, 200)
        expect((answer.field("connection") or "").lower(), "keep-alive", "Connection")
        client.send(b"POST /event HTTP/1.0\r\n" + LENGTH + b"\r\n" + EVENT)
        expect(client.response().status, 200)
        client.expect_closed()
        machine.model.add("u", 1)
        machine.model.add("u", 1)
    suite.expect_stats()


def run(suite):
    suite.each([(f"{status}: {name}", suite, data, status) for name, data, status in REFUSED],
               check_refused)
    suite.each([(name, suite, data, status) for name, data, status in ANSWERED], check_answered)
    suite.each([(name, suite, data) for name, data in CLOSING], check_closing)
    suite.each([("no smuggling", suite)], check_nothing_smuggled)
    suite.each([("body of 65536 bytes", suite)], check_largest_body)
    suite.each([("Expect: 100-continue", suite)], check_expect)
    suite.each([("Expect: 100-continue where it is refused", suite)], check_expect_refused)
    suite.each([("an event in a content coding", suite)], check_content_encoding)
    suite.each([("events in HTTP/1.0", suite)], check_http10_event)

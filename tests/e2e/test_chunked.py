"""Transfer-Encoding: chunked: decoded strictly (RFC 9112, section 7.1)."""

from harness import expect, expect_error
from wire import EVENT, Client, chunked, event, request

HEAD = request("POST", "/event", fields=["Transfer-Encoding: chunked"])
SIZE = b"%x" % len(EVENT)
HALVES = EVENT[:9], EVENT[9:]


# name, bytes; each counts EVENT once.
ACCEPTED = [
    ("one chunk", chunked(EVENT)),
    ("two chunks", chunked(*HALVES)),
    ("a byte a chunk", chunked(*[EVENT[i:i + 1] for i in range(len(EVENT))])),
    ("upper-case coding", HEAD.replace(b"chunked", b"CHUNKED") + SIZE + b"\r\n" + EVENT
     + b"\r\n0\r\n\r\n"),
    ("size in upper case", chunked(EVENT.ljust(0xAB)).replace(b"ab\r\n", b"AB\r\n")),
    ("size with leading zeros", HEAD + b"0000" + SIZE + b"\r\n" + EVENT + b"\r\n000\r\n\r\n"),
    ("extension", chunked((EVENT, b";a"))),
    ("extension with value", chunked((EVENT, b";a=b;c=d"))),
    ("extension quoted", chunked((EVENT, b';a="b c;\\"d"'))),
    ("extension with blanks", chunked((EVENT, b" ; a = b"))),
    ("extension on the last chunk", HEAD + SIZE + b"\r\n" + EVENT + b"\r\n0;end=1\r\n\r\n"),
    ("trailers", chunked(EVENT, trailers=b"X-Sum: 1\r\nY: z\r\n")),
    ("trailers that name the length", chunked(EVENT, trailers=b"Content-Length: 3\r\n")),
    ("a body of 65536 bytes", chunked(EVENT, b" " * (65536 - len(EVENT)))),
    ("a body of 65536 bytes in chunks of 100",
     chunked(EVENT.ljust(36), *[b" " * 100] * 655)),
    ("many extensions", chunked(*[(EVENT[i:i + 1], b";" + b"x" * 50) for i in range(len(EVENT))])),
]

# name, what follows the head, status; the connection is closed.
REFUSED = [
    ("size not hexadecimal", b"xyz\r\n" + EVENT, 400),
    ("size with 0x", b"0x18\r\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    ("size signed", b"+18\r\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    ("size negative", b"-18\r\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    ("size empty", b"\r\n" + EVENT, 400),
    ("size missing before an extension", b";a\r\n" + EVENT, 400),
    ("blank before the size", b" 18\r\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    ("blank after the size", b"18 \r\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    ("LF alone after the size", SIZE + b"\n" + EVENT + b"\r\n0\r\n\r\n", 400),
    ("CR alone after the size", SIZE + b"\rx" + EVENT + b"\r\n0\r\n\r\n", 400),
    ("LF alone after the data", SIZE + b"\r\n" + EVENT + b"\n0\r\n\r\n", 400),
    ("data longer than the size", SIZE + b"\r\n" + EVENT + b"x\r\n0\r\n\r\n", 400),
    ("data shorter than the size", b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT) + 1, EVENT), 400),
    ("LF alone after the last chunk", SIZE + b"\r\n" + EVENT + b"\r\n0\n\r\n", 400),
    ("NUL in an extension", SIZE + b";a\0\r\n" + EVENT, 400),
    ("bare CR in an extension", SIZE + b";a\rb\r\n" + EVENT, 400),
    ("bare LF in an extension", SIZE + b";a\nb\r\n" + EVENT, 400),
    ("trailer without colon", SIZE + b"\r\n" + EVENT + b"\r\n0\r\nfoo\r\n\r\n", 400),
    ("trailer folded", SIZE + b"\r\n" + EVENT + b"\r\n0\r\nX: a\r\n b\r\n\r\n", 400),
    ("trailer with blank before the colon",
     SIZE + b"\r\n" + EVENT + b"\r\n0\r\nX : a\r\n\r\n", 400),
    ("NUL in a trailer", SIZE + b"\r\n" + EVENT + b"\r\n0\r\nX: a\0\r\n\r\n", 400),
    ("size of 2^64 + 24", b"10000000000000018\r\n" + EVENT + b"\r\n0\r\n\r\n", (400, 413)),
    ("size of 2^63", b"8000000000000000\r\n" + EVENT, (400, 413)),
    ("size of 65537", b"10001\r\n", 413),
    ("sizes of 65537 together", b"1\r\n{\r\n10000\r\n", 413),
    ("an extension without end", SIZE + b";" + b"x" * 20000, (400, 431)),
    ("trailers without end",
     SIZE + b"\r\n" + EVENT + b"\r\n0\r\n" + b"X: y\r\n" * 4000, (400, 431)),
    ("zeros without end", b"0" * 20000, (400, 431)),
]

# name, bytes, status; the connection goes on and nothing is counted.
ANSWERED = [
    ("no data", chunked(), 400),
    ("not an event", chunked(b"[1]"), 400),
    ("unknown path", chunked(EVENT, target="/nothing"), 404),
    ("GET with chunks", chunked(b"abc", target="/health", method="GET"), 200),
]


def check_accepted(suite, data):
    machine = suite.shared()
    with Client(machine) as client:
        expect(client.ask(data).status, 200, "status")
        machine.model.add("u", 1)
        expect(client.ask(event()).status, 200, "the request after it")
        machine.model.add("u", 1)
    suite.expect_stats()


def check_refused(suite, body, statuses):
    with Client(suite.shared()) as client:
        client.send(HEAD + body)
        answer = client.response()
        if isinstance(statuses, tuple):
            expect(answer.status in statuses, True, f"status {answer.status}")
            statuses = answer.status
        expect_error(answer, statuses, closes=True)
        client.expect_closed()
    suite.expect_stats()


def check_answered(suite, data, status):
    with Client(suite.shared()) as client:
        expect(client.ask(data).status, status, "status")
        client.expect_open()
    suite.expect_stats()


def run(suite):
    suite.each([(name, suite, data) for name, data in ACCEPTED], check_accepted)
    suite.each([(name, suite, body, status) for name, body, status in REFUSED], check_refused)
    suite.each([(name, suite, data, status) for name, data, status in ANSWERED], check_answered)

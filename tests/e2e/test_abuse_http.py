"""Requests meant to be read in two ways, and 10,000 that were broken at random."""

import random

from harness import expect
from hostile import Honest
from wire import EVENT, Client, WireError, chunked, event, get, request

MUTATIONS = 10000
SEED = 20240601
STATUSES = {100, 200, 204, 400, 404, 405, 408, 413, 414, 415, 431, 501, 505, 507}

SMUGGLED = event(b'{"userId":"smuggled","value":666}')
POST = b"POST /event HTTP/1.1\r\nHost: t\r\n"


def length(value):
    return b"Content-Length: " + value + b"\r\n"


def two_ways(fields, body):
    return POST + fields + b"\r\n" + body + SMUGGLED


CHUNKED = b"Transfer-Encoding: chunked\r\n"
TE = b"Transfer-Encoding: "

# Where one server sees one request and another two. All refused; nothing behind is read.
SMUGGLING = [
    ("CL.TE", two_ways(length(b"5") + CHUNKED, b"0\r\n\r\n")),
    ("TE.CL", two_ways(CHUNKED + length(b"4"), b"0\r\n\r\n")),
    ("TE.TE", two_ways(CHUNKED + TE + b"x\r\n", b"0\r\n\r\n")),
    ("TE.TE, the other first", two_ways(TE + b"x\r\n" + CHUNKED, b"0\r\n\r\n")),
    ("chunked twice", two_ways(TE + b"chunked, chunked\r\n", b"0\r\n\r\n")),
    ("chunked not last", two_ways(TE + b"chunked, identity\r\n", b"0\r\n\r\n")),
    ("TE with a vertical tab", two_ways(TE + b"\x0bchunked\r\n" + length(b"5"), b"0\r\n\r\n")),
    ("TE with a quoted coding", two_ways(TE + b'"chunked"\r\n' + length(b"5"), b"0\r\n\r\n")),
    ("TE with a space before the colon",
     two_ways(b"Transfer-Encoding : chunked\r\n" + length(b"5"), b"0\r\n\r\n")),
    ("TE folded", two_ways(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n")),
    ("TE with NUL", two_ways(b"Transfer-Encoding: chunked\0\r\n", b"0\r\n\r\n")),
    ("TE after a bare LF", two_ways(b"X: y\nTransfer-Encoding: chunked\r\n" + length(b"5") +
                                    length(b"0"), b"0\r\n\r\n")),
    ("TE after a bare CR", two_ways(b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    ("two lengths", two_ways(length(b"0") + length(b"5"), b"0\r\n\r\n")),
    ("two lengths in one", two_ways(length(b"0, 5"), b"0\r\n\r\n")),
    ("a signed length", two_ways(length(b"+0"), b"")),
    ("a length with an underscore", two_ways(length(b"1_0"), b"")),
    ("a length in hexadecimal", two_ways(length(b"0x0"), b"")),
    ("a length folded", two_ways(b"Content-Length:\r\n 0\r\n", b"")),
    ("a chunk size signed", two_ways(CHUNKED, b"+0\r\n\r\n")),
    ("a chunk size with 0x", two_ways(CHUNKED, b"0x0\r\n\r\n")),
    ("a chunk size of 17 digits", two_ways(CHUNKED, b"10000000000000000\r\n\r\n")),
    ("a chunk size with a space before", two_ways(CHUNKED, b" 0\r\n\r\n")),
    ("a chunk size that is empty", two_ways(CHUNKED, b"\r\n\r\n")),
    ("a chunk with LF alone", two_ways(CHUNKED, b"0\n\n")),
    ("a chunk that does not end", two_ways(CHUNKED, b"1\r\n{0\r\n\r\n")),
    ("an extension with a bare CR", two_ways(CHUNKED, b"0;a\rb\r\n\r\n")),
    ("an extension with a bare LF", two_ways(CHUNKED, b"5;\nabc\r\n0\r\n\r\n")),
]


def answers_of(client):
    """All that come until the server closes: statuses, in order, each whole."""
    answers = []
    while True:
        if not client.buffer:
            try:
                client.buffer = client.sock.recv(65536)
            except ConnectionResetError:
                raise WireError("reset by the server") from None
            if not client.buffer:
                return answers
        if answers and answers[-1].field("connection") == "close":
            raise WireError(f"more after the last answer: {client.buffer[:200]!r}")
        answers.append(client.response())


def check_smuggling(suite, data):
    machine = suite.shared()
    with Honest(machine) as honest:
        with Client(machine) as client:
            client.send(data)
            client.finish_sending()
            answers = answers_of(client)
        expect([answer.status in (400, 413, 501) for answer in answers], [True], f"{answers}")
        expect(answers[0].field("connection"), "close")
        honest.progress(3)
    suite.expect_stats(machine)


# ---- mutations

VALID = [
    event(), event(b'{"value":-1.5e3,"userId":"\\u00e9\\ud83d\\ude00"}'),
    event(b'{"a":[1,{"b":null}],"userId":"x","value":0.1}', "Connection: close"),
    chunked(EVENT[:5], EVENT[5:]), chunked((EVENT, b";a=b"), trailers=b"X: y\r\n"),
    event() + event(), event() + get("/health") + event(),
    request("POST", "/event", EVENT, version="HTTP/1.0"),
    request("POST", "/event", EVENT, ["Expect: 100-continue", "X-Long: " + "x" * 200]),
    get("/stats"), request("PUT", "/metrics", b"x"), request("OPTIONS", "/event"),
]
TOKENS = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"chunked",
          b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"{", b"}",
          b"Content-Encoding: br\r\n",
          b'"', b"\\u0000", b"\xff", b"\xc3\xa9", b"1e999", b"-", b"9" * 30, b"HTTP/1.1",
          b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"]


def mutate(chance):
    data = bytearray(chance.choice(VALID))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 5, 20)))
        kind = chance.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = chance.randrange(256)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4:
            data[at:at] = chance.choice(TOKENS)
        elif kind == 5:
            other = chance.choice(VALID)
            data[at:] = other[chance.randrange(len(other)):]
        elif kind == 6:
            data = data[:max(at, 1)]
    return bytes(data)


def ask_mutated(machine, data):
    """Sends it, and the end of all sending; returns how many events were answered with 200."""
    with Client(machine) as client:
        client.send(data)
        try:
            client.finish_sending()
        except OSError:
            pass  # closed already
        answers = answers_of(client)
    expect({answer.status for answer in answers} <= STATUSES, True, f"{data!r}: {answers}")
    return sum(answer.status == 200 and answer.body == b"" for answer in answers)


def check_mutations(suite):
    """Every answer is one that may be; /stats agrees with the number of 200s."""
    chance = random.Random(SEED)
    with suite.boot() as machine:
        accepted = 0
        for i in range(MUTATIONS):
            data = mutate(chance)
            try:
                accepted += ask_mutated(machine, data)
            except (AssertionError, OSError) as error:
                raise AssertionError(f"mutation {i}, {data!r}: {error}") from None
        expect(accepted > MUTATIONS // 20, True, f"{accepted} accepted")
        with Client(machine) as client:
            stats = client.ask(get("/stats")).body
        expect(stats.startswith(b'{"totalRequests":%d,' % accepted), True,
               f"{stats!r} after {accepted} answers of 200")


def run(suite):
    suite.each([(f"smuggling: {name}", suite, data) for name, data in SMUGGLING], check_smuggling)
    suite.each([(f"{MUTATIONS:,} mutations", suite)], check_mutations)

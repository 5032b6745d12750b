"""Requests cut anywhere mean the same: at every byte into two segments, byte by byte, at random.

Connections go side by side, so that the pauses between the segments of one are the time of others.
"""

import random
import re
import time

from harness import expect
from wire import EVENT, Client, chunked, event, get, request

PAUSE = 0.003

# Every kind of request that leaves the connection open, and what its answer is.
TRAIN = [
    (event(b'{"userId":"split","value":0.5}', "Content-Type: application/json"), "POST", 200),
    (chunked((b'{"userId":"\\ud83d', b";a=b"), b'\\ude00","val', (b'ue":-2.5e-1}', b';q="x\\"y"'),
             trailers=b"X-Trailer: yes\r\nY:\r\n"), "POST", 200),
    (get("/stats?x=1", "Accept: */*"), "GET", 200),
    (b"\r\n" + event(b'{"userId":"\xc3\xa9","value":1.25e+1}'), "POST", 200),
    (event(b'{"userId":"split","value":}'), "POST", 400),
    (request("HEAD", "/health"), "HEAD", 200),
    (request("OPTIONS", "/event"), "OPTIONS", 204),
    (request("POST", "/nothing", b"0123456789"), "POST", 404),
    (b"POST /event HTTP/1.0\r\nConnection: keep-alive\r\ncontent-length:%d\r\n\r\n%s"
     % (len(EVENT), EVENT), "POST", 200),
]
COUNTED = [("split", 0.5), ("😀", -0.25), ("é", 12.5), ("u", 1)]
STREAM = b"".join(data for data, _, _ in TRAIN)

# What is refused and closed: the answer is the same wherever it is cut. What follows is not read.
BROKEN = [
    (b"POST /event HTTP/1.1\r\nHost: t\r\nContent-Length : 2\r\n\r\n{}", 400),
    (b"POST /event HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"GET /stats HTTP/3.0\r\nHost: t\r\n\r\n", 505),
    (b"GET /stats HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n", 400),
    (b"POST /event HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\n", 400),
    (b"POST /event HTTP/1.1\r\nHost: t\r\nContent-Length: 65537\r\n\r\n", 413),
]

SIDE_BY_SIDE = 64


def read_train(client):
    seen = []
    for _, method, status in TRAIN:
        answer = client.response(method)
        expect(answer.status, status, f"answer {len(seen) + 1}")
        # /stats depends on what else is under way: its shape is enough here.
        seen.append(re.sub(rb"[-0-9.e+]+", b"N", answer.body))
    return seen


def send_side_by_side(machine, pieces_of_each):
    """One connection for each list of pieces; returns them when all is sent."""
    clients = [Client(machine) for _ in pieces_of_each]
    for step in range(max(len(pieces) for pieces in pieces_of_each)):
        if step:
            time.sleep(PAUSE)
        for client, pieces in zip(clients, pieces_of_each):
            if step < len(pieces) and pieces[step]:
                client.send(pieces[step])
    return clients


def count(machine, times):
    for _ in range(times):
        for name, value in COUNTED:
            machine.model.add(name, value)


def check_cuts(suite, lists_of_pieces):
    machine = suite.shared()
    with Client(machine) as client:
        client.send(STREAM)
        whole = read_train(client)
    count(machine, 1)
    for at in range(0, len(lists_of_pieces), SIDE_BY_SIDE):
        group = lists_of_pieces[at:at + SIDE_BY_SIDE]
        clients = send_side_by_side(machine, group)
        for client, pieces in zip(clients, group):
            where = f"cut into {[len(piece) for piece in pieces][:8]}"
            try:
                expect(read_train(client), whole, where)
                client.expect_open()
            except AssertionError as error:
                raise AssertionError(f"{where}: {error}") from error
            client.close()
        count(machine, len(group))
        suite.expect_stats()


def check_broken_cuts(suite, data, status):
    machine = suite.shared()
    lists = [[data[:i], data[i:]] for i in range(1, len(data))]
    lists.append([data[i:i + 1] for i in range(len(data))])
    for client in send_side_by_side(machine, lists):
        expect(client.response().status, status, "status")
        client.expect_closed()
        client.close()
    suite.expect_stats()


def cut_at(offsets):
    edges = [0, *sorted(offsets), len(STREAM)]
    return [STREAM[a:b] for a, b in zip(edges, edges[1:])]


def run(suite):
    rng = random.Random(5)
    every = [cut_at([i]) for i in range(1, len(STREAM))]
    suite.each([
        (f"at each of {len(every)} places", suite, every),
        ("a byte at a time", suite, [cut_at(range(1, len(STREAM)))]),
        ("two bytes at a time", suite, [cut_at(range(1, len(STREAM), 2)),
                                        cut_at(range(2, len(STREAM), 2))]),
        ("at random places", suite,
         [cut_at(rng.sample(range(1, len(STREAM)), rng.randrange(2, 12))) for _ in range(128)]),
    ], check_cuts)
    suite.each([(f"broken, {status}, at each of {len(data)} places", suite, data, status)
                for data, status in BROKEN], check_broken_cuts)

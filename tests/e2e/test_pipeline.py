"""Pipelined requests: answered in order, each once, also when nobody reads for a while."""

import random
import threading

from harness import expect
from wire import Client, chunked, event, get, request

# bytes, method, status, what the body begins with
KINDS = [
    (event(b'{"userId":"p","value":1}'), "POST", 200, b""),
    (event(b'{"userId":"p","value":1}'), "POST", 200, b""),
    (event(b'{"userId": "p", "value": 1}', "Accept: */*"), "POST", 200, b""),
    (chunked(b'{"userId":"p","value":1}'), "POST", 200, b""),
    (event(b'{"userId":"p","value":"1"}'), "POST", 400, b'{"error":'),
    (get("/health"), "GET", 200, b'{"status":"healthy"}'),
    (get("/stats"), "GET", 200, b'{"totalRequests":'),
    (request("HEAD", "/stats"), "HEAD", 200, b""),
    (request("OPTIONS", "/stats"), "OPTIONS", 204, b""),
    (get("/nothing"), "GET", 404, b'{"error":'),
    (request("PUT", "/event", b"x"), "PUT", 405, b'{"error":'),
    (get("/"), "GET", 200, b"<!"),
]
COUNTED = range(4)


def send_train(machine, client, kinds):
    client.send(b"".join(KINDS[kind][0] for kind in kinds))
    for i, kind in enumerate(kinds):
        _, method, status, begin = KINDS[kind]
        if kind in COUNTED:
            machine.model.add("p", 1)
        answer = client.response(method)
        expect(answer.status, status, f"answer {i + 1} of {len(kinds)}")
        expect(answer.body[:len(begin)], begin, f"answer {i + 1} of {len(kinds)}")
        if method == "GET" and kind == 6:  # in order: it counts those before it and no other
            expect(answer.body.decode(), machine.model.text(), f"answer {i + 1} of {len(kinds)}")


def check_trains(suite, lengths):
    machine = suite.shared()
    rng = random.Random(6)
    with Client(machine) as client:
        for length in lengths:
            send_train(machine, client, [rng.randrange(len(KINDS)) for _ in range(length)])
            client.expect_open()  # and no answer too many
    suite.expect_stats()


def check_equal(suite, count):
    machine = suite.shared()
    with Client(machine) as client:
        send_train(machine, client, [0] * count)
        client.expect_open()
    suite.expect_stats()


def check_error_ends_it(suite):
    """What stands before the broken request is answered and counted, what follows is neither."""
    machine = suite.shared()
    good = KINDS[0][0]
    for before in (0, 1, 2, 15, 40):
        with Client(machine) as client:
            client.send(good * before + b"POST /event HTTP/1.1\r\nHost : t\r\n\r\n" + good * 3)
            for _ in range(before):
                expect(client.response().status, 200)
                machine.model.add("p", 1)
            expect(client.response().status, 400)
            client.expect_closed()
        suite.expect_stats()


def check_close_ends_it(suite):
    machine = suite.shared()
    good = KINDS[0][0]
    with Client(machine) as client:
        client.send(good * 5 + event(b'{"userId":"p","value":1}', "Connection: close") + good * 5)
        for i in range(6):
            answer = client.response()
            expect(answer.status, 200)
            expect(answer.field("connection"), "close" if i == 5 else None, "Connection")
            machine.model.add("p", 1)
        client.expect_closed()
    suite.expect_stats()


def check_backpressure(suite, data, method, status, count):
    """Many requests are sent before the first answer is read: none is lost, the order holds."""
    machine = suite.shared()
    with Client(machine, timeout=30) as client:
        sender = threading.Thread(target=lambda: client.send(data * count))
        sender.start()
        sender.join(0.5)  # by now the windows are full both ways, or all is sent
        for i in range(count):
            expect(client.response(method).status, status, f"answer {i + 1} of {count}")
            if status == 200 and method == "POST":
                machine.model.add("p", 1)
        sender.join()
        client.expect_open()
    suite.expect_stats()


def run(suite):
    suite.each([("1 to 60 mixed requests in one write", suite, range(1, 61)),
                ("100, 150 and 200 mixed requests in one write", suite, (100, 150, 200))],
               check_trains)
    suite.each([(f"{count} equal requests in one write", suite, count)
                for count in (1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 100, 199, 200)], check_equal)
    suite.each([("an error in the midst", suite)], check_error_ends_it)
    suite.each([("Connection: close in the midst", suite)], check_close_ends_it)
    suite.each([("20000 events before the first answer is read", suite, KINDS[0][0], "POST", 200,
                 20000),
                ("500 times /metrics before the first answer is read", suite, get("/metrics"),
                 "GET", 200, 500),
                ("5000 errors before the first is read", suite, KINDS[4][0], "POST", 400, 5000)],
               check_backpressure)

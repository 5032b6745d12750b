"""How connections live and end: half-closed, cut off, refused while the client still sends."""

import select
import socket
import struct
import time

from harness import expect, expect_error
from wire import EVENT, Client, chunked, event, get, request, stats_text

CYCLES = 3000
HEAD = request("POST", "/event", None, [f"Content-Length: {len(EVENT)}"])


def check_half_close(suite):
    """A client that has sent its last request and says so is answered, then the server closes."""
    machine = suite.shared()
    for count in (1, 3, 50):
        with Client(machine) as client:
            client.send(event() * count)
            client.finish_sending()
            for _ in range(count):
                expect(client.response().status, 200)
                machine.model.add("u", 1)
            client.expect_closed()
        suite.expect_stats()


def check_half_close_within(suite):
    """A request that the client leaves unfinished counts nothing."""
    machine = suite.shared()
    whole = chunked(EVENT)
    for part in (b"P", b"POST /event HTTP/1.1\r\n", HEAD, HEAD + EVENT[:-1],
                 whole[:-1], whole[:-2], whole[:-5]):
        with Client(machine) as client:
            client.send(event() + part)
            client.finish_sending()
            expect(client.response().status, 200)
            machine.model.add("u", 1)
            # It may be told what was wrong, or just see the end.
            client.sock.settimeout(5)
            rest = b""
            while data := client.sock.recv(4096):
                rest += data
            expect(rest[:9] in (b"", b"HTTP/1.1 "), True, f"{rest[:80]!r}")
            expect(b" 200 " in rest[:16], False, "an unfinished request was answered 200")
        suite.expect_stats()


def check_cut_off(suite):
    """A reset within a request counts nothing, and others do not notice."""
    machine = suite.shared()
    with Client(machine) as other:
        for part in (b"P", HEAD, HEAD + EVENT[:-1], chunked(EVENT)[:-2]):
            for _ in range(20):
                client = Client(machine)
                client.send(part)
                client.reset()
            other.expect_open()
    suite.expect_stats()


def check_reset_after(suite):
    """A request that arrived whole counts at most once, whatever became of its client."""
    machine = suite.shared()
    before = machine.model.total
    for _ in range(30):
        client = Client(machine)
        client.send(event())
        client.reset()
    with Client(machine) as client:
        time.sleep(0.2)
        total = int(client.ask(get("/stats")).body.split(b":")[1].split(b",")[0])
    expect(before <= total <= before + 30, True, f"{total - before} of 30 counted")
    for _ in range(total - before):
        machine.model.add("u", 1)
    suite.expect_stats()


def check_refused_while_sending(suite):
    """413 with much of the body still to come: the client reads the answer, no reset before it."""
    machine = suite.shared()
    for size in (70000, 1000000, 5000000):
        with Client(machine) as client:
            data = memoryview(request("POST", "/event", b" " * size))
            client.sock.setblocking(False)
            received, closed, deadline = b"", False, time.monotonic() + 10
            while not closed and time.monotonic() < deadline:
                readable, writable, _ = select.select(
                    [client.sock], [client.sock] if data else [], [], 0.2)
                if readable:
                    try:
                        more = client.sock.recv(65536)
                    except ConnectionResetError:
                        break  # permitted once the answer is here: it lingers for a time only
                    received += more
                    closed = not more
                if writable:
                    try:
                        data = data[client.sock.send(data[:65536]):]
                    except (BrokenPipeError, ConnectionResetError):
                        data = data[:0]
            expect(received[:13], b"HTTP/1.1 413 ", f"{size} bytes: the answer")
            expect(received.count(b"HTTP/1.1"), 1, "answers")
            expect(received.endswith(b'"}'), True, "the answer is whole")
    suite.expect_stats()


def check_error_is_delivered(suite):
    """An error's answer arrives whole though the client has sent more than was read of it."""
    machine = suite.shared()
    for _ in range(50):
        with Client(machine) as client:
            client.send(b"BAD\r\n\r\n" + b"x" * 30000)
            expect_error(client.response(), 400, closes=True)
            client.expect_closed()
    suite.expect_stats()


def check_churn(suite):
    """A connection for each request, one after another."""
    machine = suite.shared()
    data = event(EVENT, "Connection: close")
    for _ in range(CYCLES):
        with Client(machine) as client:
            client.send(data)
            expect(client.response().status, 200)
            client.expect_closed()
        machine.model.add("u", 1)
    suite.expect_stats()


def check_churn_client_closes(suite):
    """The same, but it is the client that closes."""
    machine = suite.shared()
    for _ in range(CYCLES // 2):
        with Client(machine) as client:
            expect(client.ask(event()).status, 200)
        machine.model.add("u", 1)
    suite.expect_stats()


def check_nothing_said(suite):
    """Connections that say nothing and go, by FIN or RST: more of them than there are slots."""
    machine = suite.shared()
    for _ in range(3):
        clients = [Client(machine) for _ in range(500)]
        for i, client in enumerate(clients):
            (client.reset if i % 2 else client.close)()
    suite.expect_stats()


def check_many_at_once(suite):
    """1,000 connections, each of which sends a part of its request in turn."""
    machine = suite.shared()
    clients = [Client(machine) for _ in range(1000)]
    data = event()
    for part in (data[:10], data[10:-5], data[-5:]):
        for client in clients:
            client.send(part)
    for client in clients:
        expect(client.response().status, 200)
        machine.model.add("u", 1)
        client.close()
    suite.expect_stats()


def check_pool_of_clients(suite):
    """The challenge's Go tester with 1,000 workers dials up to twice as often at its start (a
    worker takes whichever connection is free first), and sends on all: none may give way."""
    with suite.boot(memory="128M") as machine:
        clients = [Client(machine) for _ in range(2000)]
        for _ in range(3):
            for client in clients:
                client.send(event())
            for client in clients:
                expect(client.response().status, 200)
                machine.model.add("u", 1)
        for client in clients:
            client.close()
        expect(stats_text(machine), machine.model.text())


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return 0xffff - total


def check_ping(suite):
    """ICMP echo, from nothing to nearly a frame."""
    machine = suite.shared()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(5)
        for number, size in enumerate((0, 2, 56, 1000, 1472)):
            data = bytes(i & 255 for i in range(size))
            message = struct.pack("!BBHHH", 8, 0, 0, 7, number) + data
            message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
            sock.sendto(message, (machine.address, 0))
            answer = sock.recv(4096)[20:]
            expect(answer[:2], b"\0\0", f"{size} bytes: type and code")
            expect(checksum(answer), 0, f"{size} bytes: checksum")
            expect(answer[4:], message[4:], f"{size} bytes")


def check_small_window(suite):
    """A client whose receive buffer is small gets large answers whole."""
    machine = suite.shared()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.settimeout(20)
    sock.connect((machine.address, machine.port))
    client = Client.__new__(Client)
    client.sock, client.timeout, client.buffer = sock, 20, b""
    client.send(get("/metrics") * 30)
    for i in range(30):
        if i % 10 == 0:
            time.sleep(0.3)
        expect(client.response().status, 200)
    client.close()


def check_closed_port(suite):
    """A port where nobody listens refuses at once."""
    machine = suite.shared()
    try:
        socket.create_connection((machine.address, machine.port + 1), 5).close()
    except ConnectionRefusedError:
        return
    raise AssertionError("connected")


def run(suite):
    for name, check in (
            ("half-closed after whole requests", check_half_close),
            ("half-closed within a request", check_half_close_within),
            ("reset within a request", check_cut_off),
            ("reset right after a request", check_reset_after),
            ("413 while the body is under way", check_refused_while_sending),
            ("400 while more is under way", check_error_is_delivered),
            (f"{CYCLES} connections, closed by the server", check_churn),
            (f"{CYCLES // 2} connections, closed by the client", check_churn_client_closes),
            ("1500 connections that say nothing", check_nothing_said),
            ("1000 requests in parts, side by side", check_many_at_once),
            ("2,000 connections with default options", check_pool_of_clients),
            ("ICMP echo", check_ping),
            ("a small receive window", check_small_window),
            ("a port where nobody listens", check_closed_port)):
        suite.each([(name, suite)], check)

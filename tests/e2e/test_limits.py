"""What happens at each limit: time, connections, users. On machines whose limits are small."""

import socket
import time

from harness import expect, expect_error
from wire import EVENT, FULL, Client, event, get, request

# Seconds, so far apart that none can be taken for another, however late a loaded host makes it.
HEAD_S, BODY_S, IDLE_S, SLACK_S = 1, 2.5, 4, 1.2
TIMES = "head-timeout=1000ms body-timeout=2500ms linger-timeout=1s send-timeout=2s"
USERS = 50
CONNECTIONS = 32

HEAD = request("POST", "/event", None, [f"Content-Length: {len(EVENT)}"])


def expect_time(began, least, what):
    took = time.monotonic() - began
    if not least - 0.2 <= took <= least + SLACK_S:
        raise AssertionError(f"{what} after {took:.2f} s, expected after {least} s")


def send_slowly(client, data, pause):
    """A byte at a time until the server answers; True if it did before the end."""
    client.sock.settimeout(pause)
    try:
        for i in range(len(data)):
            client.send(data[i:i + 1])
            try:
                client.buffer += client.sock.recv(4096)
                return True
            except socket.timeout:
                pass
    finally:
        client.sock.settimeout(client.timeout)
    return False


def check_timeout(suite, machine, part, pause, seconds):
    """408 in time, however the bytes that come before are spread, then closed."""
    with Client(machine) as client:
        expect(client.ask(event()).status, 200)
        machine.model.add("u", 1)
        if part == EVENT:
            client.send(HEAD)
        began = time.monotonic()
        if pause:
            expect(send_slowly(client, part, pause), True, "answered before the end")
        else:
            client.send(part)
        expect_error(client.response(), 408, closes=True)
        expect_time(began, seconds, "408")
        client.expect_closed()
    suite.expect_stats(machine)


def check_each_deadline_apart(suite, machine):
    """The body's time begins when the head is complete, and is not what the head has left."""
    with Client(machine) as client:
        client.send(HEAD[:20])
        time.sleep(0.7)
        client.send(HEAD[20:] + EVENT[:3])
        time.sleep(2)
        expect(client.ask(EVENT[3:]).status, 200)
        machine.model.add("u", 1)
    suite.expect_stats(machine)


def check_idle(machine, data):
    """Closed when it has been silent for long enough, whether or not a request came before."""
    with Client(machine) as client:
        if data:
            expect(client.ask(data).status, 200)
        began = time.monotonic()
        client.expect_closed(IDLE_S + SLACK_S + 1)
        expect_time(began, IDLE_S, "closed")


def check_not_idle(machine):
    """Each request begins the time anew."""
    with Client(machine) as client:
        for _ in range(5):
            client.expect_open()
            time.sleep(1)
        client.expect_open()


def check_lingering(machine):
    """A client that does not close after an error is let go when linger-timeout is over."""
    with Client(machine) as client:
        client.send(b"BAD\r\n\r\n")
        expect_error(client.response(), 400, closes=True)
        client.expect_closed()
        time.sleep(1 + SLACK_S)
        try:  # nobody is there any more: the first sends provoke a RST
            for _ in range(3):
                client.send(b"x")
                time.sleep(0.2)
        except (BrokenPipeError, ConnectionResetError):
            return
        raise AssertionError("still there")


def check_reader_that_does_not_read(suite, machine):
    """Answers pile up, the window is closed: dropped after send-timeout; others are served."""
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    stuck.settimeout(10)
    stuck.connect((machine.address, machine.port))
    stuck.setblocking(False)
    data = get("/metrics") * 200
    try:
        while True:
            stuck.send(data)
    except BlockingIOError:
        pass
    error, end = 0, time.monotonic() + 30
    with Client(machine) as honest:
        while error == 0 and time.monotonic() < end:
            honest.expect_open()
            time.sleep(0.1)
            error = stuck.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    stuck.close()
    expect(error != 0, True, "the connection was not dropped")


def check_users(suite, machine):
    """The table is full: a new user is refused with 507, those known still count."""
    with Client(machine) as client:
        for i in range(USERS - len(machine.model.users)):
            answer = client.ask(event(b'{"userId":"user_%d","value":1}' % i))
            expect(answer.status, 200, f"user {i}")
            machine.model.add(f"user_{i}", 1)
        suite.expect_stats(machine)
        for body in (b'{"userId":"one more","value":7}', b'{"userId":"\\u0031","value":7}'):
            expect_error(client.ask(event(body)), 507, closes=False)
            suite.expect_stats(machine)
        expect(client.ask(event(b'{"userId":"user_3","value":2.5}')).status, 200, "a known user")
        machine.model.add("user_3", 2.5)
        # In a train: each on its own.
        client.send(event(b'{"userId":"user_1","value":1}') + event(b'{"userId":"new","value":1}')
                    + event(b'{"userId":"user_2","value":1}'))
        expect([client.response().status for _ in range(3)], [200, 507, 200], "a train")
        machine.model.add("user_1", 1)
        machine.model.add("user_2", 1)
        expect(client.ask(get("/health")).body, FULL, "/health")
    suite.expect_stats(machine)


def check_oldest_gives_way(suite, machine):
    """With every slot taken by an idle connection, a new one takes the place of the oldest."""
    suite.forget_watcher()
    clients = []
    for _ in range(CONNECTIONS):
        client = Client(machine)
        client.expect_open()
        clients.append(client)
    clients[0].expect_open()  # no longer the one that is idle for longest: that is the second
    with Client(machine) as late:
        late.expect_open()
        clients[1].expect_closed(2)
        for client in [clients[0], *clients[2:]]:
            client.expect_open()
    for client in clients:
        client.close()


def check_none_idle(suite, machine):
    """Every slot has a request under way: SYNs are not answered, neither yes nor no; when slots
    come free the client's next SYN is."""
    suite.forget_watcher()
    clients = [Client(machine) for _ in range(CONNECTIONS)]
    for client in clients:
        client.send(HEAD)
    time.sleep(0.1)
    late = socket.socket()
    late.settimeout(0.5)
    try:
        late.connect((machine.address, machine.port))
    except socket.timeout:
        pass  # and not ConnectionRefusedError
    else:
        raise AssertionError("a connection beyond the last slot")
    finally:
        late.close()
    began = time.monotonic()
    with Client(machine, timeout=15) as patient:
        patient.expect_open()
        expect(time.monotonic() - began < 10, True, "served soon after")
    for client in clients:
        expect(client.response().status, 408)
        client.close()


def check_many_more_than_slots(suite, machine):
    """Ten times as many clients as slots, each in turn: each is served."""
    suite.forget_watcher()
    clients = []
    for i in range(10 * CONNECTIONS):
        client = Client(machine)
        expect(client.ask(event()).status, 200, f"client {i}")
        machine.model.add("u", 1)
        clients.append(client)
    for client in clients:
        client.close()
    suite.expect_stats(machine)


def warnings(machine, word):
    return [line for line in machine.console() if "] warn  main" in line and word in line]


def check_shortages(suite):
    """However many go without, the console says once that it begins, and once that it is over."""
    with suite.boot(options="max-users=2 max-connections=4") as machine, Client(machine) as client:
        for user, status in ((b"a", 200), (b"b", 200), (b"c", 507), (b"d", 507), (b"a", 200)):
            answer = client.ask(event(b'{"userId":"%s","value":1}' % user))
            expect(answer.status, status, user)
        machine.wait_for("warn .* no room for another user: .* 507, the 2 known .*; max-users= is")
        client.send(event(b'{"userId":"c","value":1}') * 500)
        expect([client.response().status for _ in range(500)], [507] * 500)
        clients = [Client(machine) for _ in range(40)]
        clients[-1].expect_open()
        machine.wait_for("warn .* all 4 connections are in use: .*; max-connections= is reached")
        for each in clients:
            each.close()
        ends = (machine.wait_for(r"warn .* no new user was refused .* (\d+) events", 60),
                machine.wait_for(r"warn .* no connection gave way .* (\d+) times", 60))
        expect(int(ends[0].group(1)), 502, "events refused")
        expect(int(ends[1].group(1)) >= 37, True, ends[1].string)
        expect(len(warnings(machine, "user")), 2, "\n".join(machine.console()))
        expect(len(warnings(machine, "connection")), 2, "\n".join(machine.console()))


def check_said_nothing(machine):
    """A machine on which nothing was short has not said that anything was."""
    expect(warnings(machine, ""), [], "warnings")


def run(suite):
    with suite.boot(options=f"{TIMES} idle-timeout={IDLE_S}s max-users={USERS}") as machine:
        suite.each([
            ("408 within the request line", suite, machine, b"GET /st", 0, HEAD_S),
            ("408 within the fields", suite, machine, HEAD[:-2], 0, HEAD_S),
            ("408 before the body", suite, machine, HEAD, 0, BODY_S),
            ("408 within the body", suite, machine, HEAD + EVENT[:-1], 0, BODY_S),
            ("408 within chunks", suite, machine,
             request("POST", "/event", fields=["Transfer-Encoding: chunked"]) + b"5\r\n{", 0,
             BODY_S),
            ("408 within a head of a byte each 0.2 s", suite, machine, HEAD, 0.2, HEAD_S),
            ("408 within a body of a byte each 0.2 s", suite, machine, EVENT, 0.2, BODY_S),
        ], check_timeout)
        suite.each([("head and body have a deadline each", suite, machine)],
                   check_each_deadline_apart)
        suite.each([("idle from the beginning", machine, b""),
                    ("idle after a request", machine, get("/health")),
                    ("idle after an empty line", machine, get("/health") + b"\r\n")], check_idle)
        suite.each([("a request a second is not idle", machine)], check_not_idle)
        suite.each([("a client that does not close", machine)], check_lingering)
        suite.each([("a client that does not read", suite, machine)],
                   check_reader_that_does_not_read)
        suite.each([("no warning while nothing is short", machine)], check_said_nothing)
        suite.each([("507 for a user too many", suite, machine)], check_users)
        suite.forget_watcher()
    with suite.boot(options=f"{TIMES} max-connections={CONNECTIONS}") as machine:
        suite.each([("the oldest idle connection gives way", suite, machine)],
                   check_oldest_gives_way)
        suite.each([("none idle: SYNs are dropped", suite, machine)], check_none_idle)
        suite.each([("ten times as many clients as slots", suite, machine)],
                   check_many_more_than_slots)
        suite.forget_watcher()
    suite.each([("the console tells of shortages", suite)], check_shortages)

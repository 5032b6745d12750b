"""Users as an attacker would choose them: long, odd, too many, or built to collide."""

import itertools
import json

from harness import expect, expect_error
from hostile import Honest
from wire import Client, event, get

COLLIDING = 20000


def body(user, value=1):
    return event(b'{"userId":%s,"value":%r}' % (user, value))


def raw(text):
    return json.dumps(text, ensure_ascii=False).encode()


def escaped(text):
    """Every UTF-16 unit as an escape."""
    units = text.encode("utf-16-be")
    return b'"%s"' % b"".join(b"\\u%02x%02x" % (units[i], units[i + 1])
                              for i in range(0, len(units), 2))


# Each is one user, however it is written.
SAME = ["a", "user_42", "é", "日本語", "\U0001f600 grin", "a\0b", "\0", "\0\0", "\x1f\x7f", '"\\/',
        "é", "\ufeffx", "￿", "x" * 1024, "é" * 512, "\U0001f600" * 256, "\0" * 1024]


def check_same(suite, machine):
    """Raw and escaped is the same user; what only looks the same is not."""
    with Honest(machine) as honest, Client(machine) as client:
        for name in SAME:
            forms = [escaped(name), escaped(name).upper().replace(b"\\U", b"\\u")]
            if min(name) >= " " and "\x7f" not in name:
                forms.append(raw(name))
            for form in forms:
                expect(client.ask(body(form)).status, 200, f"{form[:80]!r}")
                machine.model.add(name, 1)
        honest.progress(3)
    suite.expect_stats(machine)


def check_too_long(suite, machine):
    with Client(machine) as client:
        for name in ("x" * 1025, "é" * 513, "\U0001f600" * 257, "x" * 60000):
            for form in (raw(name), escaped(name)):
                data = body(form)
                if len(data) < 60000:
                    expect_error(client.ask(data), 400, closes=False)
    suite.expect_stats(machine)


def ask_all(client, bodies, batch=100):
    """The statuses of all, in trains."""
    statuses = []
    bodies = iter(bodies)
    while train := list(itertools.islice(bodies, batch)):
        client.send(b"".join(train))
        statuses += [client.response().status for _ in train]
    return statuses


def check_full_of_long(suite):
    """Room for 2,000 users of 16 bytes: it is full of long ones before, and says so; the known go
    on counting, and no new one, however short, comes in by the back."""
    with suite.boot(options="max-users=2000 user-id-bytes=16") as machine:
        with Client(machine) as client:
            names = [f"{i:05d}".ljust(1024, "x") for i in range(2000)]
            statuses = ask_all(client, (body(raw(name)) for name in names), 20)
            known = statuses.count(200)
            expect(statuses, [200] * known + [507] * (2000 - known), "first all, then none")
            expect(10 < known < 2000, True, f"{known} long users known")
            for name in names[:known]:
                machine.model.add(name, 1)
            suite.expect_stats(machine)
            for name in names[:known]:
                expect(client.ask(body(raw(name), 0.5)).status, 200, "a known user")
                machine.model.add(name, 0.5)
            expect_error(client.ask(body(raw(names[-1]))), 507, closes=False)
        suite.expect_stats(machine)
        suite.forget_watcher()


def check_full(suite):
    """As many as were asked for, and not one more; an honest client's users among them."""
    with suite.boot(options="max-users=5000") as machine:
        with Client(machine) as client:
            for i in range(50):
                expect(client.ask(body(raw(f"honest_{i}"))).status, 200)
                machine.model.add(f"honest_{i}", 1)
            with Honest(machine) as honest:
                statuses = ask_all(client, (body(raw(f"flood_{i}")) for i in range(8000)))
                honest.progress(60)
            expect(statuses, [200] * 4950 + [507] * 3050)
            for i in range(4950):
                machine.model.add(f"flood_{i}", 1)
        suite.expect_stats(machine)
        suite.forget_watcher()


# ---- keys that collide

def pairs_31(count):
    """Equal under h * 31 + c (Java's): "Aa" and "BB" are."""
    return ["".join(word) for word in itertools.islice(itertools.product(("Aa", "BB"), repeat=15),
                                                       count)]


def pairs_33(count):
    """Equal under h * 33 + c (djb2): "Ez" and "FY" are."""
    return ["".join(word) for word in itertools.islice(itertools.product(("Ez", "FY"), repeat=15),
                                                       count)]


def fnv_16(count):
    """Equal in the low 16 bits of FNV-1a (32-bit): one slot of a table of 65,536."""
    prime, mask = 0x0193, 0xffff  # the low half of 0x01000193
    inverse = pow(prime, -1, 1 << 16)
    letters = range(0x21, 0x7f)
    # Backwards from 0: what the state must be before the last two bytes, by its high byte.
    before = {}
    for last, middle in itertools.product(letters, letters):
        if last in b'"\\' or middle in b'"\\':
            continue
        state = last * inverse & mask
        state = (state ^ middle) * inverse & mask
        before.setdefault(state >> 8, []).append((state & 0xff, middle, last))
    names = []
    for i in itertools.count():
        state = 0x811c9dc5 & mask
        head = f"{i:06x}"
        for byte in head.encode():
            state = (state ^ byte) * prime & mask
        for low, middle, last in before.get(state >> 8, ()):
            first = (state ^ low) & 0xff
            if first in letters and first not in b'"\\':
                names.append(head + chr(first) + chr(middle) + chr(last))
                if len(names) == count:
                    return names
                break
    return names


def scattered(count):
    return [f"{i * 2654435761 % (1 << 32):030d}" for i in range(count)]


def cost(suite, names):
    """Instructions of the machine for each request of those users, asked twice, one at a time:
    under -icount a nanosecond of its clock is one of them. What waiting costs is not in it."""
    machine = suite.machine(options=f"max-users={2 * COLLIDING}")
    machine.command += ["-icount", "shift=0,sleep=on"]
    with machine:
        machine.boot(60)
        with Client(machine, 60) as client:
            before = busy(client)
            for _ in range(2):
                statuses = ask_all(client, (body(raw(name)) for name in names), 50)
                expect(statuses, [200] * len(names))
            after = busy(client)
            stats = json.loads(client.ask(get("/stats")).body)
            expect((stats["totalRequests"], stats["uniqueUsers"]), (2 * len(names), len(names)))
    return (after - before) / (2 * len(names))


def busy(client):
    text = client.ask(get("/metrics")).body.decode()
    return 1e9 * float(text.split("\ntally_busy_seconds_total ")[1].split()[0])


def check_collisions(suite, make, reference):
    """Built to collide under a hash without a key: no dearer than any others of their length."""
    names = make(COLLIDING)
    expect(len(set(names)), COLLIDING, "distinct names")
    if not reference:
        reference.append(cost(suite, scattered(COLLIDING)))
    spent = cost(suite, names)
    print(f"e2e: abuse_users: {make.__name__}: {spent:.0f} instructions a request, "
          f"scattered keys {reference[0]:.0f}")
    expect(spent < 3 * reference[0], True, f"{spent:.0f} against {reference[0]:.0f}")


def run(suite):
    with suite.boot() as machine:
        suite.each([("one user, written in every way", suite, machine)], check_same)
        suite.each([("a byte too long", suite, machine)], check_too_long)
        suite.forget_watcher()
    suite.each([("the table full of long users", suite)], check_full_of_long)
    suite.each([("the table full by a flood of users", suite)], check_full)
    reference = []
    suite.each([(f"keys that collide: {make.__name__}", suite, make, reference)
                for make in (pairs_31, pairs_33, fnv_16)], check_collisions)

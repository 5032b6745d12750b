"""What the appliance keeps on a disk: through stops, kills, power cuts, and disks that fail."""

import contextlib
import json
import os
import random
import socket
import subprocess
import threading
import time

import disks
from disks import MIB
from harness import expect
from hostile import metric, monitored
from machine import EXIT_FAILED, EXIT_GOOD, LISTENING
from test_load import expected_text, run_load
from wire import Client, WireError, event, get, stats_text

UNAVAILABLE = b'{"error":"the disk does not answer"}'
UNHEALTHY = b'{"status":"unhealthy","reason":"the disk does not answer"}'


def new_user(i):
    """An event of a user of its own, value 1: count, users and sum are the same number."""
    return event(b'{"userId":"user_%d","value":1}' % i)


def total(machine):
    stats = json.loads(stats_text(machine))
    expect((stats["uniqueUsers"], stats["sum"]), (stats["totalRequests"],) * 2, "users and sum")
    return stats["totalRequests"]


def boots_on(suite, path, platform="microvm", node=None, device="", **options):
    return suite.boot(machine=platform,
                      qemu_options=disks.attach(platform, node or disks.raw(path), device),
                      **options)


def check_goes_on(suite, platform, device=""):
    """Stopped in order, and killed: the next machine counts on."""
    with disks.images(64 * MIB) as path:
        counted = 0
        for life in range(4):
            with boots_on(suite, path, platform, device=device) as machine:
                expect(total(machine), counted, f"recovered in life {life}")
                with Client(machine) as client:
                    for _ in range(25):
                        expect(client.ask(new_user(counted)).status, 200)
                        counted += 1
                    client.send(b"".join(new_user(counted + i) for i in range(100)))
                    for _ in range(100):
                        expect(client.response().status, 200)
                    counted += 100
                if life % 2:
                    machine.kill()
                else:
                    expect(machine.stop(), EXIT_GOOD, "exit status")


class Burst:
    """Clients that send events of new users as fast as they are answered, until the end."""

    def __init__(self, machine, first, connections=8, depth=16):
        self.machine = machine
        self.sent = self.answered = 0
        self._lock = threading.Lock()
        self._clients = []
        self._first = first
        self._depth = depth
        self._threads = [threading.Thread(target=self._run, daemon=True)
                         for _ in range(connections)]
        for thread in self._threads:
            thread.start()

    def _numbers(self):
        with self._lock:
            first = self._first + self.sent
            self.sent += self._depth
        return range(first, first + self._depth)

    def _run(self):
        try:
            with Client(self.machine) as client:
                self._clients.append(client)
                while True:
                    client.send(b"".join(map(new_user, self._numbers())))
                    for _ in range(self._depth):
                        expect(client.response().status, 200)
                        with self._lock:
                            self.answered += 1
        except (WireError, OSError):
            pass  # the machine has gone

    def join(self):
        """The machine has gone; whoever still waits for an answer need not."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)


def check_killed_under_load(suite):
    """kill -9, 20 times: nothing that was answered is lost, nothing is counted twice."""
    chance = random.Random(1)
    with disks.images(256 * MIB) as path:
        counted = first = 0
        for _ in range(20):
            with boots_on(suite, path) as machine:
                before = total(machine)
                if not counted <= before <= first:
                    raise AssertionError(f"{before} of {counted} answered and {first} sent")
                counted = before
                burst = Burst(machine, first)
                time.sleep(0.1 + chance.random() / 2)
                machine.kill()
                burst.join()
                counted += burst.answered
                first += burst.sent
        expect(counted > 1000, True, f"{counted} events are a load")


def check_load(suite):
    """The challenge, exact, and again after the machine's end."""
    with disks.images(256 * MIB) as path:
        with boots_on(suite, path, memory="128M") as machine:
            run_load(suite, machine, "-n", "200000", "-c", "500", "-d", "2")
            machine.kill()
        with boots_on(suite, path, memory="128M") as machine:
            expect(stats_text(machine), expected_text(200000, False), "/stats")
            expect(metric(machine, "tally_store_recovered_events"), 200000)
            expect(metric(machine, "tally_store_boots"), 2)
            expect(machine.stop(), EXIT_GOOD, "exit status")


def check_power_cuts(suite):
    """What a host's volatile cache may have lost: prefixes of what was written, without some of
    what no flush had covered. All that was answered by then is there."""
    chance = random.Random(2)
    with disks.images(64 * MIB, 0, 64 * MIB) as (path, log_path, cut_path):
        answered = []  # (length of the log, events answered by then)
        with boots_on(suite, path, node=disks.logged(path, log_path)) as machine:
            with Client(machine) as client:
                for i in range(0, 400, 4):
                    client.send(b"".join(new_user(i + k) for k in range(4)))
                    for _ in range(4):
                        expect(client.response().status, 200)
                    answered.append((os.path.getsize(log_path), i + 4))
            machine.kill()
        log = disks.Log(log_path)
        for end in sorted(chance.sample(range(8, len(log.entries) + 1), 50)):
            open(cut_path, "wb").truncate(64 * MIB)
            unflushed = log.since_flush(end)
            lost = set(chance.sample(unflushed, chance.randint(0, len(unflushed))))
            log.replay(cut_path, end, lost)
            at = log.entries[end][0] if end < len(log.entries) else len(log.bytes)
            least = max((count for size, count in answered if size <= at), default=0)
            with boots_on(suite, cut_path) as machine:
                recovered = total(machine)
                if not least <= recovered <= 400:
                    raise AssertionError(f"{recovered} recovered of {least} answered when entry "
                                         f"{end} was next, without {sorted(lost)}")


def check_fails(suite, iotype):
    """The disk fails under load: what was not answered is closed, and the machine stops."""
    with disks.images(64 * MIB) as path:
        with boots_on(suite, path) as machine:
            expect(machine.stop(), EXIT_GOOD, "exit status")
        with boots_on(suite, path, node=disks.failing(path, iotype, 20)) as machine:
            burst = Burst(machine, 0)
            expect(machine.wait_for_exit(20), EXIT_FAILED, "exit status")
            burst.join()
            machine.wait_for("the disk failed to write", 1)
        with boots_on(suite, path) as machine:
            recovered = total(machine)
            if not burst.answered <= recovered <= burst.sent:
                raise AssertionError(f"{recovered} of {burst.answered} answered, {burst.sent} sent")


def check_host_full(suite):
    """The host's disk is full in the middle: QEMU reports it, the machine stops, and says why."""
    with disks.images(0) as path:
        directory = path + ".small"
        os.mkdir(directory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "small", directory], check=True)
        path = os.path.join(directory, "disk")
        try:
            with open(path, "wb") as made:
                made.truncate(64 * MIB)
            with boots_on(suite, path) as machine:
                burst = Burst(machine, 0, depth=64)
                expect(machine.wait_for_exit(60), EXIT_FAILED, "exit status")
                burst.join()
            subprocess.run(["mount", "-o", "remount,size=100m", directory], check=True)
            with boots_on(suite, path) as machine:
                recovered = total(machine)
                if not 0 < burst.answered <= recovered <= burst.sent:
                    raise AssertionError(f"{recovered} of {burst.answered} answered")
        finally:
            subprocess.run(["umount", directory], check=True)


def count_until_held(client):
    """Events, until one is not answered at once; then the statistics are asked for. Returns how
    many events. (A throttled disk lets some pass.)"""
    counted = 0
    client.sock.settimeout(0.7)
    while True:
        client.send(new_user(counted))
        counted += 1
        try:
            expect(client.response().status, 200)
        except WireError:
            break
    client.sock.settimeout(client.timeout)
    client.send(get("/stats"))
    return counted


def check_stalls(suite):
    """A disk that hangs: 503 before anything is counted, and all is well when it is back."""
    with disks.images(64 * MIB) as path, \
            monitored(suite, machine="microvm",
                      qemu_options=disks.attach("microvm", disks.raw(path))) as (machine, monitor):
        limits = {"bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
        with Client(machine, 60) as held, Client(machine) as client:
            monitor.do("block_set_io_throttle", id="d0-device", bps=1, **limits)
            counted = count_until_held(held)
            machine.wait_for("the disk does not answer: events are refused", 20)
            answer = client.ask(new_user(counted))
            expect((answer.status, answer.field("retry-after"), answer.body),
                   (503, "1", UNAVAILABLE))
            answer = client.ask(get("/health"))
            expect((answer.status, answer.body), (503, UNHEALTHY))
            expect(total(machine), counted - 1, "the last state that is safe")
            monitor.do("block_set_io_throttle", id="d0-device", bps=0, **limits)
            machine.wait_for("the disk answers again, after", 20)
            expect(held.response().status, 200)
            expect(json.loads(held.response().body)["totalRequests"], counted)
            expect(client.ask(new_user(counted)).status, 200)
            expect(client.ask(get("/health")).status, 200)
            expect(total(machine), counted + 1)
        expect(machine.stop(), EXIT_GOOD, "exit status")


def check_half_closed(suite):
    """A client that closes its side right after its event is answered all the same."""
    with disks.images(64 * MIB) as path, boots_on(suite, path) as machine:
        for i in range(50):
            with Client(machine) as client:
                client.send(new_user(i))
                client.finish_sending()
                expect(client.response().status, 200)
                client.expect_closed()
        expect(total(machine), 50)


def expect_refused(suite, pattern, nodes=(), options="", **machine_options):
    attached = []
    for i, node in enumerate(nodes):
        attached += disks.attach("microvm", node, **{"node-name": f"d{i}"})
    with suite.machine(machine="microvm", options=options, qemu_options=attached,
                       **machine_options) as machine:
        machine.start()
        expect(machine.wait_for_exit(20), EXIT_FAILED, "exit status")
        text = "\n".join(machine.console())
        machine.wait_for(pattern, 1)
        expect("listening on" in text, False, "it listened")


def check_foreign(suite):
    """Whatever else is on a disk stays: not a byte of it is written."""
    with disks.images(16 * MIB) as path:
        with open(path, "r+b") as disk:
            disk.seek(512)
            disk.write(b"somebody's data")
        with open(path, "rb") as disk:
            before = disk.read()
        expect_refused(suite, "error +store .*disk 0", [disks.raw(path)])
        with open(path, "rb") as disk:
            expect(disk.read() == before, True, "the disk is as it was")
        read_only = disks.raw(path, **{"read-only": True})
        with boots_on(suite, path, node=read_only) as machine:
            machine.wait_for("store +.*read-only", 1)
            with Client(machine) as client:
                expect(client.ask(new_user(0)).status, 200)
        with boots_on(suite, path, options="disk=none") as machine:
            expect(total(machine), 0)


def check_choice(suite):
    with disks.images(16 * MIB, 16 * MIB) as paths:
        nodes = [disks.raw(path) for path in paths]
        expect_refused(suite, "there is no disk for the store", [], "disk=required")
        expect_refused(suite, "there is no disk with the serial number x", nodes[:1],
                       "disk=serial:x")
        expect_refused(suite, "choose one by its serial number", nodes)
        expect_refused(suite, "disk=.*", nodes[:1], "disk=sometimes")
        attached = [*disks.attach("microvm", nodes[0], ",serial=first"),
                    *disks.attach("microvm", nodes[1], ",serial=second", **{"node-name": "d1"})]
        for counted in range(2):
            with suite.boot(machine="microvm", options="disk=serial:second",
                            qemu_options=attached) as machine:
                expect(total(machine), counted)
                with Client(machine) as client:
                    expect(client.ask(new_user(counted)).status, 200)
                expect(machine.stop(), EXIT_GOOD, "exit status")
        with boots_on(suite, paths[1]) as machine:
            expect(total(machine), 2)


def check_does_not_fit(suite):
    """More users than this machine may or can hold: both numbers, and what helps."""
    with disks.images(64 * MIB) as path:
        with boots_on(suite, path, memory="128M") as machine:
            run_load(suite, machine, "-n", "80000", "-c", "64", "-d", "16")
            expect(machine.stop(), EXIT_GOOD, "exit status")
        expect_refused(suite, "holds 75000 users, more than max-users=1000: start with "
                       "max-users=75000 or more", [disks.raw(path)], "max-users=1000")
        needed = (r"holds 75000 users, and memory has room for (\d+): "
                  r"start the machine with MEM=(\d+)M")
        expect_refused(suite, needed, [disks.raw(path)], "max-connections=1024", memory="11M")
        with suite.machine(machine="microvm", options="max-connections=1024", memory="11M",
                           qemu_options=disks.attach("microvm", disks.raw(path))) as machine:
            machine.start()
            memory = machine.wait_for(needed, 10)[2]
        with boots_on(suite, path, options="max-connections=1024", memory=f"{memory}M") as machine:
            expect(json.loads(stats_text(machine))["totalRequests"], 80000)
        os.truncate(path, 32 * MIB)
        expect_refused(suite, "error +store .*smaller", [disks.raw(path)])


def tool(suite, command, path):
    """What tally-disk says of it: (exit status, standard output, standard error)."""
    done = subprocess.run([os.path.join(os.path.dirname(suite.load), "tally-disk"), command, path],
                          capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def check_looked_at(suite):
    """What the tools say of a disk whose machine was killed, and of one that has rotted."""
    with disks.images(64 * MIB) as path:
        with boots_on(suite, path) as machine:
            run_load(suite, machine, "-n", "20000", "-c", "64", "-d", "16")
            with Client(machine) as client:
                for user in (b'a \\"quoted\\" one', b"a\\nline", "ä".encode()):
                    body = b'{"userId":"%s","value":0.5}' % user
                    expect(client.ask(event(body)).status, 200)
            text = stats_text(machine)
            machine.kill()
        status, said, _ = tool(suite, "check", path)
        expect((status, said.startswith("sound\n"), text in said), (0, True, True), said)
        status, said, _ = tool(suite, "export", path)
        users = [json.loads(line) for line in said.splitlines()]
        expect((status, len(users), len(set(users))), (0, 20003, 20003))
        expect({'a "quoted" one', "a\nline", "ä", "user_0", "user_19999"} <= set(users), True)
        with open(path, "r+b") as disk:  # in the second block of ids
            disk.seek(MIB + 4096 + 64 * 8192 + 4096 + 100)
            byte = disk.read(1)
            disk.seek(-1, os.SEEK_CUR)
            disk.write(bytes([byte[0] ^ 1]))
        status, said, why = tool(suite, "check", path)
        expect((status, said, "block 1 of the ids" in why), (1, "", True), why)
        expect_refused(suite, "block 1 of the ids", [disks.raw(path)])
        expect(tool(suite, "check", os.path.dirname(path))[0], 2)


def check_full(suite):
    """A disk full of ids: 507 for new users, those that are known go on counting."""
    with disks.images(4 * MIB) as path, boots_on(suite, path) as machine:
        with Client(machine) as client:
            body = b'{"userId":"%s%d","value":1}'
            stored = 0
            while client.ask(event(body % (b"x" * 1000, stored))).status == 200:
                stored += 1
            expect(client.ask(event(body % (b"x" * 1000, stored))).status, 507)
            expect(client.ask(event(body % (b"x" * 1000, 0))).status, 200)
        expect(json.loads(stats_text(machine))["uniqueUsers"], stored)
        expect(1000 < stored < 4000, True, f"{stored} users of 1,000 bytes in 4 MiB")
        machine.wait_for("no room for another user", 2)
        expect(machine.stop(), EXIT_GOOD, "exit status")


def run(suite):
    suite.each([
        ("counts go on, microvm", check_goes_on, suite, "microvm"),
        ("counts go on, q35", check_goes_on, suite, "q35"),
        ("counts go on, pc", check_goes_on, suite, "pc"),
        ("counts go on, blocks of 4096", check_goes_on, suite, "microvm",
         ",logical_block_size=4096,physical_block_size=4096"),
        ("counts go on, a disk without a cache", check_goes_on, suite, "microvm",
         ",write-cache=off"),
        ("counts go on, a short queue", check_goes_on, suite, "microvm", ",queue-size=32"),
        ("killed under load, 20 times", check_killed_under_load, suite),
        ("a load, exact through a kill", check_load, suite),
        ("power cuts", check_power_cuts, suite),
        ("a write that fails", check_fails, suite, "write"),
        ("a flush that fails", check_fails, suite, "flush"),
        ("a disk that stalls", check_stalls, suite),
        ("half-closed connections are answered", check_half_closed, suite),
        ("a foreign disk", check_foreign, suite),
        ("which disk", check_choice, suite),
        ("a disk that does not fit", check_does_not_fit, suite),
        ("a full disk", check_full, suite),
        ("disk-check and disk-export", check_looked_at, suite),
    ], lambda check, *arguments: check(*arguments))
    if not suite.is_root:
        suite.skip("a host that is full", "only root may mount")
    elif suite.wants("a host that is full"):
        with suite.case("a host that is full"):
            check_host_full(suite)

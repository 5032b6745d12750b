"""What the abuse tests share: an honest client that runs beside, the tools, QEMU's monitor."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from harness import expect
from wire import Client, get, event


class Honest:
    """A client that goes on asking while others misbehave: events over one connection that it keeps
    and, one in 20, over a new one. Each must be answered with 200, in order, and nothing else may
    come. When it ends without a fault its events are in the machine's model."""

    def __init__(self, machine, patience=40, pause=0.003):
        self.machine = machine
        self.patience = patience
        self.pause = pause
        self.answered = 0
        self.slowest = 0.0
        self._error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(self.patience + 5)
        for i in range(self.answered):
            self.machine.model.add(*self._event(i))
        if kind is None:
            self._check()
            expect(self._thread.is_alive(), False, "the honest client waits for ever")

    @staticmethod
    def _event(i):
        return f"honest_{i % 50}", i % 16 + 0.25

    def _run(self):
        try:
            with Client(self.machine, self.patience) as kept:
                while not self._stop.is_set():
                    self._ask(kept)
                    time.sleep(self.pause)
                kept.expect_open()
        except Exception as error:
            self._error = error

    def _ask(self, kept):
        user, value = self._event(self.answered)
        body = b'{"userId":"%s","value":%r}' % (user.encode(), value)
        began = time.monotonic()
        if self.answered % 20 == 19:
            with Client(self.machine, self.patience) as new:
                answer = new.ask(event(body, "Connection: close"))
                new.expect_closed(self.patience)
        else:
            answer = kept.ask(event(body))
            expect(kept.buffer, b"", "more than one answer")
        expect((answer.status, answer.body), (200, b""), "an honest event")
        self.answered += 1
        self.slowest = max(self.slowest, time.monotonic() - began)

    def _check(self):
        if self._error is not None:
            raise AssertionError(f"the honest client, after {self.answered} answers: "
                                 f"{type(self._error).__name__}: {self._error}")

    def progress(self, count=20, seconds=60):
        """Waits until it has been answered `count` times more."""
        wanted = self.answered + count
        end = time.monotonic() + seconds
        while self.answered < wanted:
            self._check()
            if time.monotonic() > end:
                raise AssertionError(f"an honest client got {count + self.answered - wanted} "
                                     f"answers in {seconds} s")
            time.sleep(0.01)


def metric(machine, name):
    """One of /metrics, as a number."""
    with Client(machine, 40) as client:
        text = client.ask(get("/metrics", "Connection: close")).body.decode()
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])


def mac_of(machine):
    """The machine's MAC, once it has been spoken to."""
    with Client(machine) as client:
        client.expect_open()
    words = subprocess.run(["ip", "neighbour", "show", machine.address], check=True,
                           capture_output=True, text=True).stdout.split()
    return words[words.index("lladdr") + 1]


# ---- the tools of tests/abuse

def tool(suite, *words):
    command = [os.path.join(os.path.dirname(suite.load), "tally-abuse"), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process, seconds=60):
    """The numbers by name that a tool prints on its last line, as in "12 sent, 3 refused"."""
    try:
        text, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    expect(process.returncode, 0, f"exit status of {process.args}: {text}")
    last = text.strip().splitlines()[-1]
    return {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", last)}


def flood(suite, machine, kind, rate, seconds):
    return tool(suite, "flood", machine.tap, mac_of(machine), machine.address, machine.port, kind,
                rate, seconds)


def slow(suite, machine, kind, connections, seconds):
    """Returns when all are connected."""
    process = tool(suite, "slow", machine.address, machine.port, kind, connections, seconds)
    process.first = process.stdout.readline()
    return process


# ---- the load client

def run_load(suite, machine, *options, seconds=120):
    """Its report. Nothing is checked but that it has ended; --no-check is implied."""
    command = [suite.load, "--quiet", "--json", "-", "--no-check", "--timeout-s", str(seconds),
               *options, f"{machine.address}:{machine.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 20)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}") from None


def add_load(machine, requests):
    """The load client's events, answered 200 all of them, in the model."""
    for i in range(requests):
        machine.model.add(f"user_{i % 75000}", i % 1000)


# ---- QEMU's monitor

class Monitor:
    """QMP, on a socket that the machine must be started with."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.lines = self.sock.makefile("rb")
        self.lines.readline()
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise AssertionError(f"QMP {command}: {answer}")
            if "return" in answer:
                return answer["return"]


@contextlib.contextmanager
def monitored(suite, **options):
    """A machine of its own, and its monitor."""
    directory = tempfile.mkdtemp(prefix="tally-abuse-")
    path = os.path.join(directory, "qmp")
    machine = suite.machine(**options)
    machine.command += ["-qmp", f"unix:{path},server=on,wait=off"]
    try:
        with machine:
            machine.boot()
            yield machine, Monitor(path)
    finally:
        shutil.rmtree(directory, ignore_errors=True)

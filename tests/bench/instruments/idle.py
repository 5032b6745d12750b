"""What sleep costs, and what it saves: idle=halt beside idle=poll, in the emulator, over a tap.

    share     of a processor that QEMU takes in 30 s without traffic, with idle connections open
    silence   how long one request takes after a silence: median and 99th percentile
    rate      requests a second under load

Both machines are started once. While one is measured the other is stopped (SIGSTOP). Silence and
load are measured in turn, in rounds.
"""

import contextlib
import json
import socket
import subprocess
import time

from . import machine
from .tools import BenchError, built, die_with_parent, median, scratch_path

MODES = ("halt", "poll")
SILENCES = ((0.001, 500), (0.1, 30), (10, 4))  # seconds; so many of them in a round
LOADS = ((64, 1, 200000), (64, 16, 2000000), (1000, 1, 200000))  # connections, depth, requests
_QUIET_SECONDS = 30
_IDLE_CONNECTIONS = 64

_EVENT = b'{"userId":"user_1","value":1}'
_REQUEST = (b"POST /event HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % len(_EVENT)
            + _EVENT)


def _connect(server):
    with server.namespace.entered():
        sock = socket.create_connection((server.address, server.port), 20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _share(server):
    with contextlib.ExitStack() as stack:
        for _ in range(_IDLE_CONNECTIONS):
            stack.enter_context(_connect(server))
        time.sleep(1)
        before = sum(server.cpu_seconds())
        time.sleep(_QUIET_SECONDS)
        return (sum(server.cpu_seconds()) - before) / _QUIET_SECONDS


def _after_silence(server, seconds, count):
    """Nanoseconds of each request."""
    times = []
    with _connect(server) as sock:
        for _ in range(count):
            time.sleep(seconds)
            began = time.perf_counter_ns()
            sock.sendall(_REQUEST)
            answer = sock.recv(4096)
            times.append(time.perf_counter_ns() - began)
            if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\n"):
                raise BenchError(f"{server.name}: {answer!r}")
    return times


def _rate(server, connections, depth, requests):
    path = scratch_path("idle.json")
    with server.namespace.entered():
        done = subprocess.run(
            (built("tally-load"), "--quiet", "--no-check", "--requests", str(requests),
             "--connections", str(connections), "--depth", str(depth), "--json", path,
             f"{server.address}:{server.port}"), preexec_fn=die_with_parent, check=False,
            capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise BenchError(f"tally-load: {(done.stderr or done.stdout).strip()[-300:]}")
    with open(path, encoding="utf-8") as file:
        return json.load(file)["requests_per_second"]


def _percentile(values, permille):
    return sorted(values)[min(len(values) - 1, len(values) * permille // 1000)]


def _in_turn(servers, measure):
    for mode, server in servers.items():
        server.resume()
        measure(mode, server)
        server.pause()


def costs(arguments, _):
    """{"share": {mode: of a processor},
    "silence": {seconds: {mode: {"p50_ns", "p99_ns", "count"}}},
    "rate": {"connections/depth": {mode: a second, "ratio": halt's by poll's in
    the same round, median}}}."""
    shares = {}
    times = {(seconds, mode): [] for seconds, _ in SILENCES for mode in MODES}
    rates = {(load, mode): [] for load in LOADS for mode in MODES}
    with contextlib.ExitStack() as stack:
        servers = {}
        for mode in MODES:
            namespace = stack.enter_context(machine.Namespace(mode))
            servers[mode] = stack.enter_context(machine.tally(
                namespace, built("tally.elf"), f"max-connections=1024 idle={mode}"))
            servers[mode].wait_for("listening on", 60)
            servers[mode].pause()

        def measure_share(mode, server):
            shares[mode] = _share(server)

        def measure_round(mode, server):
            for seconds, count in SILENCES:
                times[seconds, mode] += _after_silence(server, seconds, count)

        _in_turn(servers, measure_share)
        for _ in range(arguments.runs):
            _in_turn(servers, measure_round)
            for load in LOADS:
                _in_turn(servers, lambda mode, server, load=load:
                         rates[load, mode].append(_rate(server, *load)))
    return {
        "share": shares,
        "silence": {f"{seconds:g}": {
            mode: {"p50_ns": median(times[seconds, mode]),
                   "p99_ns": _percentile(times[seconds, mode], 990),
                   "count": len(times[seconds, mode])} for mode in MODES}
            for seconds, _ in SILENCES},
        "rate": {f"{load[0]}/{load[1]}": {
            **{mode: median(rates[load, mode]) for mode in MODES},
            "ratio": median(halt / poll for halt, poll in zip(rates[load, "halt"],
                                                              rates[load, "poll"]))}
            for load in LOADS},
    }

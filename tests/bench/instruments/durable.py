"""Requests a second of events that survive a power cut, beside those that do not, in turn.

    memory   the appliance without a disk
    disk     the appliance with a disk in an image on the host's disk (where TMPDIR is)
    tmpfs    the same with the image in memory: what durability costs beside the disk's own time
    redis    redis-server, appendonly yes, appendfsync always; each event one EVAL of SADD, INCR and
             INCRBYFLOAT: its data on the host's disk, too

Disks drift. So the time of an fdatasync of 4 KiB stands beside, before and after.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time

import qemu

from . import machine, tap
from .tools import BenchError, built, median, scratch_path

SERVERS = ("memory", "disk", "tmpfs", "redis")
LOADS = ((64, 1), (1000, 1), (64, 16))
_SCRIPT = ("redis.call('SADD',KEYS[1],ARGV[1]);redis.call('INCR',KEYS[2]);"
           "redis.call('INCRBYFLOAT',KEYS[3],ARGV[2]);return 1")
_REDIS_PORT = 6379
_IMAGE_BYTES = 1 << 30
_MACHINE = "microvm"
_BOOT_SECONDS = 60


def accelerator():
    return "tcg" if qemu.why_not_kvm(built("tally.elf"), _MACHINE) else "kvm"


def fdatasync_ns(directory, count=200):
    """The median of so many, each after a write of 4 KiB to the same file."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        for i in range(count):
            os.pwrite(file.fileno(), os.urandom(4096), i % 256 * 4096)
            began = time.monotonic_ns()
            os.fdatasync(file.fileno())
            times.append(time.monotonic_ns() - began)
    return median(times)


def disk_options(directory):
    path = os.path.join(directory, "tally.img")
    with open(path, "wb") as image:
        image.truncate(_IMAGE_BYTES)
    node = {"driver": "raw", "node-name": "d0", "file": {"driver": "file", "filename": path}}
    return ("-blockdev", json.dumps(node), "-device",
            "virtio-blk-device,drive=d0,werror=report,rerror=report")


def _start_redis(namespace, directory):
    return machine.Process("redis", (
        "redis-server", "--port", str(_REDIS_PORT), "--bind", "127.0.0.1", "--save", "",
        "--appendonly", "yes", "--appendfsync", "always", "--dir", directory, "--maxclients",
        "4000", "--tcp-backlog", "4000"), namespace, "127.0.0.1", _REDIS_PORT)


def _start(name, namespace, directories, chosen):
    if name == "redis":
        return _start_redis(namespace, directories["disk"])
    extra = () if name == "memory" else disk_options(directories[name])
    server = machine.tally(namespace, built("tally.elf"), "max-connections=1100", extra=extra,
                           machine=_MACHINE, accelerator=chosen)
    server.name = name
    return server


def _events(server, connections, depth, requests):
    """Requests a second of the load client, which checks that each was counted once."""
    path = scratch_path("load.json")
    status, output, _, _ = tap._client(server, (
        built("tally-load"), "--quiet", "--requests", str(requests), "--connections",
        str(connections), "--depth", str(depth), "--timeout-s", "100", "--json", path,
        f"{server.address}:{server.port}"))
    if status != 0:
        raise BenchError(f"tally-load: {output.strip()[-300:]}")
    with open(path, encoding="utf-8") as file:
        return json.load(file)["requests_per_second"]


def _evals(server, connections, depth, requests):
    status, output, _, _ = tap._client(server, (
        "redis-benchmark", "-h", server.address, "-p", str(server.port), "-n", str(requests), "-c",
        str(connections), "-P", str(depth), "-r", "75000", "-q", "EVAL", _SCRIPT, "3", "{t}users",
        "{t}count", "{t}sum", "user___rand_int__", "1.5"))
    found = re.findall(r"([0-9.]+) requests per second", output)
    if status != 0 or not found or float(found[-1]) == 0:
        raise BenchError(f"redis-benchmark: {output.strip()[-300:]}")
    return float(found[-1])


def _measure(server, connections, depth, seconds, known):
    """Of as many requests as are answered in that time, as far as is known."""
    run = _evals if server.name == "redis" else _events
    key = (server.name, connections, depth)
    if key not in known:
        known[key] = run(server, connections, depth, 20000)
    known[key] = run(server, connections, depth, max(20000, int(known[key] * seconds)))
    return known[key]


def rates(arguments, note):
    """{"accelerator", "fdatasync_ns": (before, after), "rates": {load: {server: median}}}."""
    chosen = accelerator()
    samples, known = {}, {}
    with contextlib.ExitStack() as stack:
        directories = {"disk": scratch_path("durable")}
        os.mkdir(directories["disk"])
        directories["tmpfs"] = tempfile.mkdtemp(prefix="tally-bench-", dir="/dev/shm")
        stack.callback(shutil.rmtree, directories["tmpfs"], ignore_errors=True)
        before = fdatasync_ns(directories["disk"])
        servers = []
        for name in SERVERS:
            try:
                namespace = stack.enter_context(machine.Namespace(name))
                server = stack.enter_context(_start(name, namespace, directories, chosen))
                if name == "redis":
                    server.wait_for_port(10)
                else:
                    server.wait_for("listening on", _BOOT_SECONDS)
            except (BenchError, OSError) as error:
                note(f"durable: {name}: {error}")
                continue
            server.pause()
            servers.append(server)
        for _ in range(arguments.runs):
            for connections, depth in LOADS:
                for server in servers:
                    server.resume()
                    try:
                        rate = _measure(server, connections, depth, arguments.seconds or 3, known)
                        samples.setdefault(f"{connections}/{depth}", {}).setdefault(
                            server.name, []).append(rate)
                    except BenchError as error:
                        note(f"durable: {server.name}, {connections} x {depth}: {error}")
                    server.pause()
        after = fdatasync_ns(directories["disk"])
    return {"accelerator": chosen, "fdatasync_ns": [before, after],
            "rates": {load: {name: median(runs) for name, runs in by_server.items()}
                      for load, by_server in samples.items()}}

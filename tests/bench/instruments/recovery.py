"""What a disk with so many users on it adds to a boot, and what growing to as many costs a turn.

The users come from the growth's load, while each waits for its disk. Then the machine is killed,
and booted again: that of its console which says what was recovered is the measure, beside the time
from exec to "listening on" with and without the disk.
"""

import json
import os
import subprocess
import time

from . import durable, machine, guest
from .tools import BenchError, built, die_with_parent, median, scratch_path

USERS = (75000, 10000000)
_MEMORY = "1G"
_OPTIONS = "max-connections=1024 user-id-bytes=13"
_SECONDS_MAX = 600


def _boot(namespace, disk=()):
    return machine.tally(namespace, built("tally.elf"), _OPTIONS, _MEMORY, disk,
                         machine="microvm", accelerator=durable.accelerator())


def _listening(server):
    server.wait_for("listening on", 120)
    return time.monotonic() - server.started


def _fill(server, users):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "users.lua")
    with server.namespace.entered():
        load = subprocess.Popen(
            ("wrk", "-t1", "-c64", f"-d{_SECONDS_MAX}s", "-s", script,
             f"http://{server.address}:{server.port}/event", "--", "64"),
            stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        while json.loads(server.get("/stats", 120))["uniqueUsers"] < users:
            if load.poll() is not None:
                raise BenchError(f"recovery: no {users} users in {_SECONDS_MAX} s")
            time.sleep(0.2)
    finally:
        load.kill()
        load.wait()


def times(arguments, _):
    """{users: {users, boot_s, without_s, recovered_ms, longest_turn_s}}: medians of boots."""
    results = {}
    for users in USERS:
        directory = scratch_path(f"recovery-{users}")
        os.mkdir(directory)
        disk = durable.disk_options(directory)
        with machine.Namespace("recovery") as namespace:
            with _boot(namespace, disk) as server:
                _listening(server)
                _fill(server, users)
                longest = guest.metric(server.get("/metrics", 120), "tally_longest_turn_seconds")
            boots, recovered, without = [], [], []
            for _ in range(arguments.runs):
                with _boot(namespace, disk) as server:
                    boots.append(_listening(server))
                    found = server.wait_for(r"recovered \d+ events of (\d+) users in (\d+) ms", 1)
                    recovered.append(int(found[2]))
                    count = int(found[1])
                with _boot(namespace) as server:
                    without.append(_listening(server))
        results[str(users)] = {"users": count, "boot_s": median(boots),
                               "without_s": median(without), "recovered_ms": median(recovered),
                               "longest_turn_s": longest}
    return results

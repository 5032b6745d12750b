"""The set of users growing from 1 to 10,000,000 under load: the longest turn of the loop meanwhile.

Counted as in guest.py: under -icount shift=0 a nanosecond of the guest's clock is an instruction.
No request takes longer than the turn that answered it. Trains are short and connections few, so
that a turn has little to do but what growth adds to it.
"""

import json
import os
import subprocess
import time

from . import guest, machine
from .tools import BenchError, built, die_with_parent

_USERS = 10000000
_CONNECTIONS = 16
_DEPTH = 8
_SECONDS_MAX = 1200  # then it says how many there were
_MEMORY = "512M"
_OPTIONS = f"max-connections=1024 max-users={_USERS} user-id-bytes=13"


def _load(server):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "users.lua")
    with server.namespace.entered():
        return subprocess.Popen(
            ("wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS_MAX}s", "-s", script,
             f"http://{server.address}:{server.port}/event", "--", str(_DEPTH)),
            stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)


def _users(server):
    return json.loads(server.get("/stats", 120))["uniqueUsers"]


def _grow(server):
    end = time.monotonic() + _SECONDS_MAX
    load = _load(server)
    try:
        while _users(server) < _USERS and time.monotonic() < end and load.poll() is None:
            time.sleep(1)
    finally:
        load.kill()
        load.wait()


def longest(_, note):
    """{"users", "events", "longest_ns", "longest_frames", "average_ns": of the turns}."""
    with machine.Namespace("growth") as namespace, \
            machine.tally(namespace, built("tally.elf"), _OPTIONS, _MEMORY,
                          ("-icount", "shift=0")) as server:
        server.wait_for("listening on", 60)
        ns_per_instruction = 1000 / float(server.wait_for(r"TSC at ([0-9.]+) MHz", 1).group(1))
        _grow(server)
        text = server.get("/metrics", 120)
    value = {name: guest.metric(text, metric) for name, metric in (
        ("users", "unique_users_total"), ("events", "events_processed_total"),
        ("frames", "tally_longest_turn_packets"), ("longest", "tally_longest_turn_seconds"),
        ("busy", "tally_busy_seconds_total"), ("batches", "tally_batches_total"))}
    if value["events"] == 0:
        raise BenchError("no events")
    if value["users"] < _USERS:
        note(f"growth: {value['users']:.0f} users, not {_USERS}, after {_SECONDS_MAX} s")
    return {"users": int(value["users"]), "events": int(value["events"]),
            "longest": value["longest"] * 1e9 / ns_per_instruction,
            "longest_frames": int(value["frames"]), "depth": _DEPTH,
            "average": value["busy"] * 1e9 / ns_per_instruction / value["batches"],
            "each": value["busy"] * 1e9 / ns_per_instruction / value["events"]}

"""Instructions a request, or a frame of a flood, in the guest, all of it: net/, app/, lwIP, and the
driver of the device.

Under -icount shift=0 the emulator's clock, and with it the TSC, moves by 1 ns an instruction. The
appliance sums up the time of those turns of its loop that did work (tally_busy_seconds_total): so
the time is a count, and what the idle loop executes is not in it.
"""

import contextlib
import re
import resource
import subprocess
import time

from . import machine
from .tools import BenchError, built, die_with_parent, median

CASES = ((64, 1), (64, 16), (1000, 1), (1000, 16), (10000, 1), (10000, 16))

_USERS = 75000  # of the load client: once they are all known, each request costs the same
_SECONDS = 1.5  # a count
_WARM_SECONDS_MAX = 60
_DESCRIPTORS_SPARE = 100

FLOODS = ("syn", "ack", "land")  # land: frames that are refused at once
_FLOOD_RATE = 20000  # a second: what passes without loss, so that /metrics is answered
_FLOOD_SECONDS = 60  # the most that it lasts; ended before


def metric(text, name):
    found = re.search(rf"^{name} (\S+)$", text, re.M)
    if not found:
        raise BenchError(f"/metrics has no {name}")
    return float(found.group(1))


class _Background:
    """A process beside the guest, running for as long as it is wanted."""

    def __init__(self, guest, command):
        with guest.namespace.entered():
            self._popen = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                           preexec_fn=die_with_parent)

    def is_alive(self):
        return self._popen.poll() is None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._popen.kill()
        self._popen.wait()


class _Load(_Background):
    """The load client."""

    def __init__(self, guest, connections, depth):
        super().__init__(guest, (
            built("tally-load"), "--quiet", "--no-check", "--requests", str(10**9),
            "--connections", str(connections), "--depth", str(depth), "--timeout-s", "300",
            f"{guest.address}:{guest.port}"))


class _Flood(_Background):
    """Frames of a kind, from anywhere (tests/abuse/flood.c)."""

    def __init__(self, guest, kind):
        super().__init__(guest, (built("tally-abuse"), "flood", "tap0", machine.GUEST_MAC,
                                 guest.address, str(guest.port), kind, str(_FLOOD_RATE),
                                 str(_FLOOD_SECONDS)))


def _warm_up(guest, connections):
    end = time.monotonic() + _WARM_SECONDS_MAX
    while time.monotonic() < end:
        if metric(guest.get("/metrics"), "events_processed_total") > _USERS + 2 * connections:
            return
        time.sleep(0.1)
    raise BenchError(f"no {_USERS} events within {_WARM_SECONDS_MAX} s")


def _deltas(guest, seconds, *names):
    """By how much these of /metrics grow meanwhile."""
    before = guest.get("/metrics")
    time.sleep(seconds)
    after = guest.get("/metrics")
    return [metric(after, name) - metric(before, name) for name in names]


def _count(guest, ns_per_instruction):
    """What a request took: instructions, and frames received; and how many came in a batch."""
    events, busy, batches, frames = _deltas(
        guest, _SECONDS, "events_processed_total", "tally_busy_seconds_total",
        "tally_batches_total", "tally_received_packets_total")
    if events == 0:
        raise BenchError("no events")
    return {"total": busy * 1e9 / ns_per_instruction / events, "batch": events / batches,
            "frames": frames / events}


@contextlib.contextmanager
def _counting(namespace, image, connections):
    """A machine for that many, and how long an instruction takes by its clock, in ns."""
    with machine.tally(namespace, image, f"max-connections={max(connections, 1024)}",
                       extra=("-icount", "shift=0")) as guest:
        guest.wait_for("listening on", 30)
        # An instruction is exactly 1 ns of the emulator's clock; the guest's is calibrated by it.
        yield guest, 1000 / float(guest.wait_for(r"TSC at ([0-9.]+) MHz", 1).group(1))


def _count_case(arguments, namespace, image, connections, depth):
    if connections + _DESCRIPTORS_SPARE > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
        raise BenchError("ulimit -n is too low")
    # One machine a case: what is counted does not depend on what ran before. Some connections to
    # spare, for /metrics.
    with _counting(namespace, image, connections + 8) as (guest, ns_per_instruction):
        with _Load(guest, connections, depth):
            _warm_up(guest, connections)
            counts = [_count(guest, ns_per_instruction) for _ in range(min(arguments.runs, 3))]
        # The load must have been answered without loss: else other work was counted, too.
        if metric(guest.get("/metrics"), "tally_connections_gave_way_total") > 0:
            raise BenchError("connections were reset for want of memory")
    return {what: median(count[what] for count in counts) for what in counts[0]}


def instructions(arguments, note):
    """{case: {"total": instructions a request, "batch": requests a batch, "frames": a request}}."""
    results = {}
    with machine.Namespace("icount") as namespace:
        for connections, depth in CASES:
            case = f"{connections}/{depth}"
            try:
                results[case] = _count_case(arguments, namespace, built("tally.elf"), connections,
                                            depth)
            except (BenchError, OSError) as error:
                note(f"guest, {connections} connections, depth {depth}: {error}")
                results[case] = {"error": str(error)}
    return results


def _count_flood(guest, ns_per_instruction, flood):
    busy, batches, frames = _deltas(guest, _SECONDS, "tally_busy_seconds_total",
                                    "tally_batches_total", "tally_received_packets_total")
    if not flood.is_alive():
        raise BenchError("the flood ended")
    return {"total": busy * 1e9 / ns_per_instruction / frames, "batch": frames / batches}


def floods(arguments, note):
    """{kind of flood: {"total": instructions a frame, "batch": frames a batch}}."""
    results = {}
    with machine.Namespace("flood") as namespace:
        for kind in FLOODS:
            try:
                with _counting(namespace, built("tally.elf"), 1024) as (guest, ns_per_instruction):
                    with _Flood(guest, kind) as flood:
                        time.sleep(_SECONDS)  # all half-open slots are taken
                        counts = [_count_flood(guest, ns_per_instruction, flood)
                                  for _ in range(min(arguments.runs, 3))]
                results[kind] = {what: median(count[what] for count in counts)
                                 for what in counts[0]}
            except (BenchError, OSError) as error:
                note(f"flood, {kind}: {error}")
                results[kind] = {"error": str(error)}
    return results

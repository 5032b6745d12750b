"""A connection for every request: the rate of each second, for minutes.

The appliance over a tap, then the baseline server on the host's loopback for as long: what both
lose is the machine's. So is a dip in which the client was at work as long as before and got less
done for it: the processor was slower. In one that is the server's the client waits.
"""

import json
import subprocess

from . import guest, machine
from .tools import BenchError, built, die_with_parent, median, scratch_path

_SECONDS = 120
_DIP = 0.9
_COUNTS = ("tally_connections_accepted_total", "tally_connections_refused_total",
           "tally_connections_gave_way_total", "tally_retransmissions_total",
           "tally_memory_short_total")


def _seconds(server, connections, seconds):
    """[{"answered_200", "cpu_ns" of the client}] of each second; the client stops after them."""
    path = scratch_path("churn.json")
    with server.namespace.entered():
        done = subprocess.run(
            (built("tally-load"), "--quiet", "--no-check", "--close", "--requests", str(10**12),
             "--connections", str(connections), "--timeout-s", str(seconds + 1), "--json", path,
             f"{server.address}:{server.port}"), preexec_fn=die_with_parent, check=False,
            capture_output=True, text=True, timeout=seconds + 60)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["per_second"][:seconds]
    except (OSError, ValueError, KeyError):
        raise BenchError(f"tally-load: {(done.stderr or done.stdout).strip()[-300:]}") from None


def _fell(what, before, after):
    return after[what] < _DIP * before[what]


def _steadiness(server, arguments):
    seconds = _seconds(server, arguments.connections, arguments.seconds or _SECONDS)
    rates = [second["answered_200"] for second in seconds]
    if not rates or median(rates) == 0:
        raise BenchError(f"{server.name}: no requests")
    dips = [(before, after) for before, after in zip(seconds, seconds[1:])
            if _fell("answered_200", before, after)]
    return {"seconds": seconds, "median": median(rates), "lowest": min(rates),
            "highest": max(rates), "dips": len(dips),
            "dips_waiting": sum(_fell("cpu_ns", before, after) for before, after in dips)}


def steadiness(arguments, _):
    """{server: {"seconds": [...], "median", "lowest", "highest", "dips", "dips_waiting"}}.

    "counts" are the appliance's own.
    """
    with machine.Namespace("churn") as namespace:
        with machine.tally(namespace, built("tally.elf")) as server:
            server.wait_for("listening on", 60)
            results = {"tally": _steadiness(server, arguments)}
            text = server.get("/metrics")
        results["tally"]["counts"] = {name: int(guest.metric(text, name)) for name in _COUNTS}
        with machine.Process("epoll", (built("epoll-server"), f"127.0.0.1:{machine.PORT}"),
                             namespace, "127.0.0.1") as server:
            server.wait_for_port(10)
            results["epoll"] = _steadiness(server, arguments)
    return results

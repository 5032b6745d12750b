"""A connection for every request: the rate of each second, for minutes.

The appliance over a tap, then the baseline server on the host's loopback for as long: what both
lose is the machine's.
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


def _rates(server, connections, seconds):
    """Requests in each whole second; the client stops when the time is over."""
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


def _steadiness(server, arguments):
    rates = _rates(server, arguments.connections, arguments.seconds or _SECONDS)
    if not rates or median(rates) == 0:
        raise BenchError(f"{server.name}: no requests")
    dips = sum(after < _DIP * before for before, after in zip(rates, rates[1:]))
    return {"rates": rates, "median": median(rates), "lowest": min(rates), "highest": max(rates),
            "dips": dips}


def steadiness(arguments, _):
    """{server: {"rates": [...], "median", "lowest", "highest", "dips"}}; the appliance's counts."""
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

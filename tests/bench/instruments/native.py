"""The path compiled for the host: nanoseconds a request, and instructions by stage."""

import collections
import json
import os
import tempfile

from . import callgrind
from .tools import TOP, BenchError, built, median, run

CASES = ((64, 1), (64, 16), (1000, 1), (1000, 16), (10000, 1), (10000, 16))

# Short runs, and many: on a machine that others use, the median of them is a run undisturbed.
_RUN_REQUESTS = 20000
_COUNTED_REQUESTS = 50000


def _native(binary, connections, depth, requests, runs, prefix=()):
    return json.loads(run(*prefix, binary, "--connections", str(connections), "--depth", str(depth),
                          "--requests", str(requests), "--runs", str(runs), timeout=600))


def times(arguments, note):
    """{case: {server, server_least, total: nanoseconds a request}}."""
    binary = built("bench/native")
    runs = 20 * arguments.runs + 1
    results = {}
    for connections, depth in CASES:
        case = f"{connections}/{depth}"
        try:
            done = _native(binary, connections, depth, _RUN_REQUESTS, runs)["runs"]
        except BenchError as error:
            note(f"native, {connections} connections, depth {depth}: {error}")
            results[case] = {"error": str(error)}
            continue
        server, total = ([one[kind] / one["requests"] for one in done]
                         for kind in ("server_ns", "total_ns"))
        results[case] = {"server": median(server), "server_least": min(server),
                         "total": median(total)}
    return results


def instructions(_, note):
    """{case: {stage: instructions a request, "total": ..., "top": [[function, instructions]]}}."""
    binary = built("bench/native")
    results = {}
    for connections, depth in CASES:
        case = f"{connections}/{depth}"
        with tempfile.TemporaryDirectory() as scratch:
            out = os.path.join(scratch, "callgrind.out")
            try:
                done = _native(binary, connections, depth, _COUNTED_REQUESTS, 1, (
                    "valgrind", "-q", "--tool=callgrind", "--dump-instr=yes",
                    "--collect-atstart=no", "--toggle-collect=measured_turn",
                    f"--callgrind-out-file={out}"))
            except BenchError as error:
                note(f"callgrind, {connections} connections, depth {depth}: {error}")
                results[case] = {"error": str(error)}
                continue
            functions = callgrind.profile(out, binary, TOP)
        requests = done["runs"][0]["requests"]
        stages = collections.Counter()
        for function, count in functions.items():
            stages[callgrind.stage_of(function)] += count
        results[case] = {
            "total": sum(functions.values()) / requests,
            "stages": {name: stages[name] / requests for name in callgrind.STAGE_NAMES},
            "top": [[function, count / requests] for function, count in functions.most_common(40)],
        }
    return results

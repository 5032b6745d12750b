"""The path compiled for the host: nanoseconds a request, and instructions by stage; and both by how
many kinds of heads the requests have."""

import collections
import json
import os
import tempfile

from . import callgrind
from .tools import TOP, BenchError, built, median, run

CASES = ((64, 1), (64, 16), (1000, 1), (1000, 16), (10000, 1), (10000, 16))
# Kinds of heads, in turn; all: each is another. Each with its fields in the same order, or in many.
HEADS = {"1": ("1",), "9": ("9",), "64": ("64",), "1000": ("1000",), "all": ("all",),
         "all, in 100 orders": ("all", "--orders", "100")}
_HEADS_CASES = [(depth, kinds) for depth in (1, 16) for kinds in HEADS]

# Short runs, and many: on a machine that others use, the median of them is a run undisturbed.
_RUN_REQUESTS = 20000
_COUNTED_REQUESTS = 50000
_HEADS_CONNECTIONS = 64
_HEADS_RUN_REQUESTS = 5000


def _native(binary, connections, depth, requests, runs, prefix=(), options=()):
    return json.loads(run(*prefix, binary, "--connections", str(connections), "--depth", str(depth),
                          "--requests", str(requests), "--runs", str(runs), *options, timeout=600))


def _callgrind(out):
    """What a program is run with so that its measured turns, and they alone, are counted."""
    return ("valgrind", "-q", "--tool=callgrind", "--dump-instr=yes", "--collect-atstart=no",
            "--toggle-collect=measured_turn", f"--callgrind-out-file={out}")


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
                done = _native(binary, connections, depth, _COUNTED_REQUESTS, 1, _callgrind(out))
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


def _count_heads(binary, depth, kinds):
    """Instructions a request."""
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "callgrind.out")
        done = _native(binary, _HEADS_CONNECTIONS, depth, _COUNTED_REQUESTS, 1, _callgrind(out),
                       ("--heads", *HEADS[kinds]))
        with open(out, encoding="utf-8") as profile:
            count = next(int(line.split()[1]) for line in profile if line.startswith("totals:"))
    return count / done["runs"][0]["requests"]


def _time_heads(binary, depth, kinds):
    """Nanoseconds a request, in the fastest of many runs: one that nothing interrupted."""
    done = _native(binary, _HEADS_CONNECTIONS, depth, _HEADS_RUN_REQUESTS, 101, (),
                   ("--heads", *HEADS[kinds]))
    return min(one["server_ns"] / one["requests"] for one in done["runs"])


def heads(arguments, note):
    """{"depth/kinds": {server: nanoseconds a request, ratio: of that to one kind's in the same
    round, total: instructions a request}}, medians of the rounds."""
    binary = built("bench/native")
    rounds = collections.defaultdict(list)
    for _ in range(arguments.runs):
        for depth, kinds in _HEADS_CASES:
            rounds[depth, kinds].append(_time_heads(binary, depth, kinds))
    results = {}
    for depth, kinds in _HEADS_CASES:
        ratios = [mine / one for mine, one in zip(rounds[depth, kinds], rounds[depth, "1"])]
        results[f"{depth}/{kinds}"] = {"server": median(rounds[depth, kinds]),
                                       "ratio": median(ratios)}
        try:
            results[f"{depth}/{kinds}"]["total"] = _count_heads(binary, depth, kinds)
        except BenchError as error:
            note(f"heads, {kinds} kinds, depth {depth}: {error}")
    return results

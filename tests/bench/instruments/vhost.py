"""Requests a second past the host's kernel: scripts/vhost-bench, which also runs by itself."""

import json
import os
import shlex
import subprocess

from .tools import TOP, BenchError, built, die_with_parent, scratch_path


def rates(arguments, note):
    """scripts/vhost-bench's own JSON."""
    path = scratch_path("vhost.json")
    command = [os.path.join(TOP, "scripts", "vhost-bench"), "--runs", str(arguments.runs),
               "--image", built("tally.elf"), "--json", path]
    if arguments.seconds:
        command += ["--seconds", str(arguments.seconds)]
    # Each of its measurements ends in bounded time. What it leaves when it is killed is in scratch.
    done = subprocess.run(command + shlex.split(arguments.vhost_options), capture_output=True,
                          text=True, check=False, preexec_fn=die_with_parent,
                          env=dict(os.environ, TMPDIR=os.path.dirname(path)))
    said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    if done.returncode not in (0, 1):
        raise BenchError(said[-1])
    for line in said:
        if done.returncode == 1 and line.startswith("FAILED: "):
            note(f"vhost: {line}")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError:  # it ended before it had written any
        raise BenchError(said[-1]) from None

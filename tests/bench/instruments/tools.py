"""What every instrument needs: running commands, medians."""

import argparse
import ctypes
import json
import os
import shutil
import signal
import stat
import statistics
import subprocess

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


class BenchError(Exception):
    """An instrument cannot measure; the message says why."""


def run(*command, timeout=120, **options):
    """The standard output of a command; BenchError if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False,
                              **options)
    except FileNotFoundError:
        raise BenchError(f"{command[0]}: not installed") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(command)}: not done after {timeout} s") from None
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip().splitlines()
        raise BenchError(f"{' '.join(command)}: {text[-1] if text else done.returncode}")
    return done.stdout


def die_with_parent():
    """In a new process: whatever way its parent ends, it ends too."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_copies = {}


def built(name):
    """The path of a copy of what make has built: it stays as it is if make builds it anew."""
    if name not in _copies:
        path = os.path.join(TOP, "build", name)
        if not os.path.exists(path):
            raise BenchError(f"build/{name} is not there: make bench builds it")
        _copies[name] = shutil.copy(path, scratch)
    return _copies[name]


# A directory for files of this run; scripts/bench makes and removes it.
scratch = None


def scratch_path(name):
    return os.path.join(scratch, name)


def output(path):
    """argparse's type of --json FILE: opened before anything is measured, so that a path that
    cannot be written is told at once. What it holds stays until write_json()."""
    try:
        return open(path, "a", encoding="utf-8")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None


def write_json(file, document):
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.truncate(0)
    with file:
        json.dump(document, file, indent=1)
        file.write("\n")


def median(values):
    return statistics.median(values)


def commit():
    """The commit that is measured; "+" after it when the tree differs from it."""
    try:
        name = run("git", "-C", TOP, "rev-parse", "--short=12", "HEAD").strip()
        changed = run("git", "-C", TOP, "status", "--porcelain", "--untracked-files=no")
    except BenchError:
        return "unknown"
    return name + ("+" if changed else "")

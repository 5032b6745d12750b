#!/usr/bin/env python3
"""Every command of `make help`, started by make in its cheapest form, so that none rots.

    python3 tests/commands.py

Those that `make test` has as a part of its own (scripts/test) are only seen to be the same.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
NAME = f"tally-commands-{os.getpid()}"
SECONDS = 300
# Not of the make that has started this, nor of its user.
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if name not in ("MAKEFLAGS", "MAKELEVEL", "IMAGE", "ARGS", "QEMU_EXTRA", "BIND")}

# command: its variables, and what it then prints.
CHEAP = {
    "all": ([], r"build/tally.elf: \d+ bytes"),
    "help": ([], r"make help"),
    "unit": (["FILTER=refused"], r"(?s)([1-9]\d* passed, 0 failed.*){3}"),
    "sim": (["SEED=0x1", "TIME=1"], r""),
    "sim-store": (["SEED=0x1"], r"1 seeds\n1 passed, 0 failed"),
    "fuzz": (["FUZZ=cmdline", "TIME=1"], r"1 passed, 0 failed"),
    "e2e": (["FILTER=an object as the user's name"], r"1 passed, 0 failed"),
    "soak": (["MINUTES=0.1"], r"is exact"),
    "bench": (["BENCH_ARGS=--help"], r"usage: scripts/bench"),
    "plot": (["PLOT_ARGS=--help"], r"usage: scripts/plot"),
    # The machine is gone before gdb is, which the end of its input ends.
    "debug": ([f"NETNS={NAME}", "PORT=none", "GDB_ARGS=-ex 'print 1 + 1' -ex kill"],
              r"\$1 = 2\n"),
}
# What scripts/test does in whole.
PARTS = ("check", "coverage", "guest", "mutants", "reproducible")


def make(*words, cwd=TOP):
    done = subprocess.run(["make", *words], cwd=cwd, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=SECONDS)
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}: {done.stdout}")
    return done.stdout


def expect_said(pattern, text):
    if not re.search(pattern, text):
        raise AssertionError(f"no {pattern!r} in: {text}")


def check_cheap(name):
    words, pattern = CHEAP[name]
    expect_said(pattern, make(name, *words))


def check_part(name):
    script = make("-n", name).splitlines()[-1].removeprefix("exec ")
    parts = (TOP / "scripts/test").read_text(encoding="utf-8")
    expect_said(rf"\[{name}\]='{script}[ ']", parts)


def check_test():
    expect_said(r"^exec scripts/test$", make("-n", "test").splitlines()[-1])


def check_run_and_load():
    with tempfile.TemporaryDirectory(prefix="tally-commands-") as directory:
        disk = os.path.join(directory, "tally.img")
        check_run_with(disk)
        said = make("disk-check", f"DISK={disk}")
        expect_said(r'(?s)^sound\n.*"totalRequests":2000,"uniqueUsers":2000', said)
        expect_said(r'(?m)^"user_1999"$', make("disk-export", f"DISK={disk}"))


def check_run_with(disk):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with tempfile.TemporaryFile("w+") as log:
        run = subprocess.Popen(["make", "run", f"NETNS={NAME}", f"PORT={port}",
                                f"DISK={disk}"], cwd=TOP,
                               env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log,
                               stderr=subprocess.STDOUT)

        def wait_for(text):
            end = time.monotonic() + SECONDS
            while text not in (said := log_text(log)):
                if run.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"no {text!r} in: {said}")
                time.sleep(0.05)

        try:
            wait_for("listening on")
            said = make("load", f"NETNS={NAME}", "LOAD_ARGS=-n 2000 -c 10")
            expect_said("SUCCESS", said)
            run.send_signal(signal.SIGTERM)  # make hands it on, and waits
            run.wait(SECONDS)
            expect_said('"totalRequests":2000', log_text(log))
        finally:
            with contextlib.suppress(ProcessLookupError):
                run.send_signal(signal.SIGTERM)
            run.wait()


def log_text(log):
    log.seek(0)
    return log.read()


def check_clean():
    """In a tree of nothing but the Makefile and what it removes."""
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(TOP / "Makefile", directory)
        build = pathlib.Path(directory, "build")
        for name in ("guest/kept.o", "lwip/COPYING", "tally.elf"):
            (build / name).parent.mkdir(parents=True, exist_ok=True)
            (build / name).touch()
        make("clean", cwd=directory)
        left = sorted(str(path.relative_to(build)) for path in build.rglob("*"))
        if left != ["lwip", "lwip/COPYING"]:
            raise AssertionError(f"left by make clean: {left}")
        make("distclean", cwd=directory)
        if build.exists():
            raise AssertionError("left by make distclean: build/")


def check_bench():
    """Its quickest instrument, without what `make bench` installs for the others."""
    done = subprocess.run(["scripts/bench", "--only", "native", "--runs", "1"], cwd=TOP, text=True,
                          capture_output=True, timeout=SECONDS)
    expect_said("Nanoseconds a request", done.stdout + done.stderr)


def check_help():
    """All of them are here."""
    listed = set(re.findall(r"(?m)^  make ([\w-]+)", make("help")))
    here = {*CHEAP, *PARTS, "run", "load", "disk-check", "disk-export", "test", "clean",
            "distclean"}
    if listed != here:
        raise AssertionError(f"in `make help` or here alone: {listed ^ here}")


def main():
    checks = {"every command is here": check_help,
              "run, load, disk-check, disk-export": check_run_and_load,
              "clean, distclean": check_clean, "test": check_test}
    checks |= {name: lambda name=name: check_cheap(name) for name in CHEAP}
    checks |= {name: lambda name=name: check_part(name) for name in PARTS}
    if os.geteuid() == 0:
        checks["scripts/bench"] = check_bench
    failed = 0
    for name, check in checks.items():
        try:
            check()
        except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
            print(f"FAILED {name}: {error}", flush=True)
            failed += 1
    print(f"commands: {len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Who can reach a run of scripts/run, and how: by its port, its tap or QEMU's own network; and what
an ordinary user can."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from harness import expect
from test_run import (NAME, NO_TAP, TOP, Run, descendants, expect_gone, expect_nothing_left,
                      expect_refused, instead, serve)

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
# What /etc/profile gives whoever is not root.
LOGIN_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"


def load(*command, top=TOP, **environment):
    return subprocess.run([*command, "scripts/load"], cwd=top, capture_output=True, text=True,
                          env={**os.environ, "NETNS": NAME, **environment})


def warnings(run):
    return [line for line in run.text.splitlines() if line.startswith("warning: ")]


def expect_answer(address, port, wanted):
    with socket.socket() as sock:
        expect(sock.connect_ex((address, port)) == 0, wanted, f"{address} answers")


# ---- BIND

def check_loopback(suite, programs):
    """One address of the loopback network alone: nothing to be warned of."""
    with instead(**programs) as path, Run(suite, BIND="127.0.0.2", PATH=path) as run:
        run.wait_for(f"Tally: http://127.0.0.2:{run.port}, ").wait_for("listening on")
        expect_answer("127.0.0.2", run.port, True)
        expect_answer("127.0.0.1", run.port, False)
        expect([line for line in warnings(run) if "BIND" in line], [], "warnings")


def check_any_address(suite, programs):
    with instead(**programs) as path, Run(suite, BIND="0.0.0.0", PATH=path) as run:
        run.wait_for("listening on")
        expect_answer("127.0.0.2", run.port, True)
        serve(run)
        lines = [line for line in warnings(run) if line.startswith("warning: BIND=0.0.0.0: ")]
        expect(len(lines), 1, f"warnings in {run.text}")
        expect("there is no authentication" in lines[0], True, lines[0])
        done = load(LOAD_ARGS="-n 100 -c 2")
        expect(done.returncode, 0, f"exit status; {done.stdout}{done.stderr}")


def check_wrong_address(suite):
    for address in ("localhost", "127.0.0", "127.0.0.1.", "127.0.0.256", "127.0.0.01", "::1",
                    "224.0.0.1", "255.255.255.255", "127.0.0.1 "):
        with Run(suite, BIND=address) as run:
            expect_refused(run, f"BIND={address}: an IPv4 address of this host")


def check_others_address(suite, programs):
    with instead(**programs) as path, Run(suite, BIND="192.0.2.1", PATH=path) as run:
        expect_refused(run, "BIND=192.0.2.1: no address of this host")


# ---- the appliance's own address, and QEMU's network

def check_own_address(suite):
    """The console names it; what is said above of how to reach it is true."""
    with Run(suite) as run:
        run.wait_for("listening on http://198.18.0.2:8080")
        line = next(line for line in run.text.splitlines() if line.startswith("Its own address, "))
        enter, url = line.partition(": ")[2].split(" curl ")
        ask = f"import urllib.request as u; print(u.urlopen('{url}', timeout=10).status)"
        done = subprocess.run([*enter.split(), sys.executable, "-c", ask], capture_output=True,
                              text=True)
        expect(done.stdout, "200\n", done.stderr)


def check_no_tap(suite):
    """It serves, and says that it is not for load, and how to get a tap; so does scripts/load."""
    with instead(**NO_TAP) as path, Run(suite, PATH=path) as run:
        run.wait_for("listening on")
        serve(run)
        text = load(LOAD_ARGS="-n 10 -c 1").stderr
        for where in (run.text, text):
            expect("warning: QEMU's own network is" in where and "not for load" in where, True,
                   where)
            expect("For a tap let this root" in where, True, where)
        expect("Its own address, below, is inside QEMU" in run.text, True, run.text)


def check_unreachable(suite):
    """Neither a tap nor a port: it says so, and so does the load client's script."""
    with instead(**NO_TAP) as path, Run(suite, port="none", PATH=path) as run:
        run.wait_for("listening on")
        expect(len(warnings(run)), 1, run.text)
        done = load()
        expect(done.returncode, 2, f"exit status; {done.stderr}")
        expect("neither a tap nor a port" in done.stderr, True, done.stderr)


# ---- an ordinary user

class RunAsNobody(Run):
    """In a copy of the tree, for others may not read this one."""

    command = (*AS_NOBODY, "scripts/run")

    def __init__(self, suite, top):
        self.top = top
        super().__init__(suite, IMAGE="build/tally.elf", PATH=LOGIN_PATH)


@contextlib.contextmanager
def copied(suite):
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        build = pathlib.Path(directory) / "build"
        build.mkdir()
        shutil.copytree(TOP / "scripts", build.parent / "scripts")
        shutil.copy(suite.elf, build / "tally.elf")
        shutil.copy(suite.load, build / "tally-load")
        yield directory


@contextlib.contextmanager
def tun_for(mode):
    """/dev/net/tun with that mode, in this mount namespace. False where that cannot be had."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as undo:
        def do(*words, undone_by):
            subprocess.run(words, check=True, capture_output=True)
            undo.callback(subprocess.run, undone_by, check=True)

        try:
            do("mount", "-t", "tmpfs", "tally-e2e", directory, undone_by=("umount", directory))
            subprocess.run(["mknod", "-m", mode, f"{directory}/tun", "c", "10", "200"], check=True,
                           capture_output=True)
            do("mount", "--bind", f"{directory}/tun", "/dev/net/tun",
               undone_by=("umount", "/dev/net/tun"))
        except subprocess.CalledProcessError:
            yield False
        else:
            yield True


def check_user(suite, mode, text):
    """By a login shell's PATH, which does not lead to haproxy."""
    state = pathlib.Path(f"/tmp/tally-{NOBODY}") / NAME
    with tun_for(mode) as has_tun, copied(suite) as top, RunAsNobody(suite, top) as run:
        if not has_tun:
            suite.skip(f"as an ordinary user, tun {mode}", "no device can be made here")
            return
        run.wait_for("listening on").wait_for(text)
        serve(run)
        done = load(*AS_NOBODY, top=top, PATH=LOGIN_PATH, LOAD_ARGS="-n 100 -c 2")
        expect(done.returncode, 0, f"exit status; {done.stdout}{done.stderr}")
        pids = descendants(run.process.pid)
        for pid in [*pids, run.process.pid]:
            os.kill(pid, signal.SIGTERM)
        expect(run.wait(), 0, f"exit status; {run.text}")
        run.wait_for('"totalRequests":101', 1)
        expect("error" in run.text, False, run.text)
        expect_nothing_left(run, pids)
        expect(state.exists(), False, "the state is left")


# ---- what holds blanks

def check_quotes(suite):
    """QEMU_EXTRA and LOAD_ARGS are words as a shell has them."""
    with tempfile.TemporaryDirectory(prefix="tally e2e ") as directory, \
            Run(suite, QEMU_EXTRA="-name 'Tally of e2e'") as run:
        run.wait_for("listening on")
        lines = [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                 for pid in descendants(run.process.pid)]
        expect(sum(b"Tally of e2e" in line for line in lines), 1, f"{lines}")
        done = load(LOAD_ARGS=f'-n 100 -c 2 --json "{directory}/report"')
        expect(done.returncode, 0, f"exit status; {done.stdout}{done.stderr}")
        report = pathlib.Path(directory, "report").read_text(encoding="utf-8")
        expect(json.loads(report)["answered_200"], 100, "answered")
        done = load(LOAD_ARGS='--json "report')
        expect((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        expect('error: LOAD_ARGS=--json "report: ' in done.stderr, True, done.stderr)
    with Run(suite, QEMU_EXTRA="-name 'x") as run:
        expect_refused(run, "QEMU_EXTRA=-name 'x: no closing quotation")


def run(suite):
    if not suite.is_root:
        print("e2e: reach: skipped: namespaces with a name, and other users, want root")
        return
    ways = (("", {}), (", without a tap", NO_TAP))
    for name, check in (("one address of the loopback network", check_loopback),
                        ("any address, with a warning", check_any_address),
                        ("somebody else's address", check_others_address)):
        suite.each([(f"BIND: {name}{way}", suite, programs) for way, programs in ways], check)
    suite.each([("an ordinary user who may open tun", suite, "666", "network: tap"),
                ("an ordinary user who may not", suite, "600",
                 "For a tap run it as root, or let this user")], check_user)
    for name, check in (("BIND: no address", check_wrong_address),
                        ("its own address", check_own_address),
                        ("without a tap it is not for load", check_no_tap),
                        ("neither a tap nor a port", check_unreachable),
                        ("arguments with blanks", check_quotes)):
        suite.each([(name, suite)], check)

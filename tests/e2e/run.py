#!/usr/bin/env python3
"""End-to-end tests: the image in QEMU, raw sockets on the other end of a tap.

    python3 tests/e2e/run.py [--elf build/tally.elf] [--accel kvm] [--filter TEXT] [--list]

Everything happens in network, mount and process namespaces without a name, made by unshare(1):
nothing of the host's network is seen or touched, and when this process ends, however it ends, the
kernel ends whatever was started and takes the network away with it.

Each module test_*.py is a subject; its run(suite) makes cases. A case that fails is a line with
its reason; the last line says how many passed and failed.
"""

import argparse
import ctypes
import importlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))  # qemu.py
import qemu  # noqa: E402

INSIDE = "TALLY_E2E_INSIDE"
PR_SET_PDEATHSIG = 1

MODULES = [
    "test_api",
    "test_metrics",
    "test_edges",
    "test_chunked",
    "test_json",
    "test_numbers",
    "test_split",
    "test_pipeline",
    "test_connections",
    "test_limits",
    "test_load",
    "test_clock",
    "test_store",
    "test_idle",
    "test_abuse_tcp",
    "test_abuse_flood",
    "test_abuse_wire",
    "test_abuse_http",
    "test_abuse_users",
    "test_abuse_machine",
    "test_boot",
    "test_dhcp",
    "test_run",
    "test_reach",
    "test_make",
    "test_bench",
]
# Where the processor, or the time that an exit takes, makes a difference.
MODULES_UNDER_KVM = ["test_api", "test_edges", "test_connections", "test_limits", "test_load",
                     "test_abuse_tcp", "test_boot", "test_clock", "test_idle"]


def parse_arguments():
    parser = argparse.ArgumentParser(description="End-to-end tests of Tally.")
    parser.add_argument("--elf", default=str(TOP / "build/tally.elf"), help="the image")
    parser.add_argument("--load", default=str(TOP / "build/tally-load"), help="the load client")
    parser.add_argument("--accel", default="tcg", choices=list(qemu.CPUS),
                        help="kvm: only the modules that depend on it")
    parser.add_argument("--filter", default="", help="only cases whose module or name has TEXT")
    parser.add_argument("--list", action="store_true", help="name the modules and stop")
    return parser.parse_args()


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run_in_namespaces():
    """Runs this program again, inside. unshare dies with us, and everything inside with it."""
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    environment = dict(os.environ, **{INSIDE: "root" if os.geteuid() == 0 else "user"})
    child = subprocess.Popen(
        command + [sys.executable, *sys.argv], env=environment, preexec_fn=die_with_parent
    )

    def give_up(number, _frame):
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, give_up)
    try:
        return child.wait()
    finally:
        child.kill()
        child.wait()


def prepare_namespaces():
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # tc is there; an ordinary user's does not lead there
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if os.environ[INSIDE] == "root":  # scripts/run keeps its state there: have one of our own
        subprocess.run(["mount", "-t", "tmpfs", "tally-e2e", "/run"], check=True)


def run_modules(arguments):
    from harness import Suite
    from machine import Machine

    Machine.accelerator = arguments.accel

    suite = Suite(arguments)
    began = time.monotonic()
    try:
        for name in MODULES_UNDER_KVM if arguments.accel == "kvm" else MODULES:
            suite.run_module(importlib.import_module(name))
    finally:
        suite.stop_machines()
    seconds = time.monotonic() - began
    skipped = f", {suite.skipped} skipped" if suite.skipped else ""
    print(f"e2e: {suite.passed} passed, {suite.failed} failed{skipped} ({seconds:.0f} s)")
    return 1 if suite.failed or not suite.passed else 0


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(MODULES))
        return 0
    for program in ("unshare", "ip", "qemu-system-x86_64"):
        if shutil.which(program) is None:
            print(f"e2e: {program} is not installed", file=sys.stderr)
            return 2
    if not os.access(arguments.elf, os.R_OK):
        print(f"e2e: {arguments.elf}: no such image", file=sys.stderr)
        return 2
    if INSIDE not in os.environ:
        # Out here, where who asks is who he is. Most of the machines are microvms: machine.py.
        why_not = arguments.accel == "kvm" and qemu.why_not_kvm(arguments.elf, "microvm")
        if why_not:
            print(f"e2e: skipped: no KVM here ({why_not})")
            print("e2e: 0 passed, 0 failed, 1 skipped")
            return 0
        return run_in_namespaces()
    prepare_namespaces()
    return run_modules(arguments)


if __name__ == "__main__":
    sys.exit(main())

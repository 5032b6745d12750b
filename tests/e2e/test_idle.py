"""Without traffic the machine sleeps, and it wakes up when something comes. What is counted is
processor time and sleeps, not how long anything took."""

import contextlib
import os
import time

from harness import expect
from hostile import monitored
from machine import EXIT_GOOD
from test_metrics import read_metrics
from wire import Client, event, get

MACHINES = ("microvm", "q35", "pc")
QUIET_S = 3
# A hundredth is what it takes; other work on this host makes it more, but a machine that polls
# takes it all, as far as it gets it.
SHARE_MAX = 0.2
WAKE_UPS_MAX = 50  # a second; ten by its timer


def cpu_seconds(pid):
    """utime and stime, of all threads."""
    with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_while_quiet(machine):
    began, before = time.monotonic(), cpu_seconds(machine.process.pid)
    time.sleep(QUIET_S)
    return (cpu_seconds(machine.process.pid) - before) / (time.monotonic() - began)


def sleeps_of(machine):
    return read_metrics(machine)["tally_sleeps_total"]


def ask(client, count=3):
    """After a second without a word."""
    for _ in range(count):
        time.sleep(1)
        expect(client.ask(event(b'{"userId":"u","value":1}')).status, 200)


def check_sleeps(suite, machine_type, connections):
    with suite.boot(machine=machine_type) as machine, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(machine)) for _ in range(connections)]
        for client in clients:
            expect(client.ask(get("/health")).status, 200)
        sleeps = sleeps_of(machine)
        share = share_while_quiet(machine)
        expect(share < SHARE_MAX, True, f"{share:.3f} of a processor")
        sleeps = sleeps_of(machine) - sleeps
        expect(0 < sleeps < QUIET_S * WAKE_UPS_MAX, True, f"{sleeps} sleeps")
        for client in clients[:2]:
            ask(client)
        expect(machine.stop(), EXIT_GOOD, "exit status")  # Ctrl-C is heard in its sleep


def check_polls(suite, text, **options):
    """Never asleep: told so, or for want of an interrupt, which is said."""
    with suite.boot(**options) as machine, Client(machine) as client:
        expect(any("idle=poll" in line and "command line" not in line
                   for line in machine.console()), text, "the console says so")
        ask(client, 1)
        expect(sleeps_of(machine), 0, "sleeps")
        expect(machine.stop(), EXIT_GOOD, "exit status")


def check_button(suite, machine_type):
    with monitored(suite, machine=machine_type) as (machine, monitor):
        time.sleep(1)
        monitor.do("system_powerdown")
        expect(machine.wait_for_exit(), EXIT_GOOD, "exit status")


def run(suite):
    suite.each([(f"{kind}, {connections} idle connections: asleep", suite, kind, connections)
                for kind in MACHINES for connections in (0, 64)], check_sleeps)
    for name, says, options in (
            ("idle=poll", False, {"options": "idle=poll"}),
            ("a PCI device without MSI-X", True,
             {"machine": "q35", "device_options": ",vectors=0"})):
        if suite.wants(name):
            with suite.case(name):
                check_polls(suite, says, **options)
    suite.each([("the power button, asleep", suite, kind) for kind in ("q35", "pc")],
               check_button)

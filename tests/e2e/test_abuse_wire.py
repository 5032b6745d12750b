"""A bad wire: loss, repetition, disorder, corruption, delay, other MTUs, a link that goes down."""

import contextlib
import subprocess
import time

from harness import expect
from hostile import Honest, add_load, finish, metric, monitored, run_load, tool
from test_boot import NO_OFFLOAD

# Chances in 1,000, and milliseconds: loss, duplicate, reorder, corrupt, delay.
CLEAN = (0, 0, 0, 0, 0)
FAULTS = [
    ("nothing wrong", CLEAN, 3000),
    ("2 % lost", (20, 0, 0, 0, 0), 3000),
    ("2 % repeated", (0, 20, 0, 0, 0), 3000),
    ("10 % out of order", (0, 0, 100, 0, 0), 3000),
    ("2 % corrupted", (0, 0, 0, 20, 0), 3000),
    ("100 ms of delay", (0, 0, 0, 0, 100), 1000),
    ("all of it", (20, 20, 100, 20, 20), 1500),
]


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


def netem_is_there(tap):
    """Whether this kernel can do the same in tc; else the relay does it alone."""
    done = subprocess.run(["tc", "qdisc", "add", "dev", tap, "root", "netem", "loss", "2%"],
                          capture_output=True, check=False)
    subprocess.run(["tc", "qdisc", "del", "dev", tap, "root"], capture_output=True, check=False)
    return done.returncode == 0


@contextlib.contextmanager
def relayed(suite, machine, faults):
    """Puts the relay between the machine's tap and the host's side of the network."""
    far = f"far{machine.number}"
    # The host's own stack must not answer on the near side, where the address was.
    ip(f"address del {machine.host_address}/24 dev {machine.tap}")
    ip(f"link set {machine.tap} arp off")
    ip(f"tuntap add dev {far} mode tap")
    process = tool(suite, "relay", machine.tap, far, *faults, 110)
    try:
        expect(process.stdout.readline(), "ready\n", "the relay")
        ip(f"link set {far} addrgenmode none up")
        ip(f"address add {machine.host_address}/24 dev {far}")
        yield
        process.terminate()
        outcome = finish(process)
        for count, name in zip(faults, ("lost", "repeated", "reordered", "corrupted")):
            expect((count > 0) == (outcome[name] > 0), True, f"{outcome}")
        expect(outcome["overflowed"], 0, "frames for which the relay had no room")
    finally:
        process.kill()
        process.wait()
        subprocess.run(["ip", "link", "del", far], capture_output=True, check=False)
        ip(f"link set {machine.tap} arp on")
        ip(f"address add {machine.host_address}/24 dev {machine.tap}")


def load(suite, machine, requests, connections=50, depth=4):
    report = run_load(suite, machine, "-n", str(requests), "-c", str(connections), "-d",
                      str(depth), "--request-timeout-ms", "60000", seconds=100)
    expect(sum(report["errors"].values()), 0, f"errors: {report['errors']}")
    expect(report["answered_200"], requests, "answered")
    add_load(machine, requests)


def check_faults(suite, machine, faults, requests):
    """Whatever the wire does, each event counts once, and each answer is right."""
    with relayed(suite, machine, faults):
        with Honest(machine, patience=60) as honest:
            load(suite, machine, requests)
            honest.progress(10)
        suite.expect_stats(machine)
        suite.forget_watcher()


def check_mtu(suite, machine, mtu):
    """Of the host's side: what it sends is cut to that, and what it is sent must fit."""
    ip(f"link set {machine.tap} mtu {mtu}")
    try:
        with Honest(machine) as honest:
            load(suite, machine, 5000)
            metric(machine, "tally_uptime_seconds")
            honest.progress()
        suite.expect_stats(machine)
    finally:
        ip(f"link set {machine.tap} mtu 1500")


def check_mtu_changes(suite, machine):
    with Honest(machine) as honest:
        for mtu in (576, 9000, 1280, 1500):
            ip(f"link set {machine.tap} mtu {mtu}")
            honest.progress(30)
    suite.expect_stats(machine)


def check_link(suite):
    """The cable is pulled and put back under load: nothing is lost, nothing counts twice."""
    with monitored(suite, memory="128M") as (machine, monitor):
        with Honest(machine, patience=60) as honest:
            for pause in (0.01, 0.3, 1.5):
                honest.progress(30)
                monitor.do("set_link", name="n0", up=False)
                time.sleep(pause)
                monitor.do("set_link", name="n0", up=True)
            honest.progress(30)
        suite.expect_stats(machine)
        machine.wait_for("link down", 1)
        suite.forget_watcher()


def check_link_under_load(suite):
    with monitored(suite, memory="128M") as (machine, monitor):
        process = tool(suite, "slow", machine.address, machine.port, "byte", 200, 3)
        with Honest(machine, patience=60) as honest:
            for _ in range(20):
                monitor.do("set_link", name="n0", up=False)
                monitor.do("set_link", name="n0", up=True)
                time.sleep(0.05)
            load(suite, machine, 5000)
            honest.progress()
        finish(process)
        suite.expect_stats(machine)
        suite.forget_watcher()


def run(suite):
    with suite.boot(device_options=NO_OFFLOAD) as machine:
        if suite.wants("netem") and not netem_is_there(machine.tap):
            suite.skip("netem", "this kernel has no sch_netem; tests/abuse/relay.c does the same")
        suite.each([(f"wire: {name}", suite, machine, faults, requests)
                    for name, faults, requests in FAULTS], check_faults)
        suite.forget_watcher()
    with suite.boot() as machine:
        suite.each([(f"MTU {mtu}", suite, machine, mtu) for mtu in (576, 9000)], check_mtu)
        suite.each([("MTU changes", suite, machine)], check_mtu_changes)
        suite.forget_watcher()
    suite.each([("link down, link up", suite)], check_link)
    suite.each([("link flaps under load", suite)], check_link_under_load)

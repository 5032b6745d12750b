"""The wall clock: what a Date says, and when there must be none."""

import email.utils
import time

from harness import expect
from hostile import monitored
from wire import Client, get

MACHINES = ("pc", "q35", "microvm")


def date_of(answer):
    return email.utils.parsedate_to_datetime(answer.field("date"))


def check_no_date(suite, machine_type, base):
    """RFC 9110 section 6.6.1: without a clock that can be relied on, no Date."""
    machine = suite.machine(machine=machine_type)
    machine.command += ["-rtc", f"base={base}"]
    with machine:
        machine.boot()
        machine.wait_for("the date is not known", 1)
        with machine.connect() as sock:
            sock.sendall(get("/health", "Connection: close"))
            answer = b"".join(iter(lambda: sock.recv(4096), b"")).lower()
    expect(answer.startswith(b"http/1.1 200 ok\r\n"), True, repr(answer))
    expect(b"\r\ndate:" in answer, False, repr(answer))


def check_date(suite, machine_type, base, expected):
    machine = suite.machine(machine=machine_type)
    machine.command += ["-rtc", f"base={base}"]
    with machine:
        machine.boot()
        with Client(machine) as client:
            date = date_of(client.ask(get("/health")))
    expect(date.strftime("%Y-%m-%d %H"), expected)


def seconds_off(client):
    """How far the Date of an answer is from the time at which it was made, as far as we know."""
    before = time.time()
    date = date_of(client.ask(get("/health"))).timestamp()
    after = time.time()
    return max(before - date, date - after, 0)


def check_stopped(suite, machine_type, seconds):
    """The host stops the machine for a while; its TSC stands still, and its RTC does not."""
    with monitored(suite, machine=machine_type) as (machine, monitor):
        with Client(machine) as client:
            expect(seconds_off(client) <= 2, True, "right at first")
            monitor.do("stop")
            time.sleep(seconds)
            monitor.do("cont")
            # Some seconds, on a host that has time for us; by the TSC it would stay off for ever.
            deadline = time.monotonic() + 60
            while seconds_off(client) > 2 and time.monotonic() < deadline:
                time.sleep(0.1)
            expect(seconds_off(client) <= 2, True, "right again")


def run(suite):
    suite.each([
        *[(f"no Date by an RTC of {base} on {name}", check_no_date, name, base)
          for name in MACHINES for base in ("1970-01-01", "2000-01-01")],
        *[(f"the Date of an RTC of 2051 on {name}", check_date, name, "2051-03-04T05:06:07",
           "2051-03-04 05") for name in MACHINES],
        *[(f"the Date after a stop on {name}", check_stopped, name, 5) for name in MACHINES[1:]],
    ], lambda check, *options: check(suite, *options))

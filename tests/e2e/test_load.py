"""The load client against the appliance: many connections, and an exact check at the end."""

import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from fractions import Fraction

from harness import expect
from machine import CTRL_C, loopback_port
from model import Model
from wire import Client, event, stats_text

TOP = pathlib.Path(__file__).resolve().parent.parent.parent


def expected_text(total, go):
    """What /stats says after requests 0 to total - 1 of the challenge: by another way than C's."""
    model = Model()
    model.total = total
    model.users = range(min(total, 75000))
    rounds, rest = divmod(total, 1000)
    model.sum = Fraction(rounds * 499500 + rest * (rest - 1) // 2)
    if go:
        model.sum += Fraction(total, 2)
    return model.text()


def run_load(suite, machine, *options):
    # An answer may take longer than the client's 10 s on a host that does much else.
    command = [suite.load, "--quiet", "--json", "-", "--timeout-s", "120", "--request-timeout-ms",
               "60000", *options, f"{machine.address}:{machine.port}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    report = json.loads(done.stdout)
    expect(report["success"], True, "success")
    expect_seconds(report)
    return report


def expect_seconds(report):
    """What is said of each whole second adds up to no more than what is said of the run."""
    seconds = report["per_second"]
    expect(len(seconds), int(report["seconds"]), "whole seconds")
    if seconds:
        answered = sum(second["answered_200"] for second in seconds)
        expect(0 < answered <= report["answered_200"], True, f"answers in {seconds}")
        used_ns = sum(second["cpu_ns"] for second in seconds)
        expect(0 < used_ns <= report["cpu_seconds"] * 1e9, True, f"CPU time in {seconds}")


def check_exact(suite, requests, go, *options):
    with suite.boot(memory="128M") as machine:
        report = run_load(suite, machine, "-n", str(requests), *options,
                          *(["--data", "go"] if go else []))
        expect(sum(report["errors"].values()), 0, "errors")
        expect(report["answered_200"], requests, "answered 200")
        expect(stats_text(machine), expected_text(requests, go), "/stats")
        expect(machine.stop(), 33, "exit status")


def check_ten_thousand(suite):
    """10,000 connections at once are a matter of configuration."""
    with suite.boot(memory="256M", options="max-connections=10000") as machine:
        # One slot is for those who ask for /stats, which may cost an idle connection its own.
        report = run_load(suite, machine, "-n", "50000", "-c", "9999")
        expect(sum(report["errors"].values()), 0, "errors")
        expect(stats_text(machine), expected_text(50000, False), "/stats")
        expect(machine.stop(), 33, "exit status")


def check_wrong_server_is_noticed(suite):
    """The check can fail: another client's event in between is one too many."""
    with suite.boot() as machine:
        command = [suite.load, "--quiet", "-n", "20000", "--rate", "10000",
                   f"{machine.address}:{machine.port}"]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True)
        with Client(machine) as client:
            for line in load.stdout:
                if line.startswith("Starting"):
                    expect(client.ask(event()).status, 200)
                    break
        text = load.stdout.read()
        expect(load.wait(), 1, "exit status")
        expect("FAILURE" in text and "SUCCESS" not in text, True, text)


def check_inexact_sum(suite):
    """Others' events have made the sum too large to tell this run's share."""
    with suite.boot() as machine:
        with Client(machine) as client:
            expect(client.ask(event(b'{"userId":"a","value":1e300}')).status, 200)
        done = subprocess.run([suite.load, "-n", "1000", "-c", "4",
                               f"{machine.address}:{machine.port}"], capture_output=True, text=True)
        expect(done.returncode, 3, f"exit status; {done.stdout}")
        expect("INCONCLUSIVE" in done.stdout and "SUCCESS" not in done.stdout, True, done.stdout)
        expect("1e+300           cannot be checked: " in done.stdout, True, done.stdout)


def check_names_option(suite, options, load_options, named):
    """It fails for want of room, and says which option makes some."""
    with suite.boot(options=options) as machine:
        done = subprocess.run([suite.load, *load_options, f"{machine.address}:{machine.port}"],
                              capture_output=True, text=True, timeout=120)
        text = done.stdout + done.stderr
        expect(done.returncode, 1, f"exit status; {text}")
        for name in named:
            expect(name in text, True, f"{name} in {text}")


def check_names_option_early(suite):
    """More connections than there can be are never all open: it does not try in silence."""
    with suite.boot(options="max-connections=16") as machine:
        command = [suite.load, "-c", "2000", "--connecting", "4",
                   f"{machine.address}:{machine.port}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True) as load:
            try:
                line = next(line for line in load.stderr if line.startswith("Connecting: "))
                expect("max-connections=" in line, True, line)
            finally:
                load.kill()


def check_report_path(suite, *command):
    """A report that cannot be written is told at once, and nothing begun."""
    path = "/nonexistent/report"
    done = subprocess.run([*command, "--json", path], capture_output=True, text=True, timeout=120)
    expect(done.returncode, 2, f"exit status; {done.stdout}{done.stderr}")
    expect(f"{path}: No such file or directory" in done.stderr, True, done.stderr)
    expect(done.stdout, "", "standard output")


def check_report_without_path(suite):
    """An option is not taken for the report's file."""
    for option in ("--requests", "-n"):
        done = subprocess.run([suite.load, "--json", option, "10"], capture_output=True, text=True,
                              timeout=10)
        expect(done.returncode, 2, f"exit status; {done.stdout}{done.stderr}")
        expect(f'before "{option}" a FILE is missing' in done.stderr, True, done.stderr)


def check_vhost_is_an_instrument(suite):
    """What scripts/vhost-bench measures stands in scripts/bench's table and in its JSON."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "report")
        done = subprocess.run(
            [TOP / "scripts/bench", "--only", "vhost", "--runs", "1", "--seconds", "1", "--json",
             path, "--vhost-options",
             f"--image {shlex.quote(suite.elf)} --accel {suite.accelerator} "
             "--connections 16 --depths 4 --no-nginx"],
            capture_output=True, text=True, timeout=300)
        expect(done.returncode, 0, f"exit status; {done.stdout}{done.stderr}")
        with open(path, encoding="utf-8") as file:
            results = json.load(file)["vhost"]["results"]
    expect([(each["kind"], each["connections"], each["depth"]) for each in results],
           [(suite.accelerator, 16, 4)], "measured")
    row = f"{suite.accelerator:<9}{16:>7} x {4:<5}{results[0]['median']:>11.0f}"
    expect(row in done.stdout, True, f"{row!r} in {done.stdout}")


def check_load_report_path(suite):
    with suite.boot() as machine:
        check_report_path(suite, suite.load, f"{machine.address}:{machine.port}")
        expect(stats_text(machine), Model().text(), "/stats")


def expect_given_up(suite, stop, address, reason, *options):
    """The server is stopped in the middle of the load: that is said, and soon the end."""
    command = [suite.load, "--no-check", "-n", "1000000000", "-c", "16", "-d", "16",
               *options, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as load:
        try:
            expect(any(line.startswith("Completed:") for line in load.stdout), True, "progress")
            stop()
            text, _ = load.communicate(timeout=120)
        finally:
            load.kill()
    expect(load.returncode, 1, "exit status")
    expect("No answer for " in text, True, text)
    expect(f"FAILURE: stopped early ({reason});" in text, True, text)


def check_server_stops(suite):
    """It neither answers nor refuses: each connection is given up, and so is the run."""
    with suite.boot() as machine:
        expect_given_up(suite, lambda: machine.process.send_signal(signal.SIGSTOP),
                        f"{machine.address}:{machine.port}", "no answer for 5 s",
                        "--request-timeout-ms", "500", "--stall-timeout-s", "5")


def check_server_dies(suite):
    """What was in flight is reset, connections are refused: that is no silence, which it would bear
    for 30 s."""
    port = loopback_port()
    with subprocess.Popen([os.path.join(os.path.dirname(suite.load), "null-server"), str(port)],
                          stderr=subprocess.DEVNULL) as server:
        try:
            while server.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            expect_given_up(suite, server.kill, f"127.0.0.1:{port}",
                            "the server is gone: Connection refused")
        finally:
            server.kill()


def check_appliance_ends(suite):
    """The same over the tap, where nobody is left to refuse: this host says so."""
    with suite.boot() as machine:
        expect_given_up(suite, lambda: machine.press(CTRL_C), f"{machine.address}:{machine.port}",
                        "the server is gone: No route to host")


def check_never_there(suite):
    """Who refuses from the beginning is not waited for either."""
    done = subprocess.run([suite.load, "--no-check", "-n", "1000", "-c", "4", "--stall-timeout-s",
                           "1", f"127.0.0.1:{loopback_port()}"], capture_output=True, text=True)
    expect(done.returncode, 1, f"exit status; {done.stdout}")
    expect("stopped early (the server is gone: Connection refused)" in done.stdout, True,
           done.stdout)


def check_counts_stay(suite):
    """What follows from them for the next client is said."""
    with suite.boot() as machine:
        done = subprocess.run([suite.load, "--quiet", "-n", "1000", "-c", "4",
                               f"{machine.address}:{machine.port}"], capture_output=True, text=True)
    expect(done.returncode, 0, f"exit status; {done.stdout}")
    expect("it keeps these counts: restart it" in done.stdout, True, done.stdout)


def run(suite):
    suite.each([
        ("100,000 over 1,000 connections", suite, 100000, False, "-c", "1000"),
        ("100,000 over 1,000 connections, 16 in flight on each", suite, 100000, False,
         "-c", "1000", "-d", "16"),
        ("100,000 of the Go tester's over 500 connections", suite, 100000, True, "-c", "500"),
        ("20,000 over a connection each", suite, 20000, False, "-c", "100", "--close"),
        ("20,000 at 5,000 a second", suite, 20000, False, "-c", "50", "--rate", "5000"),
        ("50,000 over one connection, 200 in flight", suite, 50000, False, "-c", "1", "-d", "200"),
    ], check_exact)
    suite.each([("50,000 over 10,000 connections", suite)], check_ten_thousand)
    suite.each([("the load client notices an event too many", suite)],
               check_wrong_server_is_noticed)
    suite.each([("the load client says what it cannot check", suite)], check_inexact_sum)
    suite.each([("the load client names max-users=", suite, "max-users=100",
                 ("-n", "1000", "-c", "4"), ("answered 507:      900", "max-users=", "MEM=")),
                ("the load client names max-connections=", suite, "max-connections=16",
                 ("-n", "100000", "-c", "64", "--timeout-s", "1"),
                 ("max-connections=", "MEM="))], check_names_option)
    suite.each([("the load client names max-connections= while it connects", suite)],
               check_names_option_early)
    suite.each([("the load client gives a server up that stops", suite)], check_server_stops)
    suite.each([("the load client gives a server up that dies", suite)], check_server_dies)
    suite.each([("the load client gives an appliance up that ends", suite)], check_appliance_ends)
    suite.each([("the load client gives a server up that never was", suite)], check_never_there)
    suite.each([("the load client says that counts stay", suite)], check_counts_stay)
    suite.each([("--json of the load client", suite)], check_load_report_path)
    suite.each([("--json of the load client, without a file", suite)], check_report_without_path)
    tools = os.path.dirname(suite.load)
    suite.each([("--json of tally-vhost", suite, os.path.join(tools, "tally-vhost"),
                 "--socket", "/nonexistent/socket"),
                ("--json of scripts/bench", suite, str(TOP / "scripts/bench")),
                ("--json of scripts/vhost-bench", suite, str(TOP / "scripts/vhost-bench"))],
               check_report_path)
    name = "scripts/bench measures past the host's kernel"
    if not suite.is_root and suite.wants(name):
        suite.skip(name, "it wants root")
    elif suite.is_root:
        suite.each([(name, suite)], check_vhost_is_an_instrument)

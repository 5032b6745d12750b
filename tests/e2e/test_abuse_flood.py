"""Floods, and clients that hold on to what they have: an honest client is served beside them."""

import os
import time

from harness import expect
from hostile import Honest, add_load, finish, flood, metric, run_load, slow
from wire import Client

KINDS = ["syn", "syn-link", "ack", "arp", "arp-reply", "icmp", "udp", "land", "fragment",
         "options", "garbage"]
RATE = 20000  # a second: what passes the tap without loss, so that what is measured is the machine
FLOOD_RATE = 50000
ALL_AT_ONCE_REQUESTS = 60000  # of the honest client, a run
ATTACK_SECONDS = 120  # the tool's most, and more than they take
CYCLES = int(os.environ.get("TALLY_ABUSE_CYCLES", "20000"))


def check_flood(suite, machine, kind):
    with Honest(machine) as honest:
        attack = flood(suite, machine, kind, RATE, 2)
        honest.progress()
        sent = finish(attack)
        honest.progress()
    expect(sent["sent"] > 1000, True, f"a flood of {sent}")
    suite.expect_stats(machine)


def expect_at_rest(machine):
    """What was half-open, or had to be sent, has gone; nothing but the one who asks is there."""
    with Client(machine) as client:
        client.expect_open()
    expect(metric(machine, "tally_connections_open") <= 2, True, "connections left over")


def check_full_speed(suite, machine):
    """As fast as the host can send: most is lost on the tap, honest frames too; nothing breaks."""
    with Honest(machine, patience=60) as honest:
        attack = flood(suite, machine, "syn", 0, 5)
        sent = finish(attack)
        honest.progress()
    print(f"e2e: abuse_flood: a SYN flood of {sent['sent'] * 1000 // sent['ms']} frames a second; "
          f"the honest client was answered {honest.answered} times, the slowest in "
          f"{honest.slowest:.2f} s")
    suite.expect_stats(machine)


def check_slow(suite, machine, kind, connections, seconds):
    with Honest(machine) as honest:
        attack = slow(suite, machine, kind, connections, seconds)
        honest.progress(50)
        outcome = finish(attack)
        honest.progress(50)
    expect(outcome["opened"] >= connections, True, f"{outcome}")
    expect(outcome["refused"], 0, "connections refused")
    suite.expect_stats(machine)
    return outcome


def check_slowloris(suite):
    """5,000 connections, a byte each 2.5 s: each is told 408 when its time is over."""
    with suite.boot(memory="128M", options="max-connections=6000 head-timeout=5s") as machine:
        outcome = check_slow(suite, machine, "byte", 5000, 8)
        expect(outcome["open"], 5000, "open at once")
        expect(outcome["answered"] >= 5000, True, f"{outcome}")
        suite.forget_watcher()


def check_silent(suite):
    """Three times as many silent connections as there are slots: the oldest give way."""
    with suite.boot(options="max-connections=500") as machine:
        outcome = check_slow(suite, machine, "silent", 1500, 4)
        expect(outcome["closed"] + outcome["reset"] >= 1000, True, f"{outcome}")
        suite.forget_watcher()


def check_deaf(suite):
    """Readers that never read, many more than there is memory for answers."""
    with suite.boot(memory="32M", options="send-timeout=3s max-connections=1000") as machine:
        outcome = check_slow(suite, machine, "deaf", 400, 7)
        expect(outcome["reset"] >= 400, True, f"{outcome}")
        suite.forget_watcher()


def check_half_open(suite):
    """More SYNs than there are half-open slots: new clients are served meanwhile."""
    with suite.boot(options="max-connections=64") as machine:
        with Honest(machine) as honest:
            attack = flood(suite, machine, "syn", 5000, 120)  # ended before
            try:
                honest.progress(100)  # of which five are over new connections
                expect(attack.poll(), None, "the flood was over before")
            finally:
                attack.kill()
                attack.wait()
        accepted = metric(machine, "tally_syn_cookies_accepted_total")
        expect(accepted >= 1, True, f"{accepted} connections by a cookie")
        suite.expect_stats(machine)
        suite.forget_watcher()


def check_cycles(suite):
    """Connect, ask, close: as often as was asked for."""
    with suite.boot(memory="128M") as machine:
        with Honest(machine) as honest:
            report = run_load(suite, machine, "-n", str(CYCLES), "-c", "50", "--close")
            honest.progress()
        expect(sum(report["errors"].values()), 0, "errors")
        expect(report["answered_200"], CYCLES, "answered")
        add_load(machine, CYCLES)
        suite.expect_stats(machine)
        suite.forget_watcher()


def throughput(suite, machine, requests):
    """Requests a second of an honest client, none of which may fail."""
    report = run_load(suite, machine, "-n", str(requests), "-c", "32", "--request-timeout-ms",
                      "60000", seconds=ATTACK_SECONDS)
    expect(sum(report["errors"].values()), 0, f"errors: {report['errors']}")
    expect(report["answered_200"], requests, "answered")
    add_load(machine, requests)
    return report["requests_per_second"]


def check_all_at_once(suite):
    """A SYN flood and 5,000 slowloris connections: what is left for an honest client is reported;
    that all of it is answered, and counted, is what may fail. A long head-timeout keeps them all
    there for as long as it takes."""
    with suite.boot(memory="128M", options="max-connections=6000 head-timeout=200s") as machine:
        before, during, cookies = [throughput(suite, machine, ALL_AT_ONCE_REQUESTS)], [], []
        for _ in range(3):
            attackers = []
            try:
                attackers.append(slow(suite, machine, "byte", 5000, ATTACK_SECONDS))
                attackers.append(flood(suite, machine, "syn", FLOOD_RATE, ATTACK_SECONDS))
                sent, began = metric(machine, "tally_syn_cookies_sent_total"), time.monotonic()
                during.append(throughput(suite, machine, ALL_AT_ONCE_REQUESTS))
                sent = metric(machine, "tally_syn_cookies_sent_total") - sent
                cookies.append(sent / (time.monotonic() - began))
                crowded = metric(machine, "tally_connections_open")
                expect(crowded >= 5000, True, f"{crowded} connections")
            finally:
                for process in attackers:
                    process.kill()
                    process.wait()
        before.append(throughput(suite, machine, ALL_AT_ONCE_REQUESTS))
        print(f"e2e: abuse_flood: an honest client gets {min(during):.0f} to {max(during):.0f} "
              f"req/s under {FLOOD_RATE} SYNs/s ({min(cookies):.0f} to {max(cookies):.0f} of them "
              "answered by cookies) and 5,000 slowloris connections, "
              f"{min(before):.0f} to {max(before):.0f} undisturbed: "
              f"{sorted(during)[1] * 2 / sum(before):.2f} of it")
        suite.expect_stats(machine)
        suite.forget_watcher()


def run(suite):
    with suite.boot() as machine:
        suite.each([(f"flood: {kind}", suite, machine, kind) for kind in KINDS], check_flood)
        suite.each([("flood: SYNs as fast as can be", suite, machine)], check_full_speed)
        suite.each([("flood: at rest afterwards", machine)], expect_at_rest)
        suite.forget_watcher()
    suite.each([("half-open connections past the limit", suite)], check_half_open)
    suite.each([("slowloris: 5,000 by the byte", suite)], check_slowloris)
    suite.each([("connected and silent, past the limit", suite)], check_silent)
    suite.each([("readers that never read", suite)], check_deaf)
    suite.each([(f"{CYCLES:,} times connect, ask, close", suite)], check_cycles)
    suite.each([("a flood and 5,000 slowloris connections at once", suite)], check_all_at_once)

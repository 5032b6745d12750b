#!/usr/bin/env python3
"""A soak: load and abuse in turn against the image in QEMU, over a tap, for as long as was asked.

    python3 tests/e2e/soak.py MINUTES [--seed N] [--elf build/tally.elf]

Each phase lasts some seconds, with an honest client beside it that must be answered every time; all
of them in turn are a round, and rounds go on until the time is over. At the end /stats must be
exactly what the model says, and every pool of memory as full as at the start.

Exact, although some answers are lost: events that are cut off in the middle have values of their
own, 1/2 to 1/65,536, and all others whole numbers. So the fraction of the sum tells which of a
batch were counted. The namespaces are run.py's: nothing of the host's network is touched.
"""

import argparse
import os
import random
import re
import sys
import time
from fractions import Fraction

import run
from harness import Suite, expect, expect_error
from hostile import Honest, finish, flood, monitored, run_load, slow
from test_abuse_http import SMUGGLING, answers_of
from test_abuse_wire import relayed
from wire import Client, WireError, event, get, stats_text

LOAD_USERS = 75000  # of tally-load
STEADY_USERS = 50
CUT_USERS = 16
NEW_USERS = 20000  # that find room; of a soak of seconds a tenth

# What is sent through the relay must carry its sums; the rest of the offload stays on.
DEVICE = ",csum=off"
OPTIONS = "max-connections=1000 idle-timeout=20s head-timeout=6s body-timeout=6s"
WIRE = (10, 10, 50, 5, 5)  # in 1,000: lost, repeated, out of order, corrupted; ms of delay
RATE = 1500  # requests a second: a fraction of what it can take, for others use this host too
REST_SECONDS_MAX = 60  # what is left after the last phase: TIME-WAIT, deadlines
MINUTES_MAX = 12 * 60  # then the sum is below 2^36, and its double has 1/65,536

BAD_BODIES = [
    b"", b"{}", b"[]", b"{", b'{"userId":"u","value":1}x', b'{"userId":"u","value":01}',
    b'{"userId":"","value":1}', b'{"userId":"u","value":1e999}', b'{"userId":"u"}',
    b'{"userId":7,"value":1}', b'{"userId":"\xff","value":1}', b'{"userId":"\\ud800","value":1}',
    b'{"userId":"u","value":"1"}', b'{"userId":"u","value":null}', b'{"userId":"u","value":.5}',
    b'{"userId":"' + b"x" * 1025 + b'","value":1}', b"[" * 2000, b"\0" * 100,
]


def body_of(user, value):
    return b'{"userId":"%s","value":%r}' % (user.encode(), value)


class Steady(Honest):
    """The honest client, with whole numbers, and with the time that each answer took. It may be
    told to stay with its one connection."""

    def __init__(self, machine, latencies, stays=False):
        super().__init__(machine, patience=90, pause=0.01)
        self.latencies = latencies
        self.stays = stays

    @staticmethod
    def _event(i):
        return f"steady_{i % STEADY_USERS}", i % 16 + 1

    def _ask(self, kept):
        began = time.monotonic()
        if self.stays:
            answer = kept.ask(event(body_of(*self._event(self.answered))), "POST")
            expect((answer.status, answer.body), (200, b""), "an honest event")
            self.answered += 1
        else:
            super()._ask(kept)
        self.latencies.append(time.monotonic() - began)


class Soak:
    def __init__(self, arguments, machine, monitor):
        self.load = arguments.load  # as hostile.py wants its suite
        self.machine = machine
        self.model = machine.model
        self.monitor = monitor
        self.chance = random.Random(arguments.seed)
        self.seconds = max(1, min(10, int(arguments.minutes * 60 - 20) // len(PHASES)))
        self.new_users = 0
        self.new_users_max = room_for(arguments)
        # Full within a round or four, and then some more, which are refused.
        self.new_users_in_a_phase = self.new_users_max // (1 if arguments.minutes < 10 else 4) + 400
        self.latencies = []
        self.refused = 0
        self.lost = self.lost_and_counted = 0  # events whose answers nobody saw

    # ---- phases

    def ask_load(self, rate, *options):
        """The load client, which must be answered every time."""
        requests = rate * self.seconds
        report = run_load(self, self.machine, "-n", str(requests), "--rate", str(rate),
                          "--request-timeout-ms", "90000", *options, seconds=110)
        expect(sum(report["errors"].values()), 0, f"errors: {report['errors']}")
        expect(report["answered_200"], requests, "answered")
        rounds, rest = divmod(requests, 1000)
        self.model.total += requests
        self.model.sum += rounds * 499500 + rest * (rest - 1) // 2
        self.model.users.update(f"user_{i}" for i in range(min(requests, LOAD_USERS)))

    def keep_alive(self):
        self.ask_load(RATE, "-c", "64")

    def pipelined(self):
        self.ask_load(4 * RATE, "-c", "32", "-d", "16")

    def connection_each(self):
        self.ask_load(RATE // 5, "-c", "20", "--close")

    def add_known_users(self):
        """Those for whom there must be room later."""
        users = [f"steady_{i}" for i in range(STEADY_USERS)]
        users += [f"cut_{i}" for i in range(CUT_USERS)]
        with Client(self.machine) as client:
            for user in users:
                expect(client.ask(event(body_of(user, 1)), "POST").status, 200, user)
                self.model.add(user, 1)

    def add_users(self):
        """New ones until there is no room, and then: they are refused, and known ones count."""
        with Client(self.machine, 60) as client:
            for _ in range(self.new_users_in_a_phase // 16):
                news = [f"new_{self.new_users + i}" for i in range(16)]
                asked = [(user, len(user)) for user in news]
                asked += [(f"steady_{self.chance.randrange(STEADY_USERS)}", 3)]
                client.send(b"".join(event(body_of(*words)) for words in asked))
                for user, value in asked:
                    answer = client.response("POST")
                    has_room = user not in news or self.new_users < self.new_users_max
                    if has_room:
                        expect((answer.status, answer.body), (200, b""), user)
                        self.model.add(user, value)
                        self.new_users += user in news
                    else:
                        expect_error(answer, 507)
                        self.refused += 1
                time.sleep(0.005)

    def ask_anew(self, i):
        """An event over a connection of its own."""
        with Client(self.machine, 60) as client:
            expect(client.ask(event(body_of(f"cut_{i}", 0.5 ** (i + 1))), "POST").status, 200)
        return True

    def syn_flood(self):
        """Who is connected stays so; who is not gets in."""
        with Client(self.machine, 60) as watcher:
            watcher.expect_open()
            attack = flood(self, self.machine, "syn", 5000, self.seconds)
            served = 0
            while attack.poll() is None:
                served += self.ask_batch(self.ask_anew, watcher)
        expect(served > 0, True, "somebody got in")
        expect(finish(attack)["sent"] > 1000, True, "SYNs sent")

    def slow_clients(self):
        crowds = [slow(self, self.machine, kind, 200, self.seconds) for kind in ("byte", "silent")]
        self.ask_load(RATE // 5, "-c", "20")
        for crowd in crowds:
            expect(finish(crowd)["opened"] >= 200, True, "connections opened")

    def never_readers(self):
        crowd = slow(self, self.machine, "deaf", 60, self.seconds)
        self.ask_load(RATE // 5, "-c", "20")
        expect(finish(crowd)["opened"] >= 60, True, "connections opened")

    def cut(self, i):
        """An event over a connection that ends at some point, by FIN or by RST. Returns whether it
        must be counted: None, if both may be."""
        data = event(body_of(f"cut_{i}", 0.5 ** (i + 1)))
        sent = self.chance.choice((0, 1, len(data) - 1, len(data), len(data),
                                   self.chance.randrange(len(data))))
        client = Client(self.machine, 60)
        if sent > 0:
            client.send(data[:sent])
        counted = None if sent == len(data) else False
        if sent == len(data) and self.chance.random() < 0.3:
            expect(client.response("POST").status, 200, "an event")
            counted = True
        if self.chance.random() < 0.5:
            client.reset()
        else:
            client.close()
        return counted

    def bits_counted(self, watcher):
        """The fraction of the sum beyond the model's: a bit for each of CUT_USERS."""
        answer = watcher.ask(get("/stats")).body.decode()
        total = Fraction(float(re.search(r'"sum":([^,]+),', answer)[1]))
        return int((total - self.model.sum) % 1 * 2 ** CUT_USERS)

    def wait_until_arrived(self):
        """What was sent before a close() is acknowledged: the kernel sends no more of it."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with open("/proc/net/tcp", encoding="ascii") as table:
                states = {line.split()[3] for line in table.readlines()[1:]}
            if not states & {"04", "09", "0B"}:  # FIN-WAIT-1, LAST-ACK, CLOSING
                return
            time.sleep(0.02)
        raise AssertionError("what was sent is not acknowledged")

    def ask_batch(self, ask, watcher):
        """ask(i) for each of CUT_USERS, and which of them were counted; returns how many were."""
        must = [ask(i) for i in range(CUT_USERS)]
        self.wait_until_arrived()
        bits = None
        while bits != (bits := self.bits_counted(watcher)):  # twice the same
            time.sleep(0.1)
        for i, counted in enumerate(must):
            is_counted = bits >> (CUT_USERS - 1 - i) & 1 == 1
            if counted not in (None, is_counted):
                raise AssertionError(f"event {i} of {must}: counted {is_counted}")
            if is_counted:
                self.model.add(f"cut_{i}", 0.5 ** (i + 1))
            self.lost += counted is None
            self.lost_and_counted += counted is None and is_counted
        return bits.bit_count()

    def cuts(self):
        end = time.monotonic() + self.seconds
        with Client(self.machine, 60) as watcher:
            while time.monotonic() < end:
                self.ask_batch(self.cut, watcher)

    def malformed(self):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            with Client(self.machine, 60) as client:
                for body in self.chance.sample(BAD_BODIES, 5):
                    expect_error(client.ask(event(body)), 400, closes=False)
            _, data = self.chance.choice(SMUGGLING)
            at = self.chance.randrange(1, len(data))
            with Client(self.machine, 60) as client:
                client.send_pieces([data[:at], data[at:]])
                client.finish_sending()
                answers = answers_of(client)
            expect([answer.status in (400, 413, 501) for answer in answers], [True], f"{answers}")
            time.sleep(0.01)

    def link_flaps(self):
        for pause in (0.01, 0.1, 1, 0.3):
            self.monitor.do("set_link", name="n0", up=False)
            time.sleep(pause)
            self.monitor.do("set_link", name="n0", up=True)
            self.ask_load(RATE // 20, "-c", "10")

    def bad_wire(self):
        with relayed(self, self.machine, WIRE):
            with Steady(self.machine, self.latencies) as honest:
                self.ask_load(RATE // 3, "-c", "32", "-d", "4")
                honest.progress(5)

    def run_phase(self, phase):
        if phase is Soak.bad_wire:  # which has the honest client behind its wire
            phase(self)
            return
        with Steady(self.machine, self.latencies, stays=phase is Soak.syn_flood) as honest:
            honest.progress(1)
            phase(self)
            honest.progress(5)

    # ---- what it says

    def metrics(self, client):
        text = client.ask(get("/metrics")).body.decode()
        return {name: float(value) for name, value in re.findall(r"^([^# ]\S*) (\S+)$", text, re.M)}

    def report(self, began):
        with Client(self.machine, 60) as client:
            now = self.metrics(client)
        took = sorted(self.latencies)
        ms = [1000 * took[int((len(took) - 1) * part)] for part in (0.5, 0.99, 1)]
        pools = "/".join(f"{now[name]:.0f}" for name in pools_of(now))
        print(f"soak: {(time.monotonic() - began) / 60:5.1f} min: "
              f"{now['events_processed_total']:.0f} events, "
              f"{now['unique_users_total']:.0f} users, {self.refused} refused; "
              f"{now['tally_connections_open']:.0f} connections, free blocks {pools}; "
              f"{now['tally_retransmissions_total']:.0f} retransmissions, "
              f"{now['tally_timeouts_total']:.0f} timeouts, "
              f"{now['tally_memory_short_total']:.0f} short of memory; "
              f"answers in {ms[0]:.1f} ms (median), {ms[1]:.1f} (99 %), {ms[2]:.0f} (slowest)",
              flush=True)
        self.latencies.clear()

    def expect_rest(self, start):
        """Everybody has gone: soon all is as it was."""
        end = time.monotonic() + REST_SECONDS_MAX
        with Client(self.machine) as client:
            while True:
                now = self.metrics(client)
                now = {name: now[name] for name in start}
                if now == start:
                    return
                if time.monotonic() > end:
                    raise AssertionError(f"not as at the start: {now}, which was {start}")
                time.sleep(1)


PHASES = [
    Soak.keep_alive, Soak.pipelined, Soak.connection_each, Soak.add_users, Soak.syn_flood,
    Soak.slow_clients, Soak.never_readers, Soak.cuts, Soak.malformed, Soak.link_flaps,
    Soak.bad_wire,
]


def pools_of(metrics):
    return [name for name in metrics if name.startswith("tally_pool_free_blocks")]


def room_for(arguments):
    """How many new users find room."""
    return NEW_USERS if arguments.minutes >= 1 else NEW_USERS // 10


def soak(arguments, machine, monitor):
    this = Soak(arguments, machine, monitor)
    with Client(machine) as client:
        client.expect_open()
        metrics = this.metrics(client)
        start = {name: metrics[name] for name in pools_of(metrics) + ["tally_connections_open"]}
    this.ask_load(LOAD_USERS // this.seconds + 1, "-c", "64", "-d", "4")  # all its users
    this.add_known_users()

    began = reported = time.monotonic()
    rounds = 0
    while rounds == 0 or time.monotonic() - began < arguments.minutes * 60:
        for phase in PHASES:
            try:
                this.run_phase(phase)
            except Exception as error:
                raise AssertionError(f"{phase.__name__}, round {rounds}: {error}") from error
            if time.monotonic() - reported >= 60:
                reported = time.monotonic()
                this.report(began)
        rounds += 1
    if this.latencies:
        this.report(began)
    this.expect_rest(start)
    expect(stats_text(machine), machine.model.text(), "/stats")
    print(f"soak: {rounds} rounds in {(time.monotonic() - began) / 60:.1f} min: "
          f"{machine.model.text()} is exact; of {this.lost} events whose answers were lost "
          f"{this.lost_and_counted} are in it; every pool is at its level", flush=True)
    expect(machine.stop(), 33, "exit status")


def main():
    parser = argparse.ArgumentParser(description="A soak of Tally.")
    parser.add_argument("minutes", type=float, help="at least one round is done, which takes "
                        "half a minute if it must, and two minutes at leisure")
    parser.add_argument("--seed", type=int, default=1, help="of what is decided at random")
    parser.add_argument("--elf", default=str(run.TOP / "build/tally.elf"), help="the image")
    parser.add_argument("--load", default=str(run.TOP / "build/tally-load"), help="the load client")
    parser.set_defaults(filter="", accel="tcg")  # a Suite's
    arguments = parser.parse_args()
    if not 0 < arguments.minutes <= MINUTES_MAX:
        parser.error(f"MINUTES is at most {MINUTES_MAX}, and more than 0")
    if run.INSIDE not in os.environ:
        return run.run_in_namespaces()
    run.prepare_namespaces()
    users = LOAD_USERS + STEADY_USERS + CUT_USERS + room_for(arguments)
    with monitored(Suite(arguments), memory="64M", options=f"{OPTIONS} max-users={users}",
                   device_options=DEVICE) as both:
        machine, monitor = both
        try:
            soak(arguments, machine, monitor)
        except Exception as error:
            print(f"soak: FAILED: {type(error).__name__}: {error}\n"
                  f"    its console:\n{machine.tail(20)}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""TCP as nobody should speak it. Each case on a connection forged by hand, an honest client beside
it; the events counted are exactly those that were answered."""

import time

from forged import (ACK, BROADCAST, FIN, MSS_1460, PSH, RST, SYN, URG, WRAP, Host, ip_packet,
                    tcp_segment)
from harness import expect
from hostile import Honest, metric
from wire import EVENT, Client, event, get

HEALTH = (200, b'{"status":"healthy"}')


def expect_alive(host):
    """The connection goes on."""
    expect(host.ask(get("/health")), HEALTH, "a request afterwards")


def expect_counted(host, machine, data=None):
    expect(host.ask(data or event())[0], 200, "an event")
    machine.model.add("u", 1)


def expect_ack(host, what):
    """A challenge: what is expected, and nothing else."""
    answer = host.receive()
    if answer is None or answer.flags != ACK or answer.ack != host.seq or answer.data:
        raise AssertionError(f"{what} was answered with {answer!r}, expected an ACK of {host.seq}")


def expect_silence(host, what, seconds=0.4):
    answer = host.receive(seconds)
    if answer is not None:
        raise AssertionError(f"{what} was answered with {answer!r}")


# ---- blind injection (RFC 5961)

def check_reset_in_window(host, machine):
    host.connect()
    for ahead in (1, 7, 1000, 30000):
        host.send(RST, seq=host.seq + ahead)
        expect_ack(host, f"a reset {ahead} ahead")
    expect_counted(host, machine)


def check_reset_outside(host, machine):
    host.connect()
    for ahead in (-1, -1000, 40000, 1 << 31):
        host.send(RST, seq=host.seq + ahead)
        expect_silence(host, f"a reset {ahead} ahead", 0.2)
    expect_counted(host, machine)


def check_reset_in_place(host, machine):
    """The one that is right is obeyed, in the middle of a request too: nothing is counted."""
    data = event()
    for cut in (0, 10, len(data) - 1):
        host.connect()
        host.say(data[:cut]) if cut else None
        host.send(RST)
        host.say(data[cut:])
        answer = host.receive()
        expect(answer is not None and answer.flags & RST != 0, True, f"afterwards: {answer!r}")


def be_closed(host):
    """The server closes first, and so has TIME-WAIT."""
    host.say(get("/health", "Connection: close"))
    segment = host.receive()
    while segment is not None and not segment.flags & FIN:
        segment = host.receive()
    host.ack = (segment.seq + len(segment.data) + 1) % WRAP
    host.send(FIN | ACK)
    host.seq += 1
    expect_ack(host, "a FIN")


def check_reset_in_time_wait(host, machine):
    """Who begins anew with a lower number resets what challenges it, and can connect then."""
    host.connect()
    be_closed(host)
    lower = host.seq - 100000
    host.send(SYN, seq=lower, options=MSS_1460)
    expect_ack(host, "a SYN with a lower number")
    host.send(RST, seq=host.seq + 500)
    expect_ack(host, "a reset 500 ahead")
    host.send(FIN | ACK, seq=host.seq - 1)
    expect_ack(host, "an old FIN")
    host.send(RST)
    expect_silence(host, "a reset in place")
    host.connect(isn=lower, port=host.port)
    expect_counted(host, machine)


def check_syn_in_window(host, machine):
    host.connect()
    for ahead in (0, 1, 1000, -1, 1 << 30):
        host.send(SYN, seq=host.seq + ahead)
        expect_ack(host, f"a SYN {ahead} ahead")
    expect_counted(host, machine)


def check_data_of_unsent_acknowledged(host, machine):
    """Data that acknowledges what was never sent, or what is older than any window, is refused."""
    host.connect()
    for ahead in (1, 100, 100000, 1 << 30, -100000, -(1 << 30)):
        host.send(ACK | PSH, event(), ack=host.ack + ahead)
        expect_ack(host, f"data with an acknowledgement {ahead} ahead")
    host.send(PSH, event())
    expect_silence(host, "data without an acknowledgement")
    expect_counted(host, machine)


def check_data_outside(host, machine):
    host.connect()
    for ahead in (40000, 1 << 20, 1 << 31, -len(event()), -100000):
        host.send(ACK | PSH, event(), seq=host.seq + ahead)
        expect_ack(host, f"data {ahead} ahead")
    expect_counted(host, machine)


def check_handshake_guessed(host, machine):
    """An ACK that guesses our initial sequence number opens nothing."""
    host.begin()
    right = host.ack
    for wrong in (right + 1, right - 1, right + 65536, 0, 6511):
        host.send(ACK | PSH, event(), ack=wrong)
        answer = host.receive()
        expect(answer is not None and (answer.flags & RST != 0 or not answer.data), True,
               f"{answer!r}")
        host.sock.setblocking(False)
        try:
            while host.sock.recv(2000):
                pass
        except BlockingIOError:
            pass


# ---- pieces

def check_overlaps(host, machine):
    """What was received first stands; what comes again over it is not read again."""
    data = event()
    host.connect()
    host.send(ACK | PSH, data[:60])
    host.send(ACK | PSH, b"x" * 20 + data[60:], seq=host.seq + 40)
    host.seq = (host.seq + len(data)) % WRAP
    expect(host.answer()[0], 200)
    machine.model.add("u", 1)
    expect_alive(host)


def check_overlaps_ahead(host, machine):
    data = event()
    host.connect()
    for begin, end in ((50, 80), (30, 70), (70, len(data)), (60, 90), (0, 50)):
        host.send(ACK | PSH, data[begin:end], seq=host.seq + begin)
    host.send(ACK | PSH, data)
    host.seq = (host.seq + len(data)) % WRAP
    expect(host.answer()[0], 200)
    machine.model.add("u", 1)
    expect_alive(host)


def check_backwards(host, machine):
    """A train in pieces, the last first; what was dropped comes again until all is acknowledged."""
    data = event() * 3
    host.connect()
    begin = host.seq
    for at in range(len(data) - len(data) % 10, -1, -10):
        host.send(ACK | PSH, data[at:at + 10], seq=begin + at)
    for _ in range(3):
        for at in range(0, len(data), 10):
            host.send(ACK | PSH, data[at:at + 10], seq=begin + at)
    host.seq = (begin + len(data)) % WRAP
    heard = host.hear(lambda heard: heard.count(b"\r\n\r\n") >= 3)
    expect(heard.count(b"HTTP/1.1 200 OK\r\n"), 3, "answers")
    for _ in range(3):
        machine.model.add("u", 1)
    expect_alive(host)


def check_twice(host, machine):
    """Each segment twice: each request counts once."""
    host.connect()
    for _ in range(20):
        host.send(ACK | PSH, event())
        expect_counted(host, machine)
    expect_alive(host)


def check_wrap(host, machine):
    """Sequence numbers that pass 2^32 within a request."""
    host.connect(isn=WRAP - 40)
    for _ in range(3):
        expect_counted(host, machine)


def check_probes(host, machine):
    """A keep-alive probe is a stale octet: acknowledged, not read."""
    host.connect()
    host.say(event()[:30])
    expect_ack(host, "half of a request")
    for octet in (b"", b"\0", b"x"):
        host.send(ACK, octet, seq=host.seq - 1)
        expect_ack(host, "a probe")
    host.say(event()[30:])
    expect(host.answer()[0], 200)
    machine.model.add("u", 1)


def check_urgent(host, machine):
    """Urgent data is data."""
    host.connect()
    host.say(event(), urgent=10)
    expect(host.answer()[0], 200)
    host.send(ACK | PSH | URG, event(), urgent=5)
    host.seq = (host.seq + len(event())) % WRAP
    expect(host.answer()[0], 200)
    machine.model.add("u", 1)
    machine.model.add("u", 1)


def check_data_with_syn(host, machine):
    """Data in a SYN may be taken or left, but is counted once when it comes again."""
    host.begin(data=event())
    host.send(ACK | PSH, event())
    host.seq = (host.seq + len(event())) % WRAP
    expect(host.answer()[0], 200)
    machine.model.add("u", 1)
    expect_alive(host)


def check_data_with_fin(host, machine):
    """All of it in the segments that open and close: answered, then closed."""
    host.begin()
    host.send(ACK | PSH | FIN, event())
    host.seq = (host.seq + len(event()) + 1) % WRAP
    expect(host.answer()[0], 200)
    machine.model.add("u", 1)


def check_fragments(host, machine):
    """A segment in IP fragments is dropped, whole or overlapping; in one piece it is taken."""
    host.connect()
    segment = host.segment(ACK | PSH, event())
    for first, second in ((32, 32), (32, 24), (40, 16)):
        host.packet(6, segment[:first], fragment=0x2000, identification=7)
        host.packet(6, segment[second:], fragment=second // 8, identification=7)
    host.packet(6, segment[:8], fragment=0x2000, identification=8)  # not even the ports' neighbours
    host.packet(6, segment[8:], fragment=0x0001, identification=8)
    expect_silence(host, "a segment in fragments")
    expect_counted(host, machine)


# ---- sizes

def check_tiny_mss(host, machine, options):
    """An answer of several kilobytes comes in segments of a sensible size."""
    host.connect(options=options)
    status, body = host.ask(get("/metrics"))
    expect((status, b"tally_uptime_seconds" in body), (200, True))
    expect_counted(host, machine)


def check_zero_window(host, machine):
    """Nothing is sent into a closed window but probes; when it opens the answers come."""
    host.connect(window=0)
    host.say(event() + get("/health"))
    began, sent = time.monotonic(), 0
    while time.monotonic() - began < 2:
        answer = host.receive(0.5)
        sent += len(answer.data) if answer is not None else 0
    expect(sent <= 3, True, f"{sent} octets into a closed window")
    host.window = 65535
    host.send(ACK)
    heard = host.hear(lambda heard: heard.endswith(b'{"status":"healthy"}'), 15)
    expect(heard.count(b"HTTP/1.1 200 OK"), 2, "answers")
    machine.model.add("u", 1)


def check_small_window(host, machine):
    """A window of 40 octets: little by little, and whole."""
    host.connect(window=40)
    expect_counted(host, machine)
    expect_alive(host)


def check_window_shrinks(host, machine):
    """The request tells a smaller window than the handshake, with the same numbers."""
    host.connect(window=64000)
    host.window = 500
    host.say(get("/metrics"))
    began, most = time.monotonic(), 0
    while time.monotonic() - began < 2:
        answer = host.receive(0.5)
        if answer is not None:
            most = max(most, (answer.seq - host.ack) % WRAP + len(answer.data))
    expect(most <= 500, True, f"{most} octets into a window of 500")
    host.window = 65535
    host.send(ACK)
    expect(host.answer(15)[0], 200)
    expect_counted(host, machine)


def check_retransmits(host, machine):
    """An answer that is not acknowledged comes again, the same, and the event counts once."""
    host.connect()
    host.say(event())
    first = host.receive()
    while first is not None and not first.data:
        first = host.receive()
    again = host.receive(6)
    expect(again is not None and (again.seq, again.data) == (first.seq, first.data), True,
           f"{first!r}, then {again!r}")
    expect(host.answer()[0], 200)
    machine.model.add("u", 1)
    expect_alive(host)


# ---- flags, LAND

def check_flags(host, machine):
    """Flags that contradict each other are not answered, to a listener or on a connection."""
    host.connect()
    for flags in (0, FIN, PSH, URG, FIN | PSH | URG, SYN | FIN, SYN | RST, SYN | FIN | RST | ACK,
                  SYN | FIN | ACK, 63):
        host.send(flags)
        host.send(flags, event())
        expect_silence(host, f"flags {flags:#x}", 0.15)
    expect_counted(host, machine)
    for flags in (0, FIN, FIN | PSH | URG, SYN | FIN, SYN | RST, 63):
        host.port += 1
        host.send(flags)
        expect_silence(host, f"flags {flags:#x} to the listener", 0.15)


def check_land(host, machine):
    """From the machine's own address and port, from 127/8, from broadcast: no answer, no loop."""
    for source in (machine.address, "127.0.0.1", "255.255.255.255", "0.0.0.0", "224.0.0.1",
                   machine.address.rsplit(".", 1)[0] + ".255"):
        for flags in (SYN, SYN | ACK, ACK):
            host.packet(6, tcp_segment(source, machine.address, (machine.port, machine.port), 1, 1,
                                       flags, 1000), source=source)
    host.connect()
    expect_counted(host, machine)


def check_half_open_again(host, machine):
    """A SYN repeated, then one with another number: the last handshake to be completed is one."""
    answer = host.begin()
    host.seq -= 1
    host.send(SYN, ack=0)
    again = host.receive()
    expect(again is not None and (again.flags, again.seq) == (SYN | ACK, answer.seq), True,
           f"the same SYN again: {again!r}")
    host.seq += 1
    host.send(ACK)
    expect_counted(host, machine)


def check_truncated(host, machine):
    """A packet whose frame ends before it does, or whose header claims more than there is."""
    host.connect()
    whole = ip_packet(host.address, machine.address, 6, host.segment(ACK | PSH, event()))
    for length in (0, 1, 19, 20, 21, 33, 39, 40, 60, len(whole) - 1):
        host.frame(0x0800, whole[:length])
    for place, value in ((0, 0x4f), (0, 0x40), (0, 0x55), (32, 0xf0), (32, 0x40), (32, 0x00)):
        broken = bytearray(whole)
        broken[place] = value
        host.frame(0x0800, bytes(broken))
    expect_silence(host, "a truncated packet")
    expect_counted(host, machine)


# ---- Ethernet

def check_sent_to_all(host, machine):
    """What is for the machine alone is not answered if its frame is for all (RFC 1122 3.3.6)."""
    host.connect()
    server_mac, host.server_mac = host.server_mac, BROADCAST
    host.send(ACK | PSH, event())
    expect_silence(host, "an event to all")
    host.port += 1
    host.send(SYN, ack=0, options=MSS_1460)
    expect_silence(host, "a SYN to all")
    host.port -= 1
    host.server_mac = server_mac
    expect_counted(host, machine)


def check_tags(host, machine):
    """A priority tag is no VLAN's: its frames are as good as any. Another VLAN's are refused."""
    for priority in (0, 7):
        host.tag = priority << 13
        host.ask_arp()
        expect(next(host.frames(0x0806, 5), None) is not None, True, "an answer to ARP")
        host.connect()
        expect_counted(host, machine)
    before = metric(machine, "tally_dropped_frames_total")
    for vlan in (1, 4095):
        host.tag = vlan
        host.send(ACK | PSH, event())
        expect_silence(host, f"a frame of VLAN {vlan}")
    expect(metric(machine, "tally_dropped_frames_total") >= before + 2, True, "counted")
    host.tag = None
    expect_counted(host, machine)


# ---- with the host's own TCP

def check_ends_everywhere(suite, machine, reset):
    """The client goes after each octet of a request: only the whole one may count."""
    data = event()
    for cut in range(len(data) + 1):
        client = Client(machine)
        client.send(data[:cut])
        if cut == len(data):
            expect(client.response().status, 200)
            machine.model.add("u", 1)
        client.reset() if reset else client.close()


def check_which_way(suite):
    """Just what was expected is served without lwIP, if its checksum is vouched for."""
    machine = suite.shared()
    name = "tally_segments_predicted_total"
    for vouched, served in ((False, 0), (True, 20)):
        with Host(machine, vouched) as host:
            host.connect()
            before = metric(machine, name)
            for _ in range(20):
                expect_counted(host, machine)
            # What asks for it is served so, too.
            expect(metric(machine, name) - before, served + 1, f"{name}, {vouched=}")
            host.leave()
    suite.expect_stats(machine)


def run(suite):
    def alone(check, vouched, *rest):
        machine = suite.shared()
        with Host(machine, vouched) as host:
            with Honest(machine) as honest:
                check(host, machine, *rest)
                honest.progress(3)
            host.leave() if hasattr(host, "port") else None
        suite.expect_stats(machine)

    def kernel(check, *rest):
        machine = suite.shared()
        with Honest(machine) as honest:
            check(suite, machine, *rest)
            honest.progress(3)
        suite.expect_stats(machine)

    cases = [
        ("resets in the window, but not in place", check_reset_in_window),
        ("resets outside of the window", check_reset_outside),
        ("resets in place", check_reset_in_place),
        ("resets in TIME-WAIT", check_reset_in_time_wait),
        ("SYNs on a connection", check_syn_in_window),
        ("data that acknowledges what was not sent", check_data_of_unsent_acknowledged),
        ("data outside of the window", check_data_outside),
        ("a handshake with a guessed number", check_handshake_guessed),
        ("overlapping segments", check_overlaps),
        ("overlapping segments ahead", check_overlaps_ahead),
        ("a train backwards", check_backwards),
        ("each segment twice", check_twice),
        ("sequence numbers that wrap", check_wrap),
        ("keep-alive probes within a request", check_probes),
        ("urgent data", check_urgent),
        ("data with the SYN", check_data_with_syn),
        ("data and FIN with the handshake's ACK", check_data_with_fin),
        ("fragments", check_fragments),
        *[(f"MSS option {options.hex() or 'absent'}", check_tiny_mss, options) for options in (
            b"", b"\x02\x04\0\0", b"\x02\x04\0\x01", b"\x02\x04\0\x07", b"\x02\x04\xff\xff",
            b"\x02\x04\x05\xb4\x02\x04\0\x01", b"\x01\x01\x02\x04\0\x20\x04\x02")],
        ("a closed window", check_zero_window),
        ("a window of 40 octets", check_small_window),
        ("a window that shrinks", check_window_shrinks),
        ("an answer not acknowledged", check_retransmits),
        ("flags that contradict each other", check_flags),
        ("LAND", check_land),
        ("a SYN again", check_half_open_again),
        ("truncated packets", check_truncated),
        ("frames to all", check_sent_to_all),
        ("VLAN tags", check_tags),
    ]
    # By lwIP and past it.
    for vouched, suffix in ((False, ""), (True, ", vouched for")):
        suite.each([(name + suffix, check, vouched, *rest) for name, check, *rest in cases], alone)
    suite.each([("which way segments go", suite)], check_which_way)
    suite.each([
        ("reset after each octet", check_ends_everywhere, True),
        ("closed after each octet", check_ends_everywhere, False),
    ], kernel)

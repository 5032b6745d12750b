"""An address that is lent: by a DHCP server of ours (RFC 2131) at the other end of the tap."""

import socket
import struct
import threading

from harness import expect
from machine import LISTENING
from wire import Client, event, stats_text

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5


class Server(threading.Thread):
    """Lends the machine's address for so many seconds, again and again. `requests`: whether each
    REQUEST that it has answered was a renewal (it had the address)."""

    def __init__(self, machine, prefix, lease_s):
        super().__init__(daemon=True)
        mask = struct.pack("!I", 0xffffffff << 32 - prefix & 0xffffffff)
        own = socket.inet_aton(machine.host_address)
        self.address = socket.inet_aton(machine.address)
        self.options = (b"\x36\x04" + own + b"\x01\x04" + mask + b"\x03\x04" + own +
                        b"\x33\x04" + struct.pack("!I", lease_s) + b"\xff")
        self.requests = []
        self.grew = threading.Condition()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, machine.tap.encode())
        self.sock.bind(("", 67))

    def run(self):
        while True:
            message = self.sock.recv(2048)
            kind = message[message.index(COOKIE) + 6]  # option 53 is lwIP's first
            if kind not in (DISCOVER, REQUEST):
                continue
            answer = b"\x02" + message[1:16] + self.address + message[20:44] + bytes(192)
            answer += COOKIE + b"\x35\x01" + bytes([OFFER if kind == DISCOVER else ACK])
            self.sock.sendto(answer + self.options, ("255.255.255.255", 68))
            if kind == REQUEST:
                with self.grew:
                    self.requests.append(message[12:16] == self.address)
                    self.grew.notify_all()

    def wait_for_requests(self, count, seconds):
        with self.grew:
            return self.grew.wait_for(lambda: len(self.requests) >= count, seconds)


def check_short_lease(suite, machine_type):
    """Less than a minute: it is renewed at half of it, and the connection stays."""
    with suite.machine(machine=machine_type, ip="ip=dhcp") as machine:
        machine.start()
        server = Server(machine, 24, 16)
        server.start()
        machine.wait_for(LISTENING, 20)
        with Client(machine) as client:
            for i in range(3):
                expect(client.ask(event()).status, 200)
                machine.model.add("u", 1)
                expect(server.wait_for_requests(2 + i, 30), True, f"renewal {i + 1}")
            expect(client.ask(event()).status, 200)
            machine.model.add("u", 1)
        expect(stats_text(machine), machine.model.text())
        expect(server.requests[1:4], [True] * 3, "renewals")
        expect([line for line in machine.console() if "gone" in line], [], "the address")


def check_small_subnet(suite, prefix, gateway):
    with suite.machine(ip="ip=dhcp", prefix=prefix, gateway=gateway) as machine:
        machine.start()
        Server(machine, prefix, 3600).start()
        machine.route()
        machine.wait_for(LISTENING, 20)
        with Client(machine) as client:
            expect(client.ask(event()).status, 200)


def run(suite):
    suite.each([
        ("a lease of 16 s is renewed", check_short_lease, "q35"),
        ("a lease of a subnet of two addresses", check_small_subnet, 31, "198.18.{}.3"),
        ("a lease of a subnet of one address", check_small_subnet, 32, "169.254.1.1"),
    ], lambda check, *options: check(suite, *options))

"""A host on the link that does not exist: TCP by hand over a packet socket, to say what no kernel
would. The host's own stack never sees what is answered: the MAC is not its own."""

import ctypes
import itertools
import socket
import struct
import time

from hostile import mac_of

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
MSS_1460 = b"\x02\x04\x05\xb4"
SO_ATTACH_FILTER = 26
SOL_PACKET = 263
PACKET_VNET_HDR = 15
NO_OFFLOAD = bytes(10)  # struct virtio_net_hdr
TAG_BYTES = 4  # of 802.1Q
BROADCAST = b"\xff" * 6
WRAP = 1 << 32

_numbers = itertools.count(100)


def internet_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip_packet(source, destination, protocol, payload, fragment=0, identification=1):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, fragment, 64,
                       protocol, 0, socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack("!H", internet_sum(head)) + head[12:] + payload


def tcp_segment(source, destination, ports, seq, ack, flags, window, options=b"", data=b"",
                urgent=0, summed=True):
    options += b"\0" * (-len(options) % 4)
    head = struct.pack("!HHIIBBHHH", *ports, seq % WRAP, ack % WRAP, (5 + len(options) // 4) << 4,
                       flags, window, 0, urgent) + options
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(
        "!HH", 6, len(head) + len(data))
    total = internet_sum(pseudo + head + data) if summed else internet_sum(pseudo) ^ 0xffff
    return head[:16] + struct.pack("!H", total) + head[18:] + data


class Segment:
    def __init__(self, tcp):
        (_, self.port, self.seq, self.ack, offset, self.flags, self.window) = struct.unpack(
            "!HHIIBBH", tcp[:16])
        self.options = tcp[20:(offset >> 4) * 4]
        self.data = tcp[(offset >> 4) * 4:]

    def __repr__(self):
        names = [name for bit, name in enumerate("FSRPAU") if self.flags >> bit & 1]
        return (f"<{''.join(names)} seq {self.seq} ack {self.ack} window {self.window} "
                f"{self.data[:60]!r}>")


class Host:
    """Its address and MAC are used by nobody else. One connection at a time."""

    def __init__(self, machine, vouched=False):
        """Its segments may be `vouched` for: only those the machine serves without lwIP."""
        number = next(_numbers)
        self.machine = machine
        self.vouched = vouched
        self.address = machine.host_address.rsplit(".", 1)[0] + f".{10 + number % 240}"
        self.mac = b"\x02\x7a\x11" + struct.pack("!I", number)[1:]
        self.tag = None  # in front of each frame's type, if there is one: priority and VLAN
        self.server_mac = bytes.fromhex(mac_of(machine).replace(":", ""))
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._only_for_us()
        self.sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.sock.bind((machine.tap, 0))
        self._ports = itertools.count(20000 + 100 * number)
        self.ask_arp()  # who asks is known: it need not ask for us

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _only_for_us(self):
        low = int.from_bytes(self.mac[4:], "big")
        # Load the half-word at 4; equal: all of the frame; else: nothing of it.
        program = b"".join(struct.pack("=HBBI", *step) for step in (
            (0x28, 0, 0, 4), (0x15, 0, 1, low), (0x06, 0, 0, 65535), (0x06, 0, 0, 0)))
        self._program = ctypes.create_string_buffer(program)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack(
            "@HxxxxxxP", 4, ctypes.addressof(self._program)))

    def frame(self, kind, payload, offload=NO_OFFLOAD):
        if self.tag is not None:
            kind, payload = 0x8100, struct.pack("!HH", self.tag, kind) + payload
        self.sock.send(offload + self.server_mac + self.mac + struct.pack("!H", kind) + payload)

    def ask_arp(self):
        self.frame(0x0806, struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, self.mac,
                                       socket.inet_aton(self.address), bytes(6),
                                       socket.inet_aton(self.machine.address)))

    def packet(self, protocol, payload, source=None, fragment=0, identification=1,
               offload=NO_OFFLOAD):
        self.frame(0x0800, ip_packet(source or self.address, self.machine.address, protocol,
                                     payload, fragment, identification), offload)

    def frames(self, kind, seconds):
        """The frames of that type that come to this host."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                frame = self.sock.recv(65536)[len(NO_OFFLOAD):]
            except socket.timeout:
                return
            if frame[:6] == self.mac and frame[12:14] == struct.pack("!H", kind):
                yield frame

    # ---- TCP

    def segment(self, flags, data=b"", seq=None, ack=None, options=b"", window=None, urgent=0,
                summed=True):
        """The octets of a segment; of the connection, unless told otherwise."""
        return tcp_segment(
            self.address, self.machine.address, (self.port, self.machine.port),
            self.seq if seq is None else seq, self.ack if ack is None else ack, flags,
            self.window if window is None else window, options, data, urgent, summed)

    def send(self, flags, data=b"", **fields):
        # The kernel takes a segment with this for one of its own, and the device vouches for it.
        start = 34 if self.tag is None else 34 + TAG_BYTES
        to_fill_in = struct.pack("=BBHHHH", 1, 0, 0, 0, start, 16)
        self.packet(6, self.segment(flags, data, summed=not self.vouched, **fields),
                    offload=to_fill_in if self.vouched else NO_OFFLOAD)

    def receive(self, seconds=5.0):
        """The next segment to this port, or None."""
        for frame in self.frames(0x0800, seconds):
            length = struct.unpack("!H", frame[16:18])[0]
            if frame[23] == 6 and (segment := Segment(frame[34:14 + length])).port == self.port:
                return segment
        return None

    def begin(self, isn=1000000, options=MSS_1460, window=65535, data=b"", port=None):
        """SYN, from a new port unless told otherwise, and the answer to it."""
        self.port = port or next(self._ports)
        self.window = window
        self.seq, self.ack = isn, 0
        self.send(SYN, data, options=options)
        answer = self.receive()
        if answer is None or answer.flags != SYN | ACK or answer.ack != (isn + 1) % WRAP:
            raise AssertionError(f"a SYN was answered with {answer!r}")
        self.seq, self.ack = (isn + 1) % WRAP, (answer.seq + 1) % WRAP
        self.iss = answer.seq
        return answer

    def connect(self, **fields):
        answer = self.begin(**fields)
        self.send(ACK)
        return answer

    def say(self, data, **fields):
        """In order."""
        self.send(ACK | PSH, data, **fields)
        self.seq = (self.seq + len(data)) % WRAP

    def hear(self, enough, seconds=5.0):
        """Takes what comes in order, acknowledging it, until enough(bytes). Returns the bytes."""
        heard = b""
        end = time.monotonic() + seconds
        while not enough(heard):
            segment = self.receive(max(end - time.monotonic(), 0))
            if segment is None:
                raise AssertionError(f"nothing more within {seconds} s; so far {heard[:200]!r}")
            if segment.flags & RST:
                raise AssertionError(f"reset; so far {heard[:200]!r}")
            skip = (self.ack - segment.seq) % WRAP
            if segment.data and skip < len(segment.data):
                heard += segment.data[skip:]
                self.ack = (self.ack + len(segment.data) - skip) % WRAP
            if segment.data:
                self.send(ACK)
        return heard

    def answer(self, seconds=5.0):
        """One response: (status, body). The machine's responses have a Content-Length."""
        def is_whole(data):
            head, blank, body = data.partition(b"\r\n\r\n")
            return blank and len(body) >= int(head.lower().split(b"content-length: ")[1].split()[0])

        data = self.hear(is_whole, seconds)
        return int(data[9:12]), data.partition(b"\r\n\r\n")[2]

    def ask(self, data):
        self.say(data)
        return self.answer()

    def leave(self):
        """Resets what there is, exactly in its place."""
        self.send(RST | ACK)

"""HTTP over a raw socket, with a reader that holds every response to the rules all of them have."""

import re
import socket
import time

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ([\x20-\x7e]*)\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x20-\x7e]*)\Z")
DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"\d{4} \d\d:\d\d:\d\d GMT\Z")

EVENT = b'{"userId":"u","value":1}'
HEALTHY = b'{"status":"healthy"}'
FULL = b'{"status":"degraded","reason":"no room for another user"}'


class WireError(AssertionError):
    """The other side did something that no answer may be."""


class Response:
    def __init__(self, status, fields, body):
        self.status = status
        self.fields = fields
        self.body = body

    def field(self, name):
        return self.fields.get(name.lower())

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:120]!r}"


def request(method, target, body=None, fields=(), version="HTTP/1.1", host="tally"):
    """The bytes of a request. `body` brings a Content-Length."""
    head = [f"{method} {target} {version}"]
    if host is not None:
        head.append(f"Host: {host}")
    head += fields
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def get(target, *fields):
    return request("GET", target, fields=fields)


def event(body=EVENT, *fields):
    return request("POST", "/event", body, fields)


def chunked(*pieces, target="/event", trailers=b"", method="POST", fields=()):
    """A request in chunks: each piece is bytes, or (bytes, extension)."""
    out = [request(method, target, fields=[*fields, "Transfer-Encoding: chunked"])]
    for piece in pieces:
        content, extension = piece if isinstance(piece, tuple) else (piece, b"")
        out.append(b"%x%s\r\n%s\r\n" % (len(content), extension, content))
    out.append(b"0\r\n" + trailers + b"\r\n")
    return b"".join(out)


class Client:
    """One connection."""

    def __init__(self, machine, timeout=10):
        self.sock = machine.connect(timeout)
        self.timeout = timeout
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_pieces(self, pieces, pause=0.0015):
        """Each piece in a segment of its own, with time for the server to take it."""
        for i, piece in enumerate(pieces):
            if i:
                time.sleep(pause)
            if piece:
                self.sock.sendall(piece)

    def finish_sending(self):
        self.sock.shutdown(socket.SHUT_WR)

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise WireError(f"nothing more within {self.timeout} s; so far {self.buffer[:200]!r}"
                            ) from None
        except ConnectionResetError:
            raise WireError(f"reset by the server; so far {self.buffer[:200]!r}") from None
        if not data:
            raise WireError(f"closed by the server; so far {self.buffer[:200]!r}")
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _bytes(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def response(self, method="GET"):
        """Reads one response; `method` is its request's."""
        line = self._line()
        match = STATUS_LINE.match(line)
        if not match:
            raise WireError(f"not a status line: {line[:200]!r}")
        status = int(match[1])
        fields = {}
        while line := self._line():
            match_field = FIELD_LINE.match(line)
            if not match_field:
                raise WireError(f"not a field: {line[:200]!r}")
            name = match_field[1].decode().lower()
            if name in fields:
                raise WireError(f"field {name} twice")
            fields[name] = match_field[2].decode()
        return Response(status, fields, self._content(method, status, fields))

    def _content(self, method, status, fields):
        length = fields.get("content-length")
        if status < 200 or status == 204:
            if length is not None:
                raise WireError(f"status {status} with a Content-Length")
            return b""
        if length is None or not length.isdecimal():
            raise WireError(f"status {status} with Content-Length {length!r}")
        if "date" not in fields or not DATE.match(fields["date"]):
            raise WireError(f"Date: {fields.get('date')!r}")
        return b"" if method == "HEAD" else self._bytes(int(length))

    def ask(self, data, method="GET"):
        self.send(data)
        return self.response(method)

    def expect_closed(self, seconds=5.0):
        """The server closes (FIN, not RST), and sends nothing more before."""
        if self.buffer:
            raise WireError(f"more than was asked for: {self.buffer[:200]!r}")
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise WireError(f"not closed within {seconds} s") from None
        except ConnectionResetError:
            raise WireError("reset rather than closed") from None
        finally:
            self.sock.settimeout(self.timeout)
        if data:
            raise WireError(f"more than was asked for: {data[:200]!r}")

    def expect_open(self):
        """The connection goes on: another request is answered."""
        answer = self.ask(get("/health"))
        if answer.status != 200 or answer.body not in (HEALTHY, FULL):
            raise WireError(f"/health afterwards: {answer!r}")


def stats_text(machine):
    with Client(machine) as client:
        answer = client.ask(get("/stats", "Connection: close"))
        if answer.status != 200:
            raise WireError(f"/stats: {answer!r}")
        return answer.body.decode()

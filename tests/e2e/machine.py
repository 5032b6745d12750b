"""The appliance in QEMU: boots it on a tap of its own, reads its console, ends it."""

import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time

import qemu
from model import Model

LISTENING = re.compile(r"listening on http://([0-9.]+):(\d+)")
PORT = 8080
CTRL_C = b"\x03"

# QEMU's exit status through isa-debug-exit (kernel/plat/power.h).
EXIT_GOOD = 33
EXIT_FAILED = 35

_numbers = itertools.count(1)


class MachineError(Exception):
    """The machine did not do what every test takes for granted."""


class Machine:
    """One appliance. network: "tap"; "user" (QEMU's, with DHCP, forwarded to a loopback port); or
    None for no device at all. gateway: the tap's address, in which {} is the machine's subnet."""

    accelerator = "tcg"  # of all machines: run.py --accel
    # Their firmware runs in ring 0, which a KVM without hardware virtualization interprets.
    slow_boots = {"q35": 8, "pc": 8}

    def __init__(self, elf, options="", machine=None, memory="64M", network="tap",
                 device_options="", ip=None, cpu="", prefix=24,
                 gateway="198.18.{}.1", qemu_options=()):
        self.number = next(_numbers)
        self.machine = machine or ("microvm" if self.accelerator == "kvm" else "q35")
        self.network = network
        self.tap = f"tap{self.number}"
        self.prefix = prefix
        # There are more machines than subnets, one after another.
        subnet = self.number % 250 + 1
        self.host_address = gateway.format(subnet)
        self.address = f"198.18.{subnet}.2"
        self.port = PORT
        self.model = Model()
        self.lines = []
        self._lines_grew = threading.Condition()
        if ip is None:
            fixed = f"ip={self.address}/{prefix},{self.host_address}"
            ip = "ip=dhcp" if network == "user" else fixed
        command_line = f"{ip} {options}".strip()
        self.cpu = cpu
        self.command = [*self._command(elf, command_line, memory, device_options), *qemu_options]
        self.process = None

    def _command(self, elf, command_line, memory, device_options):
        command = qemu.command(self.machine, memory, elf, command_line, self.accelerator,
                               self.cpu)
        if self.network == "tap":
            backend = f"tap,ifname={self.tap},script=no,downscript=no"
        elif self.network == "user":
            self.address = "127.0.0.1"
            self.port = 20000 + self.number
            backend = f"user,hostfwd=tcp:127.0.0.1:{self.port}-:{PORT}"
        else:
            return command
        return command + qemu.network(self.machine, backend, device_options)

    # ---- beginning and end

    def start(self):
        """Starts QEMU; does not wait for the appliance."""
        if self.network == "tap":
            for words in (f"tuntap add dev {self.tap} mode tap",
                          f"link set {self.tap} addrgenmode none txqueuelen 10000 up",
                          f"address add {self.host_address}/{self.prefix} dev {self.tap}"):
                subprocess.run(["ip", *words.split()], check=True)
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0)
        threading.Thread(target=self._read_console, daemon=True).start()
        return self

    def route(self):
        """Its address is behind the tap, also if it is not in the tap's subnet."""
        subprocess.run(["ip", "route", "replace", self.address, "dev", self.tap], check=True)

    def boot(self, seconds=20):
        """Starts it and waits until it listens."""
        self.start()
        if self.accelerator == "kvm":
            seconds *= self.slow_boots.get(self.machine, 2)
        self.wait_for(LISTENING, seconds)
        return self

    def stop(self, seconds=10):
        """Asks it to power off, as Ctrl-C does. Returns QEMU's exit status."""
        if self.is_running():
            self.press(CTRL_C)
        return self.wait_for_exit(seconds)

    def press(self, keys):
        try:
            self.process.stdin.write(keys)
        except BrokenPipeError:
            pass  # it has gone: its exit status tells

    def wait_for_exit(self, seconds=10):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise MachineError(f"still running after {seconds} s; console:\n{self.tail()}"
                               ) from None
        self._remove_tap()
        with self._lines_grew:  # the reader sees the end of the pipe soon after
            self._lines_grew.wait_for(lambda: self.lines and self.lines[-1] is None, 2)
        return status

    def kill(self):
        if self.is_running():
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._remove_tap()

    def _remove_tap(self):
        if self.network == "tap":
            subprocess.run(["ip", "link", "del", self.tap], check=False, capture_output=True)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    # ---- the console

    def _read_console(self):
        for line in self.process.stdout:
            with self._lines_grew:
                self.lines.append(line.decode("latin-1").rstrip("\r\n"))
                self._lines_grew.notify_all()
        with self._lines_grew:
            self.lines.append(None)
            self._lines_grew.notify_all()

    def console(self):
        with self._lines_grew:
            return [line for line in self.lines if line is not None]

    def tail(self, count=12):
        return "\n".join("    | " + line for line in self.console()[-count:])

    def wait_for(self, pattern, seconds=10):
        """The match of the first console line, from the beginning, that has the pattern."""
        pattern = re.compile(pattern)
        deadline = time.monotonic() + seconds
        at = 0
        with self._lines_grew:
            while True:
                for line in self.lines[at:]:
                    if line is None:
                        raise MachineError(f"QEMU ended before {pattern.pattern!r} was printed; "
                                           f"console:\n{self.tail()}")
                    found = pattern.search(line)
                    if found:
                        return found
                at = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise MachineError(f"no {pattern.pattern!r} on the console within {seconds} s:"
                                       f"\n{self.tail()}")
                self._lines_grew.wait(left)

    # ---- talking to it

    def connect(self, timeout=10):
        sock = socket.create_connection((self.address, self.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def loopback_port():
    """A TCP port of 127.0.0.1 that is free."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def process_exists(pid):
    return os.path.exists(f"/proc/{pid}")

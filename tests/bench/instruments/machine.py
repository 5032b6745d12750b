"""Network namespaces, the emulator, and the processes that are measured."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

import qemu

from . import exits
from .tools import BenchError, die_with_parent, run, scratch_path

HOST = "198.18.0.1"
GUEST = "198.18.0.2"
GUEST_MAC = "52:54:00:12:00:02"
PORT = 8080

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_TICK = os.sysconf("SC_CLK_TCK")


def sweep():
    """Removes the namespaces of runs that were killed."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else ():
        found = re.fullmatch(r"tally-bench-(\d+)-\w+", name)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _enter(file):
    if _libc.setns(file, _CLONE_NEWNET) != 0:
        raise BenchError(f"setns: {os.strerror(ctypes.get_errno())}")


class Namespace:
    """A network of its own: loopback, and a tap on which a guest may be. Root only."""

    def __init__(self, suffix):
        self.name = f"tally-bench-{os.getpid()}-{suffix}"
        run("ip", "netns", "add", self.name)
        try:
            self._file = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
            with self.entered():
                for words in ("link set lo up", "tuntap add dev tap0 mode tap",
                              "link set tap0 addrgenmode none txqueuelen 40000 up",
                              f"address add {HOST}/24 dev tap0",
                              f"neighbour add {GUEST} lladdr {GUEST_MAC} dev tap0 nud permanent"):
                    run("ip", *words.split())
        except BaseException:
            self.remove()
            raise

    @contextlib.contextmanager
    def entered(self):
        """What this thread starts or opens within, it does in the namespace."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._file)
            yield
        finally:
            _enter(before)
            os.close(before)

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


class Process:
    """A process that is measured: paused while others are, ended with this one."""

    def __init__(self, name, command, namespace, address, port=PORT):
        self.name = name
        self.address = address
        self.port = port
        self.namespace = namespace
        self._output = tempfile.TemporaryFile()
        with namespace.entered():
            self.started = time.monotonic()
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent)

    @property
    def pid(self):
        return self._popen.pid

    def output(self):
        # Not seek(): the process writes where its descriptor points, and that is this one's copy.
        fd = self._output.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode("latin-1").replace("\r", "")

    def wait_for(self, pattern, seconds):
        """The match of a pattern in its output."""
        end = time.monotonic() + seconds
        while True:
            is_running = self._popen.poll() is None
            found = re.search(pattern, self.output())
            if found:
                return found
            if not is_running or time.monotonic() > end:
                tail = "\n".join("    | " + line for line in self.output().splitlines()[-12:])
                what = "printed nothing of it" if is_running else "ended"
                raise BenchError(f"{self.name} {what} (awaited: {pattern}):\n{tail}")
            time.sleep(0.01)

    def wait_for_port(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._popen.poll() is None:
            with self.namespace.entered(), contextlib.suppress(OSError):
                socket.create_connection((self.address, self.port), 1).close()
                return
            time.sleep(0.02)
        raise BenchError(f"{self.name} does not listen:\n{self.output()[-1000:]}")

    def get(self, path, seconds=20):
        """The body of a response."""
        with self.namespace.entered():
            sock = socket.create_connection((self.address, self.port), seconds)
        with sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n"
                         "Connection: close\r\n\r\n".encode())
            text = b""
            while part := sock.recv(65536):
                text += part
        return text.partition(b"\r\n\r\n")[2].decode()

    def pause(self):
        self._popen.send_signal(signal.SIGSTOP)

    def resume(self):
        self._popen.send_signal(signal.SIGCONT)

    def cpu_seconds(self):
        """(of the vCPU's threads, of all others); a server that is not an emulator: (0, all)."""
        of_cpu = of_others = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            try:
                with open(f"/proc/{self.pid}/task/{task}/stat", encoding="latin-1") as stat:
                    name, _, rest = stat.read().partition("(")[2].rpartition(")")
            except OSError:
                continue  # a thread that has ended
            fields = rest.split()
            ticks = int(fields[11]) + int(fields[12])
            if name.startswith("CPU "):
                of_cpu += ticks
            else:
                of_others += ticks
        return of_cpu / _TICK, of_others / _TICK

    def stop(self):
        if self._popen.poll() is None:
            self._popen.kill()  # also while it is paused
        self._popen.wait()
        self._output.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Guest(Process):
    """A machine on the tap of its namespace."""

    def __init__(self, name, namespace, kernel, append, memory="256M", extra=(), machine="q35",
                 accelerator="tcg"):
        self._monitor = scratch_path(f"{name}.qmp")
        command = [*qemu.command(machine, memory, kernel, append, accelerator),
                   *qemu.network(machine, "tap,ifname=tap0,script=no,downscript=no,vhost=off",
                                 f",mac={GUEST_MAC}"), *extra]
        if accelerator == "kvm":
            command += ["-qmp", f"unix:{self._monitor},server=on,wait=off"]
        super().__init__(name, command, namespace, GUEST)

    def exits(self):
        """VM exits since the start; None if nobody tells: in the emulator there are none."""
        return exits.count(self.pid, self._monitor)


def tally(namespace, image, options="", memory="256M", extra=(), machine="q35",
          accelerator="tcg"):
    append = f"ip={GUEST}/24,{HOST} {options}".strip()
    name = "tally" if accelerator == "tcg" else f"tally-{accelerator}"
    return Guest(name, namespace, image, append, memory, extra, machine, accelerator)


def linux(namespace, kernel, initrd, options=""):
    append = f"console=ttyS0 quiet panic=-1 net.ifnames=0 {options} -- {GUEST}/24"
    return Guest("linux", namespace, kernel, append, extra=("-initrd", initrd))

"""The boot: how long it takes, how large the image is, how little memory suffices."""

import contextlib
import os
import select
import socket
import time

import qemu

from . import machine
from .tools import BenchError, built, median, run, scratch_path

_MACHINES = {"q35": ("q35", "tcg"), "microvm": ("microvm", "tcg"), "KVM": ("microvm", "kvm")}
_ATTEMPT_SECONDS = 0.002
_ANSWER_SECONDS = 30
_REQUEST = b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n"

# What the smallest memory must serve.
_CONNECTIONS = 1000
_USERS = 75000
_MIB_MAX = 64


def _first_200(guest):
    """Seconds from the start of the emulator to the first 200, asked for all the time."""
    pending = []
    poll = select.poll()
    end = time.monotonic() + _ANSWER_SECONDS
    with contextlib.ExitStack() as stack, guest.namespace.entered():
        while time.monotonic() < end:
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            # What was asked before there was a network is lost: TCP repeats it only after 1 s.
            if sock.connect_ex((guest.address, guest.port)) in (0, 115):
                pending.append(sock)
                poll.register(sock, select.POLLOUT)
            else:
                time.sleep(_ATTEMPT_SECONDS)
            for number, _ in poll.poll(_ATTEMPT_SECONDS * 1000):
                connected = next(one for one in pending if one.fileno() == number)
                if connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
                    poll.unregister(connected)
                    pending.remove(connected)
                    continue
                connected.setblocking(True)
                connected.settimeout(_ANSWER_SECONDS)
                connected.sendall(_REQUEST)
                answer = connected.recv(4096)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise BenchError(f"the first answer is {answer[:60]!r}")
                return time.monotonic() - guest.started
    raise BenchError(f"no answer within {_ANSWER_SECONDS} s:\n{guest.output()[-800:]}")


def _boot_once(namespace, image, name):
    kind, accelerator = _MACHINES[name]
    with machine.tally(namespace, image, memory="128M", machine=kind,
                       accelerator=accelerator) as guest:
        answered = _first_200(guest)
        micros = guest.wait_for(r"listening on \S+, (\d+) us after the first instruction", 5)
        return answered, int(micros.group(1)) / 1e6


def _serves(namespace, image, mebibytes):
    """True if the whole challenge's users and connections fit in so much memory."""
    options = f"max-connections={_CONNECTIONS} max-users={_USERS}"
    with machine.tally(namespace, image, options, memory=f"{mebibytes}M") as guest:
        try:
            guest.wait_for("listening on", 20)
            with namespace.entered():
                run(built("tally-load"), "--quiet", "--requests", str(_USERS), "--connections",
                    str(_CONNECTIONS), "--timeout-s", "60", f"{guest.address}:{guest.port}")
        except BenchError:
            return False
    return True


def _smallest_memory(namespace, image):
    """MiB; None if not even the most suffices."""
    too_small, enough = 1, _MIB_MAX
    if not _serves(namespace, image, enough):
        return None
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        if _serves(namespace, image, middle):
            enough = middle
        else:
            too_small = middle
    return enough


def measures(arguments, note):
    image = built("tally.elf")
    stripped = scratch_path("tally.stripped")
    run("strip", "-o", stripped, image)
    with machine.Namespace("boot") as namespace:
        why_not = qemu.why_not_kvm(image, "microvm")
        if why_not:
            note(f"boot: {why_not}")
        boots = {name: [] for name, (_, accelerator) in _MACHINES.items()
                 if accelerator == "tcg" or not why_not}
        for _ in range(max(arguments.runs, 5)):
            for name, done in boots.items():
                done.append(_boot_once(namespace, image, name))
        smallest = _smallest_memory(namespace, image)
    if smallest is None:
        note(f"boot: {_CONNECTIONS} connections and {_USERS} users do not fit in {_MIB_MAX} MiB")
    return {"first_200_s": {name: median(answered for answered, _ in done)
                            for name, done in boots.items()},
            "entry_to_listening_s": {name: median(entry for _, entry in done)
                                     for name, done in boots.items()},
            "image_bytes": os.stat(stripped).st_size,
            "smallest_memory_mib": smallest}

"""How many VM exits a machine has made, as the host's KVM counts them.

KVM shows them below /sys/kernel/debug, where that is mounted and the processes have not another
number here than there; and to QEMU 7.1 and later, from Linux 5.14 on.
"""

import glob
import json
import socket

DEBUGFS = "/sys/kernel/debug/kvm"
_SECONDS = 5


def count(pid, monitor, debugfs=DEBUGFS):
    """Since the machine was started, by QEMU's process id and its QMP socket; None if neither the
    kernel nor QEMU tells."""
    found = [int(_read(path)) for path in glob.glob(f"{debugfs}/{pid}-*/exits")]
    return sum(found) if found else _ask(monitor)


def _read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def _ask(monitor):
    """QEMU, by its interop/qemu-qmp-ref: query-stats."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_SECONDS)
            sock.connect(monitor)
            with sock.makefile("rw", encoding="utf-8") as lines:
                lines.readline()  # the greeting
                _execute(lines, "qmp_capabilities")
                vcpus = _execute(lines, "query-stats", target="vcpu",
                                 providers=[{"provider": "kvm", "names": ["exits"]}])
    except (OSError, ValueError, KeyError):
        return None
    counts = [stat["value"] for vcpu in vcpus for stat in vcpu["stats"]]
    return sum(counts) if counts else None


def _execute(lines, command, **arguments):
    """What it returns; events that come meanwhile are passed over."""
    lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    lines.flush()
    while True:
        answer = json.loads(lines.readline())
        if "event" not in answer:
            return answer["return"]

"""The bench's own tools, where no machine is needed to see what they do."""

import json
import os
import pathlib
import socket
import sys
import tempfile
import threading

from harness import expect

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(TOP / "tests/bench"))
from instruments import exits  # noqa: E402

NOWHERE = "/nonexistent"


def check_exits_by_kernel(_):
    """Those of this process's machines, and of no process whose number begins like its own."""
    with tempfile.TemporaryDirectory() as debugfs:
        for name, count in (("123-11", 40), ("123-12", 2), ("1234-11", 700), ("12-3", 9000)):
            directory = pathlib.Path(debugfs, name)
            directory.mkdir()
            (directory / "exits").write_text(f"{count}\n", encoding="ascii")
        expect(exits.count(123, NOWHERE, debugfs), 42, "exits")
        expect(exits.count(2, NOWHERE, debugfs), None, "of one that has no machine")


def answer_as_qemu(listener, answers):
    """QMP: a greeting, then an answer to each command, before the last of which there is an event.
    The commands are kept in `answers`, in place of what was said."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rw", encoding="utf-8") as lines:
        lines.write(json.dumps({"QMP": {"version": {}, "capabilities": []}}) + "\n")
        lines.flush()
        for i, answer in enumerate(answers):
            answers[i] = json.loads(lines.readline())
            if i == len(answers) - 1:
                lines.write(json.dumps({"event": "RESUME"}) + "\n")
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def check_exits_by_qemu(_, answer, expected):
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(directory, "qmp")
        listener.bind(path)
        listener.listen()
        answers = [{"return": {}}, answer]
        qemu = threading.Thread(target=answer_as_qemu, args=(listener, answers), daemon=True)
        qemu.start()
        expect(exits.count(os.getpid(), path, NOWHERE), expected, "exits")
        qemu.join(5)
    expect([each["execute"] for each in answers], ["qmp_capabilities", "query-stats"], "asked")


def check_exits_by_nobody(_):
    expect(exits.count(os.getpid(), NOWHERE, NOWHERE), None, "exits")


def run(suite):
    suite.each([("exits as the kernel tells them", suite)], check_exits_by_kernel)
    vcpu = {"provider": "kvm", "stats": [{"name": "exits", "value": 4711}]}
    suite.each([
        ("exits as QEMU tells them", suite, {"return": [vcpu, vcpu]}, 9422),
        ("QEMU tells none, as of the emulator", suite, {"return": []}, None),
        ("QEMU does not know how", suite, {"error": {"class": "CommandNotFound"}}, None)],
        check_exits_by_qemu)
    suite.each([("nobody tells exits", suite)], check_exits_by_nobody)

"""The bench's own tools, where no machine is needed to see what they do."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree

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


# ---- the plot ----

SVG = "{http://www.w3.org/2000/svg}"
PUBLISHED = {"700,000", "100,000", "85,000"}
TAP_JSON = {
    "about": {"commit": "0123456789ab", "machine": "a <fast> & \"quoted\" one"},
    "tap": {"wrk/1": {"tally-kvm": {"rate": 300000.4}, "tally": {"rate": 150000},
                      "linux": {"rate": 5}, "nginx": {"rate": 75000}, "epoll": {"rate": 60001}},
            "wrk/16": {"nginx": {"rate": 99}}}}
VHOST_JSON = {
    "machine": {"processor": "another"},
    "results": [{"kind": kind, "connections": connections, "depth": depth, "median": median}
                for kind, connections, depth, median in (
                    ("kvm", 1000, 1, 7), ("kvm", 64, 1, 3000000), ("tcg", 64, 1, 500000.0),
                    ("nginx", 64, 1, 8), ("kvm", 64, 16, 9), ("kvm churn", 64, 1, 10))]}


def plot(documents, *options):
    with tempfile.TemporaryDirectory() as directory:
        paths = [os.path.join(directory, str(number)) for number in range(len(documents))]
        for path, document in zip(paths, documents):
            pathlib.Path(path).write_text(document if isinstance(document, str)
                                          else json.dumps(document), encoding="utf-8")
        return subprocess.run([TOP / "scripts/plot", *options, *paths], capture_output=True,
                              text=True, timeout=20)


def check_plot(_, documents, options, values):
    """Well-formed; a bar for each value and no other, as long as the value is great, and the value
    beside it."""
    done = plot(documents, *options)
    expect((done.returncode, done.stderr), (0, ""), "exit status")
    svg = xml.etree.ElementTree.fromstring(done.stdout)
    bars = [(float(each.get("width")), each.get("class")) for each in svg.iter(f"{SVG}rect")]
    texts = ["".join(each.itertext()) for each in svg.iter(f"{SVG}text")]
    numbers = [text for text in texts if text.replace(",", "").isdigit()]
    expect(set(numbers), {*values, *PUBLISHED}, "values")
    expect((len(bars), len(numbers)), (len(values) + 3, len(values) + 3), "bars, values")
    expect(sum(kind == "published" for _, kind in bars), 3, "published")
    longest = int(numbers[0].replace(",", ""))
    for (width, _), number in zip(bars, numbers):
        part = int(number.replace(",", "")) / longest * bars[0][0]
        expect(abs(width - max(1, part)) < 0.1, True, f"{number}: {width}, not {part}")
    for each in svg.iter(f"{SVG}text"):
        expect(0 <= float(each.get("x")) <= float(svg.get("width")), True, "on the picture")
    expect("prefers-color-scheme: dark" in done.stdout, True, "on a dark page")


def check_no_plot(_, document, said):
    done = plot([document])
    expect((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
    expect(said in done.stderr, True, done.stderr)


def check_plot_file(_):
    """Into a file, and what it stands on below the bars."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "plot.svg")
        done = plot([TAP_JSON, VHOST_JSON], "--output", path)
        expect((done.returncode, done.stdout), (0, ""), done.stderr)
        text = "".join(xml.etree.ElementTree.parse(path).getroot().itertext())
    expect('Tally 0123456789ab, a <fast> & "quoted" one' in text, True, text)
    expect("Measured here: another" in text, True, text)
    done = plot([TAP_JSON], "--output", "/nonexistent/plot.svg")
    expect((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)


def run(suite):
    tap = {"300,000", "150,000", "75,000", "60,001"}
    suite.each([
        ("a plot of the tap's", suite, [TAP_JSON], [], tap),
        ("a plot of vhost-bench's", suite, [VHOST_JSON], [], {"3,000,000", "500,000", "8"}),
        ("a plot of vhost-bench's within the bench's", suite, [{"vhost": VHOST_JSON}],
         ["--depth", "16"], {"9"}),
        ("a plot of both, nginx of the first", suite, [TAP_JSON, VHOST_JSON], [],
         tap | {"3,000,000", "500,000"}),
        ("a plot of another depth", suite, [TAP_JSON], ["--depth", "16"], {"99"})], check_plot)
    suite.each([
        ("no plot of nothing", suite, {}, "64 connections with 1 in flight"),
        ("no plot of what is no JSON", suite, "{", "Expecting"),
        ("no plot of another JSON", suite, [1], "not a bench's JSON")], check_no_plot)
    suite.each([("a plot into a file", suite)], check_plot_file)
    suite.each([("exits as the kernel tells them", suite)], check_exits_by_kernel)
    vcpu = {"provider": "kvm", "stats": [{"name": "exits", "value": 4711}]}
    suite.each([
        ("exits as QEMU tells them", suite, {"return": [vcpu, vcpu]}, 9422),
        ("QEMU tells none, as of the emulator", suite, {"return": []}, None),
        ("QEMU does not know how", suite, {"error": {"class": "CommandNotFound"}}, None)],
        check_exits_by_qemu)
    suite.each([("nobody tells exits", suite)], check_exits_by_nobody)

"""make run's script: boots the appliance on a network of its own, forwards a port of the host to
it, and leaves nothing behind, however it ends."""

import contextlib
import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time

from harness import expect
from machine import loopback_port, process_exists
from wire import Client, event, get

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
NAME = "tally-e2e"
SECONDS = 30


class Run:
    """scripts/run, started as `make run` starts it, under a namespace and a port of its own."""

    command = ("scripts/run",)
    top = TOP
    stdin = subprocess.DEVNULL

    def __init__(self, suite, port=None, arguments="", **environment):
        self.port = port or loopback_port()
        self.text = ""
        self._grew = threading.Condition()
        self.process = subprocess.Popen(
            self.command, cwd=self.top, stdin=self.stdin, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=self.prepare,
            env={**os.environ, "IMAGE": os.path.abspath(suite.elf), "NETNS": NAME,
                 "PORT": str(self.port), "ARGS": arguments, **environment})
        threading.Thread(target=self._read, daemon=True).start()

    def prepare(self):
        """In the new process, which leads a session without a terminal."""

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 4096):
            with self._grew:
                self.text += data.decode("latin-1")
                self._grew.notify_all()

    def wait_for(self, text, seconds=SECONDS):
        with self._grew:
            if not self._grew.wait_for(lambda: text in self.text, seconds):
                raise AssertionError(f"no {text!r} within {seconds} s in: {self.text}")
        return self

    def wait(self, seconds=SECONDS):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s: {self.text}") from None

    def connect(self, timeout=10):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def signal(self, number):
        self.process.send_signal(number)

    def press_ctrl_c(self):
        """As a terminal does it: all of the group get the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        subprocess.run(["ip", "netns", "del", NAME], check=False, capture_output=True)


class RunInTerminal(Run):
    """The same in a terminal, by make, which leads its session as in a window of its own."""

    # Without the flags of the make that runs these tests.
    command = ("env", "MAKEFLAGS=", "make", "-f", "/dev/null",
               "--eval", "run:\n\t@exec scripts/run", "run")

    def __init__(self, suite, nohup=False):
        self.nohup = nohup
        self.terminal, self.stdin = os.openpty()
        try:
            super().__init__(suite)
        finally:
            os.close(self.stdin)

    def prepare(self):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if self.nohup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def hang_up(self):
        os.close(self.terminal)
        self.terminal = None

    def __exit__(self, *_):
        if self.terminal is not None:
            self.hang_up()
        super().__exit__()


@contextlib.contextmanager
def instead(**programs):
    """A PATH by which these names are shell scripts of that text."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        for name, text in programs.items():
            path = pathlib.Path(directory) / name
            path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
            path.chmod(0o755)
        yield f"{directory}:{os.environ['PATH']}"


# What makes scripts/run take QEMU's own network.
NO_TAP = {"ip": "echo no tap >&2; exit 1"}


def descendants(pid):
    """Process ids of all that a process has started, at any depth."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found += (more := children.get(todo.pop(), []))
        todo += more
    return found


def expect_gone(pids):
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    expect([pid for pid in pids if is_alive(pid)], [], "processes left")


def is_alive(pid):
    if not process_exists(pid):
        return False
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def expect_nothing_left(run, pids):
    expect_gone(pids)
    expect(os.path.exists(f"/run/netns/{NAME}"), False, "the namespace is left")
    expect(os.path.exists(f"/run/tally/{NAME}"), False, "the state is left")
    with socket.socket() as sock:  # the port is free again
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", run.port))


def serve(run):
    with Client(run) as client:
        expect(client.ask(event()).status, 200)
        expect(client.ask(get("/stats")).body,
               b'{"totalRequests":1,"uniqueUsers":1,"sum":1.0,"avg":1.0}')


def check_ends(suite, number):
    """Answers through the forward; a signal ends it in good order."""
    with Run(suite) as run:
        run.wait_for("listening on")
        serve(run)
        pids = descendants(run.process.pid)
        expect(len(pids) >= 2, True, "QEMU and the forward")
        run.signal(number)
        expect(run.wait(), 0, f"exit status; {run.text}")
        run.wait_for('"totalRequests":1', 1)  # the console's last word
        expect_nothing_left(run, pids)


def check_ends_by_two(suite):
    """Who is impatient, and presses Ctrl-C again, sees the aggregates all the same."""
    with Run(suite) as run:
        run.wait_for("listening on")
        serve(run)
        pids = descendants(run.process.pid)
        for _ in range(3):
            run.press_ctrl_c()
            time.sleep(0.005)
        expect(run.wait(), 0, f"exit status; {run.text}")
        run.wait_for('"totalRequests":1', 1)
        expect_nothing_left(run, pids)


def check_ends_by_all(suite):
    """A service manager tells all of its processes at once: none of them heeds it but the script,
    and the machine and the forward go on until that has had the appliance's last word."""
    with Run(suite) as run:
        run.wait_for("listening on")
        pids = descendants(run.process.pid)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        serve(run)
        for pid in [*pids, run.process.pid]:
            os.kill(pid, signal.SIGTERM)
        expect(run.wait(), 0, f"exit status; {run.text}")
        run.wait_for('"totalRequests":1', 1)
        expect("error" in run.text, False, run.text)
        expect_nothing_left(run, pids)


def check_ends_while_booting(suite):
    """What is pressed before the machine listens to its console is not lost."""
    for milliseconds in (0, 10, 20, 30, 40, 50):
        with Run(suite) as run:
            run.wait_for("Tally: http")
            time.sleep(milliseconds / 1000)
            pids = descendants(run.process.pid)
            run.press_ctrl_c()
            expect(run.wait() in (0, 130), True, f"after {milliseconds} ms: {run.text}")
            expect("error" in run.text, False, run.text)
            expect_nothing_left(run, pids)


def check_ends_while_starting(suite):
    """Ctrl-C while it waits for the forward, when it ends the wait's sleep, and not the forward."""
    with instead(sleep="exec /bin/sleep 1", ss="exit 0") as path, Run(suite, PATH=path) as run:
        deadline = time.monotonic() + SECONDS
        while (pids := sleepers(run)) == [] and time.monotonic() < deadline:
            time.sleep(0.01)
        started = descendants(run.process.pid)
        run.press_ctrl_c()
        expect(run.wait(), 130, f"exit status, asleep was {pids}; {run.text}")
        expect("error" in run.text, False, run.text)
        expect_nothing_left(run, started)


def check_ends_in(suite, program, text):
    """Ctrl-C while it is about something that tells so: neither lost, nor a reason to complain."""
    with instead(**{program: text}) as path, Run(suite, PATH=path) as run:
        run.wait_for("under way\n")
        started = descendants(run.process.pid)
        run.press_ctrl_c()
        expect(run.wait(), 130, f"exit status; {run.text}")
        expect(run.text.replace("under way\n", ""), "", "said")
        expect_nothing_left(run, started)


def check_quit(suite):
    """Ctrl-\\ ends it at once, without the appliance's last word."""
    with Run(suite) as run:
        run.wait_for("listening on")
        pids = descendants(run.process.pid)
        os.killpg(run.process.pid, signal.SIGQUIT)
        expect(run.wait(), 131, f"exit status; {run.text}")
        expect("totalRequests" in run.text, False, run.text)
        expect_nothing_left(run, pids)


def sleepers(run):
    """Those of its children that are `sleep 1`, once it has started the forward."""
    lines = {pid: pathlib.Path(f"/proc/{pid}/cmdline") for pid in descendants(run.process.pid)}
    found, forward = [], False
    for pid, path in lines.items():
        try:
            words = path.read_text(encoding="utf-8").split("\0")
        except OSError:
            continue
        forward = forward or "haproxy" in words[0]
        if words[:2] == ["/bin/sleep", "1"]:
            found.append(pid)
    return found if forward else []


def check_terminal_gone(suite):
    """The kernel tells make alone, which tells nobody: the run ends in good order all the same."""
    with RunInTerminal(suite) as run:
        run.wait_for("listening on")
        serve(run)
        pids = descendants(run.process.pid)
        run.hang_up()
        run.wait()
        run.wait_for('"totalRequests":1', 1)
        expect_nothing_left(run, pids)


def check_nohup(suite):
    """With nohup it outlives the terminal."""
    with RunInTerminal(suite, nohup=True) as run:
        run.wait_for("listening on")
        pids = descendants(run.process.pid)
        watchers = [pid for pid in pids
                    if b"terminal.poll" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        expect(len(watchers), 1, "watchers of the terminal")
        run.hang_up()
        expect_gone(watchers)  # it has seen the end, and said so
        serve(run)
        run.signal(signal.SIGTERM)
        run.wait()
        expect_nothing_left(run, pids)


def check_killed(suite):
    """SIGKILL leaves no process; what has only a name is swept up by the next run."""
    with Run(suite) as run:
        run.wait_for("listening on")
        pids = descendants(run.process.pid)
        run.signal(signal.SIGKILL)
        run.wait()
        expect_gone(pids)
        with Run(suite, port=run.port) as again:
            again.wait_for("listening on")
            serve(again)
            pids = descendants(again.process.pid)
            again.signal(signal.SIGINT)
            expect(again.wait(), 0, f"exit status; {again.text}")
            expect_nothing_left(again, pids)


def check_machine_ends(suite):
    """QEMU dies: so does the run, with a failure, and nothing is left."""
    with Run(suite) as run:
        run.wait_for("listening on")
        pids = descendants(run.process.pid)
        for pid in pids:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"qemu-system" in file.read().split(b"\0")[0]:
                    os.kill(pid, signal.SIGKILL)
        expect(run.wait() != 0, True, "exit status")
        expect_nothing_left(run, pids)


def expect_refused(run, reason):
    """One line that says why, before anything was started."""
    expect(run.wait(), 2, f"exit status; {run.text}")
    run.wait_for(reason, 2)
    expect((run.text.startswith("error: "), run.text.count("\n")), (True, 1), run.text)
    expect(os.path.exists(f"/run/netns/{NAME}"), False, "the namespace is left")


def check_port_in_use(suite, programs):
    with instead(**programs) as path, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with Run(suite, port=sock.getsockname()[1], PATH=path) as run:
            expect_refused(run, f"port {run.port} of this host is in use (by ")


class RunWithLowPortsForbidden(Run):
    command = ("setpriv", "--bounding-set=-net_bind_service", "scripts/run")


def check_port_forbidden(suite):
    with RunWithLowPortsForbidden(suite, port=80) as run:
        expect_refused(run, "port 80 of this host is not for this user")


def check_too_much_memory(suite):
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    for memory in (f"{host + 1}M", f"{host // 1024 + 1}G", "9" * 25):
        with Run(suite, MEM=memory) as run:
            expect_refused(run, f"MEM={memory}")
            expect(f"{host}M\n" in run.text, True, run.text)


VHOST_NET = "/dev/vhost-net"


class RunWithVhostNet(Run):
    """With a /dev of its own that lacks kvm, and in which vhost-net is a plain file: it opens, and
    does not work."""

    command = ("unshare", "--mount", "sh", "-c", """
        mount --rbind /dev "$REAL" && mount -t tmpfs none /dev || exit 9
        for each in "$REAL"/*; do
            case $each in "$REAL/vhost-net" | "$REAL/kvm") ;; *) ln -s "$each" /dev/ ;; esac
        done
        : >/dev/vhost-net
        exec scripts/run""")

    def __init__(self, suite, **environment):
        self.real = tempfile.TemporaryDirectory()
        super().__init__(suite, REAL=self.real.name, **environment)

    def __exit__(self, *_):
        super().__exit__()
        self.real.cleanup()


def check_vhost_misspelt(suite):
    for word in ("yes", "ON", "auto "):
        with Run(suite, VHOST=word) as run:
            expect_refused(run, f"VHOST={word}: auto, on or off")


def check_vhost_off(suite):
    with Run(suite, VHOST="off") as run:
        run.wait_for("network: tap, no vhost-net (VHOST=off)")
        run.wait_for("listening on")
        serve(run)


def check_vhost_absent(suite):
    """On a host that has it there is nothing to be seen of this."""
    if os.path.exists(VHOST_NET):
        return
    with Run(suite) as run:
        run.wait_for(f"network: tap, no vhost-net (this host has no {VHOST_NET})")
        run.wait_for("listening on")
        serve(run)
    with Run(suite, VHOST="on") as run:
        expect_refused(run, f"VHOST=on: this host has no {VHOST_NET}")


def check_vhost_broken(suite):
    """QEMU would abort."""
    with RunWithVhostNet(suite) as run:
        run.wait_for(f"network: tap, no vhost-net ({VHOST_NET} does not work)")
        run.wait_for("listening on")
        serve(run)
    with RunWithVhostNet(suite, VHOST="on") as run:
        expect_refused(run, f"VHOST=on: {VHOST_NET} does not work")


def check_kvm_absent(suite):
    """Nor does it make a file of that name, which the next run would find."""
    with RunWithVhostNet(suite) as run:
        run.wait_for("tcg (this host has no /dev/kvm)")
        expect(os.path.exists(f"/proc/{run.process.pid}/root/dev/kvm"), False, "it is there now")


# Whoever asks of vhost-net hears that it works; QEMU says what it is to do.
VHOST_WORKS = {
    "python3": f'case "$*" in *{VHOST_NET}*) exit 0 ;; esac; exec {sys.executable} "$@"',
    "qemu-system-x86_64": 'echo "asked for: $*"'}


def check_vhost_works(suite):
    for word, option in (("auto", "on,vhostforce=on"), ("on", "on,vhostforce=on"), ("off", "off")):
        said = "tap, no vhost-net (VHOST=off)\n" if word == "off" else "tap, vhost-net\n"
        with instead(**VHOST_WORKS) as path, \
                RunWithVhostNet(suite, PATH=path, VHOST=word, ACCEL="tcg") as run:
            run.wait_for(f"network: {said}")
            run.wait_for(f"downscript=no,vhost={option} -device")


def check_vhost_without_tap(suite):
    with instead(**VHOST_WORKS, **NO_TAP) as path, \
            RunWithVhostNet(suite, PATH=path, VHOST="on", ACCEL="tcg") as run:
        expect_refused(run, "VHOST=on: no namespace with a tap (no tap)")


def check_name_in_use(suite):
    """A second run under the same name is refused, and does the first no harm."""
    with Run(suite) as run:
        run.wait_for("listening on")
        second = Run(suite)
        expect(second.wait() != 0, True, "exit status")
        second.wait_for("in use", 2)
        serve(run)


def check_foreign_namespace(suite):
    """A namespace of that name that it did not make is not touched."""
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        run = Run(suite)
        expect(run.wait() != 0, True, "exit status")
        run.wait_for(NAME, 2)
        expect(os.path.exists(f"/run/netns/{NAME}"), True, "the namespace")
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=False)


def check_wrong_option(suite):
    """The appliance's own complaint is seen, and its status passed on."""
    for arguments in ("colour=blue", "port=65536", "port=99999999999999999999", "port=0", "port=x"):
        with Run(suite, arguments=arguments) as wrong:
            expect(wrong.wait(), 1, f"exit status; {wrong.text}")
            expect(f"{arguments.split('=', maxsplit=1)[0]}" in wrong.text, True, wrong.text)
            expect("the options known" in wrong.text, True, wrong.text)


def check_wrong_option_without_tap(suite):
    """The appliance is asked before QEMU, which would refuse them as no IPv4 and as octal."""
    with instead(**NO_TAP) as path, \
            Run(suite, arguments="port=0081 ip=banana", PATH=path) as wrong:
        expect(wrong.wait(), 1, f"exit status; {wrong.text}")
        wrong.wait_for("the options known", 2)


def check_help_of_bench(suite):
    """Builds nothing: all that make would do is to show it."""
    done = subprocess.run(["make", "-n", "--no-print-directory", "bench", "BENCH_ARGS=--help"],
                          cwd=TOP, env=dict(os.environ, MAKEFLAGS=""), capture_output=True,
                          text=True, check=True)
    expect(done.stdout, "exec scripts/bench --help\n", "make -n")


def check_options(suite):
    """ARGS reaches the appliance, MACHINE the emulator; the forward follows port=."""
    with Run(suite, arguments="port=81 max-users=123", MACHINE="pc") as other:
        other.wait_for(":81,")
        serve(other)
        with Client(other) as client:
            metrics = client.ask(get("/metrics")).body
            expect(b"tally_users_limit 123\n" in metrics, True, "max-users")
        # What lacks its value does not take the appliance's address for it.
        load = subprocess.run(["scripts/load"], cwd=TOP, capture_output=True, text=True,
                              env=dict(os.environ, NETNS=NAME, LOAD_ARGS="--json"))
        expect("requires an argument" in load.stderr, True, load.stderr)


def run(suite):
    if not suite.is_root:
        print("e2e: run: skipped: namespaces with a name want root")
        return
    suite.each([
        ("SIGINT ends it", suite, signal.SIGINT), ("SIGTERM ends it", suite, signal.SIGTERM),
        ("SIGHUP ends it", suite, signal.SIGHUP)], check_ends)
    python = "import time; print('under way', flush=True); time.sleep(60)"
    suite.each([
        ("Ctrl-C in a command that ends well", suite, "flock",
         "trap '' INT; echo under way; sleep 1"),
        ("Ctrl-C in Python", suite, "python3", f'exec {sys.executable} -c "{python}"')],
        check_ends_in)
    suite.each([("port in use", suite, {}), ("port in use, without a tap", suite, NO_TAP)],
               check_port_in_use)
    for name, check in (("Ctrl-C twice", check_ends_by_two),
                        ("Ctrl-C while it boots", check_ends_while_booting),
                        ("Ctrl-C while it starts", check_ends_while_starting),
                        ("Ctrl-\\", check_quit),
                        ("SIGTERM to all its processes", check_ends_by_all),
                        ("its terminal goes away", check_terminal_gone),
                        ("its terminal goes away, under nohup", check_nohup),
                        ("killed, then run again", check_killed),
                        ("QEMU killed", check_machine_ends),
                        ("port forbidden", check_port_forbidden),
                        ("more memory than the host has", check_too_much_memory),
                        ("a host without KVM", check_kvm_absent),
                        ("VHOST: misspelt", check_vhost_misspelt),
                        ("VHOST: off", check_vhost_off),
                        ("VHOST: there is none", check_vhost_absent),
                        ("VHOST: it does not work", check_vhost_broken),
                        ("VHOST: it works", check_vhost_works),
                        ("VHOST: without a tap", check_vhost_without_tap),
                        ("name in use", check_name_in_use),
                        ("somebody else's namespace", check_foreign_namespace),
                        ("a wrong option", check_wrong_option),
                        ("a wrong option, without a tap", check_wrong_option_without_tap),
                        ("make bench BENCH_ARGS=--help", check_help_of_bench),
                        ("options are passed on", check_options)):
        suite.each([(name, suite)], check)

"""Cases and how they are counted; the machine that most of them share."""

import contextlib
import os
import re
import time
import traceback

from machine import Machine
from wire import Client, WireError, get


def expect(actual, expected, what=""):
    if actual != expected:
        raise AssertionError(f"{what}{': ' if what else ''}{actual!r}, expected {expected!r}")


def expect_error(answer, status, closes=None):
    """An error's answer: its status, and a body of {"error":"..."} in JSON."""
    expect(answer.status, status, "status")
    expect(answer.field("content-type"), "application/json", "Content-Type")
    if not re.fullmatch(rb'\{"error":"[\x20-\x21\x23-\x5b\x5d-\x7e]+"\}', answer.body):
        raise AssertionError(f"body {answer.body!r}")
    if closes is not None:
        expect(answer.field("connection"), "close" if closes else None, "Connection")


class Suite:
    def __init__(self, arguments):
        self.elf = arguments.elf
        self.load = arguments.load
        self.accelerator = arguments.accel
        self.filter = arguments.filter
        self.is_root = os.environ.get("TALLY_E2E_INSIDE") == "root"
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self._module = ""
        self._shared = None
        self._watcher = None

    # ---- cases

    def run_module(self, module):
        self._module = module.__name__
        passed, failed, began = self.passed, self.failed, time.monotonic()
        try:
            module.run(self)
        except Exception as error:  # what stands between cases failed: a machine that did not boot
            self._fail("(the module itself)", error)
        if self.passed != passed or self.failed != failed:
            print(f"e2e: {self._module[5:]}: {self.passed - passed} passed, "
                  f"{self.failed - failed} failed ({time.monotonic() - began:.1f} s)", flush=True)

    def wants(self, name):
        return self.filter in self._module or self.filter in name

    @contextlib.contextmanager
    def case(self, name):
        """with suite.case("..."): what raises is the case's failure. Check wants() before."""
        try:
            yield
        except Exception as error:
            self._fail(name, error)
        else:
            self.passed += 1

    def skip(self, name, reason):
        """A case that this host cannot run."""
        self.skipped += 1
        print(f"e2e: skipped {self._module[5:]}: {name}: {reason}", flush=True)

    def each(self, table, check):
        """A case for each (name, ...) of the table: check(...)."""
        for name, *rest in table:
            if self.wants(name):
                with self.case(name):
                    check(*rest)

    def _fail(self, name, error):
        self.failed += 1
        if isinstance(error, (AssertionError, OSError)):
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{os.path.basename(where.filename)}:{where.lineno}"
            text = f"{error or type(error).__name__} [{place}]"
        else:
            text = "".join(traceback.format_exception(error)).rstrip()
        print(f"e2e: FAILED {self._module[5:]}: {name}: {text}", flush=True)
        machine = self._shared
        if machine is not None and not machine.is_running():
            print(f"    the machine is gone (status {machine.process.returncode}); its console:\n"
                  f"{machine.tail(30)}", flush=True)
        # Whatever has happened to it, the cases that follow shall not fail for that.
        self.stop_machines()

    # ---- machines

    def machine(self, **options):
        """A machine of its own, not started; use it in a with statement. The shared one is stopped,
        so that it takes no processor from this one."""
        self.stop_machines()
        return Machine(self.elf, **options)

    def boot(self, **options):
        """The same, listening."""
        machine = self.machine(**options)
        try:
            return machine.boot()
        except Exception:
            machine.kill()
            raise

    def shared(self):
        """The machine with default options that all share; a new one after a case has failed.
        Ask for it anew in each case."""
        if self._shared is None or not self._shared.is_running():
            self._shared = self.boot()
        return self._shared

    def stop_machines(self):
        self.forget_watcher()
        if self._shared is not None:
            self._shared.kill()
            self._shared = None

    def expect_stats(self, machine=None):
        """/stats is exactly what the model of the machine says."""
        machine = machine or self._shared
        expect(self._stats(machine), machine.model.text(), "/stats")

    def _stats(self, machine):
        # A connection kept open for this alone; the server may have closed it meanwhile.
        for attempt in range(2):
            try:
                if self._watcher is None or self._watcher.machine is not machine:
                    self.forget_watcher()
                    self._watcher = Client(machine)
                    self._watcher.machine = machine
                answer = self._watcher.ask(get("/stats"))
                expect(answer.status, 200, "/stats")
                return answer.body.decode()
            except (WireError, OSError):
                self.forget_watcher()
                if attempt:
                    raise

    def forget_watcher(self):
        """Closes the connection that expect_stats() keeps."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

"""The machine itself: what nobody foresaw is printed, and ends it with the status of a failure.

scripts/guest has the test image provoke every other exception; here is what comes from outside.
"""

from harness import expect
from hostile import Honest, monitored
from machine import EXIT_FAILED, EXIT_GOOD, LISTENING, MachineError


def check_trap(suite, name, command, arguments):
    """Under load, from the monitor: registers and a backtrace on the console, then off."""
    with monitored(suite) as (machine, monitor):
        try:
            with Honest(machine, patience=2) as honest:
                honest.progress(50)
                monitor.do(command, **arguments)
                expect(machine.wait_for_exit(), EXIT_FAILED, "exit status")
                raise ConnectionError("as it should be")
        except ConnectionError:
            pass
        for pattern in (f"trap: {name}", r"rip [0-9a-f]{16}", "backtrace:"):
            machine.wait_for(pattern, 1)


def check_memory(suite, mebibytes):
    """It listens, or says that memory is short: no other end, no reset."""
    with suite.machine(memory=f"{mebibytes}M") as machine:
        machine.start()
        try:
            machine.wait_for(LISTENING, 20)
        except MachineError:
            expect(machine.wait_for_exit(1), EXIT_FAILED, f"exit status; {machine.tail(5)}")
            machine.wait_for(r"error .*memory|panic: .*memory", 1)
        else:
            expect(machine.stop(), EXIT_GOOD, f"exit status; {machine.tail(5)}")


def run(suite):
    suite.each([
        ("an NMI under load", suite, "NMI", "inject-nmi", {}),
        # What a host tells of its memory: an uncorrected error in bank 1.
        ("a machine check under load", suite, "machine check", "human-monitor-command",
         {"command-line": "mce 0 1 0xbe00000000000000 0x1 0x0 0x0"}),
    ], check_trap)
    suite.each([(f"{mebibytes} MiB", suite, mebibytes)
                for mebibytes in (2, 3, 5, 6, 7, 8, 10, 12)], check_memory)

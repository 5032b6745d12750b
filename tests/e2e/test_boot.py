"""The machine: where it boots, what it is told on the command line, and how it ends."""

import contextlib
import errno
import re
import socket
import subprocess
import time

from harness import expect
from hostile import monitored
from machine import CTRL_C, EXIT_FAILED, EXIT_GOOD, LISTENING
from test_load import run_load
from wire import EVENT, Client, event, get, request, stats_text

NO_OFFLOAD = ",csum=off,guest_csum=off,host_tso4=off,host_tso6=off,guest_tso4=off,guest_tso6=off"
NO_MERGE = ",mrg_rxbuf=off"
NO_RDRAND = ["-cpu", "qemu64"]  # the only seed is then virtio-rng's
OPTIONS = ["ip", "port", "max-users", "max-connections", "idle-timeout", "head-timeout",
           "body-timeout", "send-timeout", "linger-timeout", "log"]
PLATFORMS = {
    "q35": {"machine": "q35"},
    "q35 with an IOMMU that is off": {"machine": "q35",
                                      "qemu_options": ["-device", "intel-iommu"]},
    "microvm": {"machine": "microvm"},
}
# What a VMM may offer, or not. A KVM that does not see CPUID in ring 3 (kvm_pvm) hides kvmclock
# only; without it the PIT of microvm is too slow to be read there.
PROCESSORS = {
    "tcg": ["-rdrand,-rdseed", "-x2apic,-tsc-deadline", "-invtsc", "+invtsc", "-smep,-umip"],
    "kvm": ["-kvmclock", "-rdrand,-rdseed", "-x2apic", "-smep"],
}


def serve_a_little(suite, machine):
    """A few requests of every size, then an orderly end."""
    with Client(machine) as client:
        for i in range(50):
            expect(client.ask(event(b'{"userId":"b%d","value":0.5}' % i)).status, 200)
            machine.model.add(f"b{i}", 0.5)
        client.send(event() * 200)
        for _ in range(200):
            expect(client.response().status, 200)
            machine.model.add("u", 1)
        expect(client.ask(event(EVENT.ljust(65536))).status, 200)
        machine.model.add("u", 1)
        client.send(get("/metrics") * 20)
        for _ in range(20):
            expect(client.response().status, 200)
    expect(stats_text(machine), machine.model.text())
    expect(machine.stop(), EXIT_GOOD, "exit status")


def check_boots(suite, **options):
    with suite.boot(**options) as machine:
        serve_a_little(suite, machine)


def check_platform(suite, machine, qemu_options=()):
    """Devices that refuse to work unless VIRTIO_F_ACCESS_PLATFORM is accepted."""
    rng, platform = "virtio-rng-device", ",iommu_platform=on"
    if machine != "microvm":  # on PCI QEMU offers it for modern devices alone
        rng, platform = "virtio-rng-pci", platform + ",disable-legacy=on"
    with suite.boot(machine=machine, device_options=platform,
                    qemu_options=[*NO_RDRAND, *qemu_options, "-device", rng + platform]) as machine:
        machine.wait_for("seeded by virtio-rng", 1)
        serve_a_little(suite, machine)


def check_load(suite, **options):
    """Enough traffic that a wrong checksum, a lost buffer or a full ring would show."""
    with suite.boot(**options) as machine:
        run_load(suite, machine, "-n", "30000", "-c", "200", "-d", "4")
        expect(machine.stop(), EXIT_GOOD, "exit status")


def check_expander(suite, bridges, **options):
    """Buses of host bridges beside the first, beyond bus 16."""
    with suite.machine(**options) as machine:
        at = machine.command.index("-netdev")
        machine.command[at:at] = [word for bridge in bridges for word in ("-device", bridge)]
        machine.start()
        machine.wait_for("virtio-net at pci (41|c9):0")
        machine.wait_for(LISTENING)
        serve_a_little(suite, machine)


def check_small(suite, machine_type):
    """16 MiB hold 1,000 connections and the challenge's 75,000 users."""
    with suite.boot(machine=machine_type, memory="16M",
                    options="max-connections=1024 max-users=75000") as machine:
        run_load(suite, machine, "-n", "80000", "-c", "1000")
        expect(machine.stop(), EXIT_GOOD, "exit status")


def check_memory_in_pieces(suite, expected, **options):
    """What the users cannot use, in GiB: it is said when it is much, and only then."""
    with suite.boot(**options) as machine:
        text = "\n".join(machine.console())
        found = re.search(r"main +(\d+) KiB of memory are not used: users lie in one piece", text)
        expect(round(int(found[1]) / 2**20, 1) if found else 0, expected, text)
        expect(machine.stop(), EXIT_GOOD, "exit status")


def check_dhcp(suite, options):
    with suite.boot(network="user", **options) as machine:
        expect(machine.wait_for(LISTENING).group(1), "10.0.2.15", "the address leased")
        serve_a_little(suite, machine)


def check_small_subnet(suite, **options):
    """Served are the gateway, and who is behind it: lwIP must resolve the gateway for the reset."""
    behind = "192.0.2.9"
    with suite.machine(**options) as machine:
        machine.start()
        machine.route()
        subprocess.run(["ip", "address", "replace", f"{behind}/32", "dev", "lo"], check=True)
        machine.wait_for(LISTENING, 20)
        with socket.socket() as sock:
            sock.settimeout(10)
            sock.bind((behind, 0))
            expect(sock.connect_ex((machine.address, machine.port + 1)), errno.ECONNREFUSED)
        with socket.create_connection((machine.address, machine.port), 10, (behind, 0)) as sock:
            sock.sendall(get("/health", "Connection: close"))
            expect(sock.recv(15), b"HTTP/1.1 200 OK")
        serve_a_little(suite, machine)


def check_fails(suite, pattern, seconds=10, **options):
    """It does not come up: it says why, and leaves with the status of a failure."""
    with suite.machine(**options) as machine:
        machine.start()
        status = machine.wait_for_exit(seconds)
        machine.wait_for(pattern, 1)
        expect(status, EXIT_FAILED, f"exit status; console:\n{machine.tail()}")
        expect(any(LISTENING.search(line) for line in machine.console()), False, "it listened")


def check_lists_options(suite):
    """A word that it does not know: it names the word, and all those that it does know."""
    with suite.machine(options="colour=blue") as machine:
        machine.start()
        expect(machine.wait_for_exit(), EXIT_FAILED, "exit status")
        text = "\n".join(machine.console())
        expect("colour" in text, True, f"the word in {text}")
        missing = [name for name in OPTIONS if f"{name}=" not in text]
        expect(missing, [], f"missing from the list: {text}")


def check_orderly_stop(machine, ask):
    """What has begun is finished, the aggregates are printed, then it is switched off."""
    with Client(machine) as idle, Client(machine) as busy:
        idle.expect_open()
        busy.send(request("POST", "/event", None, [f"Content-Length: {len(EVENT)}"]))
        time.sleep(0.1)
        ask()
        idle.expect_closed()
        busy.send(EVENT)
        expect(busy.response().status, 200, "the request that had begun")
    expect(machine.wait_for_exit(5), EXIT_GOOD, "exit status")
    last = [line for line in machine.console() if "totalRequests" in line]
    expect(len(last), 1, "/stats on the console")
    expect('"totalRequests":1,"uniqueUsers":1,"sum":1.0,"avg":1.0' in last[0], True, last[0])


def check_idle_default(suite):
    """Proxies and load balancers close or reuse at 60 s: they must be the first to close."""
    with suite.machine(options="help=me") as machine:
        machine.start()
        seconds = machine.wait_for(r"idle-timeout=TIME .*; (\d+)s$").group(1)
        expect(60 < int(seconds) <= 120, True, f"the default is {seconds} s")


def check_ctrl_c(suite):
    """The byte 0x03 on the console."""
    with suite.boot() as machine:
        check_orderly_stop(machine, lambda: machine.press(CTRL_C))


def check_power_button(suite, **options):
    """ACPI's: what `virsh shutdown` presses."""
    with monitored(suite, **options) as (machine, monitor):
        check_orderly_stop(machine, lambda: monitor.do("system_powerdown"))


def check_ctrl_alt_del(suite, **options):
    """At a keyboard, where ACPI has no power button; other keys before it do nothing."""
    def press(*keys):
        monitor.do("send-key", keys=[{"type": "qcode", "data": key} for key in keys])

    with monitored(suite, **options) as (machine, monitor):
        press("ctrl", "alt", "f1")
        press("delete")
        time.sleep(0.5)
        with Client(machine) as client:
            client.expect_open()
        check_orderly_stop(machine, lambda: press("ctrl", "alt", "delete"))


def check_all_are_told(suite, **options):
    """More than the device takes at once learn that it ends, and before it does."""
    with suite.boot(options="max-connections=1100", **options) as machine:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(machine)) for _ in range(1000)]
            for client in clients:
                expect(client.ask(event()).status, 200)
            machine.press(CTRL_C)
            expect(machine.wait_for_exit(5), EXIT_GOOD, "exit status")
            for client in clients:
                client.expect_closed()


def check_ctrl_c_at_boot(suite):
    """Also while it still waits for a lease that never comes."""
    with suite.machine(ip="ip=dhcp") as machine:
        machine.start()
        machine.wait_for("DHCP")
        time.sleep(0.5)
        machine.press(CTRL_C)
        expect(machine.wait_for_exit(5), EXIT_GOOD, "exit status")


def check_other_bytes(suite):
    """Other keys do nothing."""
    with suite.boot() as machine:
        machine.press(b"hello\r\n\x01\x02\x04\x1b\xff" * 20)
        with Client(machine) as client:
            client.expect_open()
        expect(machine.stop(), EXIT_GOOD, "exit status")


def check_log(suite):
    """log=error: a good boot says nothing."""
    with suite.machine(options="log=error") as machine:
        machine.start()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                expect(stats_text(machine), machine.model.text())
                break
            except OSError:
                time.sleep(0.05)
        expect(machine.stop(), EXIT_GOOD, "exit status")
        after = [line for line in machine.console() if "] info  main" in line]
        expect(after, [], "lines at level info")


def check_foreign_words(suite):
    """What Firecracker says to Linux when nobody says anything, and what it appends."""
    words = ("reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux swiotlb=noforce root=/dev/vda "
             "ro pci=off").split()
    with suite.boot(options=" ".join(["log=debug", *words])) as machine:
        for word in words:
            machine.wait_for(f"debug main .*passed over: {word}$", 2)
        serve_a_little(suite, machine)


def check_debug_log(suite):
    """log=debug: also what the device offers and what is taken of it."""
    with suite.boot(options="log=debug") as machine:
        for pattern in (r"debug virtio .* offers 0x[0-9a-f]+", r"debug virtio .*: features 0x",
                        r"debug virtio .*: queue 1 of \d+ entries"):
            machine.wait_for(pattern, 2)
        expect(machine.stop(), EXIT_GOOD, "exit status")


def check_port(suite):
    with suite.boot(options="port=80") as machine:
        machine.port = 80
        serve_a_little(suite, machine)


def check_boot_line(suite):
    """The line says when it began to listen, in guest time."""
    with suite.boot() as machine:
        line = machine.wait_for("listening on .*, [0-9]+ us after the first instruction")
        expect(f"http://{machine.address}:8080" in line.string, True, line.string)
        expect(machine.stop(), EXIT_GOOD, "exit status")


def call(suite, check, options):
    check(suite, **options)


def run(suite):
    suite.each([
        *[(f"boots on {name}", suite, check_boots, {"machine": name})
          for name in ("pc", "q35", "microvm")],
        *[(f"boots on {name} with 1 GiB", suite, check_boots, {"machine": name, "memory": "1G"})
          for name in ("pc", "microvm")],
        *[(f"16 MiB are enough on {name}", suite, check_small, {"machine_type": name})
          for name in ("pc", "q35", "microvm")],
        *[(f"memory in pieces: {memory} on {name}", suite, check_memory_in_pieces,
           {"machine": name, "memory": memory, "options": words, "expected": expected})
          for name, memory, words, expected in (
              ("q35", "3G", "", 1.0), ("q35", "3G", "max-users=1000", 0), ("q35", "2G", "", 0),
              ("pc", "5G", "", 2.0))],
        # Under KVM the processor's RDRAND is there, whatever processor was asked for.
        *[(f"iommu_platform=on, on {name}", suite, check_platform, options)
          for name, options in PLATFORMS.items() if suite.accelerator == "tcg"],
        ("load on microvm (MMIO)", suite, check_load, {"machine": "microvm"}),
        ("without checksum offload", suite, check_load, {"device_options": NO_OFFLOAD}),
        ("without merged buffers", suite, check_load, {"device_options": NO_OFFLOAD + NO_MERGE}),
        ("without event index", suite, check_load, {"device_options": ",event_idx=off"}),
        ("without any of these, on microvm", suite, check_load,
         {"machine": "microvm", "device_options": NO_OFFLOAD + NO_MERGE + ",event_idx=off"}),
        ("DHCP", suite, check_dhcp, {"options": {}}),
        ("DHCP on microvm", suite, check_dhcp, {"options": {"machine": "microvm"}}),
        ("a subnet of two addresses", suite, check_small_subnet,
         {"prefix": 31, "gateway": "198.18.{}.3"}),
        ("a subnet of one address", suite, check_small_subnet,
         {"prefix": 32, "gateway": "169.254.1.1"}),
        ("another port", suite, check_port, {}),
        ("log=error", suite, check_log, {}),
        ("log=debug", suite, check_debug_log, {}),
        ("words for other kernels", suite, check_foreign_words, {}),
        ("the line that says it listens", suite, check_boot_line, {}),
        ("unknown option", suite, check_lists_options, {}),
        ("idle-timeout is above that of proxies", suite, check_idle_default, {}),
        *[(f"option {words}", suite, check_fails, {"options": words, "pattern": pattern})
          for words, pattern in (
              ("port=0", "port"), ("port=65536", "port"), ("port=80x", "port"), ("port=", "port"),
              ("port", "port"), ("port=80 port=81", "port"), ("max-users=0", "max-users"),
              ("max-connections=-1", "max-connections"), ("idle-timeout=5", "idle-timeout"),
              ("idle-timeout=5m", "idle-timeout"), ("log=loud", "log"), ("PORT=80", "PORT"))],
        *[(f"option {words}", suite, check_fails, {"ip": words, "pattern": "ip"})
          for words in ("ip=198.18.0.2", "ip=198.18.0.256/24", "ip=198.18.0.2/33", "ip=DHCP",
                        "ip=198.18.0.2/24,", "ip=198.18.0/24", "ip=")],
        *[(f"a processor with {properties}", suite, check_boots,
           {"cpu": properties, "machine": "q35"}) for properties in PROCESSORS[suite.accelerator]],
        ("no network device", suite, check_fails,
         {"machine": "q35", "network": None,
          "pattern": "no virtio-net device .* looked at 1 PCI buses"}),
        ("a network device on an expander bus of PCI Express", suite, check_expander, {
            "machine": "q35", "bridges": ["pxb-pcie,id=pxb,bus=pcie.0,bus_nr=64",
                                          "pcie-root-port,id=rp,bus=pxb,chassis=1"],
            "device_options": ",bus=rp"}),
        ("a network device on an expander bus of PCI", suite, check_expander, {
            "machine": "pc", "bridges": ["pxb,id=pxb,bus=pci.0,bus_nr=200"],
            "device_options": ",bus=pxb,addr=2"}),
        ("a device of the old kind only", suite, check_fails,
         {"machine": "q35", "device_options": ",disable-modern=on,disable-legacy=off",
          "pattern": "(?i)virtio|net"}),
        ("more connections than memory", suite, check_fails,
         {"memory": "16M", "options": "max-connections=60000", "pattern": "(?i)memory"}),
        ("more users than memory", suite, check_fails,
         {"memory": "16M", "options": "max-users=10000000", "pattern": "(?i)memory"}),
        ("1,024 connections in 4 MiB", suite, check_fails,
         {"memory": "4M", "options": "max-connections=1024", "pattern": "(?i)memory"}),
        ("Ctrl-C", suite, check_ctrl_c, {}),
        *[(f"the power button on {name}", suite, check_power_button, {"machine": name})
          for name in ("pc", "q35")],
        ("Ctrl-Alt-Del without ACPI", suite, check_ctrl_alt_del, {"machine": "pc,acpi=off"}),
        *[(f"Ctrl-C with 1,000 connections on {name}", suite, check_all_are_told,
           {"machine": name}) for name in ("q35", "microvm")],
        ("Ctrl-C before there is an address", suite, check_ctrl_c_at_boot, {}),
        ("other keys", suite, check_other_bytes, {}),
    ], call)

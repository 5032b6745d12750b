"""QEMU's command line, for all that boots an image from Python. For bash: scripts/machine.bash."""

import os
import pathlib
import subprocess

PROGRAM = "qemu-system-x86_64"
TOP = pathlib.Path(__file__).resolve().parent.parent

# QEMU 7.2 cannot set what kvm_pvm says of MSR_IA32_ARCH_CAPABILITIES; nobody here reads it.
CPUS = {"tcg": "max", "kvm": "host,arch-capabilities=off"}


def why_not_kvm(image, machine="q35"):
    """None where the image boots under KVM on this host; else a sentence."""
    done = subprocess.run(
        ["bash", "-c", ". scripts/machine.bash; machine_configure \"$1\"", "bash", str(image)],
        cwd=TOP, capture_output=True, text=True, check=False,
        env={**os.environ, "ACCEL": "kvm", "MACHINE": machine, "MEM": "64M"})
    return None if done.returncode == 0 else done.stderr.strip()


def command(machine, memory, kernel, append, accelerator="tcg", cpu=""):
    """A machine without a network; its console is standard input and output."""
    kind = ["-M", machine]
    if machine == "microvm":  # without ACPI it tells where its devices are on the command line
        kind = ["-M", "microvm,acpi=off,rtc=on", "-global", "virtio-mmio.force-legacy=false"]
    return [PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-name", "tally,debug-threads=on", "-accel", accelerator,
            "-cpu", ",".join([CPUS[accelerator], *filter(None, [cpu])]), "-m", memory, *kind,
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-kernel", kernel, "-append", append]


def network(machine, backend, properties=""):
    """A virtio-net device on that backend ("tap,ifname=..."), for the end of a command."""
    device = "virtio-net-device" if machine == "microvm" else "virtio-net-pci"
    kind, _, rest = backend.partition(",")
    return ["-netdev", f"{kind},id=n0,{rest}", "-device", f"{device},netdev=n0{properties}"]

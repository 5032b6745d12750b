"""QEMU's command line, for all that boots an image from Python. For bash: scripts/machine.bash."""

PROGRAM = "qemu-system-x86_64"


def command(machine, memory, kernel, append):
    """A machine without a network; its console is standard input and output."""
    kind = ["-M", machine]
    if machine == "microvm":  # without ACPI it tells where its devices are on the command line
        kind = ["-M", "microvm,acpi=off,rtc=on", "-global", "virtio-mmio.force-legacy=false"]
    return [PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-name", "tally,debug-threads=on", "-accel", "tcg", "-cpu", "max", "-m", memory,
            *kind, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-kernel", kernel, "-append", append]


def network(machine, backend, properties=""):
    """A virtio-net device on that backend ("tap,ifname=..."), for the end of a command."""
    device = "virtio-net-device" if machine == "microvm" else "virtio-net-pci"
    kind, _, rest = backend.partition(",")
    return ["-netdev", f"{kind},id=n0,{rest}", "-device", f"{device},netdev=n0{properties}"]

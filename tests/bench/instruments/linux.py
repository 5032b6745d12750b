"""A Linux guest that runs the baseline server and nothing else.

Debian's kernel for clouds, out of its package, into a cache outside of the tree; nothing is
installed. The initramfs holds the drivers of the network device, init and the server.
"""

import os
import re
import subprocess
import tempfile

from .tools import BenchError, run

META_PACKAGE = "linux-image-cloud-amd64"
# In the order in which they need one another.
MODULES = (
    "net/core/failover", "drivers/net/net_failover", "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci", "drivers/net/virtio_net",
)


def _cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = os.path.join(base, "tally", "linux")
    os.makedirs(path, exist_ok=True)
    return path


def _package_name():
    depends = run("apt-cache", "depends", META_PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise BenchError(f"apt knows no {META_PACKAGE}: apt-get update?")
    return found.group(1)


def _unpacked():
    """The directory of an unpacked kernel package: the cache's newest, or a new one."""
    cache = _cache()
    known = sorted(name for name in os.listdir(cache) if name.startswith("linux-image-"))
    if known:
        return os.path.join(cache, known[-1])
    package = _package_name()
    with tempfile.TemporaryDirectory(dir=cache, prefix="new-") as scratch:
        run("apt-get", "-qq", "download", package, cwd=scratch, timeout=300)
        archives = [name for name in os.listdir(scratch) if name.endswith(".deb")]
        if not archives:
            raise BenchError(f"apt-get did not download {package}")
        run("dpkg-deb", "-x", os.path.join(scratch, archives[0]), os.path.join(scratch, "tree"))
        target = os.path.join(cache, package)
        os.rename(os.path.join(scratch, "tree"), target)
    return target


def kernel():
    """(path of the kernel, its version, directory of its modules)."""
    tree = _unpacked()
    boot = os.listdir(os.path.join(tree, "boot"))
    images = [name for name in boot if name.startswith("vmlinuz-")]
    if len(images) != 1:
        raise BenchError(f"{tree}/boot holds no kernel: remove the directory")
    version = images[0].removeprefix("vmlinuz-")
    for modules in (f"lib/modules/{version}/kernel", f"usr/lib/modules/{version}/kernel"):
        if os.path.isdir(os.path.join(tree, modules)):
            return os.path.join(tree, "boot", images[0]), version, os.path.join(tree, modules)
    raise BenchError(f"{tree} holds no modules: remove the directory")


def _newc(name, mode, content=b"", device=(0, 0)):
    """An entry of a cpio archive in the "new ASCII" format (cpio(5)), which the kernel unpacks."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    head += b"\0" * (-len(head) % 4)
    return head + content + b"\0" * (-len(content) % 4)


def initramfs(path, modules, init, server):
    """Writes the initramfs to `path`."""
    directory, file, device = 0o040755, 0o100755, 0o020600
    with open(path, "wb") as out:
        out.write(_newc("dev", directory))
        out.write(_newc("dev/console", device, device=(5, 1)))
        out.write(_newc("modules", directory))
        for number, module in enumerate(MODULES):
            out.write(_newc(f"modules/{number:02}-{os.path.basename(module)}.ko", file,
                            _module(os.path.join(modules, module + ".ko"))))
        for name, source in (("init", init), ("epoll-server", server)):
            with open(source, "rb") as binary:
                out.write(_newc(name, file, binary.read()))
        out.write(_newc("TRAILER!!!", 0))


def _module(path):
    if os.path.exists(path):
        with open(path, "rb") as module:
            return module.read()
    if os.path.exists(path + ".xz"):
        return subprocess.run(["xz", "-dc", path + ".xz"], check=True, capture_output=True).stdout
    raise BenchError(f"{path}: no such module")

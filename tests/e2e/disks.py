"""Disks for the appliance in QEMU: sound ones, and those of which something can be asked."""

import contextlib
import json
import os
import struct
import tempfile

MIB = 1 << 20


def attach(machine, node, device="", **properties):
    """QEMU's options for a virtio-blk device on that node, errors reported to the guest."""
    kind = "virtio-blk-device" if machine == "microvm" else "virtio-blk-pci"
    name = properties.setdefault("node-name", "d0")
    return ["-blockdev", json.dumps({**node, **properties}), "-device",
            f"{kind},drive={name},id={name}-device,werror=report,rerror=report{device}"]


def file(path):
    return {"driver": "file", "filename": path}


def raw(path, **properties):
    return {"driver": "raw", "file": file(path), **properties}


def failing(path, iotype, after):
    """From the flush of that number on, each write, or each flush, fails (QEMU's blkdebug)."""
    steps = [{"event": "flush_to_disk", "state": i + 1, "new_state": i + 2} for i in range(after)]
    rule = {"event": "flush_to_disk", "iotype": iotype, "state": after + 1, "errno": 5,
            "once": False}
    return {"driver": "raw", "file": {"driver": "blkdebug", "image": file(path),
                                      "set-state": steps, "inject-error": [rule]}}


def logged(path, log):
    """Every write and flush is written to `log` as well (dm-log-writes' format)."""
    return {"driver": "blklogwrites", "file": file(path), "log": file(log)}


@contextlib.contextmanager
def images(*sizes):
    """Paths of blank sparse files, in a directory of their own."""
    with tempfile.TemporaryDirectory(prefix="tally-disk-") as directory:
        paths = []
        for i, size in enumerate(sizes):
            paths.append(os.path.join(directory, f"disk{i}"))
            with open(paths[-1], "wb") as made:
                made.truncate(size)
        yield paths if len(paths) > 1 else paths[0]


class Log:
    """What logged() has written: entries (offset in the log, sector, flags, data)."""

    SECTOR = 512
    FLUSH = 1

    def __init__(self, path):
        with open(path, "rb") as log:
            self.bytes = log.read()
        magic, version, _, sector_bytes = struct.unpack_from("<QQQI", self.bytes)
        if (magic, version, sector_bytes) != (0x6A736677736872, 1, self.SECTOR):
            raise AssertionError(f"{path} is no log of writes")
        self.entries = []
        at = self.SECTOR
        while at + self.SECTOR <= len(self.bytes):
            sector, count, flags, _ = struct.unpack_from("<QQQQ", self.bytes, at)
            data = self.bytes[at + self.SECTOR:at + self.SECTOR + count * self.SECTOR]
            self.entries.append((at, sector, flags, data))
            at += self.SECTOR + len(data)

    def replay(self, path, end, lost=()):
        """Writes the first `end` entries into the image, but for those whose index is in `lost`."""
        with open(path, "r+b") as image:
            for i, (_, sector, _, data) in enumerate(self.entries[:end]):
                if i not in lost:
                    image.seek(sector * self.SECTOR)
                    image.write(data)

    def since_flush(self, end):
        """The indices, below `end`, of writes that no flush below `end` covers."""
        first = end
        while first > 0 and not self.entries[first - 1][2] & self.FLUSH:
            first -= 1
        return range(first, end)

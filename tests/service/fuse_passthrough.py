"""`python fuse_passthrough.py SOURCE POINT PID`: a FUSE filesystem that shows SOURCE in the namespace of process PID.

Read-only. Says `mounted` and serves until it is killed; stopped (SIGSTOP), it is a filesystem that hangs.

The protocol of /dev/fuse by hand (linux/fuse.h, 7.31): what is needed to look at files and to read them.
"""

import errno
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_READ = struct.Struct("<QQI")
_BUFFER = 1 << 20


class Passthrough:
    """Answers the kernel's questions from a real folder."""

    def __init__(self, source: Path) -> None:
        self._paths = {1: source}
        self._ids = {source: 1}
        self._answers: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._lookup,
            3: lambda node, _: struct.pack("<QII", 0, 0, 0) + self._attr(node),
            5: lambda node, _: os.fsencode(self._paths[node].readlink()),
            14: lambda _, __: struct.pack("<QII", 0, 0, 0),
            15: self._read,
            17: lambda _, __: struct.pack("<QQQQQIIII6I", *[0] * 5, 4096, 255, 4096, 0, *[0] * 6),
            18: lambda _, __: b"",
            25: lambda _, __: b"",
            26: lambda _, __: struct.pack("<IIIIHHIIHHI7I", 7, 31, 0, 0, 8, 8, 4096, 1, 1, 0, 0, *[0] * 7),
            27: lambda _, __: struct.pack("<QII", 0, 0, 0),
            28: self._list,
            29: lambda _, __: b"",
        }

    def answer(self, opcode: int, node: int, body: bytes) -> tuple[int, bytes]:
        """An errno, negative, and what is to be said."""
        try:
            return 0, self._answers[opcode](node, body)
        except KeyError:
            return -errno.ENOSYS, b""
        except OSError as error:
            return -(error.errno or errno.EIO), b""

    def _attr(self, node: int) -> bytes:
        found = self._paths[node].lstat()
        times = [int(moment) for moment in (found.st_atime, found.st_mtime, found.st_ctime)]
        parts = [moment % 1_000_000_000 for moment in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        mode = found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0
        return _ATTR.pack(node, found.st_size, found.st_blocks, *times, *parts, *mode)

    def _lookup(self, node: int, body: bytes) -> bytes:
        path = self._paths[node] / os.fsdecode(body.rstrip(b"\0"))
        path.lstat()
        known = self._ids.setdefault(path, len(self._ids) + 1)
        self._paths[known] = path
        return struct.pack("<QQQQII", known, 0, 0, 0, 0, 0) + self._attr(known)

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size = _READ.unpack_from(body)
        with self._paths[node].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def _list(self, node: int, body: bytes) -> bytes:
        _, offset, size = _READ.unpack_from(body)
        listing = b""
        for number, path in enumerate(sorted(self._paths[node].iterdir()), 1):
            name = os.fsencode(path.name)
            entry = struct.pack("<QQII", number + 1, number, len(name), stat.S_IFMT(path.lstat().st_mode) >> 12) + name
            entry += bytes(-len(entry) % 8)
            if number > offset and len(listing) + len(entry) <= size:
                listing += entry
        return listing


def main() -> None:
    """Mount, and serve."""
    source, point, pid = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    inside = ["nsenter", f"--target={pid}", "--mount", "mount", "-i", "-t", "fuse", "-o", options, "test", point]
    subprocess.run(inside, check=True, pass_fds=(device,))
    sys.stdout.write("mounted\n")
    sys.stdout.flush()
    files = Passthrough(source)
    while True:
        try:
            asked = os.read(device, _BUFFER)
        except OSError:  # unmounted
            return
        _, opcode, unique, node, *_ = _IN.unpack_from(asked)
        if opcode in (2, 36, 42):  # forget, interrupt: nobody waits for an answer
            continue
        error, said = files.answer(opcode, node, asked[_IN.size :])
        os.write(device, _OUT.pack(_OUT.size + len(said), error, unique) + said)


if __name__ == "__main__":
    main()

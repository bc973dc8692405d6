"""Owns the stat signature: has anything under this root changed since? Opens no file and judges nothing."""

import errno
import json
import math
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pumas_agent.bundles.walk import Entry, Stat, Tree, walk

RACY_NS = 2_000_000_000
"""Clocks of filesystems are coarse (two seconds on FAT): a later change within this may leave the same times."""


_ROW = struct.Struct("<qqqQQqQ")
"""One `Stat`, eight bytes a number. Times may be before 1970; sizes and, on some systems, devices may be below zero."""
_ABSENT = (0, 0, 0, 0, 0, 0)
_MOST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StatSignature:
    """What `stat` said about every entry of a tree, links followed, the root and what is absent included.

    Directories are entries, so that whatever is added, removed, renamed or linked anew changes one of them. What no
    signature sees: stores through a memory map that was made before, and a second change within the clock's tick
    (`Look.racy` tells when that is possible).

    Attributes:
        root: the path of the tree.
        names: the paths of the entries as they follow on the root's, with NUL between them, which no name holds.
        rows: their numbers. One of each for every registered bundle is kept for good: as objects they weigh ten times
            as much.
    """

    root: str
    names: str
    rows: bytes

    @classmethod
    def take(cls, root: Path) -> Self:
        """Walk the tree now."""
        return cls.of(walk(root))

    @classmethod
    def of(cls, tree: Tree) -> Self:
        """The signature of a tree that was walked already."""
        return cls.of_entries(str(tree.root), tree.entries)

    @classmethod
    def of_entries(cls, root: str, entries: Iterable[Entry]) -> Self:
        """The signature of entries at and below a root."""
        found = tuple(entries)
        names = "\0".join(path.removeprefix(root) for path, _ in found)
        return cls(root, names, b"".join(_packed(status) for _, status in found))

    def __len__(self) -> int:
        """How many `stat` calls `unchanged` makes."""
        return len(self.rows) // _ROW.size

    @property
    def entries(self) -> Iterator[Entry]:
        """What was found, in the order of the walk."""
        for path, row in self._rows():
            yield path, Stat(*row) if row[4] else row[0]

    @property
    def one_device(self) -> bool:
        """Nothing lies on another device than the root."""
        # A path that fails may be a link into another filesystem, and asking for it again would wait for that one.
        return len({status.dev if isinstance(status, Stat) else None for _, status in self.entries}) == 1

    def unchanged(self) -> bool:
        """True when every path is as it was: one `stat` call an entry, and nothing else."""
        stat = os.stat  # a local name, and no Path: this is asked on every lookup
        for path, known in self._rows():
            try:
                now = stat(path)
            except OSError as error:
                if known != (error.errno, *_ABSENT):
                    return False
            except ValueError:
                if known != (errno.ENOENT, *_ABSENT):
                    return False
            else:
                if known != (
                    now.st_mtime_ns,
                    now.st_ctime_ns,
                    now.st_size,
                    now.st_ino,
                    now.st_mode,
                    now.st_dev,
                    now.st_nlink,
                ):
                    return False
        return True

    def is_racy(self, taken_ns: int, *, local: bool) -> bool:
        """True when something changed so shortly before it was taken that a further change may leave the same times.

        Args:
            taken_ns: when the taking began, nanoseconds since 1970 by the wall clock.
            local: its times are of this machine's clock. One that is far ahead of it is from before the clock was set
                back, and no further change can have it again. A server's clock may be ahead all the time.
        """
        latest = taken_ns + RACY_NS if local else math.inf
        changed = (status.ctime_ns for _, status in self.entries if isinstance(status, Stat))
        return any(taken_ns - RACY_NS < ctime_ns <= latest for ctime_ns in changed)

    def to_json(self) -> str:
        """Compact ASCII JSON: `[root, [[path below the root, seven numbers or one errno], …]]`."""
        base = len(self.root)
        rows = [[path[base:], *(status if isinstance(status, Stat) else (status,))] for path, status in self.entries]
        return json.dumps([self.root, rows], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The signature that `to_json` wrote.

        Raises:
            ValueError, TypeError: the text is none.
        """
        root, rows = json.loads(text)
        return cls.of_entries(
            root, ((root + path, Stat(*rest) if len(rest) > 1 else int(rest[0])) for path, *rest in rows)
        )

    def _rows(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        root = self.root
        names = self.names.split("\0") if self.rows else ()
        return zip((root + name for name in names), _ROW.iter_unpack(self.rows), strict=True)


def _packed(status: Stat | int) -> bytes:
    """The numbers of an entry, or its errno and no mode, which nothing that exists has.

    A time that eight bytes cannot hold (after 2262) is kept as the last that they can, and never compares equal: such
    an entry counts as changed each time.
    """
    if isinstance(status, int):
        return _ROW.pack(status, *_ABSENT)
    mtime_ns, ctime_ns, *rest = status
    return _ROW.pack(*(max(-_MOST_NS, min(when, _MOST_NS)) for when in (mtime_ns, ctime_ns)), *rest)

"""Owns the one walk over a bundle's tree, and the bounds of it. Opens no file."""

import errno
import itertools
import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MAX_ENTRIES = 20_000
MAX_LEVELS = 8
MAX_NAME_CHARACTERS = 2 * 1024 * 1024
"""Of all paths below the root together: what a signature may weigh when it crosses a pipe."""


class Stat(NamedTuple):
    """What tells that something at a path is not what it was."""

    mtime_ns: int
    ctime_ns: int
    size: int
    ino: int
    mode: int
    dev: int
    nlink: int


Entry = tuple[str, Stat | int]
"""An absolute path and what `stat` says there, links followed: the status, or the errno it fails with."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Everything below a root, the root first."""

    root: Path
    entries: tuple[Entry, ...]
    size_bytes: int
    """Sum of the regular files, links not followed."""
    links: tuple[str, ...]
    """Absolute paths of the entries that are links."""
    overflow: str | None
    """Which bound was met; the entries are then what was walked until there."""


def status_of(path: str) -> Stat | int:
    """What is at the path, links followed, or the errno of the attempt."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each of thousands of entries is felt
    except OSError as error:
        return error.errno or errno.EIO
    except ValueError:  # a NUL, or text that no file name can hold: nothing can be there
        return errno.ENOENT
    return Stat(
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_mode,
        status.st_dev,
        status.st_nlink,
    )


def walk(root: Path) -> Tree:
    """Walk the tree, through links to directories too, each directory once.

    A directory that cannot be listed is an entry without children: what makes it listable changes its own status.
    """
    root = root.absolute()
    found = _Walk(str(root))
    found.run()
    return Tree(root, tuple(found.entries), found.size_bytes, tuple(found.links), found.overflow)


class _Directory(NamedTuple):
    path: str
    level: int
    linked: bool


class _Walk:
    """The state of one walk."""

    def __init__(self, root: str) -> None:
        status = status_of(root)
        self.entries: list[Entry] = [(root, status)]
        self.size_bytes = 0
        self.links: list[str] = []
        self.overflow: str | None = None
        self._base = len(root)
        self._characters = 0
        self._seen: set[tuple[int, int]] = set()
        # What is reached without a link comes first: a link into the tree must not hide it from the size.
        self._real: deque[_Directory] = deque()
        self._linked: deque[_Directory] = deque()
        self._note(_Directory(root, 0, linked=False), status)

    def run(self) -> None:
        while (self._real or self._linked) and self.overflow is None:
            self._list((self._real or self._linked).popleft())

    def _note(self, directory: _Directory, status: Stat | int) -> None:
        if isinstance(status, int) or not stat.S_ISDIR(status.mode) or (status.dev, status.ino) in self._seen:
            return
        # A link may lead to a directory that the walk has yet to reach by itself; it is marked as seen when listed.
        (self._linked if directory.linked else self._real).append(directory)
        if not directory.linked:
            self._seen.add((status.dev, status.ino))

    def _list(self, directory: _Directory) -> None:
        if directory.linked and not self._first_time(directory.path):
            return
        try:
            with os.scandir(directory.path) as listing:
                # Sorted, because the order decides through which of two links a directory is seen.
                children = sorted(itertools.islice(listing, MAX_ENTRIES + 1), key=lambda entry: entry.name)
        except OSError:
            return
        for child in children:
            if not self._take(directory, child):
                return

    def _first_time(self, path: str) -> bool:
        status = status_of(path)
        if isinstance(status, int) or (status.dev, status.ino) in self._seen:
            return False
        self._seen.add((status.dev, status.ino))
        return True

    def _take(self, directory: _Directory, entry: os.DirEntry[str]) -> bool:
        self._characters += len(entry.path) - self._base
        if directory.level == MAX_LEVELS:
            self.overflow = f"more than {MAX_LEVELS} levels of folders"
        elif len(self.entries) == MAX_ENTRIES:
            self.overflow = f"more than {MAX_ENTRIES} entries"
        elif self._characters > MAX_NAME_CHARACTERS:
            self.overflow = f"more than {MAX_NAME_CHARACTERS} characters of names"
        else:
            status = status_of(entry.path)
            self.entries.append((entry.path, status))
            link = entry.is_symlink()
            if link:
                self.links.append(entry.path)
            linked = directory.linked or link
            if not linked and isinstance(status, Stat) and stat.S_ISREG(status.mode):
                self.size_bytes += status.size
            self._note(_Directory(entry.path, directory.level + 1, linked), status)
        return self.overflow is None

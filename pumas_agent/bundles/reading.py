"""Owns how a file of a bundle is opened and read: regular files only, never blocking, never more than asked for.

Never opens anything for writing.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_NOATIME: int = getattr(os, "O_NOATIME", 0)  # Linux; reading then leaves the access time alone


class NotRegularFile(Exception):
    """The path leads to a directory, pipe, socket or device."""

    def __init__(self, mode: int) -> None:
        super().__init__(f"not a regular file (mode {mode:o})")
        self.is_directory = stat.S_ISDIR(mode)


class FileTooLarge(Exception):
    """The file has more bytes than may be read."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file, links followed.

    Raises:
        NotRegularFile: before anything is opened: opening a pipe would wake its writer, opening a device may act.
        OSError: as `open` does.
    """
    _require_regular(path.stat())
    descriptor = _open(path)
    try:
        _require_regular(os.fstat(descriptor))  # it may have been exchanged since
        yield descriptor
    finally:
        os.close(descriptor)


def read_file(path: Path, limit: int) -> bytes:
    """All bytes of a regular file of at most `limit` bytes.

    Raises:
        NotRegularFile, OSError: as `opened`.
        FileTooLarge: there are more.
    """
    with opened(path) as descriptor:
        content = bytearray()
        while chunk := os.read(descriptor, min(limit + 1 - len(content), 1 << 20)):
            content += chunk
            if len(content) > limit:
                raise FileTooLarge(f"{path} has more than {limit} bytes")
        return bytes(content)


def _open(path: Path) -> int:
    try:
        return os.open(path, _FLAGS | _NOATIME)
    except PermissionError:
        # O_NOATIME is for the owner of the file alone (man 2 open); without it the same error says the real thing
        return os.open(path, _FLAGS)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularFile(status.st_mode)

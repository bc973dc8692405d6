"""The system calls of inotify (man 7 inotify). Owns one instance; knows no paths it watches. Linux only."""

import array
import ctypes
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Iterator

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ISDIR = 0x4000_0000
_IN_ONLYDIR = 0x0100_0000
_IN_EXCL_UNLINK = 0x0400_0000
_IN_MASK_ADD = 0x2000_0000

MASK = (
    IN_CREATE
    | IN_DELETE
    | IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_MODIFY
    | IN_CLOSE_WRITE
    | IN_ATTRIB
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | _IN_ONLYDIR
    | _IN_EXCL_UNLINK
)
"""The same for every folder: the kernel keeps one mask a folder, and two would overwrite each other.

Reading a file is none of it. Writing is, although a big write makes thousands of events: a file that is truncated by
its path, or written through a descriptor that stays open, says nothing else.
"""
SELF_MASK = IN_MOVE_SELF | IN_DELETE_SELF | _IN_ONLYDIR | _IN_MASK_ADD
"""For a folder of which only its own going matters; it takes nothing from another mask that the folder has."""
_BUFFER_BYTES = 256 * 1024
_HEADER = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


RawEvent = tuple[int, int, int, bytes]
"""Of one event: the watch, the mask, the cookie that both halves of a move have, and the name in the folder, which is
empty for what happened to the watched folder itself."""


class Inotify:
    """One inotify instance.

    Raises:
        OSError: none can be had (fs.inotify.max_user_instances, or no descriptor is left).
    """

    def __init__(self) -> None:
        self.descriptor = -1
        self.descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        self._pending = array.array("i", [0])

    def add(self, path: str, mask: int = MASK, via: str | None = None) -> int:
        """Watch a folder; the number of its watch, which is the one it has when it is watched already.

        Args:
            path: the folder, as an error names it.
            mask: the events that are wanted.
            via: another path to it, for the system call.

        Raises:
            OSError: it cannot be watched. ENOSPC when the user's limit of watches is reached.
        """
        return _checked(_libc.inotify_add_watch(self.descriptor, os.fsencode(via or path), mask), path)

    def remove(self, watch: int) -> None:
        """End a watch; one that the kernel has ended itself is no error."""
        _libc.inotify_rm_watch(self.descriptor, watch)

    def is_empty(self) -> bool:
        """No event waits to be read: one system call. False when the instance is closed.

        Belongs to the event loop: one thread asks.
        """
        try:
            fcntl.ioctl(self.descriptor, termios.FIONREAD, self._pending)
        except OSError:
            return False
        return self._pending[0] == 0

    def read(self) -> Iterator[RawEvent]:
        """The events that wait, as many as one read gives."""
        try:
            buffer = os.read(self.descriptor, _BUFFER_BYTES)
        except BlockingIOError:
            return
        at, end, header = 0, len(buffer), _HEADER
        while at < end:
            watch, mask, cookie, length = header.unpack_from(buffer, at)
            at += header.size + length
            yield watch, mask, cookie, buffer[at - length : at].rstrip(b"\0") if length else b""

    def close(self) -> None:
        """End every watch. A second call does nothing.

        The number of the descriptor stays ours for as long as anyone has this object: a thread that is about to use it
        meets no other file.
        """
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, self.descriptor, inheritable=False)
        os.close(nothing)

    def __del__(self) -> None:
        """Give the number back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def is_gone(error: OSError) -> bool:
    """The folder went away, or became something else, before it could be watched: no fault."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)

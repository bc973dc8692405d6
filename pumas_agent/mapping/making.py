"""Making one link, putting it in the place of something else, and taking it away again.

Owns every change in an application's folder. Works relative to an open folder; a name that exists is never written
through and never lost: something new comes by a call that fails when the name exists, and what is replaced is replaced
by one rename. Files of the library are read at most, and only to be copied or compared.
"""

import contextlib
import errno
import itertools
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path, PurePath

import psutil

from pumas_agent.contracts.mapping import LinkType
from pumas_agent.mapping.sources import Source

_NO_SUCH_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}
"""What a filesystem says that has no links of this kind, or none to there."""
_OURS = ".pumas-agent."
_CHUNK = 1024 * 1024
_COARSE_NS = 2_000_000_000
"""FAT keeps times in steps of two seconds."""


def create(source: Source, folder: int, name: str) -> LinkType:
    """Link a file under a name that is free: a symbolic link, else a hard link, else a copy.

    Raises:
        FileExistsError: the name is taken.
        OSError: none of the three could be made, and nothing was.
    """
    try:
        os.symlink(source.path, name, dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_SUCH_LINKS:
            raise
    else:
        return LinkType.SYMLINK
    try:
        os.link(source.real, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_SUCH_LINKS:
            raise
    else:
        return LinkType.HARDLINK
    _copy(source.real, folder, name)
    return LinkType.COPY


def _copy(source: Path, folder: int, name: str) -> None:
    """Copy a file whole, or not at all. The copy has the times of the file, by which it is known later."""
    temporary = _temporary(name)
    with _reading(source, None) as original:
        facts = os.fstat(original)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
        try:
            try:
                while chunk := os.read(original, _CHUNK):
                    _write_all(descriptor, chunk)
                os.utime(descriptor, ns=(facts.st_atime_ns, facts.st_mtime_ns))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _require_free(folder, name)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def replace(source: Source, folder: int, name: str, expected: os.stat_result) -> tuple[LinkType, str | None]:
    """Put a link to a file where something else stands, in one rename. What stands there is a link or a regular file.

    A regular file is first given the name `<name>.replaced-<n>`, unless it has the very bytes of the source.

    Args:
        source: the file of the library.
        folder: descriptor of the application's folder.
        name: in that folder.
        expected: what stood there when it was decided to replace it.

    Returns:
        How it was linked, and the name that the file is kept under.

    Raises:
        OSError: it could not be done, or something else stands there now; what stood there stands there still.
    """
    temporary = _temporary(name)
    link_type = create(source, folder, temporary)
    try:
        keep = stat.S_ISREG(expected.st_mode) and not _same_bytes(source.real, folder, name)
        _require_unchanged(folder, name, expected)
        kept_as = _keep(folder, name) if keep else None
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    return link_type, kept_as


def remove(folder: int, name: str, expected: os.stat_result) -> None:
    """Take a name away, when what stands there is still what was looked at.

    Raises:
        OSError: it is something else now, or could not be removed.
    """
    _require_unchanged(folder, name, expected)
    os.unlink(name, dir_fd=folder)


def is_copy_of(source: Path, folder: int, name: str, found: os.stat_result) -> bool:
    """Whether a regular file still is the copy of a source that was made of it.

    Size and time tell; where the time may have been rounded the bytes do.

    Raises:
        OSError: one of the two cannot be looked at.
    """
    facts = source.stat()
    if not stat.S_ISREG(found.st_mode) or facts.st_size != found.st_size:
        return False
    apart = abs(facts.st_mtime_ns - found.st_mtime_ns)
    return apart == 0 or (apart <= _COARSE_NS and _same_bytes(source.resolve(strict=True), folder, name))


def free_name(folder: int | None, name: str, taken: set[str], start: int = 1) -> tuple[str, int]:
    """`stem_1.ext`, or the next number that is free, and the number; `start` is the first one to try."""
    path = PurePath(name)
    for number in itertools.count(start):
        candidate = f"{path.stem}_{number}{path.suffix}"
        if candidate not in taken and (folder is None or not _exists(folder, candidate)):
            return candidate, number
    raise AssertionError  # numbers have no end


def kept_name(folder: int, name: str) -> str:
    """The name a replaced file is going to be kept under."""
    number = 1
    while _exists(folder, candidate := f"{name}.replaced-{number}"):
        number += 1
    return candidate


def sweep(folder: int) -> None:
    """Remove what a process that is no more left half made: a link, or a part of a copy, under a name of our own."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(_OURS) and not entry.is_dir()]
    for name in names:
        pid = name.removeprefix(_OURS).partition(".")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            with contextlib.suppress(OSError):  # it is tried again the next time, and is in nobody's way
                os.unlink(name, dir_fd=folder)


def _keep(folder: int, name: str) -> str:
    """Give a file its second name, so that it can be replaced; on a filesystem without hard links, its new name."""
    while True:
        kept_as = kept_name(folder, name)
        try:
            os.link(name, kept_as, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in _NO_SUCH_LINKS:
                raise
            os.rename(name, kept_as, src_dir_fd=folder, dst_dir_fd=folder)
        return kept_as


def _same_bytes(source: Path, folder: int, name: str) -> bool:
    with _reading(source, None) as one, _reading(name, folder) as other:
        if os.fstat(one).st_size != os.fstat(other).st_size:
            return False
        while True:
            left, right = os.read(one, _CHUNK), os.read(other, _CHUNK)
            if left != right:
                return False
            if not left:
                return True


@contextlib.contextmanager
def _reading(path: Path | str, folder: int | None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _require_free(folder: int, name: str) -> None:
    if _exists(folder, name):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _require_unchanged(folder: int, name: str, expected: os.stat_result) -> None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if _identity(found) != _identity(expected):
        raise OSError(errno.EBUSY, "it was changed meanwhile", name)


def _identity(facts: os.stat_result) -> tuple[int, int, int, int, int]:
    return facts.st_dev, facts.st_ino, facts.st_mode, facts.st_size, facts.st_mtime_ns


def _temporary(name: str) -> str:
    """A hidden name of our own beside `name`; cut, because names have 255 bytes at most."""
    short = os.fsencode(name)[:150].decode("utf-8", "ignore")
    return f"{_OURS}{os.getpid()}.{threading.get_ident()}.{short}"

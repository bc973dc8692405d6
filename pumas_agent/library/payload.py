"""The files that a record names in the model's own folder. Owns that no such name leads out of it; never writes."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


_Kind = Callable[[int], bool]


class NotAFile(Exception):
    """There is something else than a regular file; the text says what."""


def is_inside(name: str) -> bool:
    """Whether a name is a relative path that stays below the folder it starts from."""
    return bool(name) and "\0" not in name and all(part not in {"", ".", ".."} for part in name.split("/"))


@contextmanager
def opened_payload(directory: Path, name: str) -> Iterator[int]:
    """A descriptor of a regular file below a model's folder; no link is followed on the way, and no pipe is opened.

    Raises:
        FileNotFoundError: it is not there.
        NotAFile: it is a link, a folder, a pipe, a device, or behind a link.
        OSError: it cannot be opened.
    """
    *folders, last = name.split("/")
    descriptors = [os.open(directory, _FLAGS | os.O_DIRECTORY)]
    try:
        for folder in folders:
            _require(stat.S_ISDIR, descriptors[-1], folder)
            descriptors.append(os.open(folder, _FLAGS | os.O_DIRECTORY, dir_fd=descriptors[-1]))
        _require(stat.S_ISREG, descriptors[-1], last)  # before it is opened: opening a pipe would wake its writer
        descriptors.append(os.open(last, _FLAGS | os.O_NONBLOCK, dir_fd=descriptors[-1]))
        yield descriptors[-1]
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _require(is_kind: _Kind, folder: int, name: str) -> None:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if not is_kind(mode):
        raise NotAFile(f"{name} is {'a link' if stat.S_ISLNK(mode) else 'no file'}")

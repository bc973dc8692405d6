"""A process that puts a link in the place of a file, or makes one, and is killed in the middle of it.

Run as a program: `killed_mapping.py FOLDER ACTION WAYS`. ACTION is `create` or `replace`; WAYS is how many of the kinds
of links the filesystem has (3: symbolic links too, 2: hard links, 1: copies alone). For each moment of the action,
before and after every system call in it, a folder of its own is made below FOLDER, with the file of the library and
what stands at the target, and a forked child kills itself at that moment. The answer is the number of moments.
"""

import errno
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from pumas_agent.mapping import making
from pumas_agent.mapping.sources import Source

NAME = "model.safetensors"
_SEAMS = {
    "open", "close", "read", "write", "fsync", "utime", "symlink", "link", "rename", "unlink", "stat", "scandir",
}  # fmt: skip


def prepare(folder: Path, action: str) -> Source:
    """The state before."""
    (folder / "app").mkdir(parents=True)
    (folder / "library").mkdir()
    source = folder / "library" / NAME
    source.write_bytes(b"weights")
    if action == "replace":
        (folder / "app" / NAME).write_bytes(b"theirs!")
    return Source("m", "M", source, source)


def _deny(ways: int) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(errno.EPERM, "no such links")

    for call in ("symlink", "link")[: 3 - ways]:
        setattr(os, call, refuse)


def _act(source: Source, app: Path, action: str, point: int) -> None:
    left = point

    def moment(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left
        if (
            event in {"c_call", "c_return"}
            and argument.__name__ in _SEAMS
            and frame.f_code.co_filename == making.__file__
        ):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    descriptor = os.open(app, os.O_RDONLY | os.O_DIRECTORY)
    sys.setprofile(moment)
    if action == "create":
        making.create(source, descriptor, NAME)
    else:
        making.replace(source, descriptor, NAME, (app / NAME).lstat())
    sys.setprofile(None)


def main(root: Path, action: str, ways: int) -> int:
    """The number of moments."""
    point = 0
    while True:
        point += 1
        folder = root / str(point)
        source = prepare(folder, action)
        child = os.fork()
        if child == 0:
            _deny(ways)
            _act(source, folder / "app", action, point)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0
            return point


if __name__ == "__main__":
    sys.stdout.write(str(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))

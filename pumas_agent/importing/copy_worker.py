"""Owns the process that copies and hashes: `python copy_worker.py`. It imports nothing of ours, and so starts at once.

Reads one JSON object from its input: `{"files": [[source, name, size, mtime_ns], …], "target": folder or null, "head":
bytes of each file to hand back}`. Says how far it is in lines of `{"done": bytes}`, and in the end `{"files": […]}` or
`{"error": {…}}`. With no target it only hashes. Ends when its output is closed, which it is when the agent is gone.
Only `copier` starts it.

Each byte is read once. SHA-256, the slowest of all that is done, has a thread and so a core of its own; and the disk is
told early to begin writing, so that the flush at the end is short.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from blake3 import blake3

_BLOCK = 1024 * 1024
_BLOCKS = 3
"""One is read, one is hashed, one waits."""
_FLUSH_EVERY = 256 * 1024 * 1024
"""Bytes after which the disk is told to begin writing."""
_SAY_EVERY_S = 0.1
_FICLONE = 0x40049409
"""`ioctl` that makes a file share the blocks of another one (man 2 ioctl_ficlone)."""


class _Changed(Exception):
    """The file is not the one that was planned."""


@contextlib.contextmanager
def _opened(source: str) -> Iterator[int]:
    """A descriptor of a regular file. What took its place since it was planned is not waited for."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(source, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # only a file's owner may leave its access time alone
        descriptor = os.open(source, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _Changed(f"{source} is no file any more")
        yield descriptor
    finally:
        os.close(descriptor)


class Copier:
    """Copies files one after the other."""

    def __init__(self, target: Path | None, head: int, say: Callable[[int], None]) -> None:
        self._target = target
        self._head = head
        self._say = say
        self._done = 0
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._flushing = ThreadPoolExecutor(1, thread_name_prefix="flush")

    def copy(self, source: str, name: str, size: int, mtime_ns: int) -> dict[str, Any]:
        """Copy and hash one file, durably."""
        with _opened(source) as descriptor:
            self._require_planned(descriptor, source, size, mtime_ns)
            if self._target is None:
                facts = self._hash(descriptor, None)
            else:
                path = self._target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                copy = os.open(path, flags, 0o666)
                try:
                    facts = self._hash(descriptor, None if _shares_blocks(descriptor, copy) else copy)
                    os.fsync(copy)
                finally:
                    os.close(copy)
            self._require_planned(descriptor, source, size, mtime_ns)
        return {"name": name, "size": size, **facts}

    @staticmethod
    def _require_planned(descriptor: int, source: str, size: int, mtime_ns: int) -> None:
        facts = os.fstat(descriptor)
        if (facts.st_size, facts.st_mtime_ns) != (size, mtime_ns):
            raise _Changed(f"{source} is being written: it changed while it was read")

    def _hash(self, source: int, copy: int | None) -> dict[str, str]:
        sha256, other = hashlib.sha256(), blake3()
        buffers = [memoryview(bytearray(_BLOCK)) for _ in range(_BLOCKS)]
        hashed: list[Future[None] | None] = [None] * _BLOCKS
        flush: Future[None] | None = None
        head = b""
        turn = written = 0
        while True:
            if (work := hashed[turn]) is not None:
                work.result()
            count = os.readv(source, [buffers[turn]])
            if not count:
                break
            part = buffers[turn][:count]
            head = head or bytes(part[: self._head])
            hashed[turn] = self._hashing.submit(sha256.update, part)
            other.update(part)
            if copy is not None:
                _write_all(copy, part)
                written += count
                if written >= _FLUSH_EVERY and (flush is None or flush.done()):
                    flush = self._flushing.submit(os.fdatasync, copy)
                    written = 0
            self._done += count
            self._say(self._done)
            turn = (turn + 1) % _BLOCKS
        for last in (*hashed, flush):
            if last is not None:
                last.result()
        return {"sha256": sha256.hexdigest(), "blake3": other.hexdigest(), "head": head.hex()}


def _write_all(descriptor: int, part: memoryview) -> None:
    while part:
        part = part[os.write(descriptor, part) :]


def _shares_blocks(source: int, copy: int) -> bool:
    """Whether the filesystem could make the copy without copying, as btrfs, XFS and bcachefs do."""
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError:
        return False
    return True


def _sync_folders(target: Path) -> None:
    for folder, _, _ in os.walk(target):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _work(asked: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    said = 0.0

    def say(done: int) -> None:
        nonlocal said
        if (now := time.monotonic()) - said >= _SAY_EVERY_S:
            said = now
            tell({"done": done})

    target = Path(asked["target"]) if asked["target"] is not None else None
    copier = Copier(target, asked["head"], say)
    path = ""
    try:
        files = []
        for path, name, size, mtime_ns in asked["files"]:
            files.append(copier.copy(path, name, size, mtime_ns))
        if target is not None:
            _sync_folders(target)
    except _Changed as error:
        return {"error": {"kind": "changed", "message": str(error)}}
    except OSError as error:
        kind = "space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "io"
        where = error.filename or path
        return {"error": {"kind": kind, "message": f"{os.fsdecode(where)}: {error.strerror}"}}
    except Exception as error:  # noqa: BLE001 - contained to this request, and said to who asked
        traceback.print_exc()
        return {"error": {"kind": "fault", "message": f"{type(error).__name__}: {error}"}}
    return {"files": files}


def main() -> None:
    """Do what the input says."""
    os.nice(19)
    asked = json.loads(sys.stdin.buffer.readline())
    with os.fdopen(os.dup(1), "w", encoding="ascii") as answers:
        os.dup2(2, 1)  # whatever else prints may not be taken for an answer

        def tell(line: dict[str, Any]) -> None:
            print(json.dumps(line), file=answers, flush=True)

        with contextlib.suppress(BrokenPipeError):
            tell(_work(asked, tell))
    os._exit(0)  # a thread may still wait for a flush of a copy that nobody wants any more


if __name__ == "__main__":
    main()

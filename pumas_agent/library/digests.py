"""Digests of files, in blocks and in bounded memory. Owns how a file is read for that; opens none, and writes nothing.

Hashing lets go of the interpreter's lock, so that a thread that hashes stops no other.
"""

import hashlib
import importlib
import os
from collections.abc import Callable, Iterable
from typing import Any

BLOCK = 1 << 20
_OPTIONAL = "blake3"


class FileChanged(Exception):
    """The file was written to while it was read: its digest says nothing."""


class Stopped(Exception):
    """Nobody waits for the digest any more."""


def can_digest(algorithm: str) -> bool:
    """Whether that digest can be made here: `sha256` always, `blake3` where its package is installed."""
    return algorithm == "sha256" or (algorithm == _OPTIONAL and _blake3() is not None)


def digests_of(
    descriptor: int, algorithms: Iterable[str], *, tell: Callable[[int], None], stopped: Callable[[], bool]
) -> dict[str, str]:
    """The digests of an open file, in lower-case hex, all from one reading.

    Args:
        descriptor: of a regular file, at its beginning.
        algorithms: of which `can_digest` is true.
        tell: called with the number of bytes of each block.
        stopped: asked before each block.

    Raises:
        FileChanged, Stopped, OSError: there are none.
    """
    hashers = {algorithm: _hasher(algorithm) for algorithm in algorithms}
    before = _stamp(descriptor)
    block = memoryview(bytearray(BLOCK))
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        left = before[0]  # no more than it had: one that grows as fast as it is read would have no end
        while left and (count := file.readinto(block[: min(left, BLOCK)])):
            left -= count
            if stopped():
                raise Stopped
            for hasher in hashers.values():
                hasher.update(block[:count])
            tell(count)
    if _stamp(descriptor) != before:
        raise FileChanged
    return {algorithm: hasher.hexdigest() for algorithm, hasher in hashers.items()}


def _stamp(descriptor: int) -> tuple[int, int]:
    facts = os.fstat(descriptor)
    return facts.st_size, facts.st_mtime_ns


def _hasher(algorithm: str) -> Any:
    package = _blake3()
    return package.blake3() if algorithm == _OPTIONAL and package is not None else hashlib.new(algorithm)


def _blake3() -> Any:
    try:
        return importlib.import_module(_OPTIONAL)
    except ImportError:
        return None

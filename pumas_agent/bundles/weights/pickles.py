"""Owns whether a pickled weights file (.bin) has the outside of one, and what it names. Never unpickles anything.

Read in torch 2 (`torch.serialization`): a zip archive with a record `*/data.pkl`, or the older stream of pickles.
"""

import os
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pumas_agent.bundles.bundle import LFS_MARKS, Bundle, Unusable
from pumas_agent.bundles.findings import FindingCode, fatal

MAX_DIRECTORY_BYTES = 64 * 1024 * 1024
"""Of the directory of an archive; one of a thousand tensors has 100 KB."""

_OLD_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
"""The number 0x1950a86a20f9469cfc6c as a pickle writes it: the first thing in a file of torch before 1.6."""
_LOCAL = b"PK\x03\x04"
_ENTRY = struct.Struct("<4s6xH8xII3H8xI")
"""A record's line in the directory (APPNOTE.TXT 4.3.12): how it is packed, its size packed and not, the lengths of its
name and of what else follows, where it begins."""
_RECORD = struct.Struct("<26x2H")
"""The beginning of a record: the lengths of its name and of what else stands before its data."""
_MAX_PICKLE_BYTES = 16 * 1024 * 1024
"""Of `data.pkl`, which holds no tensor's data; one of a thousand tensors has 150 KB."""
_NAME = re.compile(rb"[\w.]+\.(?:weight|bias)")
_END = struct.Struct("<4s8xIIH")
_END_64 = struct.Struct("<4s36xQQ")
_LOCATOR_64 = struct.Struct("<4s4xQ4x")
_MAX_COMMENT = 0xFFFF


def check_pickle(bundle: Bundle, path: str) -> int:
    """How many bytes a pickled weights file has.

    Raises:
        Unusable: it cannot be read, or torch would not recognise it as one.
    """
    with bundle.open(path) as descriptor:
        size = os.fstat(descriptor).st_size
        start = os.pread(descriptor, 64, 0)
        if start.startswith(LFS_MARKS):
            what = f"{path} is a Git LFS pointer, not the weights themselves"
            raise Unusable(fatal(FindingCode.WEIGHTS_LFS_POINTER, what, path))
        if start.startswith(_LOCAL):
            _require_archive(descriptor, path, size)
        elif not (start.startswith(b"\x80") and _OLD_MAGIC in start[:32]):
            what = f"{path} starts neither like a zip archive nor like a pickle of torch"
            raise Unusable(fatal(FindingCode.INVALID_WEIGHTS_HEADER, what, path))
    return size


def tensor_names(bundle: Bundle, path: str) -> frozenset[str] | None:
    """The names of the weights and biases that an archive holds; None for a file of another kind, or packed otherwise.

    torch writes `data.pkl` as it is. The pickle is searched for what looks like a name, and not read.
    """
    with bundle.open(path) as descriptor:
        span = _directory(descriptor, os.fstat(descriptor).st_size)
        if span is None or span[1] > MAX_DIRECTORY_BYTES:
            return None
        records = _records(os.pread(descriptor, span[1], span[0]))
        pickle = next((record for record in records if record.name.endswith(b"/data.pkl")), None)
        if pickle is None or not pickle.plain or pickle.size > _MAX_PICKLE_BYTES:
            return None
        before = os.pread(descriptor, _RECORD.size, pickle.start)
        if len(before) < _RECORD.size:
            return None
        start = pickle.start + _RECORD.size + sum(_RECORD.unpack(before))
        content = os.pread(descriptor, pickle.size, start)
    return frozenset(name.decode("ascii", "replace") for name in _NAME.findall(content))


class _Record(NamedTuple):
    name: bytes
    plain: bool
    size: int
    start: int


def _require_archive(descriptor: int, path: str, size: int) -> None:
    span = _directory(descriptor, size)
    if span is None:
        what = f"{path} has no end of its zip archive"
        raise Unusable(fatal(FindingCode.WEIGHTS_TRUNCATED, what, path))
    offset, length = span
    if length > MAX_DIRECTORY_BYTES:
        what = f"{path} has a zip directory of {length:,} bytes, which is not read"
        raise Unusable(fatal(FindingCode.FILE_TOO_LARGE, what, path))
    if any(record.name.endswith(b"/data.pkl") for record in _records(os.pread(descriptor, length, offset))):
        return
    what = f"{path} is a zip archive without data.pkl, which torch asks for"
    raise Unusable(fatal(FindingCode.INVALID_WEIGHTS_HEADER, what, path))


def _directory(descriptor: int, size: int) -> tuple[int, int] | None:
    """Where the directory begins, and its length; None when there is no end record that fits the file."""
    tail_at = max(0, size - _END.size - _MAX_COMMENT)
    tail = os.pread(descriptor, size - tail_at, tail_at)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return None
    _, length, offset, _ = _END.unpack_from(tail, at)
    if length == 0xFFFFFFFF or offset == 0xFFFFFFFF:  # noqa: PLR2004 - the mark of zip64: the record before has them
        locator = tail[at - _LOCATOR_64.size : at] if at >= _LOCATOR_64.size else b""
        if not locator.startswith(b"PK\x06\x07"):
            return None
        record = os.pread(descriptor, _END_64.size, _LOCATOR_64.unpack(locator)[1] & 0x7FFFFFFFFFFFFFFF)
        if len(record) < _END_64.size or not record.startswith(b"PK\x06\x06"):
            return None
        _, length, offset = _END_64.unpack(record)
    return (offset, length) if offset + length <= size else None


def _records(directory: bytes) -> Iterator[_Record]:
    """As far as the directory can be read."""
    at = 0
    while at + _ENTRY.size <= len(directory):
        mark, packed, size, unpacked, name, extra, comment, start = _ENTRY.unpack_from(directory, at)
        if mark != b"PK\x01\x02":
            return
        text = directory[at + _ENTRY.size : at + _ENTRY.size + name]
        yield _Record(text, plain=packed == 0 and size == unpacked, size=size, start=start)
        at += _ENTRY.size + name + extra + comment

"""Owns what a sentencepiece model must hold: a `ModelProto`, read as protobuf reads it, with pieces to cut words into.

Small files are checked whole; of large ones each piece is counted, and none is looked into.
"""

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pumas_agent.bundles.findings import FindingCode

_VARINT, _FIXED_64, _BYTES, _GROUP, _GROUP_END, _FIXED_32 = 0, 1, 2, 3, 4, 5
"""Wire types (protobuf, Encoding)."""
_FIXED = {_FIXED_64: 8, _FIXED_32: 4}
_MAX_NUMBER = (1 << 29) - 1
_MAX_GROUPS = 100
"""In each other: what protobuf reads (`kDefaultRecursionLimit`)."""
_PIECES = 1
_TEXT, _SCORE, _KIND = 1, 2, 3
_ORDINARY = 1
"""`SentencePiece.Type.NORMAL`."""


class Wrong(Exception):
    """What is wrong with a vocabulary, as the end of a sentence that begins with the file."""

    def __init__(self, what: str, code: FindingCode = FindingCode.INVALID_TOKENIZER_FILES) -> None:
        super().__init__(what)
        self.code = code


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    end: int
    """Of its content: without the tag, and without the length."""


def count_pieces(content: bytes, *, whole: bool) -> int:
    """How many pieces the model has.

    Args:
        content: of the file.
        whole: look into each piece.

    Raises:
        Wrong: it is no model, is cut off, or has no piece for an ordinary word.
    """
    pieces = ordinary = 0
    for number, wire, start, end in _fields(content, 0, len(content)):
        if number == _PIECES and wire == _BYTES:
            pieces += 1
            ordinary += not whole or _is_ordinary(content, start, end)
    if not pieces:
        raise Wrong("has no pieces")
    if not ordinary:
        raise Wrong("has no piece beside its marks")
    return pieces


def _is_ordinary(content: bytes, start: int, end: int) -> bool:
    """A text, a number that says how likely it is, and a kind; the last of each counts."""
    text, kind = b"", _ORDINARY
    for number, wire, first, last in _fields(content, start, end):
        if (number, wire) == (_TEXT, _BYTES):
            text = content[first:last]
        elif (number, wire) == (_SCORE, _FIXED_32) and not math.isfinite(struct.unpack_from("<f", content, first)[0]):
            raise Wrong(f"has no score for the piece {text[:40]!r}")
        elif (number, wire) == (_KIND, _VARINT):
            kind = _varint(content, first, end)[0]
    if not text:
        raise Wrong("has a piece without a text")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise Wrong("has a piece that is not text in UTF-8") from error
    return kind == _ORDINARY


def _fields(content: bytes, at: int, end: int) -> Iterator[_Field]:
    """The fields one after the other, known or not, the last of which ends where the message does.

    Protobuf keeps what it does not know, and takes a field of another wire type for one of those.
    """
    groups: list[int] = []
    while at < end:
        tag = content[at]
        tag, at = (tag, at + 1) if tag < 128 else _varint(content, at, end)  # noqa: PLR2004 - no top bit: the last byte
        number, wire = tag >> 3, tag & 7
        if not 0 < number <= _MAX_NUMBER:
            raise Wrong("is no sentencepiece model")
        if wire == _BYTES:  # nearly all of them
            length, start = _varint(content, at, end)
            at = start + length
        elif wire in (_GROUP, _GROUP_END):
            start = at
            _enter_or_leave(groups, number, wire)
        else:
            start, at = at, _after_number(content, at, end, wire)
        if at > end:
            raise Wrong("is cut off")
        if not groups:
            yield _Field(number, wire, start, at)
    if groups:
        raise Wrong("is cut off")


def _enter_or_leave(groups: list[int], number: int, wire: int) -> None:
    """A group holds fields, and ends with its own number."""
    if wire == _GROUP and len(groups) < _MAX_GROUPS:
        groups.append(number)
    elif wire == _GROUP or not groups or groups.pop() != number:
        raise Wrong("is no sentencepiece model")


def _after_number(content: bytes, at: int, end: int, wire: int) -> int:
    if wire == _VARINT:
        return _varint(content, at, end)[1]
    if wire not in _FIXED:
        raise Wrong("is no sentencepiece model")
    return at + _FIXED[wire]


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < end and shift < 70:  # noqa: PLR2004 - ten bytes hold the longest one
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:  # noqa: PLR2004 - as above
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise Wrong("is cut off")

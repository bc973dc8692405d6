"""Which format a model file has, by its first bytes, and what a runtime has to trust to load it.

Owns the magic numbers. Reads at most 64 bytes of a file, and never unpickles.
"""

import os
from enum import StrEnum
from pathlib import Path, PurePath

from pumas_agent.bundles.reading import NotRegularFile, opened
from pumas_agent.contracts.bundles import SecurityTier

HEAD_BYTES = 64
_LEAST = 4
_MAX_HEADER = 100_000_000
"""Bytes of a safetensors header, as the library itself bounds it."""
_ZIP = b"PK\x03\x04"


class FileFormat(StrEnum):
    """What a file is, as the record of a model names it."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    GGML = "ggml"
    PICKLE = "pickle"
    ONNX = "onnx"
    UNKNOWN = "unknown"


_MAGIC: tuple[tuple[bytes, FileFormat], ...] = (
    (b"GGUF", FileFormat.GGUF),
    *((magic, FileFormat.GGML) for magic in (b"lmgg", b"tjgg", b"ggjt")),
    (_ZIP, FileFormat.PICKLE),
    *((bytes((0x80, protocol)), FileFormat.PICKLE) for protocol in range(2, 6)),
)
_TIERS = {FileFormat.PICKLE: SecurityTier.PICKLE, FileFormat.UNKNOWN: SecurityTier.UNKNOWN}
_BY_SUFFIX = {
    ".onnx": FileFormat.ONNX,
    ".gguf": FileFormat.GGUF,
    ".ggml": FileFormat.GGML,
    ".safetensors": FileFormat.SAFETENSORS,
    # Old pickles have no magic number, and torch's oldest files are tar archives with pickles in them.
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pkl", ".pickle"), FileFormat.PICKLE),
}
_NOT_PICKLES = (".npz",)
"""Zip archives whose content numpy loads without unpickling, unless it is told to."""


def format_of(head: bytes, name: str) -> FileFormat:
    """The format of a file.

    A `.bin` says nothing by its name: what is neither ggml nor a pickle by its first bytes is unknown.

    Args:
        head: the first 64 bytes, or all there are.
        name: decides, by its extension in any case, where the bytes do not.
    """
    if len(head) < _LEAST:
        return FileFormat.UNKNOWN
    suffix = PurePath(name).suffix.lower()
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return FileFormat.UNKNOWN if magic == _ZIP and suffix in _NOT_PICKLES else found
    if 0 < int.from_bytes(head[:8], "little") < _MAX_HEADER and head[8:9] == b"{":
        return FileFormat.SAFETENSORS
    return _BY_SUFFIX.get(suffix, FileFormat.UNKNOWN)


def read_head(path: Path) -> bytes:
    """The first 64 bytes of a regular file; nothing of anything else.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with opened(path) as descriptor:
            return os.read(descriptor, HEAD_BYTES)
    except NotRegularFile:
        return b""


def tier_of(found: FileFormat) -> SecurityTier:
    """What loading a file of that format needs: trust in whoever made it, when it is a pickle."""
    return _TIERS.get(found, SecurityTier.SAFE)

"""Owns the identity of a bundle: is this the same bundle as the one seen elsewhere or before?

Never says whether a bundle is whole, and never reads all tensor data.
"""

import hashlib
import os
import stat
from pathlib import Path

from pumas_agent.bundles.model_index import MODEL_INDEX
from pumas_agent.bundles.reading import FileTooLarge, NotRegularFile, opened, read_file
from pumas_agent.bundles.walk import Stat, Tree, walk

MAX_WHOLE_BYTES = 64 * 1024
"""Configs are smaller. Vocabularies are larger, and sampled as weights are."""
MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format itself."""

SAMPLE_BYTES = 4096
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".msgpack")
_LENGTH_BYTES = 8


def identity_of(root: Path) -> str | None:
    """SHA-256 (hex) of the index, the configs, the weights' headers and sizes, and samples of their tensor data.

    A copy of the bundle has the same identity, wherever it lies. None when there is no model_index.json or when
    something cannot be read: a part of a bundle is not a bundle.
    """
    return digest_of(walk(root))


def digest_of(tree: Tree) -> str | None:
    """As `identity_of`, for a tree that was walked already."""
    base = len(str(tree.root)) + 1
    files = {
        path[base:]: status.size
        for path, status in tree.entries
        if isinstance(status, Stat) and stat.S_ISREG(status.mode)
    }
    if MODEL_INDEX not in files or tree.overflow is not None:
        return None
    digest = hashlib.sha256()
    try:
        for name in sorted(files):
            if name.startswith(".") or "/." in name:
                continue  # what a download tool leaves beside the bundle is not the bundle
            if name.endswith(".json") and files[name] <= MAX_WHOLE_BYTES:
                content = read_file(tree.root / name, MAX_WHOLE_BYTES)
                digest.update(_title(name, len(content)) + content)
            elif name.endswith((".json", *_WEIGHTS)):
                _sample(digest, tree.root, name)
    except (OSError, NotRegularFile, FileTooLarge):
        return None
    return digest.hexdigest()


def _sample(digest: "hashlib._Hash", root: Path, name: str) -> None:
    with opened(root / name) as descriptor:
        size = os.fstat(descriptor).st_size
        digest.update(_title(name, size))
        header_end = _header_end(descriptor, size) if name.endswith(".safetensors") else 0
        for offset in range(0, header_end, 1 << 20):
            digest.update(os.pread(descriptor, min(1 << 20, header_end - offset), offset))
        last = max(size - SAMPLE_BYTES, 0)
        for offset in sorted({header_end, size // 4, size // 2, size // 4 * 3, last}):
            digest.update(os.pread(descriptor, SAMPLE_BYTES, offset))


def _header_end(descriptor: int, size: int) -> int:
    """Where tensor data begins in a safetensors file; 0 when what is there cannot be a header."""
    length = int.from_bytes(os.pread(descriptor, _LENGTH_BYTES, 0), "little")
    end = _LENGTH_BYTES + length
    return end if length <= MAX_HEADER_BYTES and end <= size else 0


def _title(name: str, size: int) -> bytes:
    """What stands before each file's bytes, so that no two lists of files give the same stream."""
    return os.fsencode(name) + b"\0" + str(size).encode() + b"\0"

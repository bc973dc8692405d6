"""Owns how tensors become safetensors files: what is in them, the file, and a file cut into shards.

The format: the header's length as u64 LE, a JSON header padded with spaces to a multiple of 8, then the data.
"""

import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pumas_agent.demo.bundles.shapes import Shape, Tensors

FloatType = Literal["F32", "F16", "BF16"]
ITEM_BYTES: Mapping[FloatType, int] = {"F32": 4, "F16": 2, "BF16": 2}
_PACKED_AS = {"F32": "f", "F16": "e"}
_BIAS = 1 / 32


def write_safetensors(path: Path, tensors: Tensors, *, seed: str, float_type: Literal["F32", "F16"] = "F32") -> None:
    """Write values that depend on `seed` and each tensor's name and shape alone.

    Raises:
        OSError: the disk does not take it.
    """
    data = (tensor_data(name, tensors[name], seed=seed, float_type=float_type) for name in sorted(tensors))
    path.write_bytes(safetensors_header(tensors, float_type) + b"".join(data))


def write_shards(folder: Path, stem: str, shards: list[Tensors], *, seed: str) -> None:
    """Write each of `shards` into a file, and the index that says what is where, under the names of the libraries.

    Raises:
        OSError: the disk does not take it.
    """
    for number, tensors in enumerate(shards, start=1):
        write_safetensors(folder / shard_name(stem, number, len(shards)), tensors, seed=seed)
    (folder / f"{stem}.safetensors.index.json").write_text(shard_index(stem, shards, "F32"), encoding="utf-8")


def safetensors_header(tensors: Tensors, float_type: FloatType) -> bytes:
    """What is before the data: the length and the header. The data is in the order of the names, without gaps."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in sorted(tensors.items()):
        begin, end = end, end + math.prod(shape) * ITEM_BYTES[float_type]
        header[name] = {"dtype": float_type, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def split_tensors(tensors: Tensors, count: int) -> list[Tensors]:
    """The tensors as `count` shards of about as many each, in the model's order."""
    size = math.ceil(len(tensors) / count)
    named = list(tensors.items())
    return [dict(named[begin : begin + size]) for begin in range(0, len(named), size)]


def shard_name(stem: str, number: int, count: int) -> str:
    """Of the file of one shard; the first is 1."""
    return f"{stem}-{number:05}-of-{count:05}.safetensors"


def shard_index(stem: str, shards: list[Tensors], float_type: FloatType) -> str:
    """The text of the index of `shards`."""
    places = {
        name: shard_name(stem, number, len(shards))
        for number, tensors in enumerate(shards, start=1)
        for name in sorted(tensors)
    }
    size = sum(math.prod(shape) for tensors in shards for shape in tensors.values()) * ITEM_BYTES[float_type]
    return json.dumps({"metadata": {"total_size": size}, "weight_map": places}, indent=2) + "\n"


def tensor_data(name: str, shape: Shape, *, seed: str, float_type: Literal["F32", "F16"] = "F32") -> bytes:
    """Noise that keeps a signal as large as it was, as after the initialisation of a model; norms do nothing."""
    values = _values(name, shape, seed)
    return struct.pack(f"<{math.prod(shape)}{_PACKED_AS[float_type]}", *values)


def _values(name: str, shape: Shape, seed: str) -> Iterator[float]:
    count = math.prod(shape)
    if len(shape) == 1 and name.endswith(".weight"):  # of a norm: every other weight has two dimensions or more
        return itertools.repeat(1.0, count)
    # A sum of n products of unit variance has unit variance when the factors are uniform within sqrt(3 / n).
    bound = _BIAS if len(shape) == 1 else math.sqrt(3 / math.prod(shape[1:]))
    noise = struct.unpack(f"<{count}h", hashlib.shake_256(f"{seed}/{name}".encode()).digest(2 * count))
    return (value * bound / 2**15 for value in noise)

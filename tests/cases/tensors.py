"""Safetensors files taken apart and put together again, byte by byte, whether the result is sound or not."""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.cases.change import Step


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file: its type, its shape and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Tensors = dict[str, Tensor]
Header = dict[str, Any]


def split(content: bytes) -> tuple[Header, bytes]:
    """Header and data of a sound file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Header | str | bytes, data: bytes) -> bytes:
    """A file of this header and this data."""
    if isinstance(header, dict):
        header = json.dumps(header, separators=(",", ":"))
    if isinstance(header, str):
        header = header.encode()
    return struct.pack("<Q", len(header)) + header + data


def read_tensors(path: Path) -> Tensors:
    """The tensors of a sound file, in the order of their data."""
    header, data = split(path.read_bytes())
    header.pop("__metadata__", None)
    return {
        name: Tensor(entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
        for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"]))
    }


def write_tensors(path: Path, tensors: Tensors) -> None:
    """A file of these tensors, one after the other."""
    header: Header = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, start + len(tensor.data)],
        }
        start += len(tensor.data)
    path.write_bytes(joined(header, b"".join(tensor.data for tensor in tensors.values())))


def edit_tensors(path: str, edit: Callable[[Tensors], Tensors]) -> Step:
    """The tensors of a file, edited; the file is sound again afterwards."""

    def run(root: Path) -> None:
        write_tensors(root / path, edit(read_tensors(root / path)))

    return run


def edit_header(path: str, edit: Callable[[Header], Header | str | bytes]) -> Step:
    """The header of a file, edited; the data stays as it is."""

    def run(root: Path) -> None:
        header, data = split((root / path).read_bytes())
        (root / path).write_bytes(joined(edit(header), data))

    return run


def named(tensors: Tensors, ending: str) -> str:
    """The full name of the one tensor that ends so."""
    found = [name for name in tensors if name == ending or name.endswith("." + ending)]
    assert len(found) == 1, f"{ending}: {found}"
    return found[0]


def without(*endings: str) -> Callable[[Tensors], Tensors]:
    """Tensors gone."""

    def edit(tensors: Tensors) -> Tensors:
        gone = {named(tensors, ending) for ending in endings}
        return {name: tensor for name, tensor in tensors.items() if name not in gone}

    return edit


def altered(ending: str, alter: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Tensors]:
    """One tensor replaced by another under its name."""

    def edit(tensors: Tensors) -> Tensors:
        name = named(tensors, ending)
        return {**tensors, name: alter(tensors[name])}

    return edit


def grown(tensor: Tensor) -> Tensor:
    """One row more."""
    row = len(tensor.data) // tensor.shape[0]
    return replace(tensor, shape=(tensor.shape[0] + 1, *tensor.shape[1:]), data=tensor.data + tensor.data[:row])


def shrunk(tensor: Tensor) -> Tensor:
    """One row less."""
    row = len(tensor.data) // tensor.shape[0]
    return replace(tensor, shape=(tensor.shape[0] - 1, *tensor.shape[1:]), data=tensor.data[:-row])


def transposed(tensor: Tensor) -> Tensor:
    """The first two sizes in each other's place, the bytes as they were."""
    return replace(tensor, shape=(tensor.shape[1], tensor.shape[0], *tensor.shape[2:]))


def flattened(tensor: Tensor) -> Tensor:
    """The same bytes in one dimension."""
    return replace(tensor, shape=(math.prod(tensor.shape),))


def emptied(tensor: Tensor) -> Tensor:
    """No element at all."""
    return replace(tensor, shape=(0, *tensor.shape[1:]), data=b"")


def zeroed(tensor: Tensor) -> Tensor:
    """All zero."""
    return replace(tensor, data=bytes(len(tensor.data)))


def as_type(dtype: str, code: str) -> Callable[[Tensors], Tensors]:
    """Every F32 tensor in another float type that `struct` knows by `code`; "b" is the upper half, BF16."""

    def convert(tensor: Tensor) -> Tensor:
        if tensor.dtype != "F32":
            return tensor
        count = len(tensor.data) // 4
        if code == "b":
            data = b"".join(tensor.data[at + 2 : at + 4] for at in range(0, len(tensor.data), 4))
        else:
            data = struct.pack(f"<{count}{code}", *struct.unpack(f"<{count}f", tensor.data))
        return replace(tensor, dtype=dtype, data=data)

    return lambda tensors: {name: convert(tensor) for name, tensor in tensors.items()}

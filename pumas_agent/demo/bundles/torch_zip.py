"""Owns how tensors become a `.bin` file: the zip file of torch.save, written without torch.

The format (torch.serialization): entries stored without compression below one folder; data.pkl is a pickle of
protocol 2 in which each tensor is rebuilt from a storage that it names; data/0, data/1, … are the storages.
"""

import io
import math
import pickle
import struct
import zipfile
from pathlib import Path

from pumas_agent.demo.bundles.safetensors import tensor_data
from pumas_agent.demo.bundles.shapes import Shape, Tensors

_FOLDER = "archive"
_ALIGNMENT = 64  # torch maps storages into memory, where they begin at a multiple of this
_LOCAL_HEADER_BYTES = 30
_EXTRA_HEADER_BYTES = 4
_PADDING = b"FB"  # how torch names the extra field that is there for its length only


def write_torch_zip(path: Path, tensors: Tensors, *, seed: str) -> None:
    """Write the same values as a safetensors file of this seed has.

    Raises:
        OSError: the disk does not take it.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", _pickled(tensors))
        _add(archive, "byteorder", b"little")
        for number, (name, shape) in enumerate(tensors.items()):
            _add(archive, f"data/{number}", tensor_data(name, shape, seed=seed))
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(f"{_FOLDER}/{name}")  # the first moment of zip's calendar: the same bytes each time
    before = archive.start_dir + _LOCAL_HEADER_BYTES + len(entry.filename) + _EXTRA_HEADER_BYTES
    padding = -before % _ALIGNMENT
    entry.extra = _PADDING + struct.pack("<H", padding) + bytes(padding)
    archive.writestr(entry, content)


def _pickled(tensors: Tensors) -> bytes:
    out = io.BytesIO()
    out.write(pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK)
    for number, (name, shape) in enumerate(tensors.items()):
        out.write(_text(name) + _tensor(str(number), shape))
    out.write(pickle.SETITEMS + pickle.STOP)
    return out.getvalue()


def _tensor(key: str, shape: Shape) -> bytes:
    """A call of torch's own function; the opcodes are written by hand because pickle would have to import it."""
    strides = tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
    storage = _text("storage") + _name("torch", "FloatStorage") + _text(key) + _text("cpu") + _number(math.prod(shape))
    return b"".join(
        (
            _name("torch._utils", "_rebuild_tensor_v2"),
            pickle.MARK,
            pickle.MARK + storage + pickle.TUPLE + pickle.BINPERSID,
            _number(0),  # it begins where its storage begins
            _numbers(shape),
            _numbers(strides),
            pickle.NEWFALSE,  # it asks for no gradient
            _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE,  # and has no hooks
            pickle.TUPLE,
            pickle.REDUCE,
        )
    )


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _number(number: int) -> bytes:
    return pickle.BININT + struct.pack("<i", number)


def _numbers(numbers: Shape) -> bytes:
    return pickle.MARK + b"".join(map(_number, numbers)) + pickle.TUPLE

"""Owns the header of a safetensors file: which tensors it names, and whether the library would accept the file.

Agrees with the parser of safetensors 0.8 (Rust, serde_json) in every verdict. Never reads tensor data.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal, get_args

import msgspec

from pumas_agent.bundles.bundle import LFS_MARKS, Bundle, Unusable
from pumas_agent.bundles.findings import FindingCode, fatal

MAX_HEADER_BYTES = 100_000_000
"""The limit of the format itself."""
MAX_ODD_HEADER_BYTES = 8 * 1024 * 1024
"""Of a header that is not written as libraries write it: the exact reading takes a hundred times its memory."""

Dtype = Literal[
    "BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
    "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64",
]  # fmt: skip
BITS: Mapping[str, int] = dict(
    zip(get_args(Dtype), (8, 4, 6, 6, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 64, 64, 64, 64), strict=True)
)
"""Of one number, by dtype."""

_UNKNOWN_TO_TORCH = frozenset({"F6_E2M3", "F6_E3M2"})  # safetensors 0.8: "Dtype not understood"
_LENGTH_BYTES = 8
_MAX_DEPTH = 127
"""Objects and arrays within each other that serde_json reads."""
_USUAL_RANK = 8
_MAX_U64 = (1 << 64) - 1
_METADATA = "__metadata__"
_SPACE = rb"[ \t\n\r]*"
_QUOTES = 10
_LEADING_METADATA = re.compile(
    _SPACE.join((rb"", rb"\{", rb'"__metadata__"', rb":", rb"(\{[^{}]*\})", rb'(?:,(?=[ \t\n\r]*")|(?=\}))'))
)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_SURROGATE_PAIR = re.compile(rb"\\u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Tensor(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """One tensor as a header names it."""

    dtype: Dtype
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    data_offsets: tuple[int, int]
    """Begin and end in bytes, counted from the end of the header."""


Tensors = Mapping[str, Tensor]

_DECODER = msgspec.json.Decoder(dict[str, Tensor])
_METADATA_DECODER = msgspec.json.Decoder(dict[str, str])
_OFFSETS = attrgetter("data_offsets")


@dataclass(frozen=True, slots=True)
class Header:
    """What a sound file says about itself."""

    tensors: Tensors
    parameters: Mapping[str, int]
    """How many numbers, by the dtype they are stored in."""
    size_bytes: int
    """Of the whole file."""
    header_bytes: int


def read_header(bundle: Bundle, path: str, limit: int = MAX_HEADER_BYTES) -> Header:
    """The header of a file that safetensors accepts, of at most `limit` bytes.

    Raises:
        Unusable: it cannot be read, or safetensors would refuse it.
    """
    with bundle.open(path) as descriptor:
        size = os.fstat(descriptor).st_size
        start = os.pread(descriptor, 64, 0)
        if start.startswith(LFS_MARKS):
            what = f"{path} is a Git LFS pointer, not the weights themselves"
            raise Unusable(fatal(FindingCode.WEIGHTS_LFS_POINTER, what, path))
        length = int.from_bytes(start[:_LENGTH_BYTES], "little")
        if size < _LENGTH_BYTES:
            raise _invalid(path, f"has {size} bytes, too few for a safetensors header")
        if length > MAX_HEADER_BYTES:
            raise _invalid(path, "does not start with the length of a safetensors header")
        if _LENGTH_BYTES + length > size:
            raise _invalid(path, f"has {size:,} bytes, fewer than its safetensors header")
        if length > limit:
            what = f"{path} has a header of {length:,} bytes, too many with those of the other files"
            raise Unusable(fatal(FindingCode.FILE_TOO_LARGE, what, path))
        content = _read(descriptor, length)
    try:
        tensors = parse(content)
        del content
        end, parameters = measure(tensors.values())
    except ValueError as error:
        raise _invalid(path, f"has no sound safetensors header: {error}") from error
    if unknown := parameters.keys() & _UNKNOWN_TO_TORCH:
        raise _invalid(path, f"has tensors of {min(unknown)}, which torch does not know")
    end += _LENGTH_BYTES + length
    if end > size:
        what = f"{path} has {size:,} bytes of the {end:,} that its header announces"
        raise Unusable(fatal(FindingCode.WEIGHTS_TRUNCATED, what, path))
    if end < size:
        what = f"{path} has {size - end:,} bytes behind its last tensor; safetensors refuses it"
        raise Unusable(fatal(FindingCode.WEIGHTS_SIZE_MISMATCH, what, path))
    return Header(tensors, parameters, size, length)


def parse(content: bytes) -> Tensors:
    """The tensors that a header names.

    Raises:
        ValueError: safetensors cannot read it.
    """
    try:
        tensors = _parse_plain(content)
    except (ValueError, msgspec.DecodeError):
        tensors = None
    return _parse_exactly(content) if tensors is None else tensors


def measure(tensors: Iterable[Tensor]) -> tuple[int, dict[str, int]]:
    """Where the last tensor ends, and how many numbers there are of each dtype.

    Raises:
        ValueError: the spans do not follow one another without gap, or do not fit shape and dtype.
    """
    parameters: dict[str, int] = {}
    position = 0
    for tensor in sorted(tensors, key=_OFFSETS):
        (begin, end), shape, dtype = tensor.data_offsets, tensor.shape, tensor.dtype
        numbers = math.prod(shape) if len(shape) <= _USUAL_RANK else _product(shape)
        bits = numbers * BITS[dtype]
        if begin != position or (end - begin) * 8 != bits:
            raise ValueError(f"a tensor of {dtype} {list(shape)!s:.100} cannot lie at {begin} to {end}")
        if not numbers:
            _product(shape)
        elif bits > _MAX_U64:
            raise ValueError("a tensor is too large to be counted")
        parameters[dtype] = parameters.get(dtype, 0) + numbers
        position = end
    return position, parameters


def _parse_plain(content: bytes) -> dict[str, Tensor] | None:
    """The tensors of a header as every library writes it; None where only the exact reading can tell."""
    if b"\\" in content or b"-0" in content:  # escapes may hide a repeated key; msgspec takes -0 for an integer
        return None
    if found := _LEADING_METADATA.match(content):
        if len(found[1]) > MAX_ODD_HEADER_BYTES:
            return None  # millions of texts, of which nobody asks anything
        _METADATA_DECODER.decode(found[1])
        content = b"{" + content[found.end() :]
    tensors = _DECODER.decode(content)
    # msgspec lets the last of repeated keys win, where Rust refuses them within an entry. An entry cannot do with fewer
    # quotes than those around its name, its three keys and its dtype; whatever is repeated or unknown adds some.
    plain = content.count(b'"') == _QUOTES * len(tensors)
    return tensors if plain and _METADATA not in tensors else None


def _parse_exactly(content: bytes) -> dict[str, Tensor]:
    """As serde_json reads it into the structures of safetensors; ten times as slow."""
    if len(content) > MAX_ODD_HEADER_BYTES:
        raise ValueError(f"it is written unusually, and longer than {MAX_ODD_HEADER_BYTES:,} bytes")
    text = content.decode("utf-8")
    try:
        document = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(document, _Object):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of the file, not of an argument
    _require_depth(content)
    _require_pairs(content)
    metadata = [value for name, value in document if name == _METADATA]
    if len(metadata) > 1 or not all(value is None or _is_text_map(value) for value in metadata):
        raise ValueError(f"{_METADATA} is not one mapping of texts")
    return {name: _tensor(value) for name, value in document if name != _METADATA}


class _Object(list[tuple[str, Any]]):
    """A JSON object with its keys as they stand, repeated ones too."""


def _object(pairs: list[tuple[str, Any]]) -> "Tensor | _Object":
    """Each object as soon as it is read: many are smaller as tensors."""
    if len(pairs) < len(Tensor.__struct_fields__):
        return _Object(pairs)
    try:
        return _tensor(_Object(pairs))
    except ValueError:
        return _Object(pairs)


def _tensor(value: object) -> Tensor:
    """An entry, as an object or, as serde takes any structure, as an array of its fields."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, _Object):
        fields = [(name, field) for name, field in value if name in Tensor.__struct_fields__]
        given = dict(fields)
        if len(fields) != len(Tensor.__struct_fields__) or len(given) != len(fields):
            raise ValueError("an entry lacks a field, or has one twice")
        dtype, shape, offsets = (given[name] for name in Tensor.__struct_fields__)
    elif isinstance(value, list) and len(value) == len(Tensor.__struct_fields__):
        dtype, shape, offsets = value
    else:
        raise ValueError("an entry is no description of a tensor")
    if isinstance(dtype, _Object) and len(dtype) == 1 and dtype[0][1] is None:
        dtype = dtype[0][0]  # serde's other spelling of an enumeration
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"{dtype!r:.50} is no dtype")
    if not _is_naturals(shape) or not _is_naturals(offsets) or len(offsets) != 2:  # noqa: PLR2004 - begin and end
        raise ValueError("a shape or its data_offsets are not natural numbers")
    return msgspec.convert({"dtype": dtype, "shape": shape, "data_offsets": offsets}, Tensor)


def _is_naturals(value: object) -> bool:
    return (
        isinstance(value, list)
        and not isinstance(value, _Object)
        and all(type(item) is int and 0 <= item <= _MAX_U64 for item in value)
    )


def _is_text_map(value: object) -> bool:
    return isinstance(value, _Object) and all(isinstance(text, str) for _, text in value)


def _integer(text: str) -> int | float:
    """serde_json keeps as integers what 64 bits hold, and -0 as a float for its sign."""
    number = _float(text)
    return int(text) if len(text) <= len(str(_MAX_U64)) and text != "-0" else number


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text:.50} is out of range")
    return number


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _require_depth(content: bytes) -> None:
    """Each round takes away the innermost brackets of what is known to be JSON."""
    brackets = _STRING.sub(b"", content).translate(
        bytes.maketrans(b"{}", b"[]"), delete=bytes(set(range(256)) - set(b"[]{}"))
    )
    for _ in range(_MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise ValueError("it is nested too deeply")


def _require_pairs(content: bytes) -> None:
    r"""Of two halves of a character (`\ud83d\ude00`) none stands alone, in what is known to be JSON."""
    if _SURROGATE.search(_SURROGATE_PAIR.sub(b"", content.replace(b"\\\\", b"__"))):
        raise ValueError("a text holds half a character")


def _product(shape: tuple[int, ...]) -> int:
    """How many numbers: the library multiplies from the left in 64 bits, and gives up on the way to a zero too.

    Raises:
        ValueError: it does.
    """
    numbers = 1
    for length in shape:
        numbers *= length
        if max(numbers, length) > _MAX_U64:
            raise ValueError("a shape is too large to be counted")
    return numbers


def _read(descriptor: int, length: int) -> bytes:
    """What there is of the header: the file may shrink while it is read."""
    content = os.pread(descriptor, length, _LENGTH_BYTES)
    while len(content) < length and (more := os.pread(descriptor, length - len(content), _LENGTH_BYTES + len(content))):
        content += more
    return content


def _invalid(path: str, what: str) -> Unusable:
    return Unusable(fatal(FindingCode.INVALID_WEIGHTS_HEADER, f"{path} {what}", path))

"""The header of a safetensors file is judged as the library itself judges it."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pumas_agent.bundles.bundle import Bundle, Unusable
from pumas_agent.bundles.model_index import ModelIndex
from pumas_agent.bundles.policy import Policy
from pumas_agent.bundles.tables import tables_with
from pumas_agent.bundles.walk import walk
from pumas_agent.bundles.weights.safetensors import BITS, MAX_ODD_HEADER_BYTES, measure, parse, read_header

ENTRY = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
ODD_NUMBERS = ["-1", "-0", "1.0", "1e0", "18446744073709551615", "18446744073709551616", "true", "null", '"1"', "1e400"]
ODD_TEXTS = ['"\\ud800"', '"\\ud83d\\ude00"', '"\\\\ud800"', '"\\u0064type"', '"a\\u0000"', '"\\x"', '"\x01"', '"-0"']


def library_accepts(header: bytes, data: int) -> bool:
    try:
        safetensors.deserialize(struct.pack("<Q", len(header)) + header + bytes(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return False
    return True


def we_accept(header: bytes, data: int) -> bool:
    try:
        end, _ = measure(parse(header).values())
    except ValueError:
        return False
    return end == data


def bundle_at(root: Path) -> Bundle:
    return Bundle(root, walk(root), ModelIndex(), Policy(), tables_with({}))


def code_of(root: Path, content: bytes) -> str:
    (root / "w.safetensors").write_bytes(content)
    with pytest.raises(Unusable) as raised:
        read_header(bundle_at(root), "w.safetensors")
    return raised.value.problem.finding.code


def file_of(tensors: dict[str, Any], data: int) -> bytes:
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + bytes(data)


odd_json = st.recursive(
    st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS, "NaN", "{}", "[" * 126 + "]" * 126, "[" * 125 + "]" * 125]),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
    max_leaves=4,
)
gap = st.sampled_from(["", "", "", "", " ", "\n", "\f"])


@st.composite
def headers(draw: st.DrawFn) -> tuple[str, int]:
    """A header that is nearly right, and where its data should end."""
    position = 0
    entries: list[str] = []
    for number in range(draw(st.integers(0, 3))):
        dtype = draw(st.sampled_from(sorted(BITS)))
        shape = draw(st.lists(st.sampled_from([0, 1, 2, 4, 8]), max_size=3))
        end = position + math.prod(shape) * BITS[dtype] // 8
        fields = [
            ("dtype", draw(st.sampled_from([f'"{dtype}"'] * 9 + [f'{{"{dtype}":null}}', f'{{"{dtype}":1}}', '"F31"']))),
            ("shape", draw(st.sampled_from([str(shape)] * 9) | odd_json.map(lambda odd: f"[0,{odd}]"))),
            ("data_offsets", draw(st.sampled_from([f"[{position},{end}]"] * 9 + [f"[{position},{end},0]", "[0]"]))),
        ]
        fields += draw(st.lists(st.tuples(st.sampled_from(["x", "dtype", "shape"]), odd_json), max_size=1))
        if draw(st.integers(0, 9)) == 0:
            fields = list(draw(st.permutations(fields)))
        name = draw(st.sampled_from([f'"t{number}"'] * 9 + ODD_TEXTS + ['"t0"', '""', '"dtype"']))
        as_array = draw(st.integers(0, 19)) == 0
        body = ",".join(value if as_array else f'"{key}":{value}' for key, value in fields)
        entries.append(f"{name}:{draw(gap)}{f'[{body}]' if as_array else f'{{{body}}}'}")
        position = end
    metadata = draw(st.sampled_from(["", '{"format":"pt"}', "null", "{}", '{"a":1}', '{"a":"{}"}', f"{ENTRY}"]))
    if metadata:
        entries.insert(draw(st.integers(0, len(entries))), f'"__metadata__":{metadata}')
    tail = draw(st.sampled_from([""] * 9 + [" ", "\0", "}", "x"]))
    return f"{draw(gap)}{{{','.join(entries)}{draw(st.sampled_from([''] * 9 + [',']))}}}{tail}", position


@settings(max_examples=500, deadline=None)
@given(
    headers(), st.integers(0, 10_000), st.sampled_from(["", "", "", '"', "{", "}", "0", ",", "\\", "-", "e1", "\x7f"])
)
@example(('{"__metadata__":{"a":"b"},}', 0), 0, "")
@example((f'{{"a":{ENTRY},"a":{ENTRY}}}', 4), 0, "")
@example(('{"a":{"dtype":"F32","shape":[0,-1],"data_offsets":[0,0]}}', 0), 0, "")
@example(('{"a":{"dtype":"F32","shape":[18446744073709551615,2,0],"data_offsets":[0,0]}}', 0), 0, "")
@example(('\f{"__metadata__":{"format":"pt"}}', 0), 0, "")
@example(('\ufeff{"__metadata__":{"format":"pt"}}', 0), 0, "")
def test_verdicts_are_those_of_the_library(header: tuple[str, int], at: int, inserted: str) -> None:
    """Whatever a header holds, it is accepted here exactly when safetensors accepts it."""
    text, data = header
    at %= len(text) + 1
    content = f"{text[:at]}{inserted}{text[at:]}".encode()

    expected = library_accepts(content, data)

    assert we_accept(content, data) == expected


def test_header_tells_names_shapes_and_sizes(tmp_path: Path) -> None:
    """A sound header tells each tensor, and how many numbers are stored in which dtype."""
    tensors = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [12, 16]},
    }
    (tmp_path / "w.safetensors").write_bytes(file_of(tensors, 16))

    header = read_header(bundle_at(tmp_path), "w.safetensors")

    assert {name: tensor.shape for name, tensor in header.tensors.items()} == {"a": (2, 3), "b": ()}
    assert header.parameters == {"F16": 6, "F32": 1}
    assert header.size_bytes == (tmp_path / "w.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_weights_header"),
        (b"\x01\0\0\0\0\0\0\0", "invalid_weights_header"),
        (struct.pack("<Q", 100_000_001), "invalid_weights_header"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "weights_lfs_pointer"),
        (file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 3), "weights_truncated"),
        (file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 5), "weights_size_mismatch"),
        (file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, 4), "invalid_weights_header"),
        (file_of({"a": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}, 3), "invalid_weights_header"),
    ],
)
def test_damage_has_its_code(tmp_path: Path, content: bytes, code: str) -> None:
    """What is wrong with a file is told apart: cut off, too long, a Git LFS pointer, or no header."""
    assert code_of(tmp_path, content) == code


def test_reading_is_bounded(tmp_path: Path) -> None:
    """A large header that is not written as libraries write it is refused rather than read with all memory."""
    header = b'{"\\u0061":"' + b"\\\\" * (MAX_ODD_HEADER_BYTES // 2) + b'"}'

    assert code_of(tmp_path, struct.pack("<Q", len(header)) + header) == "invalid_weights_header"

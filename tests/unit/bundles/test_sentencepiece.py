"""A sentencepiece model is read as protobuf reads it: known fields are judged, others are skipped."""

import struct

import pytest

from pumas_agent.bundles.sentencepiece import Wrong, count_pieces


def field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2, len(content))) + content


def piece(text: bytes, *more: bytes) -> bytes:
    return field(1, field(1, text) + b"\x15" + struct.pack("<f", -1.0) + b"".join(more))


CONTROL = b"\x18\x03"
MARKS = piece(b"<pad>", CONTROL) + piece(b"</s>", CONTROL)
MODEL = MARKS + piece(b"cat")


@pytest.mark.parametrize(
    "more",
    [
        b"",
        field(2, b"a trainer"),
        field(9, b"of a later version"),
        b"\x48\x07",  # a number
        b"\x4d\0\0\0\0",  # four bytes
        b"\x49\0\0\0\0\0\0\0\0",  # eight
        b"\x4b\x48\x07\x53\x54\x4c",  # a group with a number and a group in it
        b"\xc2\x0c\x01x",  # a field whose number takes two bytes
        b"\x08\x07",  # a number in place of a piece
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_fields_that_are_not_known_are_skipped(more: bytes, *, whole: bool) -> None:
    """Before the pieces or behind them."""
    assert count_pieces(MODEL + more, whole=whole) == 3
    assert count_pieces(more + MODEL, whole=whole) == 3


@pytest.mark.parametrize(
    "more",
    [
        b"\n",
        b"\x4a\x7fx",  # longer than the file
        b"\x4d\0",
        b"\x4a",
        b"\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a number of more than ten bytes
        b"\x4b\x48\x07",  # a group without an end
        b"\x4c",  # an end without a group
        b"\x4b\x54",  # the end of another one
        b"\x4e\0",  # there is no such type
        b"\x02\0",  # nor a field 0
        b"\x4b" * 200 + b"\x4c" * 200,
    ],
)
def test_what_no_protobuf_reads(more: bytes) -> None:
    """Cut off, or no message."""
    with pytest.raises(Wrong):
        count_pieces(MODEL + more, whole=False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        field(2, b"a trainer"),
        MARKS,
        MODEL + field(1, b"\x15\0\0\0\0"),
        MODEL + piece(b"\xff\xfe"),
        MODEL + field(1, field(1, b"dog") + b"\x15" + struct.pack("<f", float("nan"))),
        MODEL + field(1, b"\x0a\x7f"),
    ],
)
def test_pieces_that_cut_no_word(content: bytes) -> None:
    """None, marks alone, or one without a text or a score."""
    with pytest.raises(Wrong):
        count_pieces(content, whole=True)

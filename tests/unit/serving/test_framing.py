"""Lines and envelopes: whatever a stranger sends, the answer is one line of JSON in UTF-8."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumas_agent.contracts.errors import (
    FrameTooLarge,
    InvalidParams,
    InvalidRequest,
    MetadataUnreadable,
    ParseError,
    PumasError,
)
from pumas_agent.serving.framing import (
    LineBuffer,
    error_frame,
    is_notification,
    message_call,
    message_id,
    parse_message,
    result_frame,
)


@given(lines=st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), size=st.integers(1, 7))
def test_lines_come_out_as_they_went_in_however_they_are_cut(lines: list[bytes], size: int) -> None:
    """The pieces in which a stream arrives never change its lines."""
    stream = b"".join(line + b"\n" for line in lines)
    buffer = LineBuffer(limit=20)

    taken = []
    for start in range(0, len(stream), size):
        buffer.feed(stream[start : start + size])
        while (line := buffer.take()) is not None:
            taken.append(bytes(line))

    assert taken == lines
    assert not buffer.unfinished


def test_a_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    """The limit counts the bytes before the newline, and holds before the newline has come."""
    buffer = LineBuffer(limit=4)

    buffer.feed(b"1234\n")
    exact = buffer.take()
    buffer.feed(b"12345")

    assert exact is not None
    assert bytes(exact) == b"1234"
    with pytest.raises(FrameTooLarge):
        buffer.take()


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a": "\\ud800"}', b'"\xed\xa0\x80"', b"[" * 5000, b"9" * 5000, b"{} {}"],
)
def test_what_is_not_json_in_utf8_is_a_parse_error(line: bytes) -> None:
    """Half a surrogate pair, NaN and endless nesting are broken JSON, never a crash."""
    with pytest.raises(ParseError):
        parse_message(line)


@pytest.mark.parametrize("line", [b"[]", b'[{"jsonrpc": "2.0"}]', b"3", b"null", b'"text"'])
def test_only_an_object_is_a_request(line: bytes) -> None:
    """A batch array is refused, as is any other JSON value."""
    with pytest.raises(InvalidRequest):
        parse_message(line)


@pytest.mark.parametrize("found", [True, 1.5, [], {}])
def test_an_id_is_a_string_an_integer_or_null(found: object) -> None:
    """A boolean is no integer here."""
    with pytest.raises(InvalidRequest):
        message_id({"id": found})


@pytest.mark.parametrize("found", ["a", "é\u2028", 7, -(2**70), None])
def test_the_answer_repeats_the_id(found: str | int | None) -> None:
    """Of any size and in any script."""
    frame = result_frame(found, b"{}")

    assert json.loads(frame) == {"jsonrpc": "2.0", "id": found, "result": {}}


def test_a_request_says_its_version_and_method() -> None:
    """Anything less is an invalid request."""
    for message in (
        {"method": "a"},
        {"jsonrpc": "1.0", "method": "a"},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "method": 1},
    ):
        with pytest.raises(InvalidRequest):
            message_call(message)


@pytest.mark.parametrize("params", [[], ["a"], None, "a"])
def test_params_are_named(params: object) -> None:
    """Positional parameters are refused by a message that says what is taken."""
    with pytest.raises(InvalidParams, match="named"):
        message_call({"jsonrpc": "2.0", "method": "a", "params": params})


def test_a_notification_is_a_whole_request_without_an_id() -> None:
    """An explicit null is an id, and an object that is no request is no notification."""
    assert is_notification({"jsonrpc": "2.0", "method": "a"})
    assert not is_notification({"jsonrpc": "2.0", "method": "a", "id": None})
    assert not is_notification({"method": "a"})


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (PumasError("a", hint="b", data={"x": 1}), {"code": "internal_error", "hint": "b", "x": 1}),
        (MetadataUnreadable("bad: /l/\udcff"), {"code": "metadata_corrupt"}),
        (PumasError("a", data={"x": float("nan")}), {"code": "internal_error", "x": None}),
    ],
)
def test_any_error_can_be_told(error: PumasError, data: dict[str, object]) -> None:
    """Bytes of a path that are no UTF-8 and numbers that JSON has not are replaced, never a second error."""
    frame = error_frame("id", error)

    answer = json.loads(frame.decode())
    assert frame.count(b"\n") == 1
    assert answer["error"]["code"] == error.rpc_code
    assert answer["error"]["data"] == data

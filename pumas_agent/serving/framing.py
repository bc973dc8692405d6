"""Bytes to messages and back: lines, the JSON-RPC 2.0 envelope around them, and the frame limits.

Never touches a socket and knows no method: what is parsed here came from a stranger and is not yet trusted.
"""

import json
from typing import Any

from pydantic_core import from_json, to_json, to_jsonable_python

from pumas_agent.contracts.errors import FrameTooLarge, InvalidParams, InvalidRequest, ParseError, PumasError
from pumas_agent.contracts.events import Event
from pumas_agent.contracts.rpc import Progress, RequestId

_HEAD = b'{"jsonrpc":"2.0","id":'


class LineBuffer:
    """Lines out of a stream, each found by looking at its bytes once, however small the pieces they came in."""

    def __init__(self, limit: int) -> None:
        """`limit` is the longest line in bytes, without its newline."""
        self._limit = limit
        self._bytes = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self._bytes += data

    def take(self) -> bytearray | None:
        """The next whole line without its newline, or None while there is none.

        Raises:
            FrameTooLarge: the line is, or is going to be, longer than the limit.
        """
        end = self._bytes.find(b"\n", self._searched)
        length = len(self._bytes) if end < 0 else end
        if length > self._limit:
            raise FrameTooLarge(
                f"a request may be {self._limit} bytes long, this one is longer", hint="ask for less at a time"
            )
        if end < 0:
            self._searched = length
            return None
        line = self._bytes[:end]
        del self._bytes[: end + 1]
        self._searched = 0
        return line

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun."""
        return bool(self._bytes)

    def clear(self) -> None:
        """Forget what was fed."""
        self._bytes.clear()
        self._searched = 0


def parse_message(line: bytes | bytearray) -> dict[str, Any]:
    """The JSON object on a line.

    Every string in it can be written as UTF-8 again: half a surrogate pair is refused like any other broken JSON.

    Raises:
        ParseError: the line is not JSON in UTF-8 (NaN is none either).
        InvalidRequest: it is JSON, but no object; batches are refused.
    """
    try:
        message = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise ParseError(f"the line is not JSON: {error}", hint="send one JSON object a line, in UTF-8") from None
    if type(message) is not dict:
        batch = type(message) is list
        raise InvalidRequest(
            "batches are not served" if batch else "a request is a JSON object",
            hint="send each request on a line of its own" if batch else None,
        )
    return message


def message_id(message: dict[str, Any]) -> RequestId:
    """The id that the answer repeats.

    Raises:
        InvalidRequest: it is neither a string, an integer nor null.
    """
    found = message.get("id")
    if found is None or type(found) is int or type(found) is str:
        return found
    raise InvalidRequest("the id of a request is a string or an integer")


def is_notification(message: dict[str, Any]) -> bool:
    """Whether it is a well-formed request that wants no answer."""
    return "id" not in message and message.get("jsonrpc") == "2.0" and type(message.get("method")) is str


def message_call(message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The method and the named parameters.

    Raises:
        InvalidRequest: it does not speak JSON-RPC 2.0, or names no method.
        InvalidParams: the parameters are not an object.
    """
    if message.get("jsonrpc") != "2.0":
        raise InvalidRequest('a request says "jsonrpc": "2.0"')
    method = message.get("method")
    if type(method) is not str:
        raise InvalidRequest("a request names its method in a string")
    params = message.get("params", {})
    if type(params) is not dict:
        raise InvalidParams("parameters are named: params is an object")
    return method, params


def result_frame(request_id: RequestId, result: bytes) -> bytes:
    """An answer around a result that is one line of JSON already."""
    return _HEAD + _id_json(request_id) + b',"result":' + result + b"}\n"


def error_frame(request_id: RequestId, error: PumasError) -> bytes:
    """An answer that says what went wrong. Nothing in the error can make this fail.

    What JSON in UTF-8 cannot hold (bytes of a path that are no UTF-8) becomes a question mark.
    """
    answer = {"code": error.rpc_code, "message": error.message, "data": error.to_data()}
    plain = to_jsonable_python(answer, inf_nan_mode="null", fallback=repr, serialize_unknown=True)
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return _HEAD + _id_json(request_id) + b',"error":' + text.encode("utf-8", "replace") + b"}\n"


def progress_frame(progress: Progress) -> bytes:
    """A `progress` notification."""
    return b'{"jsonrpc":"2.0","method":"progress","params":' + progress.model_dump_json().encode() + b"}\n"


def event_frame(event: Event) -> bytes:
    """An `event` notification. What JSON in UTF-8 cannot hold becomes a question mark, as in errors."""
    plain = event.model_dump(mode="python")
    text = json.dumps(to_jsonable_python(plain, inf_nan_mode="null", fallback=repr), ensure_ascii=False)
    return b'{"jsonrpc":"2.0","method":"event","params":' + text.encode("utf-8", "replace") + b"}\n"


def _id_json(request_id: RequestId) -> bytes:
    return b"%d" % request_id if type(request_id) is int else to_json(request_id)

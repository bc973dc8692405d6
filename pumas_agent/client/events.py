"""Events as an iterator: on a connection of its own, resumed where it broke off, and honest about gaps.

Owns when it connects again and where it resumes. Gives what the agent sends, and for each topic of which something was
lost an event with `snapshot_required`, so that a caller who reads nothing else knows it.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pumas_agent.client.wire import (
    connection_lost,
    not_connected,
    parse_line,
    request_frame,
    result_of,
    timed_out,
)
from pumas_agent.contracts.errors import AgentNotRunning, AgentUnreachable
from pumas_agent.contracts.events import Event, Subscribed, Topic
from pumas_agent.contracts.rpc import MAX_FRAME_OUT

_SUBSCRIBE_ID = 1
_CHUNK = 256 * 1024
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


def blocking_events(
    path: Path, topics: Iterable[str], cursor: str | None, *, timeout: float, wait: bool
) -> Iterator[Event]:
    """See `AgentClient.events`."""
    position = _Position(topics, cursor)
    pauses = _Pauses(started=wait)
    while True:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                yield from _received(connection, path, position, pauses, timeout)
        except (AgentNotRunning, AgentUnreachable):
            if not pauses.may_try_again:
                raise
        time.sleep(pauses.next())


def _received(
    connection: socket.socket, path: Path, position: "_Position", pauses: "_Pauses", timeout: float
) -> Iterator[Event]:
    connection.settimeout(timeout)
    try:
        connection.connect(str(path))
    except OSError as error:
        raise not_connected(path, error) from error
    received = bytearray()
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # there may be something to read: why it closed
            connection.sendall(position.request())
        while True:
            data = connection.recv(_CHUNK)
            if not data:
                raise connection_lost(path)
            received += data
            *lines, received = received.split(b"\n")
            for line in lines:
                yield from position.take(line)
                if position.subscribed:
                    pauses.reset()
                    connection.settimeout(None)  # news comes when there is some
    except ConnectionError as error:
        raise connection_lost(path) from error
    except TimeoutError:
        raise timed_out(path, timeout) from None
    finally:
        position.subscribed = False


async def asynchronous_events(
    path: Path, topics: Iterable[str], cursor: str | None, *, patience: float, wait: bool
) -> AsyncIterator[Event]:
    """See `AsyncAgentClient.events`."""
    position = _Position(topics, cursor)
    pauses = _Pauses(started=wait)
    while True:
        try:
            async with _connected(path) as (reader, writer):
                writer.write(position.request())
                while True:
                    line = await _line(reader, path, None if position.subscribed else patience)
                    for event in position.take(line):
                        yield event
                    pauses.reset()
        except (AgentNotRunning, AgentUnreachable):
            if not pauses.may_try_again:
                raise
        finally:
            position.subscribed = False
        await asyncio.sleep(pauses.next())


@asynccontextmanager
async def _connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=MAX_FRAME_OUT)
    except OSError as error:
        raise not_connected(path, error) from error
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _line(reader: asyncio.StreamReader, path: Path, patience: float | None) -> bytes:
    try:
        async with asyncio.timeout(patience):
            line = await reader.readline()
    except ConnectionError as error:
        raise connection_lost(path) from error
    except TimeoutError:
        raise timed_out(path, patience or 0) from None
    if not line.endswith(b"\n"):
        raise connection_lost(path)
    return line


class _Position:
    """What was asked for, and where the last event left it."""

    def __init__(self, topics: Iterable[str], cursor: str | None) -> None:
        self._topics = tuple(Topic(topic) for topic in topics)
        self._cursor = cursor
        self.subscribed = False

    def request(self) -> bytes:
        params: dict[str, Any] = {"topics": self._topics, "cursor": self._cursor}
        return request_frame(_SUBSCRIBE_ID, "agent.subscribe", params)

    def take(self, line: bytes | bytearray) -> list[Event]:
        """The events that a line tells of. Raises what the agent answers instead."""
        message = parse_line(line)
        try:
            if message.get("method") == "event":
                event = Event.model_validate(message.get("params"), extra="ignore")
                self._cursor = event.cursor
                return [event]
            if "method" in message:
                return []
            begun = Subscribed.model_validate(result_of(message), extra="ignore")
        except ValidationError:
            raise AgentUnreachable("what answers on the socket is no agent of a version this client knows") from None
        self.subscribed = True
        self._cursor = begun.cursor
        return [
            Event(subscription=begun.subscription, topic=topic, cursor=begun.cursor, snapshot_required=True)
            for topic in begun.reload
        ]


class _Pauses:
    """How long to wait before the next try: longer each time, short again after a success."""

    def __init__(self, *, started: bool) -> None:
        self.may_try_again = started
        """There was an agent once, or its start is waited for."""
        self._next = _FIRST_PAUSE_S

    def next(self) -> float:
        pause, self._next = self._next, min(2 * self._next, _LONGEST_PAUSE_S)
        return pause

    def reset(self) -> None:
        self.may_try_again = True
        self._next = _FIRST_PAUSE_S

"""The asyncio client: many calls at once on one connection, matched to their answers by id."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Self, Unpack

from pumas_agent.client.events import asynchronous_events
from pumas_agent.client.wire import (
    DESCRIPTOR_METHOD,
    ListFilters,
    OnProgress,
    connection_lost,
    descriptor_params,
    not_connected,
    only_reads,
    parse_descriptor,
    parse_line,
    parse_models,
    progress_of,
    request_frame,
    result_of,
    timed_out,
    whose_paths,
)
from pumas_agent.contracts.descriptor import ModelExecutionDescriptor
from pumas_agent.contracts.errors import AgentUnreachable, PumasError
from pumas_agent.contracts.events import Event
from pumas_agent.contracts.records import ModelList
from pumas_agent.contracts.rpc import MAX_FRAME_OUT, Progress, default_socket_path


class AsyncAgentClient:
    """The same for asyncio: one connection, many calls at once, each with its own timeout.

    Belongs to one event loop. Raises what `AgentClient` raises.
    """

    def __init__(
        self, socket_path: str | Path | None = None, *, timeout: float = 5.0, paths_as: str | None = None
    ) -> None:
        """Connect at the first call.

        Args:
            socket_path: where the agent listens; null: where it does by default.
            timeout: seconds for each call; a sign of progress starts it anew.
            paths_as: whose paths descriptors hold, `host` or `container`; null: as `PUMAS_AGENT_PATHS_AS` says, else
                the host's.

        Raises:
            InvalidParams: `paths_as` is neither.
        """
        self.socket_path = Path(socket_path) if socket_path is not None else default_socket_path()
        self._timeout = timeout
        self._paths_as = whose_paths(paths_as)
        self._connecting = asyncio.Lock()
        self._channel: _AsyncChannel | None = None
        self._ids = count(1)

    async def call(self, method: str, on_progress: OnProgress | None = None, **params: Any) -> dict[str, Any]:
        """The result of any method of the agent; `on_progress` is called with each progress notification."""
        request_id = next(self._ids)
        frame = request_frame(request_id, method, params)
        try:
            if only_reads(method):
                with suppress(ConnectionError):
                    return await self._exchange(request_id, frame, on_progress)
            return await self._exchange(request_id, frame, on_progress)
        except ConnectionError as error:
            raise connection_lost(self.socket_path) from error
        except TimeoutError:
            raise timed_out(self.socket_path, self._timeout) from None

    async def descriptor(self, model_id: str) -> ModelExecutionDescriptor:
        """What may be executed now, and from where; raises what `AgentClient.descriptor` raises."""
        return parse_descriptor(await self.call(DESCRIPTOR_METHOD, **descriptor_params(model_id, self._paths_as)))

    async def list_models(self, **filters: Unpack[ListFilters]) -> ModelList:
        """A page of rows, newest first."""
        return parse_models(await self.call("list_models", **filters))

    def events(self, topics: Iterable[str], cursor: str | None = None, *, wait: bool = False) -> AsyncIterator[Event]:
        """Alerts and changes of models as they happen, for ever; on a connection of its own.

        When the agent goes away, it connects again and goes on where it was. When something was lost meanwhile (alerts
        are not kept over a restart), it gives an event with `snapshot_required`: load anew what its topic is about.

        Args:
            topics: `alerts`, `models`, or both.
            cursor: of an event, the update feed or `agent.health`: begin after it; now when null.
            wait: wait for an agent that does not run yet, instead of raising.

        Raises:
            AgentNotRunning, AgentUnreachable: there was no agent at the first try.
        """
        return asynchronous_events(self.socket_path, topics, cursor, patience=self._timeout, wait=wait)

    async def close(self) -> None:
        """Close the connection; calls under way raise `AgentUnreachable`, the next call opens another."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _exchange(self, request_id: int, frame: bytes, on_progress: OnProgress | None) -> dict[str, Any]:
        async with asyncio.timeout(self._timeout) as timer:

            def extend(progress: Progress) -> None:
                if not timer.expired():
                    timer.reschedule(asyncio.get_running_loop().time() + self._timeout)
                if on_progress is not None:
                    on_progress(progress.stage, progress.done, progress.total, progress.unit)

            channel = await self._connected()
            return await channel.exchange(request_id, frame, extend)

    async def _connected(self) -> "_AsyncChannel":
        async with self._connecting:
            if self._channel is None or self._channel.lost:
                await self.close()
                try:
                    streams = await asyncio.open_unix_connection(str(self.socket_path), limit=MAX_FRAME_OUT)
                except OSError as error:
                    raise not_connected(self.socket_path, error) from error
                self._channel = _AsyncChannel(*streams)
            return self._channel


class _AsyncChannel:
    """One connection and the calls that wait on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, tuple[asyncio.Future[dict[str, Any]], Callable[[Progress], None]]] = {}
        self._task = asyncio.create_task(self._read())

    @property
    def lost(self) -> bool:
        return self._task.done()

    async def exchange(self, request_id: int, frame: bytes, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
        """Send once and wait. Raises ConnectionError when the agent goes away before it has answered."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer, on_progress
        try:
            self._writer.write(frame)
            with suppress(ConnectionError):  # there may still be something to read: why the agent closed
                await self._writer.drain()
            return await answer
        finally:
            del self._waiting[request_id]

    async def close(self) -> None:
        self._give_up(AgentUnreachable("the client was closed before the agent answered"))
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        fault: Exception = ConnectionResetError()
        try:
            while line := await self._reader.readline():
                self._take(parse_line(line))
        except (PumasError, ConnectionError) as error:
            fault = error
        finally:
            self._give_up(fault)

    def _take(self, message: dict[str, Any]) -> None:
        progress = progress_of(message)
        request_id = progress.id if progress else message.get("id")
        if request_id is None:
            result_of(message)  # raises: the agent says why it closes the connection
        waiting = self._waiting.get(request_id) if isinstance(request_id, int) else None
        if waiting is None or waiting[0].done():
            return  # an answer that comes too late
        answer, on_progress = waiting
        try:
            if progress:
                on_progress(progress)
            else:
                answer.set_result(result_of(message))
        except Exception as error:  # noqa: BLE001 - the agent's refusal or a fault of the callback: both are the caller's
            answer.set_exception(error)

    def _give_up(self, fault: Exception) -> None:
        for answer, _ in self._waiting.values():
            if not answer.done():
                answer.set_exception(fault)

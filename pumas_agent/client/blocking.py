"""The blocking client, for runtimes and the command line. Owns its connection: when it is made, used and given up."""

import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Self, Unpack

from pumas_agent.client.events import blocking_events
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
from pumas_agent.contracts.events import Event
from pumas_agent.contracts.records import ModelList
from pumas_agent.contracts.rpc import default_socket_path

_CHUNK = 256 * 1024


class AgentClient:
    """Blocking client: one connection, one call at a time.

    Threads may share it. After a fork each process has a connection of its own. When the agent has been restarted, it
    connects again.

    Every call may raise `AgentNotRunning` (nothing listens), `AgentUnreachable` (no answer within `timeout` seconds,
    or the connection broke), `NotPermitted`, or what the method itself refuses with. A call that changes something is
    never sent twice: after `AgentUnreachable`, look whether it was done.
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
        self._channels: dict[int, _Channel] = {}  # by process id: a child must not talk on its parent's connection

    def call(self, method: str, on_progress: OnProgress | None = None, **params: Any) -> dict[str, Any]:
        """The result of any method of the agent.

        `on_progress` is called with each progress notification, on this thread; it must not use this client.
        """
        return self._channel().call(method, params, on_progress)

    def descriptor(self, model_id: str) -> ModelExecutionDescriptor:
        """What may be executed now, and from where.

        Raises:
            AssetNotValid: the model is not valid now; `findings` says what is wrong, `settling` whether to ask again.
            ModelNotFound: there is no such model.
            ContractVersionMismatch: the agent speaks another version of the descriptor.
        """
        return parse_descriptor(self.call(DESCRIPTOR_METHOD, **descriptor_params(model_id, self._paths_as)))

    def list_models(self, **filters: Unpack[ListFilters]) -> ModelList:
        """A page of rows, newest first."""
        return parse_models(self.call("list_models", **filters))

    def events(self, topics: Iterable[str], cursor: str | None = None, *, wait: bool = False) -> Iterator[Event]:
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
        return blocking_events(self.socket_path, topics, cursor, timeout=self._timeout, wait=wait)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._channel().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _channel(self) -> "_Channel":
        pid = os.getpid()
        channel = self._channels.get(pid)
        if channel is None:
            channel = self._channels.setdefault(pid, _Channel(self.socket_path, self._timeout))
            for other in list(self._channels):
                if other != pid and (inherited := self._channels.pop(other, None)):
                    inherited.abandon()
        return channel


class _Channel:
    """The connection of one process, and the lock of its threads."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._ids = count(1)

    def call(self, method: str, params: dict[str, Any], on_progress: OnProgress | None) -> dict[str, Any]:
        with self._lock:
            request_id = next(self._ids)
            frame = request_frame(request_id, method, params)
            try:
                if only_reads(method):
                    with suppress(ConnectionError):
                        return self._exchange(request_id, frame, on_progress)
                return self._exchange(request_id, frame, on_progress)
            except ConnectionError as error:
                raise connection_lost(self._path) from error
            except TimeoutError:
                raise timed_out(self._path, self._timeout) from None

    def close(self) -> None:
        with self._lock:
            self._drop()

    def abandon(self) -> None:
        """Close what a fork has copied; its lock may be held for ever by a thread that was not."""
        self._drop()

    def _exchange(self, request_id: int, frame: bytes, on_progress: OnProgress | None) -> dict[str, Any]:
        """Send and receive once. Raises ConnectionError when the agent goes away before it has answered."""
        deadline = time.monotonic() + self._timeout
        connection = self._connected()
        whole = False
        try:
            # Sending may fail although there is something to read: why the agent closed the connection.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(frame)
            while True:
                message = self._receive(connection, deadline)
                progress = progress_of(message)
                if progress is not None and progress.id == request_id:
                    if on_progress is not None:
                        on_progress(progress.stage, progress.done, progress.total, progress.unit)
                    deadline = time.monotonic() + self._timeout
                elif progress is None and message.get("id") in (request_id, None):
                    whole = message.get("id") is not None
                    return result_of(message)
        finally:
            if not whole:  # an answer that still comes must not be taken for that of the next call
                self._drop()

    def _receive(self, connection: socket.socket, deadline: float) -> dict[str, Any]:
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            data = connection.recv(_CHUNK)
            if not data:
                raise ConnectionResetError
            self._received += data
            if time.monotonic() > deadline:
                raise TimeoutError
        line = self._received[:end]
        del self._received[: end + 1]
        return parse_line(line)

    def _connected(self) -> socket.socket:
        if self._socket is not None and _has_spoken(self._socket):
            self._drop()
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout)
            try:
                connection.connect(str(self._path))
            except OSError as error:
                connection.close()
                raise not_connected(self._path, error) from error
            self._socket = connection
        self._socket.settimeout(self._timeout)
        return self._socket

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._received.clear()


def _has_spoken(connection: socket.socket) -> bool:
    """Whether there is something to read where nothing was asked: the connection was closed, or is about to be."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))

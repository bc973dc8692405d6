"""Requests of the page: each becomes a call of the same registry that the socket has, under the same table of rights.

The page as a whole is one client of the agent's own user, with the bounds of one connection. Knows nothing of HTTP.
"""

import asyncio
import inspect
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from pumas_agent.contracts.errors import (
    AgentUnreachable,
    AnswerTooLarge,
    InternalError,
    InvalidRequest,
    NotPermitted,
    PumasError,
    TooManyConnections,
)
from pumas_agent.contracts.events import Subscribed
from pumas_agent.contracts.metrics import MetricsReport
from pumas_agent.contracts.rpc import Access, RequestId
from pumas_agent.serving import Answer, Handler, Limits, Peer, PeerPolicy, Registry, Request, find_handler, parse_params
from pumas_agent.serving.framing import (
    error_frame,
    is_notification,
    message_call,
    message_id,
    parse_message,
    result_frame,
)
from pumas_agent.serving.registry import Outlet

OF_A_CONNECTION = frozenset({"agent.subscribe", "agent.unsubscribe", "agent.cancel", "hold_bundle", "release_bundle"})
"""Methods about the connection they come over; a request of the page has none that lasts."""
MOST_STREAMS = 16
_WAITING_EVENTS = 256

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """One request under way. Its task gives the line of the answer, which may be empty, and never fails."""

    task: asyncio.Task[bytes]
    may_be_given_up: bool
    """It only reads, or leaves nothing behind: it ends when who asked is gone. Anything else is finished."""


class EventStream(Outlet):
    """What a subscription sends, until it is read. When too much waits, the subscription waits."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False
        self._gone: list[Callable[[], None]] = []

    def notify(self, frame: bytes) -> None:
        """See `Outlet`."""
        self._frames.append(frame)
        self._news.set()
        if len(self._frames) >= _WAITING_EVENTS:
            self._room.clear()

    async def room(self) -> None:
        """See `Outlet`."""
        await self._room.wait()

    def on_gone(self, undo: Callable[[], None]) -> None:
        """Take what has to be done when it ends."""
        self._gone.append(undo)

    async def take(self, within_s: float) -> bytes | None:
        """The lines that came, an empty one when none did in time; None when it has ended."""
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return b"\n"
        self._news.clear()
        lines = b"".join(self._frames)
        self._frames.clear()
        self._room.set()
        return None if self._ended else lines

    def end(self) -> None:
        """Nothing more is read of it."""
        self._ended = True
        self._news.set()
        undo, self._gone = self._gone, []
        for each in undo:
            each()


class Calls:
    """All that the page asks of the agent."""

    def __init__(self, registry: Registry, policy: PeerPolicy, limits: Limits) -> None:
        self.limits = limits
        self._registry = registry
        self._policy = policy
        self._peer = Peer(uid=policy.own_uid, gid=os.getegid(), pid=os.getpid(), groups=frozenset())
        self._under_way: dict[asyncio.Task[bytes], Call] = {}
        self._streams: set[EventStream] = set()
        self._stopping = False

    def begin(self, line: bytes) -> Call:
        """Begin what a line asks for.

        Raises:
            AgentUnreachable: nothing is begun any more.
            TooManyConnections: as much is under way as may be.
        """
        self._require_going_on()
        if len(self._under_way) >= self.limits.in_flight_per_connection:
            raise TooManyConnections(f"the page waits for {len(self._under_way)} answers already", hint="try again")
        handler: Handler | None = None
        request_id: RequestId = None
        answer: Answer | Awaitable[Answer]
        try:
            message = parse_message(line)
            request_id = message_id(message)
            if is_notification(message):
                answer = b""  # nothing of ours is done without an answer
            else:
                method, params = message_call(message)
                handler = self._handler(method)
                parsed = parse_params(handler.contract, params)
                answer = handler.call(parsed, Request(request_id, self._peer, lambda _: None))
        except PumasError as error:
            answer = _failing(error)
        except Exception:  # noqa: BLE001 - a fault of a handler ends with its request
            answer = _failing(_fault("" if handler is None else handler.contract.name))
        task = asyncio.create_task(self._finish(request_id, handler, answer))
        contract = None if handler is None else handler.contract
        call = Call(task, contract is None or contract.access is not Access.WRITE or contract.cancellable)
        self._under_way[task] = call
        task.add_done_callback(lambda task: self._done(task, answer))
        return call

    async def metrics(self) -> tuple[str, str]:
        """The metrics: the type of the text, and the text.

        Raises:
            PumasError: what the method raises.
        """
        report = await self._ask("agent.metrics", {})
        assert isinstance(report, MetricsReport)
        return report.content_type, report.text

    async def subscribe(self, cursor: str | None) -> tuple[bytes, EventStream]:
        """Begin a subscription to everything: the line of its answer, and what comes after, until `end`.

        Raises:
            AgentUnreachable: nothing is begun any more.
            TooManyConnections: there are as many as there may be.
            PumasError: what `agent.subscribe` raises.
        """
        self._require_going_on()
        if len(self._streams) >= MOST_STREAMS:
            raise TooManyConnections(f"{MOST_STREAMS} pages are open already", hint="close one")
        stream = EventStream()
        self._streams.add(stream)
        stream.on_gone(lambda: self._streams.discard(stream))
        try:
            params = {"topics": ["alerts", "models"], "cursor": cursor}
            subscribed = await self._ask("agent.subscribe", params, stream)
            assert isinstance(subscribed, Subscribed)
        except BaseException:
            stream.end()
            raise
        return result_frame(None, subscribed.model_dump_json().encode()), stream

    async def stop(self) -> None:
        """Begin nothing more, end the streams, give up what may be, finish the rest; `drain_s` seconds at most."""
        self._stopping = True
        for stream in tuple(self._streams):
            stream.end()
        for call in tuple(self._under_way.values()):
            if call.may_be_given_up:
                call.task.cancel()
        if tasks := set(self._under_way):
            _, late = await asyncio.wait(tasks, timeout=self.limits.drain_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self.limits.drain_s)

    def _require_going_on(self) -> None:
        if self._stopping:
            raise AgentUnreachable("the agent is stopping", hint="ask again when it is back")

    def _done(self, task: asyncio.Task[bytes], answer: Answer | Awaitable[Answer]) -> None:
        del self._under_way[task]
        if task.cancelled() and inspect.iscoroutine(answer):
            answer.close()  # it was given up before its first step

    def _handler(self, method: str) -> Handler:
        handler = find_handler(self._registry, method)
        if handler.contract.access not in self._policy.allowed(self._peer):
            raise NotPermitted(f"user {self._peer.uid} may not call {method}")
        if method in OF_A_CONNECTION:
            raise InvalidRequest(
                f"{method} is about a connection, and a request of the page has none that lasts",
                hint="ask over the socket; the page's events are at /events",
            )
        return handler

    async def _ask(self, method: str, params: dict[str, Any], outlet: EventStream | None = None) -> Answer:
        handler = find_handler(self._registry, method)
        parsed = parse_params(handler.contract, params)
        stream = outlet or EventStream()
        answer = handler.call(parsed, Request(None, self._peer, lambda _: None, stream.on_gone, outlet=stream))
        return await answer if inspect.isawaitable(answer) else answer

    async def _finish(
        self, request_id: RequestId, handler: Handler | None, answer: Answer | Awaitable[Answer]
    ) -> bytes:
        method = "" if handler is None else handler.contract.name
        try:
            if inspect.isawaitable(answer):
                answer = await answer
            if handler is None:
                return b""
            result = answer if isinstance(answer, bytes) else answer.model_dump_json().encode()
        except PumasError as error:
            return error_frame(request_id, error)
        except asyncio.CancelledError:
            return error_frame(request_id, AgentUnreachable(f"{method} was given up", hint="the agent may be stopping"))
        except Exception:  # noqa: BLE001 - as in begin
            return error_frame(request_id, _fault(method))
        frame = result_frame(request_id, result)
        if len(frame) <= self.limits.frame_out:
            return frame
        too_large = AnswerTooLarge(
            f"the answer of {method} would be longer than {self.limits.frame_out} bytes",
            hint="ask for less at a time, with limit and offset",
        )
        return error_frame(request_id, too_large)


async def _failing(error: PumasError) -> Answer:
    raise error


def _fault(method: str) -> InternalError:
    _log.exception("request.failed", method=method)
    return InternalError(f"{method or 'the request'} failed inside the agent", hint="the agent's log has the details")

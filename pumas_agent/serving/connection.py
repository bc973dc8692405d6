"""One client: its requests in the order they came, its answers as they are ready, and the limits it is held to.

Knows no method and opens no socket. Whatever a client does ends here; the other connections go on.
"""

import asyncio
import inspect
import select
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from pydantic import BaseModel

from pumas_agent.contracts.errors import (
    AgentUnreachable,
    AnswerTooLarge,
    FrameTooLarge,
    InternalError,
    NotPermitted,
    PumasError,
)
from pumas_agent.contracts.rpc import Access, Progress, RequestId
from pumas_agent.patience import Countdown
from pumas_agent.serving.framing import (
    LineBuffer,
    error_frame,
    is_notification,
    message_call,
    message_id,
    parse_message,
    progress_frame,
    result_frame,
)
from pumas_agent.serving.limits import Limits, Usage
from pumas_agent.serving.peers import Peer, PeerPolicy, identify_peer
from pumas_agent.serving.registry import Answer, Handler, Registry, Request, find_handler, parse_params

_log = structlog.get_logger(__name__)

_WHY = {
    Access.READ: "it shows the library",
    Access.LOOK: "it looks, with the agent's rights, at what you ask for",
    Access.WRITE: "it changes the library",
}


@dataclass(frozen=True, slots=True)
class Service:
    """What the connections of one server share."""

    registry: Registry
    policy: PeerPolicy
    limits: Limits
    usage: Usage
    open: "set[Connection]" = field(default_factory=set)
    refused_uids: set[int] = field(default_factory=set)
    """Logged already: a stranger who keeps trying fills no log."""


class Connection(asyncio.Protocol):
    """The protocol of one connection, from `connection_made` to `closed`.

    Reading stops while the client leaves its answers unread or has as many requests in flight as it may, so that it
    can make us remember no more than its limits allow. Then the kernel makes the client wait.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = service.limits
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lines = LineBuffer(service.limits.frame_in)
        self._in_flight = 0
        self._cancellable: dict[asyncio.Task[None], RequestId] = {}
        self._unread = False  # the client leaves its answers unread
        self._room = asyncio.Event()  # the opposite of it, to be waited for
        self._room.set()
        self._reading = True
        self._ended = False  # the client will send no more
        self._stopping = False  # we take no more
        self._turn: asyncio.Handle | None = None
        self._unfinished_timer: Countdown | None = None
        self._drain_timer: Countdown | None = None
        self._transport: asyncio.Transport
        self._peer: Peer
        self._allowed: frozenset[Access] = frozenset()
        self._gone: list[Callable[[], None]] = []
        """What methods want to have done when the connection ends."""
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # --- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel who it is. A stranger, or one too many, is told so and closed before a byte is read."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=self._limits.write_buffer)
        try:
            self._peer = identify_peer(transport.get_extra_info("socket"))
            self._admit()
        except (PumasError, OSError) as error:
            self._stopping = True
            transport.pause_reading()
            if isinstance(error, PumasError):
                transport.write(error_frame(None, error))
            self.close()
        else:
            self._service.open.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._lines.feed(data)
        self._work()

    def eof_received(self) -> bool:
        """The client sends no more. Unless it has hung up altogether, it still gets the answers to what it asked."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket"), 0)
        if poll.poll(0):
            return False
        self._ended = True
        self._schedule()
        return True

    def pause_writing(self) -> None:
        """The client does not read its answers: it has a while to do so."""
        self._unread = True
        self._room.clear()
        self._pause_reading()
        self._arm_drain_timer()

    def resume_writing(self) -> None:
        """The client has read its answers."""
        self._unread = False
        self._room.set()
        if self._drain_timer is not None and not self._transport.is_closing():
            self._drain_timer.cancel()
            self._drain_timer = None
        self._schedule()

    def connection_lost(self, _error: Exception | None) -> None:
        """The client is gone. What can be given up is; another write, once begun, is finished."""
        self._stopping = True
        for timer in (self._turn, self._unfinished_timer, self._drain_timer):
            if timer is not None:
                timer.cancel()
        self._lines.clear()
        for task in tuple(self._cancellable):
            task.cancel()
        for undo in self._gone:
            undo()
        if self in self._service.open:
            self._service.open.discard(self)
            self._service.usage.leave(self._peer.uid)
        self.closed.set_result(None)

    # --- what the server calls ---------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Take no more requests; close when those in flight are answered."""
        self._stopping = True
        self._pause_reading()
        self._close_when_done()

    def close(self) -> None:
        """Close when what was written is read, at the latest after the time a client has for that."""
        self._transport.close()
        self._arm_drain_timer()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # --- what methods call -------------------------------------------------------------------------------------------

    def notify(self, frame: bytes) -> None:
        """See `Outlet`."""
        self._send(frame)

    async def room(self) -> None:
        """See `Outlet`."""
        await self._room.wait()

    # --- requests in -------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        service, uid = self._service, self._peer.uid
        self._allowed = service.policy.allowed(self._peer)
        if not self._allowed:
            if uid not in service.refused_uids:
                service.refused_uids.add(uid)
                _log.warning("peer.refused", uid=uid, pid=self._peer.pid)
            raise NotPermitted(
                f"user {uid} may not talk to this agent", hint="ask its owner to set socket.group to a group of yours"
            )
        service.usage.enter(uid)

    def _work(self) -> None:
        """Answer what has come, a bounded number of requests, then let the others have their turn."""
        self._turn = None
        for _ in range(self._limits.requests_per_turn):
            if self._stopping:
                return
            if self._must_wait():
                self._pause_reading()
                return
            try:
                line = self._lines.take()
            except FrameTooLarge as error:
                self._send(error_frame(None, error))
                self.stop()
                return
            if line is None:
                self._await_more()
                return
            self._cancel_unfinished_timer()
            self._answer(line)
        self._pause_reading()
        self._schedule()

    def _schedule(self) -> None:
        if self._turn is None and not self._stopping:
            self._turn = self._loop.call_soon(self._work)

    def _must_wait(self) -> bool:
        """Whether the next request has to wait; what it waits for calls `_schedule`."""
        if self._unread or self._in_flight >= self._limits.in_flight_per_connection:
            return True
        if self._service.usage.may_start(self._peer.uid):
            return False
        self._service.usage.wait(self._schedule)
        return True

    def _await_more(self) -> None:
        if self._ended:
            self.stop()
            return
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        if self._lines.unfinished and self._unfinished_timer is None:
            self._unfinished_timer = Countdown(self._limits.unfinished_frame_s, self.abort)

    def _pause_reading(self) -> None:
        self._cancel_unfinished_timer()  # it is we who make it wait
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _cancel_unfinished_timer(self) -> None:
        if self._unfinished_timer is not None:
            self._unfinished_timer.cancel()
            self._unfinished_timer = None

    def _arm_drain_timer(self) -> None:
        if self._drain_timer is None:
            self._drain_timer = Countdown(self._limits.drain_s, self.abort)

    # --- answers out -------------------------------------------------------------------------------------------------

    def _answer(self, line: bytearray) -> None:
        request_id: RequestId = None
        method = ""
        try:
            message = parse_message(line)
            request_id = message_id(message)
            if is_notification(message):
                return  # nothing of ours is done without an answer
            method, params = message_call(message)
            handler = find_handler(self._service.registry, method)
            self._check_access(handler)
            parsed = parse_params(handler.contract, params)
            answer = handler.call(
                parsed, Request(request_id, self._peer, self._report, self._gone.append, self._cancel, outlet=self)
            )
            if isinstance(answer, bytes | BaseModel):
                self._reply(request_id, method, answer)
            else:
                self._start(request_id, handler, answer)
        except PumasError as error:
            self._send(error_frame(request_id, error))
        except Exception:  # noqa: BLE001 - a fault of a handler ends with its request
            self._fail(request_id, method)

    def _check_access(self, handler: Handler) -> None:
        contract = handler.contract
        if contract.access not in self._allowed:
            raise NotPermitted(
                f"user {self._peer.uid} may not call {contract.name}",
                hint=f"{_WHY[contract.access]}: only user {self._service.policy.own_uid} and root may",
            )

    def _start(self, request_id: RequestId, handler: Handler, answer: Awaitable[Answer]) -> None:
        self._in_flight += 1
        task = self._loop.create_task(self._finish(request_id, handler.contract.name, answer))
        self._service.usage.start(self._peer.uid, task)
        if handler.contract.access is not Access.WRITE or handler.contract.cancellable:
            self._cancellable[task] = request_id
        task.add_done_callback(lambda task: self._finished(task, request_id, handler.contract.name, answer))

    async def _finish(self, request_id: RequestId, method: str, answer: Awaitable[Answer]) -> None:
        try:
            self._reply(request_id, method, await answer)
        except PumasError as error:
            self._send(error_frame(request_id, error))
        except Exception:  # noqa: BLE001 - as in _answer
            self._fail(request_id, method)

    def _finished(
        self, task: asyncio.Task[None], request_id: RequestId, method: str, answer: Awaitable[Answer]
    ) -> None:
        self._in_flight -= 1
        self._cancellable.pop(task, None)
        if (
            task.cancelled()
        ):  # said here, because a task that is cancelled before its first step runs nothing of its own
            if inspect.iscoroutine(answer):
                answer.close()
            given_up = AgentUnreachable(f"{method} was given up", hint="the agent may be stopping; ask again")
            self._send(error_frame(request_id, given_up))
        if self._stopping:
            self._close_when_done()
        else:
            self._schedule()

    def _cancel(self, request_id: RequestId) -> bool:
        found = [task for task, known in self._cancellable.items() if known == request_id and not task.done()]
        for task in found:
            task.cancel()
        return bool(found)

    def _close_when_done(self) -> None:
        if not self._in_flight and not self._transport.is_closing():
            self.close()

    def _reply(self, request_id: RequestId, method: str, answer: Answer) -> None:
        result = answer if isinstance(answer, bytes) else answer.model_dump_json().encode()
        frame = result_frame(request_id, result)
        if len(frame) > self._limits.frame_out:
            raise AnswerTooLarge(
                f"the answer of {method} would be longer than {self._limits.frame_out} bytes",
                hint="ask for less at a time, with limit and offset",
            )
        self._send(frame)

    def _fail(self, request_id: RequestId, method: str) -> None:
        _log.exception("request.failed", method=method, uid=self._peer.uid)
        fault = InternalError(f"{method} failed inside the agent", hint="the agent's log has the details")
        self._send(error_frame(request_id, fault))

    def _send(self, frame: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame)

    def _report(self, progress: Progress) -> None:
        """Send a notification, from any thread; drop it when nobody would read it."""
        if threading.get_ident() != self._thread:
            with suppress(RuntimeError):  # the loop has ended, and with it every client
                self._loop.call_soon_threadsafe(self._report, progress)
        elif not self._unread:
            self._send(progress_frame(progress))

"""The HTTP server of the page: uvicorn, inside the agent's own loop, on a socket that is bound here.

Owns connections and their bounds. Catches no signal, writes no access log and knows no path.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.serving import Limits
from pumas_agent.web.address import LoopbackAddress
from pumas_agent.web.gate import App

MOST_CONNECTIONS = 64
_BACKLOG = 32
_HEAD_BYTES = 16 * 1024
_KEEP_ALIVE_S = 30
_SHUTDOWN_S = 8
"""Longer than a client may leave its answers unread."""


def bind(address: LoopbackAddress) -> tuple[socket.socket, LoopbackAddress]:
    """A socket that listens on the address, and the address with the port that it has now.

    Raises:
        SettingsInvalid: it cannot be had.
    """
    with ExitStack() as undo:
        try:
            bound = socket.socket(socket.AF_INET6 if address.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
            undo.callback(bound.close)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((address.host, address.port))
            bound.listen(_BACKLOG)  # two may be bound to a port, and only one listens
        except OSError as error:
            raise SettingsInvalid(
                f"the page cannot be served on {address.authority}: {error.strerror}",
                hint="choose another port with --web; under systemd the unit has to allow AF_INET",
            ) from error
        undo.pop_all()
    return bound, LoopbackAddress(address.host, int(bound.getsockname()[1]))


class HttpServer:
    """Serves an application until it is stopped."""

    def __init__(self, app: App, bound: socket.socket, limits: Limits) -> None:
        config = uvicorn.Config(
            cast("Any", app),
            http=type("Protocol", (_PunctualProtocol,), {"limits": limits}),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_SHUTDOWN_S,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        self._server = _Server(config)
        self._bound = bound
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """When this returns, a browser that connects is answered."""
        self._serving = asyncio.create_task(self._server.serve([self._bound]), name="page")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._serving.done():  # it could not begin
            self._serving.result()

    async def stop(self) -> None:
        """Take no more connections, finish what is under way, close all of them."""
        self._server.stopping.set()
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    """Signals are the agent's; and nothing is done ten times a second only to see that there is nothing to do."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        self.listening.set()
        await self.stopping.wait()


class _PunctualProtocol(H11Protocol):
    """A client has a while for the head of a request, and a while to read what waits for it."""

    limits: ClassVar = Limits()
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._await_head()  # what came is none, or not yet a whole one
        else:
            self._cancel_head()

    def on_response_complete(self) -> None:
        self._cancel_head()  # from here on the time of keep-alive counts, until something comes
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.limits.drain_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head()
        self._cancel_unread()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.limits.unfinished_frame_s, self.transport.abort)

    def _cancel_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _cancel_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

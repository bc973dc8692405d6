"""The page as a part of the agent: made when it is asked for, and taken down before what it asks.

Owns the order of start and stop, and that nothing of the HTTP stack is imported before.
"""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from pumas_agent.contracts.errors import SettingsInvalid
from pumas_agent.serving import Limits, PeerPolicy, Registry
from pumas_agent.web.address import LoopbackAddress
from pumas_agent.web.calls import Calls
from pumas_agent.web.gate import Gate
from pumas_agent.web.token import TokenFile, token_path

if TYPE_CHECKING:
    from pumas_agent.web.server import HttpServer

log = structlog.get_logger(__name__)


class Page:
    """The page of a running agent."""

    def __init__(self, url: str, token: TokenFile, calls: Calls, server: "HttpServer") -> None:
        self.url = url
        """Without the token."""
        self._token = token
        self._calls = calls
        self._server = server

    @classmethod
    async def serve(
        cls, address: LoopbackAddress, *, socket: Path, registry: Registry, policy: PeerPolicy, limits: Limits
    ) -> Self:
        """Bind, make a token, and answer.

        Args:
            address: where.
            socket: of the agent; the token is kept beside it.
            registry: what the page reads and does.
            policy: who may do what, as on the socket.
            limits: those of one connection of the socket.

        Raises:
            SettingsInvalid: the extra `web` is not installed, the port is taken, or the token cannot be kept.
        """
        await asyncio.to_thread(_import_stack)
        from pumas_agent.web.routes import make_app  # noqa: PLC0415  only now is it known to be there
        from pumas_agent.web.server import HttpServer, bind  # noqa: PLC0415

        calls = Calls(registry, policy, limits)
        app = make_app(calls)
        bound, address = bind(address)
        try:
            token = TokenFile(token_path(socket))
        except BaseException:
            bound.close()
            raise
        server = HttpServer(Gate(app, address.names, token.token), bound, limits)
        await server.start()
        log.info("page.ready", url=address.url)
        return cls(address.url, token, calls, server)

    async def stop(self) -> None:
        """The token first: nobody else is let in. Then finish what is under way."""
        self._token.remove()
        await self._calls.stop()
        await self._server.stop()


def _import_stack() -> None:
    try:
        import_module("pumas_agent.web.routes")
        import_module("pumas_agent.web.server")
    except ImportError as error:
        raise SettingsInvalid(
            f"the page needs starlette and uvicorn: {error}", hint="pip install 'pumas-agent[web]'"
        ) from error

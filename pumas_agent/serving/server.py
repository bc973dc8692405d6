"""The server: accepts connections on a bound socket, and stops in an orderly way.

Owns the set of connections and nothing of what goes over them.
"""

import asyncio
import sys
from typing import Any

from pumas_agent.serving.bound_socket import BoundSocket
from pumas_agent.serving.connection import Connection, Service
from pumas_agent.serving.limits import Limits, Usage
from pumas_agent.serving.peers import PeerPolicy
from pumas_agent.serving.registry import Registry

_BACKLOG = 128
_LEAVE_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""The file is removed here, and only when it is ours; since 3.13 asyncio would remove that of an inherited socket."""


class RpcServer:
    """Answers the methods of a registry on one Unix socket."""

    def __init__(self, registry: Registry, policy: PeerPolicy, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._service = Service(registry, policy, limits, Usage(limits, policy.own_uid))
        self._bound: BoundSocket | None = None
        self._listener: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._service.usage.connections

    async def start(self, bound: BoundSocket) -> None:
        """Listen. When this returns, a client that connects is answered. The socket is now the server's to close."""
        self._bound = bound
        self._listener = await asyncio.get_running_loop().create_unix_server(
            lambda: Connection(self._service), sock=bound.socket, backlog=_BACKLOG, **_LEAVE_FILE
        )

    async def stop(self, drain_s: float = 5.0) -> None:
        """Take no more requests, finish those in flight, close everything; `drain_s` seconds at most for each.

        What is not finished by then is cancelled, and its caller is told so.
        """
        if self._bound is None or self._listener is None:
            return
        # The file first: as long as the socket is open, no other can have its inode.
        self._bound.unlink()
        self._listener.close()
        self._bound.close()
        for connection in list(self._service.open):
            connection.stop()
        if tasks := set(self._service.usage.tasks):
            _, late = await asyncio.wait(tasks, timeout=drain_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=drain_s)
        connections = list(self._service.open)
        if connections:
            for connection in connections:
                connection.close()
            await asyncio.wait([connection.closed for connection in connections], timeout=drain_s)
        for connection in self._service.open:
            connection.abort()

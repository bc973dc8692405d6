"""The yardstick of the benches: an echo that does nothing but asyncio, on the same kind of socket, line for line."""

import asyncio
import socket


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def serve_echo(sock: socket.socket) -> asyncio.Server:
    """Echo on a bound Unix socket until the server that is returned is closed."""
    return await asyncio.get_running_loop().create_unix_server(_Echo, sock=sock)

"""Whatever one client does, the others are answered."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pumas_agent.contracts.rpc import METHODS, Cancelled, CancelParams, FilterParams, NoParams
from pumas_agent.serving import Answer, Handler, Limits, PeerPolicy, Request, RpcServer, bind_socket

SMALL = Limits(frame_in=4096, frame_out=1_000_000, unfinished_frame_s=0.2, drain_s=0.2, write_buffer=16 * 1024)
GOOD = b'{"jsonrpc":"2.0","id":1,"method":"get_library_status"}\n'


def _status(_params: NoParams, _request: Request) -> Answer:
    return b'{"model_count":3}'


def _broken(_params: NoParams, _request: Request) -> Answer:
    raise ZeroDivisionError("a secret of ours")


def _long(_params: NoParams, _request: Request) -> Answer:
    return b'{"text":"' + b"x" * 100_000 + b'"}'


def _too_long(_params: NoParams, _request: Request) -> Answer:
    return b'{"text":"' + b"x" * 1_000_000 + b'"}'


async def _waits(_params: FilterParams, _request: Request) -> Answer:
    await asyncio.get_running_loop().create_future()
    return b"{}"


def _cancel(params: CancelParams, request: Request) -> Answer:
    return Cancelled(cancelled=request.cancel(params.id))


_CALLS: dict[str, Callable[[Any, Request], Answer | Awaitable[Answer]]] = {
    "get_library_status": _status,
    "list_models": _waits,
    "agent.cancel": _cancel,
    "agent.status": _broken,
    "agent.health": _long,
    "rebuild_model_index": _too_long,
}
REGISTRY = {name: Handler(METHODS[name], call) for name, call in _CALLS.items()}


class Client:
    """One connection, line by line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            answer: dict[str, Any] = json.loads(await self.reader.readline())
            return answer

    async def ask(self, line: bytes) -> dict[str, Any]:
        self.writer.write(line)
        return await self.receive()

    async def is_closed(self) -> bool:
        """Wait until the server has closed the connection."""
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
        return True


Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RpcServer]:
    server = RpcServer(REGISTRY, PeerPolicy(os.geteuid()), SMALL)
    await server.start(bind_socket(tmp_path / "s"))
    yield server
    await server.stop(drain_s=1)


@pytest.fixture
def connect(server: RpcServer, tmp_path: Path) -> Connect:
    assert server.connections == 0

    @asynccontextmanager
    async def connected() -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"), limit=2_000_000)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    return connected


@pytest.mark.parametrize(
    ("line", "number", "code", "request_id"),
    [
        (b"", -32700, "parse_error", None),
        (b"{", -32700, "parse_error", None),
        (b"\xff\xff", -32700, "parse_error", None),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\udc00"}', -32700, "parse_error", None),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"a"}', -32700, "parse_error", None),
        (b"[" + GOOD.strip() + b"]", -32600, "invalid_request", None),
        (b'{"jsonrpc":"2.0","id":true,"method":"a"}', -32600, "invalid_request", None),
        (b'{"jsonrpc":"2.0","id":"x"}', -32600, "invalid_request", "x"),
        (b'{"id":4,"method":"get_library_status"}', -32600, "invalid_request", 4),
        (b'{"jsonrpc":"2.0","id":5,"method":"get_libary_status"}', -32601, "method_not_found", 5),
        (b'{"jsonrpc":"2.0","id":6,"method":"get_library_status","params":[1]}', -32602, "invalid_params", 6),
        (b'{"jsonrpc":"2.0","id":7,"method":"get_library_status","params":{"x":1}}', -32602, "invalid_params", 7),
        (b'{"jsonrpc":"2.0","id":8,"method":"rebuild_model_index"}', -32603, "answer_too_large", 8),
    ],
)
async def test_a_bad_request_is_answered_and_the_connection_stays_usable(
    connect: Connect, line: bytes, number: int, code: str, request_id: object
) -> None:
    """Each kind has its number and its code, and repeats the id when it could be read."""
    async with connect() as client:
        refused = await client.ask(line + b"\n")
        answered = await client.ask(GOOD)

    assert refused["id"] == request_id
    assert (refused["error"]["code"], refused["error"]["data"]["code"]) == (number, code)
    assert answered == {"jsonrpc": "2.0", "id": 1, "result": {"model_count": 3}}


async def test_a_fault_of_a_handler_ends_with_its_request(connect: Connect) -> None:
    """It is logged once with its traceback; the caller learns nothing of our insides."""
    with capture_logs() as logs:
        async with connect() as client:
            failed = await client.ask(b'{"jsonrpc":"2.0","id":1,"method":"agent.status"}\n')
            answered = await client.ask(GOOD)

    assert failed["error"]["data"]["code"] == "internal_error"
    assert "secret" not in json.dumps(failed)
    assert answered["result"]
    assert [(entry["event"], entry["method"]) for entry in logs] == [("request.failed", "agent.status")]
    assert logs[0]["exc_info"]


async def test_a_notification_is_neither_done_nor_answered(connect: Connect) -> None:
    """The next answer belongs to the next request."""
    async with connect() as client:
        answer = await client.ask(b'{"jsonrpc":"2.0","method":"agent.status"}\n' + GOOD)

    assert answer["id"] == 1


async def test_a_line_beyond_the_limit_is_refused_and_the_connection_closed(connect: Connect) -> None:
    """Where the next request would begin cannot be known; what was asked before is still answered."""
    async with connect() as client, connect() as other:
        client.writer.write(GOOD + b"x" * 10_000)
        answered = await client.receive()
        refused = await client.receive()

        assert answered["result"]
        assert (refused["id"], refused["error"]["data"]["code"]) == (None, "frame_too_large")
        assert await client.is_closed()
        assert (await other.ask(GOOD))["result"]


async def test_a_line_that_is_not_finished_in_time_closes_its_connection(connect: Connect, server: RpcServer) -> None:
    """A byte now and then buys no time; a silent client that has begun nothing may stay."""
    async with connect() as slow, connect() as silent:

        async def drip() -> None:
            with suppress(ConnectionError):
                for byte in GOOD * 100:
                    slow.writer.write(bytes([byte]))
                    await slow.writer.drain()
                    await asyncio.sleep(0.02)  # the pace of this client, not a wait for anything

        dripping = asyncio.create_task(drip())
        slow.writer.write(b"{")
        closed = await slow.is_closed()
        dripping.cancel()

        assert closed
        assert (await silent.ask(GOOD))["result"]
        assert server.connections == 1


async def test_a_client_that_reads_no_answers_is_dropped(connect: Connect, server: RpcServer) -> None:
    """It cannot make the agent remember more than a buffer's worth of answers, and not for long."""
    async with connect() as greedy, connect() as other:
        assert (await greedy.ask(GOOD))["result"]
        assert (await other.ask(GOOD))["result"]
        greedy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        greedy.writer.write(b'{"jsonrpc":"2.0","id":1,"method":"agent.health"}\n' * 1000)
        async with asyncio.timeout(5):
            while server.connections == 2:
                assert (await other.ask(GOOD))["result"]

        assert server.connections == 1


async def test_a_client_that_only_writes_is_made_to_wait(connect: Connect, server: RpcServer, tmp_path: Path) -> None:
    """The kernel stops it after a few buffers, until it is dropped."""
    assert server.connections == 0
    with socket.socket(socket.AF_UNIX) as writer:
        writer.setblocking(False)
        writer.connect(str(tmp_path / "s"))
        sent = 0
        async with connect() as other:
            async with asyncio.timeout(5):
                with suppress(ConnectionError):
                    while True:
                        with suppress(BlockingIOError):
                            sent += writer.send(GOOD * 1000)
                        assert (await other.ask(GOOD))["result"]

    assert sent < 4_000_000


async def test_a_client_that_has_closed_its_side_still_gets_its_answers(connect: Connect) -> None:
    """`printf … | nc` works: requests, end of file, answers, end of file."""
    async with connect() as client:
        client.writer.write(GOOD * 100)
        client.writer.write_eof()

        answers = [await client.receive() for _ in range(100)]

        assert all(answer["result"] for answer in answers)
        assert await client.is_closed()


async def test_a_request_that_is_given_up_before_it_began_is_answered(connect: Connect) -> None:
    """Both lines come in one packet: the request is a task that has not run yet. It is answered once, as any other."""
    async with connect() as client:
        given_up = b'{"jsonrpc":"2.0","id":1,"method":"list_models"}\n'
        client.writer.write(given_up + b'{"jsonrpc":"2.0","id":2,"method":"agent.cancel","params":{"id":1}}\n')
        answers = {answer["id"]: answer for answer in [await client.receive(), await client.receive()]}
        next_one = await client.ask(GOOD.replace(b":1,", b":3,"))

    assert answers[2]["result"] == {"cancelled": True}
    assert answers[1]["error"]["data"]["code"] == "agent_unreachable"
    assert next_one["id"] == 3


async def test_clients_that_vanish_leave_nothing_behind(connect: Connect, server: RpcServer) -> None:
    """In the middle of a line, of an answer, or at once."""
    for line in (b"", b'{"jsonrpc"', GOOD, b'{"jsonrpc":"2.0","id":1,"method":"agent.health"}\n' * 50):
        async with connect() as client:
            client.writer.write(line)
            await client.writer.drain()

    async with connect() as other:
        async with asyncio.timeout(5):
            while not (await other.ask(GOOD))["result"] or server.connections > 1:
                pass

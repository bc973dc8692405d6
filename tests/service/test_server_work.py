"""Requests in flight: many at once, each client and each user within limits, and an orderly end."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.contracts.descriptor import DescriptorBatch, DescriptorBatchItem
from pumas_agent.contracts.rpc import METHODS, DescriptorBatchParams, ModelParams, NoParams, ReconcileParams
from pumas_agent.serving import Answer, Handler, Limits, PeerPolicy, Request, RpcServer, bind_socket

SMALL = Limits(connections=3, in_flight=8, in_flight_per_connection=4, requests_per_turn=4)
GOOD = b'{"jsonrpc":"2.0","id":"good","method":"get_library_status"}\n'


def request(request_id: object, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode() + b"\n"


class Work:
    """Handlers that wait until a test lets them go on."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.in_flight = 0
        self.most_in_flight = 0
        self.given_up: asyncio.Queue[str] = asyncio.Queue()

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    async def wait(self, name: str) -> bytes:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.begun.put_nowait(name)
        try:
            await self.gate(name).wait()
        except asyncio.CancelledError:
            self.given_up.put_nowait(name)
            raise
        finally:
            self.in_flight -= 1
        return json.dumps({"model": name}).encode()

    def read(self, params: ModelParams, _request: Request) -> Awaitable[Answer]:
        return self.wait(params.model_id)

    def write(self, params: ReconcileParams, _request: Request) -> Awaitable[Answer]:
        return self.wait(params.model_id or "*")

    def status(self, _params: NoParams, _request: Request) -> Answer:
        return b"{}"

    def batch(self, params: DescriptorBatchParams, _request: Request) -> Answer:
        return DescriptorBatch(
            descriptors=tuple(DescriptorBatchItem(model_id=model_id, error="no") for model_id in params.model_ids)
        )

    async def report(self, _params: NoParams, request: Request) -> Answer:
        request.progress("indexing", 0, 2, "models")
        thread = threading.Thread(target=request.progress, args=("indexing", 2, 2, "models"))
        thread.start()
        await asyncio.to_thread(thread.join)
        return b'{"indexed_count":2}'

    def registry(self) -> dict[str, Handler]:
        calls: dict[str, Callable[[Any, Request], Answer | Awaitable[Answer]]] = {
            "get_model": self.read,
            "reconcile": self.write,
            "get_library_status": self.status,
            "resolve_model_execution_descriptors_batch": self.batch,
            "rebuild_model_index": self.report,
        }
        return {name: Handler(METHODS[name], call) for name, call in calls.items()}


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


Connect = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
async def server(work: Work, tmp_path: Path) -> AsyncIterator[RpcServer]:
    server = RpcServer(work.registry(), PeerPolicy(os.geteuid()), SMALL)
    await server.start(bind_socket(tmp_path / "s"))
    yield server
    await server.stop(drain_s=0.1)


@pytest.fixture
def connect(server: RpcServer, tmp_path: Path) -> Connect:
    assert server.connections == 0

    @asynccontextmanager
    async def connected() -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    return connected


async def test_answers_come_when_they_are_ready(connect: Connect, work: Work) -> None:
    """Not in the order of the requests; the id tells which is which."""
    async with connect() as client:
        client.writer.write(request(1, "get_model", model_id="a") + request(2, "get_model", model_id="b") + GOOD)
        ids = [(await client.receive())["id"]]
        for name in ("b", "a"):
            work.gate(name).set()
            ids.append((await client.receive())["id"])

    assert ids == ["good", 2, 1]


async def test_a_thousand_requests_in_one_go_are_answered_in_order(connect: Connect) -> None:
    """What is answered on the spot keeps its order, however much was sent at once."""
    async with connect() as client:
        client.writer.write(b"".join(request(number, "get_library_status") for number in range(1000)))

        ids = [(await client.receive())["id"] for _ in range(1000)]

    assert ids == list(range(1000))


async def test_a_client_that_asks_a_lot_leaves_the_others_their_turn(connect: Connect) -> None:
    """One request of another client is answered long before a thousand that were sent first."""
    async with connect() as eager, connect() as other:
        await eager.ask(GOOD)
        await other.ask(GOOD)
        eager.writer.write(GOOD * 1000)

        await other.ask(GOOD)
        seen = eager.reader._buffer.count(b"\n")  # type: ignore[attr-defined]

        assert seen < 200
        for _ in range(1000):
            await eager.receive()


async def test_a_connection_has_no_more_in_flight_than_it_may(connect: Connect, work: Work) -> None:
    """The rest waits unread, also what could be answered on the spot, and is answered when some have finished."""
    async with connect() as client, connect() as other:
        lines = [request(number, "get_model", model_id=str(number)) for number in range(6)]
        client.writer.write(b"".join(lines) + GOOD)
        begun = [await work.begun.get() for _ in range(4)]
        assert (await other.ask(GOOD))["id"] == "good"
        first = work.in_flight
        for number in range(6):
            work.gate(str(number)).set()
        ids = {(await client.receive())["id"] for _ in range(7)}

    assert begun == ["0", "1", "2", "3"]
    assert (first, work.most_in_flight) == (4, 4)
    assert ids == {0, 1, 2, 3, 4, 5, "good"}


async def test_all_connections_together_have_no_more_in_flight_than_they_may(connect: Connect, work: Work) -> None:
    """Those that wait go on as soon as any request is done, whoever's it was."""
    async with connect() as one, connect() as two, connect() as three:
        for client in (one, two):
            client.writer.write(b"".join(request(n, "get_model", model_id="a") for n in range(4)))
        for _ in range(8):
            await work.begun.get()
        three.writer.write(request(9, "get_model", model_id="b"))
        work.gate("b").set()
        assert work.begun.empty()

        work.gate("a").set()
        answer = await three.receive()

    assert answer["id"] == 9
    assert work.most_in_flight <= 8


async def test_one_connection_too_many_is_told_so_and_closed(connect: Connect, server: RpcServer) -> None:
    """One line, and the place is free again when another goes."""
    async with connect() as one, connect() as two:
        async with connect() as three:
            for client in (one, two, three):
                assert (await client.ask(GOOD))["id"] == "good"
            async with connect() as four:
                refused = await four.receive()
                assert await four.reader.read() == b""

        assert refused["error"]["data"]["code"] == "too_many_connections"
        async with asyncio.timeout(5):
            while server.connections > 2:
                await one.ask(GOOD)
        async with connect() as again:
            assert (await again.ask(GOOD))["id"] == "good"


async def test_progress_comes_before_the_answer_on_the_same_connection(connect: Connect) -> None:
    """From the loop or from a thread, with the id of the request."""
    async with connect() as client:
        messages = [await client.ask(request("r", "rebuild_model_index"))]
        messages += [await client.receive(), await client.receive()]

    assert [message.get("method") for message in messages] == ["progress", "progress", None]
    assert messages[1]["params"] == {"id": "r", "stage": "indexing", "done": 2, "total": 2, "unit": "models"}
    assert messages[2]["result"] == {"indexed_count": 2}


async def test_absent_keys_of_a_batch_item_are_left_out(connect: Connect) -> None:
    """Exactly one of `descriptor` and `error` is there."""
    async with connect() as client:
        answer = await client.ask(request(1, "resolve_model_execution_descriptors_batch", model_ids=["a"]))

    assert answer["result"] == {"descriptors": [{"model_id": "a", "error": "no"}]}


async def test_a_read_ends_with_its_caller_and_a_write_does_not(connect: Connect, work: Work) -> None:
    """What was begun to be changed is finished, though nobody waits for the answer."""
    async with connect() as client:
        client.writer.write(request(1, "get_model", model_id="r") + request(2, "reconcile", model_id="w"))
        assert {await work.begun.get(), await work.begun.get()} == {"r", "w"}

    async with asyncio.timeout(5):
        given_up = await work.given_up.get()
    async with connect() as other:
        await other.ask(GOOD)
        assert (given_up, work.in_flight) == ("r", 1)
        work.gate("w").set()
        async with asyncio.timeout(5):
            while work.in_flight:
                await other.ask(GOOD)

    assert work.given_up.empty()


async def test_stopping_finishes_what_is_in_flight(
    connect: Connect, server: RpcServer, work: Work, tmp_path: Path
) -> None:
    """No new connection, no new request, but the answer that is under way; then everything is closed."""
    async with connect() as busy, connect() as idle:
        await idle.ask(GOOD)
        busy.writer.write(request(1, "reconcile", model_id="w"))
        await work.begun.get()

        stopping = asyncio.create_task(server.stop(drain_s=5))
        assert await idle.reader.read() == b""
        busy.writer.write(GOOD)
        with pytest.raises(FileNotFoundError):
            await asyncio.open_unix_connection(str(tmp_path / "s"))
        work.gate("w").set()

        assert (await busy.receive())["result"] == {"model": "w"}
        await stopping
        assert server.connections == 0


async def test_stopping_waits_no_longer_than_it_was_told(connect: Connect, server: RpcServer, work: Work) -> None:
    """What is not finished by then is given up, and its caller is told."""
    async with connect() as client:
        client.writer.write(request(1, "reconcile", model_id="w"))
        await work.begun.get()

        async with asyncio.timeout(5):
            await server.stop(drain_s=0.05)
        answer = await client.receive()

    assert answer["error"]["data"]["code"] == "agent_unreachable"
    assert await work.given_up.get() == "w"

"""The clients against the real server: descriptors, restarts, forks, threads, many calls at once."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.client import AgentClient, AsyncAgentClient
from pumas_agent.contracts.descriptor import ModelExecutionDescriptor, Refusal
from pumas_agent.contracts.errors import AgentNotRunning, AgentUnreachable, AssetNotValid, ModelNotFound
from pumas_agent.contracts.metadata import AssetValidationState, StorageKind
from pumas_agent.contracts.records import ModelList
from pumas_agent.contracts.rpc import METHODS, DescriptorParams, FilterParams, ReconcileParams
from pumas_agent.serving import Answer, Handler, PeerPolicy, Request, RpcServer, bind_socket

DESCRIPTOR = ModelExecutionDescriptor(
    model_id="diffusion/acme/whole",
    entry_path="/models/whole",
    storage_kind=StorageKind.EXTERNAL_REFERENCE,
    validation_state=AssetValidationState.VALID,
    validated_at="2026-01-01T00:00:00Z",
    generation=7,
)
FORKING = """
import os, sys
from pumas_agent.client import AgentClient
client = AgentClient(sys.argv[1])
client.list_models()
child = os.fork()
answers = [client.descriptor("diffusion/acme/whole").generation for _ in range(200)]
client.close()
if child == 0:
    os._exit(0 if answers == [7] * 200 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or answers != [7] * 200)
"""


def _resolve(params: DescriptorParams, _request: Request) -> Answer:
    if params.model_id == DESCRIPTOR.model_id:
        # An agent of a later version has more to say.
        return json.dumps({**DESCRIPTOR.model_dump(mode="json"), "a_later_field": {"x": 1}}).encode()
    if params.model_id == "unknown":
        raise ModelNotFound("Model not found: unknown")
    refusal = Refusal(
        validation_state=AssetValidationState.DEGRADED, validation_errors=(), since=None, settling=True, hint="wait"
    )
    raise AssetNotValid("not valid now", hint="wait", data=refusal.model_dump(mode="json", exclude={"code", "hint"}))


def _list(params: FilterParams, _request: Request) -> Answer:
    return ModelList(models=(), total_count=params.limit)


def _pid_of_caller(_params: ReconcileParams, request: Request) -> Awaitable[Answer]:
    async def answer() -> bytes:
        return b'{"pid":%d}' % request.peer.pid

    return answer()


class Agent:
    """The server in a thread with a loop of its own."""

    def __init__(self, path: Path) -> None:
        handlers: dict[str, Callable[[Any, Request], Answer | Awaitable[Answer]]] = {
            "resolve_model_execution_descriptor": _resolve,
            "list_models": _list,
            "reconcile": _pid_of_caller,
        }
        registry = {name: Handler(METHODS[name], call) for name, call in handlers.items()}
        self._server = RpcServer(registry, PeerPolicy(os.geteuid()))
        self._path = path
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(5)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.start(bind_socket(self._path))
        self._ready.set()
        await self._stopping.wait()
        await self._server.stop(drain_s=1)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def agent(path: Path) -> Iterator[Agent]:
    agent = Agent(path)
    yield agent
    agent.stop()


@pytest.mark.usefixtures("agent")
def test_a_descriptor_of_a_later_agent_is_understood(path: Path) -> None:
    """Fields are only ever added: what this version does not know is passed over."""
    with AgentClient(path) as client:
        descriptor = client.descriptor(DESCRIPTOR.model_id)

    assert descriptor == DESCRIPTOR


@pytest.mark.usefixtures("agent")
def test_a_model_that_is_not_valid_has_no_descriptor(path: Path) -> None:
    """R27: the error says in which state it is and whether to ask again; an unknown id is another error."""
    with AgentClient(path) as client:
        with pytest.raises(AssetNotValid) as refused:
            client.descriptor("damaged")
        with pytest.raises(ModelNotFound, match="unknown"):
            client.descriptor("unknown")

    assert (refused.value.validation_state, refused.value.settling, refused.value.findings) == ("degraded", True, [])


@pytest.mark.usefixtures("agent")
def test_filters_are_passed_on(path: Path) -> None:
    """As they are named in the contract."""
    with AgentClient(path) as client:
        models = client.list_models(limit=3, storage_kind=StorageKind.EXTERNAL_REFERENCE, tags=("a",))

    assert models == ModelList(models=(), total_count=3)


def test_a_client_outlives_a_restart_of_the_agent(path: Path) -> None:
    """Also for a call that changes something: on a connection that is known to be closed nothing was sent."""
    first = Agent(path)
    with AgentClient(path) as client:
        client.descriptor(DESCRIPTOR.model_id)
        first.stop()
        with pytest.raises(AgentNotRunning):
            client.call("reconcile")

        second = Agent(path)
        written = client.call("reconcile")
        second.stop()
        third = Agent(path)
        again = client.call("reconcile")
        listed = client.list_models()
        third.stop()

    assert written == again == {"pid": os.getpid()}
    assert listed.total_count == 100


@pytest.mark.usefixtures("agent")
def test_a_fork_makes_two_clients_of_one(path: Path) -> None:
    """Parent and child ask at the same time, and neither sees an answer of the other."""
    done = subprocess.run([sys.executable, "-c", FORKING, path], timeout=30, check=False)

    assert done.returncode == 0


@pytest.mark.usefixtures("agent")
def test_threads_may_share_a_client(path: Path) -> None:
    """Each gets the answer to its own question."""
    with AgentClient(path) as client, ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda limit: client.list_models(limit=limit).total_count, range(1, 201)))

    assert counts == list(range(1, 201))


@pytest.mark.usefixtures("agent")
async def test_an_asyncio_client_has_many_calls_under_way(path: Path) -> None:
    """On one connection, whatever the order of the answers."""
    async with AsyncAgentClient(path) as client:
        lists = await asyncio.gather(*(client.list_models(limit=limit) for limit in range(1, 1001)))
        descriptor = await client.descriptor(DESCRIPTOR.model_id)

    assert [models.total_count for models in lists] == list(range(1, 1001))
    assert descriptor == DESCRIPTOR


async def test_an_asyncio_client_outlives_a_restart_of_the_agent(path: Path) -> None:
    """As the blocking one does."""
    first = await asyncio.to_thread(Agent, path)
    async with AsyncAgentClient(path) as client:
        await client.descriptor(DESCRIPTOR.model_id)
        await asyncio.to_thread(first.stop)
        with pytest.raises(AgentNotRunning):
            await client.list_models()

        second = await asyncio.to_thread(Agent, path)
        descriptor = await client.descriptor(DESCRIPTOR.model_id)
        await asyncio.to_thread(second.stop)

    assert descriptor == DESCRIPTOR


async def test_closing_an_asyncio_client_ends_its_calls(path: Path) -> None:
    """They are not sent again on a new connection."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        accepted.put_nowait(writer)

    async with await asyncio.start_unix_server(never_answer, path):
        client = AsyncAgentClient(path)
        call = asyncio.create_task(client.list_models())
        writer = await accepted.get()
        await client.close()

        with pytest.raises(AgentUnreachable, match="was closed"):
            await call
        assert accepted.empty()
        writer.close()

"""What the page asks: by the same registry and table of rights as the socket, within bounds, given up or finished."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pumas_agent.contracts.errors import AgentUnreachable, TooManyConnections
from pumas_agent.contracts.events import Subscribed
from pumas_agent.contracts.rpc import METHODS, Access
from pumas_agent.serving import Answer, Handler, Limits, PeerPolicy, Registry, Request
from pumas_agent.web.calls import MOST_STREAMS, OF_A_CONNECTION, Calls

OWN = PeerPolicy(own_uid=os.geteuid())


def registry(**calls: Callable[[Any, Request], Answer | Awaitable[Answer]]) -> Registry:
    """Every method: those that are given, and otherwise one that answers with its parameters."""

    def handler(name: str) -> Callable[[Any, Request], Answer | Awaitable[Answer]]:
        return calls.get(name.replace(".", "_"), lambda params, _request: params.model_dump_json().encode())

    return {name: Handler(contract, handler(name)) for name, contract in METHODS.items()}


def line(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()


async def ask(calls: Calls, request: bytes) -> dict[str, Any]:
    return dict(json.loads(await calls.begin(request).task))


async def test_a_call_is_answered_like_one_over_the_socket() -> None:
    calls = Calls(registry(), OWN, Limits())

    assert await ask(calls, line("get_model", model_id="a")) == {"jsonrpc": "2.0", "id": 7, "result": {"model_id": "a"}}


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (b"", "parse_error"),
        (b"{", "parse_error"),
        (b"[]", "invalid_request"),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing"}', "method_not_found"),
        (line("get_model"), "invalid_params"),
        (line("get_model", model_id="a", more=1), "invalid_params"),
        *((line(method), "invalid_request") for method in sorted(OF_A_CONNECTION)),
    ],
)
async def test_what_cannot_be_called_is_an_error_of_our_tree(request_line: bytes, code: str) -> None:
    """So are the methods about a connection: a request of the page has none that lasts."""
    calls = Calls(registry(), OWN, Limits())

    assert (await ask(calls, request_line))["error"]["data"]["code"] == code


@pytest.mark.parametrize("access", list(Access))
async def test_the_table_of_rights_is_asked(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page may what its user may, by the same policy as the socket."""
    method = next(
        name for name, contract in METHODS.items() if contract.access is access and name not in OF_A_CONNECTION
    )
    monkeypatch.setattr(PeerPolicy, "allowed", lambda _self, _peer: frozenset(Access) - {access})
    calls = Calls(registry(), OWN, Limits())

    assert (await ask(calls, line(method)))["error"]["data"]["code"] == "not_permitted"


async def test_a_fault_of_a_method_ends_with_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    async def later(_params: object, _request: Request) -> bytes:
        raise RuntimeError("a secret")

    def at_once(_params: object, _request: Request) -> bytes:
        raise RuntimeError("a secret")

    calls = Calls(registry(list_models=later, agent_status=at_once), OWN, Limits())

    for method in ("list_models", "agent.status"):
        error = (await ask(calls, line(method)))["error"]
        assert error["data"]["code"] == "internal_error"
        assert "secret" not in error["message"]
    assert capsys.readouterr().out.count("request.failed") == 2


async def test_an_answer_has_the_limit_of_the_socket() -> None:
    calls = Calls(registry(list_models=lambda _params, _request: b'"' + b"x" * 100 + b'"'), OWN, Limits(frame_out=100))

    assert (await ask(calls, line("list_models")))["error"]["data"]["code"] == "answer_too_large"


async def test_a_notification_is_not_answered() -> None:
    calls = Calls(registry(), OWN, Limits())

    assert await calls.begin(b'{"jsonrpc":"2.0","method":"list_models"}').task == b""


async def test_only_so_many_are_under_way() -> None:
    gate = asyncio.Event()

    async def wait(_params: object, _request: Request) -> bytes:
        await gate.wait()
        return b"{}"

    calls = Calls(registry(list_models=wait), OWN, Limits(in_flight_per_connection=2))
    begun = [calls.begin(line("list_models")) for _ in range(2)]
    with pytest.raises(TooManyConnections):
        calls.begin(line("list_models"))

    gate.set()
    await asyncio.gather(*(call.task for call in begun))
    assert "result" in await ask(calls, line("list_models"))


async def test_what_writes_is_finished_and_what_reads_may_be_given_up() -> None:
    """At the end, too: a write that has begun is waited for."""
    gate, done = asyncio.Event(), []

    async def write(_params: object, _request: Request) -> bytes:
        await gate.wait()
        done.append("written")
        return b"{}"

    async def read(_params: object, _request: Request) -> bytes:
        await asyncio.Event().wait()
        return b"{}"

    calls = Calls(registry(rebuild_model_index=write, list_models=read), OWN, Limits())
    writing, reading = calls.begin(line("rebuild_model_index")), calls.begin(line("list_models"))
    assert (writing.may_be_given_up, reading.may_be_given_up) == (False, True)

    stopping = asyncio.create_task(calls.stop())
    assert b"agent_unreachable" in await asyncio.wait_for(asyncio.shield(_either(reading.task)), 5)
    gate.set()
    await stopping

    assert done == ["written"]
    assert b"result" in writing.task.result()
    with pytest.raises(AgentUnreachable):
        calls.begin(line("list_models"))
    with pytest.raises(AgentUnreachable):
        await calls.subscribe(None)


async def _either(task: asyncio.Task[bytes]) -> bytes:
    """The answer; a task that was cancelled before its first step has none of its own."""
    try:
        return await task
    except asyncio.CancelledError:
        return b"agent_unreachable"


async def subscribed(_params: object, request: Request) -> Subscribed:
    request.outlet.notify(b"first\n")
    return Subscribed(subscription="s1", cursor="c")


async def test_a_stream_gives_what_it_was_sent_and_then_signs_of_life() -> None:
    calls = Calls(registry(agent_subscribe=subscribed), OWN, Limits())

    answer, stream = await calls.subscribe(None)

    assert json.loads(answer)["result"]["cursor"] == "c"
    assert await stream.take(5) == b"first\n"
    assert await stream.take(0) == b"\n"


async def test_a_stream_that_is_not_read_makes_the_subscription_wait() -> None:
    calls = Calls(registry(agent_subscribe=subscribed), OWN, Limits())
    _, stream = await calls.subscribe(None)

    await stream.room()
    for _ in range(300):
        stream.notify(b"x\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.room(), 0.01)

    await stream.take(5)
    await asyncio.wait_for(stream.room(), 5)


async def test_there_are_only_so_many_streams_and_each_that_ends_makes_room() -> None:
    """What its subscription wants to have done at its end is done."""
    gone: list[str] = []

    async def remember(_params: object, request: Request) -> Subscribed:
        request.on_gone(lambda: gone.append("gone"))
        return Subscribed(subscription="s1", cursor="c")

    calls = Calls(registry(agent_subscribe=remember), OWN, Limits())
    streams = [(await calls.subscribe(None))[1] for _ in range(MOST_STREAMS)]
    with pytest.raises(TooManyConnections):
        await calls.subscribe(None)

    streams[0].end()
    await calls.subscribe(None)
    assert gone == ["gone"]
    assert await streams[0].take(5) is None

    await calls.stop()
    assert gone == ["gone"] * (MOST_STREAMS + 1)

"""The clients against agents that misbehave: every failure is a typed error, and a write is never sent twice."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pumas_agent.client import AgentClient, AsyncAgentClient
from pumas_agent.contracts.errors import (
    AgentNotRunning,
    AgentUnreachable,
    AssetNotValid,
    FrameTooLarge,
    InvalidParams,
    NotPermitted,
    PumasError,
)

Answer = Callable[[dict[str, Any]], bytes | None]
"""What a scripted agent sends for a request; None closes the connection instead."""

PACE_S = 0.1
"""Between two lines of a scripted agent: less than the timeout of the clients, of which three go into it."""


class ScriptedAgent:
    """A listener in a thread that answers each request with the next step of its script, and keeps what it heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[dict[str, Any]] = []
        self.script: list[Answer] = []
        self.connections = 0
        self._stopped = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, suppress(ConnectionError):
                for request in connection.makefile("rb"):
                    self.heard.append(json.loads(request))
                    answer = self.script.pop(0)(self.heard[-1])
                    if answer is None:
                        break
                    for number, line in enumerate(answer.splitlines(keepends=True)):
                        self._stopped.wait(PACE_S if number else 0)
                        connection.sendall(line)

    def close(self) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ScriptedAgent]:
    agent = ScriptedAgent(tmp_path / "s")
    yield agent
    agent.close()


def result(request: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"echo": request["params"]}}).encode() + b"\n"


def refusal(code: str, **data: Any) -> Answer:
    def answer(request: dict[str, Any]) -> bytes:
        error = {"code": -32005, "message": "refused", "data": {"code": code, **data}}
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode() + b"\n"

    return answer


def progress(steps: int) -> Answer:
    def answer(request: dict[str, Any]) -> bytes:
        params = {"id": request["id"], "stage": "copying", "total": steps, "unit": "files"}
        lines = [{"method": "progress", "params": {**params, "done": step + 1}} for step in range(steps)]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines) + result(request)

    return answer


def hang_up(_request: dict[str, Any]) -> None:
    return None


def say(text: bytes) -> Answer:
    return lambda _request: text


class Blocking:
    """Calls with the blocking client."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._client = AgentClient(path, timeout=timeout)

    def call(self, method: str, *args: Any, **params: Any) -> dict[str, Any]:
        return self._client.call(method, *args, **params)

    def close(self) -> None:
        self._client.close()


class Asynchronous:
    """Calls with the asyncio client, each to its end."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncAgentClient(path, timeout=timeout)

    def call(self, method: str, *args: Any, **params: Any) -> dict[str, Any]:
        return self._runner.run(self._client.call(method, *args, **params))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


Client = Blocking | Asynchronous


@pytest.fixture(params=[Blocking, Asynchronous])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    client = request.param(tmp_path / "s", timeout=0.3)
    yield client
    client.close()


def test_calls_share_one_connection(agent: ScriptedAgent, client: Client) -> None:
    """Parameters arrive by name."""
    agent.script = [result, result]

    answers = [client.call("get_model", model_id=name) for name in ("a", "b")]

    assert answers == [{"echo": {"model_id": "a"}}, {"echo": {"model_id": "b"}}]
    assert agent.connections == 1


def test_nothing_at_the_path_means_that_no_agent_runs(client: Client, tmp_path: Path) -> None:
    """The same for a socket that nobody listens on; the hint says how to start one."""
    with pytest.raises(AgentNotRunning, match=str(tmp_path)) as caught:
        client.call("agent.status")
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "s"))
    with pytest.raises(AgentNotRunning):
        client.call("agent.status")

    assert caught.value.hint is not None


def test_no_answer_in_time_is_unreachable(agent: ScriptedAgent, client: Client) -> None:
    """The message says how long was waited, and a late answer is not taken for that of the next call."""
    agent.script = [say(b""), result]

    with pytest.raises(AgentUnreachable, match=r"0\.3 s"):
        client.call("get_model", model_id="a")

    if isinstance(client, Blocking):
        assert client.call("get_model", model_id="b") == {"echo": {"model_id": "b"}}
    assert agent.connections <= 2


def test_a_read_is_sent_again_when_the_connection_breaks(agent: ScriptedAgent, client: Client) -> None:
    """Once; the second break is the caller's to know."""
    agent.script = [hang_up, result, hang_up, hang_up]

    answer = client.call("get_model", model_id="a")
    with pytest.raises(AgentUnreachable, match="closed the connection"):
        client.call("get_model", model_id="b")

    assert answer == {"echo": {"model_id": "a"}}
    assert len(agent.heard) == 4


@pytest.mark.parametrize("method", ["reconcile", "a_method_of_the_future"])
def test_what_may_change_something_is_never_sent_twice(agent: ScriptedAgent, client: Client, method: str) -> None:
    """Nobody knows whether the first was done; the hint says to look."""
    agent.script = [hang_up]

    with pytest.raises(AgentUnreachable) as caught:
        client.call(method)

    assert len(agent.heard) == 1
    assert "look whether it was done" in (caught.value.hint or "")


def test_a_refusal_is_its_typed_error(agent: ScriptedAgent, client: Client) -> None:
    """With its findings; a code of the future is at least a PumasError that carries its data."""
    findings = [{"code": "missing_component", "message": "no unet", "path": "unet"}]
    agent.script = [
        refusal("asset_not_valid", validation_state="degraded", validation_errors=findings, settling=True, hint="h"),
        refusal("new_code", more=1),
    ]

    with pytest.raises(AssetNotValid) as not_valid:
        client.call("resolve_model_execution_descriptor", model_id="a")
    with pytest.raises(PumasError) as unknown:
        client.call("agent.status")

    assert not_valid.value.findings == findings
    assert (not_valid.value.validation_state, not_valid.value.settling, not_valid.value.hint) == ("degraded", True, "h")
    assert unknown.value.data == {"more": 1}


def test_why_the_agent_closes_the_connection_is_told(agent: ScriptedAgent, client: Client) -> None:
    """An error without an id is about the connection, and so about the call that waits."""
    line = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"no","data":{"code":"not_permitted"}}}\n'
    agent.script = [say(line)]

    with pytest.raises(NotPermitted):
        client.call("reconcile")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\n", b"[]\n", b'{"method":"progress"}\n', b'{"id":1,"result":3}\n'])
def test_what_is_no_agent_is_said_to_be_none(agent: ScriptedAgent, client: Client, answer: bytes) -> None:
    """Whatever listens there."""
    agent.script = [say(answer)]

    with pytest.raises(AgentUnreachable, match="no agent"):
        client.call("reconcile")


def test_progress_is_passed_on_and_starts_the_timeout_anew(agent: ScriptedAgent, client: Client) -> None:
    """Stage, done, total, unit; work may take longer than the timeout while it is seen to go on."""
    agent.script = [progress(5)]
    told: list[tuple[str, int, int | None, str]] = []

    answer = client.call("reconcile", lambda *step: told.append(step), model_id="a")

    assert answer == {"echo": {"model_id": "a"}}
    assert told == [("copying", step, 5, "files") for step in (1, 2, 3, 4, 5)]


def test_a_fault_in_the_callback_is_the_callers(agent: ScriptedAgent, client: Client) -> None:
    """It ends the call, and the next call gets its own answer."""
    agent.script = [progress(1), result]

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.call("reconcile", fail)

    assert client.call("get_model", model_id="b") == {"echo": {"model_id": "b"}}


def test_what_json_cannot_hold_is_not_sent(agent: ScriptedAgent, client: Client) -> None:
    """Nor what is longer than a frame may be."""
    with pytest.raises(InvalidParams, match="register"):
        client.call("register", path="\udcff")
    with pytest.raises(FrameTooLarge):
        client.call("register", path="x" * 2_000_000)

    assert not agent.heard
